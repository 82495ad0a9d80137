"""What the merchant's own systems are told: numbered, signed, in order, until they have it."""
