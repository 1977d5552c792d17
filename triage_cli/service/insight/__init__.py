"""Use cases that look at many tickets and change none: plans, spikes, drift."""
