"""Tickets in a PostgreSQL database, which several machines may share."""

from triage_cli.faces import face

__getattr__ = face(__name__)
