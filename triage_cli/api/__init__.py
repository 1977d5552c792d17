"""The HTTP API: each endpoint is a line or two over the same use cases that the command line has."""
