"""Asking a language model in batches, for half the price and an answer within a day."""
