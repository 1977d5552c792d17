"""The endpoints of the API, by subject, and what several of them need."""
