"""What customers are told about their orders, each thing once."""
