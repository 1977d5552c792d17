"""Templates in config.yaml: which settings may hold them, their language, and their filters."""
