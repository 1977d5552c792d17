"""Counts of tickets, deliveries and answers, kept with each change: `stats` and `/metrics` read no large table.

They are written after the event of a change, under the lock on the audit log's chain, so that no two writers wait for
each other's counts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from triage_cli import domain as dm
from triage_cli.stores.data_migrations import COUNT_ALL
from triage_cli.stores.database import Database, Db, write_all
from triage_cli.stores.dialect import CountedGroup
from triage_cli.stores.events import LOCK_CHAIN

DAY_LENGTH = len("2026-01-01")
COUNTED_AS = "status, coalesce(category, ''), coalesce(classifier, ''), substr(stored_at, 1, 10)"
DELIVERIES_BEFORE = """select delivery_id, state from deliveries
    where delivery_id in (select value from json_each(?))"""
ADD_TICKET_COUNTS = """insert into ticket_counts values (?, ?, ?, ?, ?) on conflict (status, category, classifier, day)
    do update set number = ticket_counts.number + excluded.number"""
ADD_DELIVERY_COUNTS = """insert into delivery_counts values (?, ?, ?) on conflict (destination, state)
    do update set number = delivery_counts.number + excluded.number"""
ADD_ANSWER_COUNTS = """insert into answer_counts values (?, ?, ?, ?) on conflict (classifier) do update set
    number = answer_counts.number + excluded.number, failures = answer_counts.failures + excluded.failures,
    usd = answer_counts.usd + excluded.usd"""
# Finds the first new ticket of an urgency, since ids grow with time. The first condition lets it use the index.
OLDEST_NEW = """select stored_at from tickets where status in ('failed', 'new') and status = 'new' and urgency = ?
    order by ticket_id limit 1"""
OLDEST_TO_REVIEW = "select stored_at from tickets where status = 'needs_review' order by ticket_id limit 1"
URGENCIES = range(4)

_group_of_ticket = itemgetter(
    *(dm.Ticket._fields.index(field) for field in ("status", "category", "classifier", "stored_at"))
)


class Counts:
    """Keeps the counts, and reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @staticmethod
    def deliveries_before(db: Db, changes: Sequence[dm.Change]) -> Mapping[str, str]:
        """Return the stored states of the deliveries that changes will write, by id."""
        deliveries = [added.delivery_id for c in changes for added in c.adds if type(added) is dm.Delivery]
        return dict(db.execute(DELIVERIES_BEFORE, (dm.compact(deliveries),)).fetchall() if deliveries else ())

    @staticmethod
    def count(
        db: Db,
        changes: Sequence[dm.Change],
        records: Mapping[type[Any], Sequence[Any]],
        tickets_before: Mapping[CountedGroup, int],
        deliveries_before: Mapping[str, str],
    ) -> None:
        """Count changes that were written, and their records; tickets and deliveries were counted otherwise before.

        The lock on the chain is held.
        """
        tickets: Counter[CountedGroup] = Counter()
        groups = Counter([_group_of_ticket(change.ticket) for change in changes if change.ticket])
        for (status, category, classifier, stored_at), number in groups.items():
            tickets[status, category or "", classifier or "", stored_at[:DAY_LENGTH]] += number
        tickets.subtract(tickets_before)
        deliveries: Counter[tuple[str, str]] = Counter()
        answers: dict[str, tuple[int, int, float]] = {}
        for delivery in records.get(dm.Delivery, ()):
            before = deliveries_before.get(delivery.delivery_id)
            deliveries[delivery.destination, _state_after(before, delivery.state)] += 1
            if before:
                deliveries[delivery.destination, before] -= 1
        for answer in records.get(dm.Classification, ()):
            if _is_classifiers(answer):
                number, failures, usd = answers.get(answer.classifier, (0, 0, 0.0))
                answers[answer.classifier] = (number + 1, failures + (answer.error is not None), usd + answer.cost)
        _add_counts(db, ADD_TICKET_COUNTS, tickets)
        _add_counts(db, ADD_DELIVERY_COUNTS, deliveries)
        write_all(db, ADD_ANSWER_COUNTS, [(classifier, *numbers) for classifier, numbers in sorted(answers.items())])

    @staticmethod
    def count_anew(db: Db) -> None:
        """Count all rows again, after a change of many rows at once."""
        db.execute(LOCK_CHAIN)
        for statement in COUNT_ALL:
            db.execute(statement)

    def tickets(self, key: str) -> dict[str, int]:
        """Return the numbers of tickets by status, category, classifier or day; the highest first.

        Withdrawn tickets are not counted.
        """
        query = f"""select {key}, cast(sum(number) as bigint) from ticket_counts
            where {key} <> '' and status <> 'withdrawn' group by 1 having sum(number) > 0 order by 2 desc, 1"""
        return dict(self._database.read(query))

    def gauges(self) -> dm.Gauges:
        """Return the counts that `/metrics` shows."""
        answer_counts = self._database.read("select classifier, number, failures, usd from answer_counts order by 1")
        oldest_new = [row[0] for urgency in URGENCIES for row in self._database.read(OLDEST_NEW, (urgency,))]
        return dm.Gauges(
            self.tickets("status"),
            {(destination, state): number for destination, state, number in self.deliveries()},
            {row[0]: row[1] for row in answer_counts},
            {row[0]: row[2] for row in answer_counts},
            {row[0]: row[3] for row in answer_counts},
            min(oldest_new, default=None),
            next((row[0] for row in self._database.read(OLDEST_TO_REVIEW)), None),
            self.oldest_pending_delivery(),
        )

    def oldest_pending_delivery(self) -> str | None:
        """Return when the oldest delivery that is pending was created, read from an index; None if none is pending."""
        oldest_at: str | None = self._database.read("select min(at) from deliveries where state = 'pending'")[0][0]
        return oldest_at

    def deliveries(self) -> list[tuple[str, str, int]]:
        """Return the numbers of deliveries by destination and state."""
        counts_query = "select destination, state, number from delivery_counts where number > 0 order by 1, 2"
        return [(row[0], row[1], row[2]) for row in self._database.read(counts_query)]


def _is_classifiers(answer: dm.Classification) -> bool:
    """Return whether an answer is a classifier's own: neither a person's or an agent's, nor one that is used again."""
    return answer.reused is None and answer.classifier != "verdict" and not dm.is_agents(answer)


def _add_counts(db: Db, statement: str, counts: Mapping[Any, int]) -> None:
    write_all(db, statement, [(*keys, number) for keys, number in sorted(counts.items()) if number])


def _state_after(before: str | None, state: str) -> str:
    """Return the state after a write: `accepted` never changes, and `superseded` changes only to `accepted`."""
    return before if before in ("accepted", "superseded") and state != "accepted" else state
