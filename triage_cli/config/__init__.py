"""The configuration: a checked `Config`, read from one YAML file, the environment and the global options."""

from triage_cli.faces import face

__getattr__ = face(__name__)
