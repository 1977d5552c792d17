"""The MCP server: what agents may look up, preview and suggest, over a `Triage` and a `Consultation`."""

from triage_cli.faces import face

__getattr__ = face(__name__)
