"""The providers of batches that tests run over."""

KINDS = ("openai", "anthropic")
