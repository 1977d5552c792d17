"""Asking language models by the providers' batch APIs: half the price, answers within a day."""
