"""What keeps a running process within bounds: budget, retries, workers, its exit."""

from triage_cli.faces import face

__getattr__ = face(__name__)
