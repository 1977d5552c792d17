"""Destinations over the network: webhooks, requests over HTTP, mails."""

from triage_cli.faces import face

__getattr__ = face(__name__)
