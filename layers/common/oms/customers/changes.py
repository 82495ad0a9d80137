"""After which events an order may say something else about its customer."""

CHANGES = frozenset(
    {
        *("OrderPlaced", "OrderCancelled", "LinesCancelled", "OrderEdited", "AddressChanged", "HoldReleased"),
        *("PaymentCaptured", "PaymentAuthorized", "PaymentCancelled", "AuthorizationReleased", "CreditGranted"),
        *("RefundSent", "RefundSucceeded", "RefundFailed", "RefundFound", "PersonErased"),
        *("ReturnRequested", "ReturnRejected", "ReturnCancelled", "ReturnClosed", "ReturnRefunded", "ReturnExchanged"),
        # A parcel that comes back; and when one leaves, a mail that could not be delivered has come back.
        *("ShipmentReturned", "ShipmentShipped"),
    }
)
