"""What answers which category a ticket belongs to: one module a classifier, named only by `wiring`."""

from triage_cli.faces import face

__getattr__ = face(__name__)
