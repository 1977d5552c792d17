"""What many tickets show at once, and what a change would do: plans, spikes, drift, and the report of a period."""

from triage_cli.faces import face

__getattr__ = face(__name__)
