"""The interfaces between the use cases and what surrounds them."""

from triage_cli.faces import face

__getattr__ = face(__name__)
