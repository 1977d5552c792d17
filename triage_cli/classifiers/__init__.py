"""What answers which category a ticket belongs to: one module a classifier, named only by `wiring`."""
