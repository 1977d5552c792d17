"""Submitting tickets to a provider's batch, and collecting its answers."""
