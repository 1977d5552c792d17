"""The routing map as the use cases need it: its rules, how a rule matches a ticket, and how to open a destination."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from triage_cli.domain import NEVER, Classification, Rule, Ticket, routing_rules
from triage_cli.ports import Destination, Store
from triage_cli.service.delivery.destination_breakers import DestinationBreakers


def never_promised(_fingerprint: str, _category: str, _max_error: float) -> float:
    """Return a promised threshold that no answer reaches."""
    return NEVER


class RoutingMap(NamedTuple):
    """The routing map: its rules, its hash, a function that opens a destination by name, and the circuit breakers.

    `offline` are the destinations that need the network while it is switched off: their deliveries wait.
    `history_dependent` are the destinations whose requests depend on earlier deliveries of the same ticket;
    `field_guards` are those of them that do not overwrite what a person has set in a field. `renewed` are the
    destinations that get a ticket again when its text changes after they have accepted it. `promised` maps
    (fingerprint, category, max_error) to the confidence from which on answers to that question keep the error.
    """

    rules: tuple[Rule, ...]
    config_hash: str
    destination: Callable[[str], Destination]
    circuits: DestinationBreakers | None = None
    offline: frozenset[str] = frozenset()
    history_dependent: frozenset[str] = frozenset()
    field_guards: frozenset[str] = frozenset()
    renewed: frozenset[str] = frozenset()
    promised: Callable[[str, str, float], float] = never_promised

    def match(self, ticket: Ticket, answer: Classification | None) -> Rule | None:
        """Return the first rule of the map that matches a ticket; `answer` is the one that decided it."""

        def promised_threshold(max_error: float) -> float:
            return NEVER if answer is None else self.promised(answer.fingerprint, ticket.category or "", max_error)

        return routing_rules.match(self.rules, ticket, promised_threshold)

    def answers(self, store: Store, tickets: Iterable[Ticket]) -> Mapping[str, Classification]:
        """Return the answers that decided tickets, by classification id; empty if no rule depends on them."""
        if all(rule.max_error is None for rule in self.rules):
            return {}
        return store.decisions([ticket.decision_id for ticket in tickets if ticket.decision_id])
