"""Support tickets in, decisions out: store, classify, route and audit."""

__version__ = "1.0.0"
