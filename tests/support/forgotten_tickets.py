"""Tickets of a person who is then forgotten."""

from collections.abc import Iterator

from tests.support.world import World
from triage_cli import domain as dm

# -- on the store


def drafts(number: int) -> Iterator[dm.TicketDraft]:
    for n in range(number):
        yield dm.TicketDraft(n, n + 2, f"hello {n}", "text", "C-1", cells=())


def forgotten(world: World, customer: str = "C-1") -> list[dm.Outcome[dm.Routed]]:
    return list(world.triage().forget(customer))
