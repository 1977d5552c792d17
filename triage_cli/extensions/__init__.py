"""What the core can do without: each folder adds something by the hooks of `triage_cli.hooks`, and can be deleted."""
