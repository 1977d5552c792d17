"""Classifiers that ask a language model over HTTP."""
