"""The audit log: its events, and the chain of hashes that shows a later change."""
