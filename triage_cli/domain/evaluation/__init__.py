"""How right a classifier is, and what its confidence is worth: pure figures over labelled answers."""
