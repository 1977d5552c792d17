"""Pages of drafts that are pulled from a source, and the position up to which it was read."""

from collections.abc import Sequence
from typing import NamedTuple

from triage_cli.domain.tickets import Rejected, TicketDraft


class SourceCursor(NamedTuple):
    """The position up to which a source was read; `position` is JSON that only its own reader understands."""

    source: str
    position: str
    saved_at: str


class SourcePage(NamedTuple):
    """One page of a source: the drafts of one of its answers.

    `position` is where the next pull continues once these drafts and all before them are stored (None: the position of
    an earlier page stays). `progress` is the share of the list that was read, if known. `goes_on` tells that the next
    pull continues behind these drafts; else the position keeps no place, and it begins where this one began.
    """

    drafts: Sequence[TicketDraft | Rejected]
    position: str | None = None
    progress: float | None = None
    goes_on: bool = True


class PullPlan(NamedTuple):
    """The options of a pull: items changed since a time (None: since the last pull), a limit, everything again.

    The limit counts new and changed tickets, and lets the page end that reaches it. `deadline` is the most seconds that
    a pull from a source may take, with its pauses.
    """

    since: str | None = None
    limit: int | None = None
    full: bool = False
    deadline: float | None = None
