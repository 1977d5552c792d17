"""What a server does for concurrent callers in groups: one question, one transaction, one dispatch for several."""
