"""Records as the API writes them, field by field as described in openapi.json."""
