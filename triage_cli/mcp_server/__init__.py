"""The MCP server: what agents may look up, preview and suggest, over a `Triage` and a `Consultation`."""
