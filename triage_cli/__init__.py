"""Support tickets in, decisions out: store, classify, route and audit."""

__version__ = "0.1.0"
