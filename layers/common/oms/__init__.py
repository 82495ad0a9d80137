"""The order management system: domain rules and their AWS adapters, shared by every function."""
