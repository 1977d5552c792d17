"""What keeps a running process within bounds: budget, retries, workers, its exit."""
