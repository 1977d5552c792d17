"""Storing tickets: one, or a stream of rows."""
