"""Plug-ins of others: makes of their small classes what the core asks for, and holds them to what they promise."""

from triage_cli.faces import face

__getattr__ = face(__name__)
