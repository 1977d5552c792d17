"""Port of the inflow: tickets by when they were written, spikes that were sent, and counts of a period."""

from collections.abc import Sequence
from typing import Protocol

from triage_cli.domain.audit import Event
from triage_cli.domain.insight.drift import PeriodCounts
from triage_cli.domain.insight.spikes import InflowTicket, SentSpike


class Inflow(Protocol):
    """Reads tickets by when they were written: `created_at`, or when they were stored if that is unknown."""

    def written(self, since: str, until: str) -> list[InflowTicket]:
        """Return the tickets written from `since` up to before `until`, oldest first."""

    def sent_spikes(self, since: str) -> list[SentSpike]:
        """Return the spikes that were last seen at `since` or later."""

    def keep_spikes(self, spikes: Sequence[SentSpike], event: Event | None) -> None:
        """Store spikes, replacing those with the same id."""

    def counts(self, since: str, until: str) -> PeriodCounts:
        """Return the counts of the tickets written from `since` up to before `until`."""
