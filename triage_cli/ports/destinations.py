"""Port of the destinations that deliveries are sent to."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from triage_cli.domain import Outcome, OutgoingDelivery, Receipt


class Destination(Protocol):
    """Port of what takes deliveries: a file, a command, a webhook, a mail address.

    A destination makes `workers` deliveries at once, and is handed twice as many. `schedule` holds the seconds to wait
    after each failed attempt.
    """

    name: str
    workers: int
    max_attempts: int
    schedule: tuple[float, ...]

    def deliver(self, chunks: Iterable[Sequence[OutgoingDelivery]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        """A destination attempts deliveries; an outcome's `item` is the `OutgoingDelivery`, its error `DeliveryError`.

        An empty chunk of deliveries asks a destination for the outcomes that are ready.
        """
