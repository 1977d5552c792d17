"""Group commit: saves the changes of several concurrent callers in one transaction."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.runs import Lease
from triage_cli.domain.tickets import Selection
from triage_cli.ports.storage import Store
from triage_cli.runtime.group_worker import GroupWorker

A = TypeVar("A")
B = TypeVar("B")


class Prepared(NamedTuple, Generic[B]):
    """Changes that a group's transaction is to save; `finish` makes the caller's result of the conflict of each."""

    changes: Sequence[Change]
    finish: Callable[[Sequence[Conflict | None]], B]


# Prepares the changes of a group of callers; an error goes to its caller alone.
Prepare = Callable[[Sequence[A]], Sequence[Prepared[B] | Exception]]


class _CommitItem(NamedTuple):
    prepare: Prepare[Any, Any]
    item: Any


class GroupCommitter:
    """While one transaction is written, the changes of further callers gather for the next one.

    The writer thread also prepares the changes, so that callers with different needs share transactions.
    `due_lease` returns a run's lease if it is to be renewed now.
    """

    def __init__(self, store: Store, due_lease: Callable[[], Lease | None]) -> None:
        self._store = store
        self._due_lease = due_lease
        self._worker = GroupWorker[_CommitItem, Any]("writer", self._commit)
        self.close = self._worker.close

    def save(self, changes: Sequence[Change]) -> Sequence[Conflict | None]:
        """Save as `Store.save` does, together with what other callers save now."""
        return self.ask(_unprepared, changes)

    def ask(self, prepare: Prepare[A, B], item: A) -> B:
        """Have an item prepared and saved in a group's transaction; return its result or raise its error."""
        result: B = self._worker(_CommitItem(prepare, item))
        return result

    def put(self, prepare: Prepare[A, B], item: A, end: Callable[[B | Exception], None]) -> None:
        """Have an item prepared and saved without waiting for its transaction; `end` gets its result in the writer."""
        self._worker.put(_CommitItem(prepare, item), end)

    def _commit(self, items: Sequence[_CommitItem]) -> list[Any]:
        """Save the changes of a group in as few transactions as they need; return the result of each item."""
        results = dict(_prepared_items(items))
        uncommitted = {n: prepared for n, prepared in results.items() if isinstance(prepared, Prepared)}
        while uncommitted:
            transaction = _first_changes(uncommitted)
            results |= zip(transaction, self._commit_transaction(transaction.values()), strict=True)
            uncommitted = {n: prepared for n, prepared in uncommitted.items() if n not in transaction}
            if uncommitted:
                outdated = self._outdated(uncommitted)
                results |= outdated
                uncommitted = {n: prepared for n, prepared in uncommitted.items() if n not in outdated}
        return [results[n] for n in range(len(items))]

    def _outdated(self, uncommitted: Mapping[int, Prepared[Any]]) -> dict[int, Any]:
        """Return the results of callers whose changes are outdated, since all their tickets have moved on.

        One read finds them. Else each of n callers that change one ticket would need a transaction in each of n rounds.
        """
        ids = tuple({ticket_id for prepared in uncommitted.values() for ticket_id in _expected_revisions(prepared)})
        try:
            current_tickets = {ticket.ticket_id: ticket for ticket in self._store.find(Selection(ids=ids))}
        except Exception as error:  # noqa: BLE001 - it belongs to the callers who wait
            return dict.fromkeys(uncommitted, error)
        outdated: dict[int, Any] = {}
        for n, prepared in uncommitted.items():
            expected = _expected_revisions(prepared)
            current = {ticket_id: current_tickets[ticket_id] for ticket_id in expected if ticket_id in current_tickets}
            if len(expected) == len(prepared.changes) == len(current) and all(
                current[ticket_id].revision > expected_revision for ticket_id, expected_revision in expected.items()
            ):
                outdated[n] = _finished(prepared, [Conflict(current[ticket_id]) for ticket_id in expected])
        return outdated

    def _commit_transaction(self, transaction: Collection[Prepared[Any]]) -> list[Any]:
        """Save the prepared changes of several callers in one transaction; return the result or error of each."""
        try:
            changes = [change for prepared in transaction for change in prepared.changes]
            conflicts = iter(self._store.save(changes, self._due_lease()))
        except Exception as error:  # noqa: BLE001 - it belongs to the callers who wait
            return [error] * len(transaction)
        return [_finished(prepared, [next(conflicts) for _ in prepared.changes]) for prepared in transaction]


def _unprepared(saves: Sequence[Sequence[Change]]) -> list[Prepared[Sequence[Conflict | None]] | Exception]:
    return [Prepared(changes, lambda conflicts: conflicts) for changes in saves]


def _prepared_items(items: Sequence[_CommitItem]) -> Iterator[tuple[int, Prepared[Any] | Exception]]:
    """Yield the number of each item, and its prepared changes or the error of preparing them."""
    numbers: dict[Prepare[Any, Any], list[int]] = {}
    for n, item in enumerate(items):
        numbers.setdefault(item.prepare, []).append(n)
    for prepare, item_numbers in numbers.items():
        try:
            prepared = prepare([items[n].item for n in item_numbers])
        except Exception as error:  # noqa: BLE001 - it belongs to the callers who wait
            prepared = [error] * len(item_numbers)
        yield from zip(item_numbers, prepared, strict=True)


def _finished(prepared: Prepared[Any], conflicts: Sequence[Conflict | None]) -> Any:
    try:
        return prepared.finish(conflicts)
    except Exception as error:  # noqa: BLE001 - it belongs to the caller who waits
        return error


def _expected_revisions(prepared: Prepared[Any]) -> dict[str, int]:
    """Return the revisions that prepared changes expect of the tickets that they update."""
    return {c.ticket.ticket_id: c.expected_revision for c in prepared.changes if c.ticket and c.expected_revision}


def _first_changes(uncommitted: Mapping[int, Prepared[Any]]) -> dict[int, Prepared[Any]]:
    """Return the prepared changes that fit into one transaction: of several changes of one ticket, the first.

    Two changes of one ticket need two transactions: the second was decided on the state before the first.
    """
    transaction: dict[int, Prepared[Any]] = {}
    updated_tickets: set[str] = set()
    for n, prepared in uncommitted.items():
        updated = _expected_revisions(prepared).keys()
        if updated_tickets.isdisjoint(updated):
            transaction[n] = prepared
        updated_tickets |= updated
    return transaction
