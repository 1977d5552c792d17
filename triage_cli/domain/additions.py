"""Additions: deliveries beside those of a ticket's decision, by a rule with `before: classify` or by an escalation.

A ticket gets those of a rule once. They change neither its status nor where it goes, and no decision changes them.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from triage_cli.domain import ids
from triage_cli.domain.deliveries import Delivery
from triage_cli.domain.json_values import compact
from triage_cli.domain.routing_rules import Rule
from triage_cli.domain.tickets import UNDECIDED, Ticket
from triage_cli.domain.times import to_seconds

# The statuses of tickets that a rule before the classification still looks at: routing them has looked already.
BEFORE_ROUTING = ("new", "failed", "needs_review", "waiting", "classified", "unroutable")


class AdditionKind(StrEnum):
    """By what an addition is made."""

    BEFORE = "before"  # a rule with `before: classify`
    ESCALATION = "escalation"


class AdditionRule(NamedTuple):
    """A rule that adds deliveries. Its `key` is stored with them: it is another one once the rule is edited."""

    kind: AdditionKind
    rule: Rule

    @property
    def key(self) -> str:
        """Return the key of the rule: its kind, and a hash of its conditions and destinations."""
        import hashlib
        import json

        edited = json.dumps([self.rule.when, self.rule.min_confidence, self.rule.to], sort_keys=True)
        return f"{self.kind}:{hashlib.sha256(edited.encode()).hexdigest()[:16]}"

    @property
    def statuses(self) -> tuple[str, ...]:
        """Return the statuses of the tickets that the rule looks at."""
        if self.kind == AdditionKind.BEFORE:
            return BEFORE_ROUTING
        return tuple(str(status) for status in self.rule.when["status"])


class AdditionQuery(NamedTuple):
    """Asks for tickets that have one of these statuses and no delivery by the rule with this key.

    They were stored at `since` or later or, with `changed`, changed by an import then; `until` is the latest time.
    """

    key: str
    statuses: tuple[str, ...]
    since: str
    until: str
    changed: bool = False


class FirstSeen(NamedTuple):
    """When a rule was first seen, and whether that is now."""

    at: str
    is_new: bool


def added_deliveries(
    added: AdditionRule, ticket: Ticket, *, config_hash: str, at: str, due_at: float, run_id: str | None
) -> tuple[Delivery, ...]:
    """Return the deliveries that a rule adds for a ticket: always the same ones."""
    key, rule = added.key, added.rule
    return tuple(
        Delivery(
            delivery_id=ids.delivery_id(ticket.ticket_id, f"+{key}", destination, 0),
            ticket_id=ticket.ticket_id,
            classification_id=None,
            category="",
            destination=destination,
            rule=rule.name,
            config_hash=config_hash,
            due_at=due_at,
            run_id=run_id,
            at=at,
            revision=ticket.revision,
            targets=compact(rule.to),
            content_hash=ticket.content_hash,
            addition=key,
        )
        for destination in rule.to
    )


def of_decisions(deliveries: Iterable[Delivery]) -> tuple[Delivery, ...]:
    """Return the deliveries of a ticket's decisions, without additions."""
    return tuple([d for d in deliveries if not d.addition])


def undecided(ticket: Ticket) -> Ticket:
    """Return a ticket as it is before its classification, as deliveries before that have it."""
    return ticket._replace(**UNDECIDED, status="new", classifier=None, routed_to=None, cost_usd=0.0, error=None)


def first_id_of(at: str) -> str:
    """Return how the ids of tickets begin that were stored at a time: such ids are a time first (RFC 9562)."""
    milliseconds = f"{int(to_seconds(at) * 1000) if at else 0:012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}"
