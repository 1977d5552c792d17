"""The command line: parse, one call, render."""

from triage_cli.faces import face

__getattr__ = face(__name__)
