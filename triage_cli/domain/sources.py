"""Sources: what a helpdesk hands over page by page, and how far it has been read."""

from collections.abc import Sequence
from typing import NamedTuple

from triage_cli.domain.tickets import Rejected, TicketDraft


class SourceCursor(NamedTuple):
    """How far a source has been read; `position` is JSON that its own reader alone understands."""

    source: str
    position: str
    saved_at: str


class SourcePage(NamedTuple):
    """What one answer of a source held.

    `position` is from where the next pull goes on once these drafts and all before them are stored (None: that of an
    earlier page stays). `progress` is the share of the way that is gone, where that can be known.
    """

    drafts: Sequence[TicketDraft | Rejected]
    position: str | None = None
    progress: float | None = None


class PullPlan(NamedTuple):
    """How to pull: items changed since a time (None: since the last pull), at most so many, all of them again.

    `deadline` is the seconds within which a pull must be done, all its pauses included.
    """

    since: str | None = None
    limit: int | None = None
    full: bool = False
    deadline: float | None = None
