"""Fitting the embedded model to labelled tickets, and measuring classifiers."""
