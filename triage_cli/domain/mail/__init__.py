"""Tickets that came as mail: the parts of their text, and threads."""
