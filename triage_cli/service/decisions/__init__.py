"""Asking a classifier, and deciding what its answers change."""
