"""Commands that teach, compare and measure classifiers."""
