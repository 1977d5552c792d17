"""The HTTP API. `app` makes the application, for your own server or test."""

from triage_cli.faces import face

__getattr__ = face(__name__)
