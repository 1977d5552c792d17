"""Evaluating classifiers on labelled tickets: metrics, calibration, cross-validation."""
