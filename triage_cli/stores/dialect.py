"""The base class of a dialect: what SQLite and PostgreSQL do each in its own way, for all parts of a store."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

from triage_cli import domain as dm

T = TypeVar("T")

_QUESTION = re.compile("[A-Za-z][A-Za-z0-9_]*([.][A-Za-z0-9][A-Za-z0-9_-]*)?")
# What a ticket is counted as: status, category, classifier and day.
CountedGroup = tuple[str, str, str, str]


class AnswerColumns(NamedTuple):
    """The SQL of what a ticket has of a question: its value, its suggestion, and whether a person answered it."""

    value: str = "tickets.category"
    suggestion: str = "tickets.suggestion"
    verdict: str = "tickets.verdict = 1"


class Dialect(ABC):
    """Statements and steps of one dialect, which inherits those that do nothing there; `db` is in a transaction.

    Statements that measure leases take the value `now`, the time of this machine; PostgreSQL uses its own clock.
    """

    clock: str  # that leases are measured by
    tickets_by_ending: str  # finds the tickets whose id has the ending `:ending`, newest first
    monday: str  # the Monday before a `{day}`, or that day
    answer: str  # a `{field}` of the answer to a `{question}` about a ticket
    due_deliveries: str  # takes due deliveries that no live run holds
    due_deliveries_of: str  # the same for the deliveries of the tickets `:ids`
    free_batch: str  # the condition that no live run holds a batch
    chain_end: str  # reads the end of the audit log's chain, and keeps it locked
    before_rename: Sequence[str] = ()  # statements that a rename begins with

    def columns_of(self, question: str) -> AnswerColumns:
        """Return the SQL of what a ticket has of a question, which must be one of the configuration."""
        if question == dm.CATEGORY:
            return AnswerColumns()
        if not _QUESTION.fullmatch(question):  # it becomes a part of the query
            raise ValueError(question)
        value, suggestion, verdict = (self.answer.format(question=question, field=f) for f in AnswerColumns._fields)
        return AnswerColumns(value, suggestion, f"cast({verdict} as text) in ('true', '1')")

    def check_room(self) -> None:
        """Raise `StoreUnavailableError` if what is paid for or sent now might find no room."""

    def scrub(self) -> None:
        """Remove remains of erased text from the storage, as far as possible."""

    def trace(self, db: Any, query: str, values: Sequence[Any]) -> None:
        """Keep a query that finds a row only if the transaction was committed, should its connection be lost."""

    # -- runs

    def run_began(self) -> None:
        """Prepare for the work of a run that has begun."""

    def run_ended(self) -> None:
        """Clean up after a run that has ended."""

    def lock_budget(self, db: Any) -> None:
        """Let no other run set sums aside until the end of the transaction."""

    @abstractmethod
    def claim(self, db: Any, selection: dm.Selection, lease: dm.Lease, limit: int) -> list[dm.Ticket]:
        """Claim tickets that no live run holds, as `Runs.claim` does."""

    # -- the one write

    def storable(self, text: str) -> str:
        """Return a text as it is stored."""
        return text

    def with_storable(self, changes: Sequence[dm.Change], save: Callable[[Sequence[dm.Change]], T]) -> T:
        """Call `save` with changes; again with such as can be stored, if a text of them cannot."""
        return save(changes)

    @abstractmethod
    def check_changed(self, db: Any, changes: Sequence[dm.Change]) -> tuple[Mapping[CountedGroup, int], Sequence[str]]:
        """Return as what the tickets that have their expected revision count, and the ids of those that have not.

        PostgreSQL writes the former at the same time.
        """

    @abstractmethod
    def insert_tickets(self, db: Any, tickets: Sequence[dm.Ticket]) -> bool:
        """Insert tickets whose identity is free; return whether all were."""

    def pipelined(self, _db: Any, _changes: Sequence[dm.Change]) -> AbstractContextManager[object]:
        """Return a block in which no statement waits for the one before, where that is faster for these changes."""
        return nullcontext()

    @abstractmethod
    def add_records(self, db: Any, record_type: type[Any], rows: Sequence[Any]) -> None:
        """Write answers, deliveries, attempts or items of batches."""

    @abstractmethod
    def add_events(self, db: Any, rows: Sequence[tuple[Any, ...]], head: dm.Head, mark: str | None) -> None:
        """Append rows to the audit log; set its head and the mark of its key."""

    def finish_tickets(self, db: Any, new: Sequence[dm.Ticket], changed: Sequence[dm.Change]) -> None:
        """Write of tickets what must come after their answers and events."""
