"""Ports of the sources that `pull` reads, and of the destinations that deliveries are sent to."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from triage_cli import domain as dm


class Pause(Protocol):
    """Port that waits between two requests to a source: `seconds`, for the reason `why`, which users see."""

    def __call__(self, seconds: float, why: str) -> bool:
        """A pause ends with whether the pull of a source is to stop.

        Raises `UnavailableError` if the pull's deadline comes before the end of the pause.
        """


class Source(Protocol):
    """Port that reads the tickets of a helpdesk or a mailbox, page by page; each draft has an `external_id`.

    `name` is the source of the tickets; with `keeps_category`, a ticket keeps its category when its text changes.
    """

    name: str
    keeps_category: bool

    def pages(self, position: str | None, plan: dm.PullPlan, pause: Pause) -> Iterator[dm.SourcePage]:
        """A source yields pages from a stored position (None: its beginning) or from the plan's time on.

        A page's position is stored after all drafts up to it, so nothing is lost if the process is killed. A source
        yields an unreadable item as a `Rejected` among the drafts, and raises an error that ends the pull.
        """


class Destination(Protocol):
    """Port of what takes deliveries: a file, a command, a webhook, a mail address.

    A destination makes `workers` deliveries at once, and is handed no more. What it is handed it attempts at once: the
    store was asked just now whether that is still right. `schedule` holds the seconds to wait after each failed
    attempt.
    """

    name: str
    workers: int
    max_attempts: int
    schedule: tuple[float, ...]

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        """A destination attempts deliveries; an outcome's `item` is the `OutgoingDelivery`, its error `DeliveryError`.

        An empty chunk of deliveries asks a destination for the outcomes that are ready.
        """
