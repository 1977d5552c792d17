"""Text that hides something, or addresses a language model."""
