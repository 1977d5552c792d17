"""Commands that look ahead and watch: plans, spikes, drift."""
