"""Records and statistics about many tickets: plans, spikes, drift."""
