"""Explains a ticket in sentences: what was decided, and what comes next."""
