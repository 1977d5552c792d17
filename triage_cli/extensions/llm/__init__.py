"""Classifiers that ask a language model, one ticket a call or many in a provider's batch."""

from triage_cli.faces import face

__getattr__ = face(__name__)
