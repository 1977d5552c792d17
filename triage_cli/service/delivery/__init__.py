"""Sending tickets to the destinations that the routing map names."""
