"""The interfaces between the use cases and what surrounds them."""
