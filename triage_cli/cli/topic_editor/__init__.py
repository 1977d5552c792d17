"""`triage discover --edit`: a person names, merges, drops and nests topics, on a screen or by lines."""
