"""A destination that keeps what it took."""

from collections.abc import Iterable, Iterator, Sequence

from triage_cli import domain as dm


class Outlet:
    """A destination that is up or down, and counts what it took."""

    workers = 16
    max_attempts = 2
    schedule: tuple[float, ...] = (0.0,)

    def __init__(self, name: str) -> None:
        self.name = name
        self.up = True
        self.taken: list[str] = []

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        for chunk in chunks:
            for n, outgoing in enumerate(chunk):
                if self.up:
                    self.taken.append(outgoing.delivery.delivery_id)
                error = None if self.up else dm.DeliveryError("down")
                yield [dm.Outcome(n, dm.Action.DELIVERED, dm.Receipt() if self.up else None, error, outgoing)]
