"""The use cases on another instance: `RemoteTriage` is a client of a running `triage serve`."""

from triage_cli.faces import face

__getattr__ = face(__name__)
