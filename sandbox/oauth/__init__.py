"""OAuth 2.0 with authorization codes, as Pennylane offers it to registered apps."""
