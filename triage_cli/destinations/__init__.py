"""Destinations of deliveries: files, commands, webhooks, HTTP requests and mail."""

from triage_cli.faces import face

__getattr__ = face(__name__)
