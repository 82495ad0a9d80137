"""After which events an order may say something else about its customer."""

CHANGES = frozenset(
    {
        *("OrderPlaced", "OrderCancelled", "LinesCancelled", "OrderEdited", "AddressChanged", "HoldReleased"),
        *("PaymentCaptured", "PaymentAuthorized", "PaymentCancelled", "AuthorizationReleased", "CreditGranted"),
        *("RefundSent", "RefundSucceeded", "RefundFailed", "RefundFound"),
        *("ReturnRequested", "ReturnRejected", "ReturnCancelled", "ReturnClosed", "ReturnRefunded", "ReturnExchanged"),
        # By the time a parcel leaves, a mail that could not be delivered has come back.
        *("PersonErased", "ShipmentShipped"),
    }
)
