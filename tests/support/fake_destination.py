"""A destination that answers by a function, and tickets that are routed to three of them."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.service import POLL_SECONDS


class FakeDestination:
    """Takes parcels or fails as it is told, and keeps what it was handed; `hangs` has it never answer."""

    def __init__(
        self, name: str, answer: Callable[[dm.OutgoingDelivery], dm.DeliveryError | None] = lambda _: None
    ) -> None:
        self.name = name
        self.workers = 16
        self.max_attempts = 3
        self.schedule: tuple[float, ...] = (5.0, 300.0)
        self.got: list[str] = []
        self.hangs = False
        self._answer = answer

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        held: list[dm.OutgoingDelivery] = []
        for chunk in chunks:
            self.got += [outgoing.delivery.delivery_id for outgoing in chunk]
            held += chunk
            if self.hangs:
                yield []
                continue
            outcomes = [
                dm.Outcome(0, dm.Action.DELIVERED, dm.Receipt(), self._answer(outgoing), outgoing) for outgoing in held
            ]
            held.clear()
            yield outcomes


def outcomes(delivered: Iterable[Sequence[dm.Outcome[dm.Receipt]]]) -> list[dm.Outcome[dm.Receipt]]:
    """Return what a destination's deliveries end as; it is asked as often as the dispatcher asks, not all the time."""
    ended: list[dm.Outcome[dm.Receipt]] = []
    for arrived in delivered:
        ended += arrived
        if not arrived:
            time.sleep(POLL_SECONDS)
    return ended


def drafts(number: int) -> Iterator[dm.TicketDraft]:
    return (dm.TicketDraft(n, n + 2, f"ticket {n}", None, None, None, None, str(n)) for n in range(number))


def run(world: World, number: int) -> list[str]:
    outcomes = list(world.triage().run(drafts(number), dm.ClassifyPlan()))
    assert sorted(o.place for o in outcomes) == list(range(number))
    return [o.value.ticket.status for o in outcomes if o.value]
