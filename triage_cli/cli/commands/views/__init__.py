"""Commands that show what is stored, and why."""
