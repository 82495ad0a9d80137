"""After which events an order may say something else about its customer."""

CHANGES = frozenset(
    {
        *("OrderPlaced", "OrderCancelled", "OrderExpired", "LinesCancelled", "CancelledAfterDispatch"),
        *("PaymentCaptured", "PaymentAuthorized", "CreditGranted"),
        *("RefundSent", "RefundSucceeded", "RefundFailed", "RefundFound", "RefundsCarriedOut"),
        *("ReturnRequested", "ReturnReceived", "ReturnRefunded", "ReturnExchanged", "ReturnRejected"),
        *("ReturnCancelled", "ReturnClosed", "OrderEdited", "AddressChanged", "PersonErased", "ShipmentShipped"),
    }
)
