"""The use cases on another machine: `RemoteTriage` asks a running `triage serve`."""

from triage_cli.client.remote_triage import RemoteTriage

__all__ = ["RemoteTriage"]
