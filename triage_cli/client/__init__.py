"""The use cases on another instance: `RemoteTriage` is a client of a running `triage serve`."""

from triage_cli.client.remote_triage import RemoteTriage

__all__ = ["RemoteTriage"]
