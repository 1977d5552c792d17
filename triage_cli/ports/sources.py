"""Port of the sources that `pull` reads."""

from collections.abc import Iterator
from typing import Protocol

from triage_cli.domain.sources import PullPlan, SourcePage


class Pause(Protocol):
    """Waits between two requests to a source: `seconds`, for the reason `why`, which users see."""

    def __call__(self, seconds: float, why: str) -> bool:
        """Return whether the pull is to stop.

        Raises `UnavailableError` if its deadline comes before the end of the pause.
        """


class Source(Protocol):
    """Reads the tickets of a helpdesk or a mailbox, page by page; each draft has an `external_id`.

    `name` is the source of its tickets; with `keeps_category`, a ticket keeps its category when its text changes.
    """

    name: str
    keeps_category: bool

    def pages(self, position: str | None, plan: PullPlan, pause: Pause) -> Iterator[SourcePage]:
        """Yield pages from a stored position (None: the beginning) or from the plan's time on.

        A page's position is stored after all drafts up to it, so nothing is lost if the process is killed. An
        unreadable item is a `Rejected` among the drafts; an error that ends the pull is raised.
        """
