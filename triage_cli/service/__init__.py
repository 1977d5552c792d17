"""The use cases: plain values and ports, no SQL, no HTTP, no terminal."""

from triage_cli.faces import face

__getattr__ = face(__name__)
