"""Where tickets are pulled from: lists over HTTP, programs that write Singer lines, and mailboxes."""

from triage_cli.faces import face

__getattr__ = face(__name__)
