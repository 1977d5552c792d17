"""Where tickets, answers, deliveries and the audit log are kept."""

from triage_cli.faces import face

__getattr__ = face(__name__)
