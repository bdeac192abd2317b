"""The read operations of the API, one short function for each path of openapi.json."""
