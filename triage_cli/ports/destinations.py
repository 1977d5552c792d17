"""Port of the destinations of deliveries."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from triage_cli.domain.deliveries import OutgoingDelivery, Receipt
from triage_cli.domain.outcomes import Outcome


class Destination(Protocol):
    """Takes deliveries: a file, a command, a webhook, a mail.

    `workers` deliveries are made at once, and twice as many are handed over. `schedule` holds the seconds to wait after
    each failed attempt.
    """

    name: str
    workers: int
    max_attempts: int
    schedule: tuple[float, ...]

    def deliver(self, chunks: Iterable[Sequence[OutgoingDelivery]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        """Attempt deliveries; an outcome's `item` is the `OutgoingDelivery`, and a failure is its `DeliveryError`.

        An empty chunk of deliveries asks for the outcomes that are ready.
        """
