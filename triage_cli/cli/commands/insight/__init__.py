"""Commands of insight, which look ahead and watch: plans, spikes, drift."""
