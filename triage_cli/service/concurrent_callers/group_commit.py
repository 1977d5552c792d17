"""Saves the changes of concurrent callers together: several callers in one transaction."""

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
    """Changes to save in the group's transaction; `finish` makes the caller's result of the conflict of each."""

    changes: Sequence[Change]
    finish: Callable[[Sequence[Conflict | None]], B]


# Prepares the items of a group; an error goes to its caller alone.
Prepare = Callable[[Sequence[A]], Sequence[Prepared[B] | Exception]]


class _Item(NamedTuple):
    prepare: Prepare[Any, Any]
    item: Any


class GroupCommitter:
    """While one transaction is written, what the next one is to save gathers.

    The thread that writes also prepares the changes, so that callers with different needs share transactions.
    `due_lease` returns a run's lease if it is to be renewed now.
    """

    def __init__(self, store: Store, due_lease: Callable[[], Lease | None]) -> None:
        self._store = store
        self._due_lease = due_lease
        self._worker = GroupWorker[_Item, Any]("writer", self._work)
        self.close = self._worker.close

    def save(self, changes: Sequence[Change]) -> Sequence[Conflict | None]:
        """Save as `Store.save` does, together with what other callers save now."""
        return self.ask(_as_given, changes)

    def ask(self, prepare: Prepare[A, B], item: A) -> B:
        """Have an item prepared and saved; return its result or raise its error."""
        result: B = self._worker(_Item(prepare, item))
        return result

    def put(self, prepare: Prepare[A, B], item: A, end: Callable[[B | Exception], None]) -> None:
        """Have an item prepared and saved without waiting; `end` gets the result in the thread that writes."""
        self._worker.put(_Item(prepare, item), end)

    def _work(self, items: Sequence[_Item]) -> list[Any]:
        results = dict(_each_prepared(items))
        left = {number: one for number, one in results.items() if isinstance(one, Prepared)}
        while left:
            group = _first_changes(left)
            results |= zip(group, self._saved(group.values()), strict=True)
            left = {number: one for number, one in left.items() if number not in group}
            if left:
                outdated = self._outdated(left)
                results |= outdated
                left = {number: one for number, one in left.items() if number not in outdated}
        return [results[number] for number in range(len(items))]

    def _outdated(self, left: Mapping[int, Prepared[Any]]) -> dict[int, Any]:
        """Return the results of those that change nothing any more, since all their tickets have moved on.

        One read finds them. Else each of n callers that change one ticket would need a transaction in each of n rounds.
        """
        ids = tuple({ticket_id for one in left.values() for ticket_id in _updated(one)})
        try:
            current = {ticket.ticket_id: ticket for ticket in self._store.find(Selection(ids=ids))}
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            return dict.fromkeys(left, error)
        results: dict[int, Any] = {}
        for number, one in left.items():
            before = _updated(one)
            now = {ticket_id: current[ticket_id] for ticket_id in before if ticket_id in current}
            if len(before) == len(one.changes) == len(now) and all(
                now[ticket_id].revision > expected_revision for ticket_id, expected_revision in before.items()
            ):
                results[number] = _finished(one, [Conflict(now[ticket_id]) for ticket_id in before])
        return results

    def _saved(self, group: Collection[Prepared[Any]]) -> list[Any]:
        try:
            conflicts = iter(self._store.save([change for one in group for change in one.changes], self._due_lease()))
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            return [error] * len(group)
        return [_finished(one, [next(conflicts) for _ in one.changes]) for one in group]


def _as_given(saves: Sequence[Sequence[Change]]) -> list[Prepared[Sequence[Conflict | None]] | Exception]:
    return [Prepared(changes, lambda conflicts: conflicts) for changes in saves]


def _each_prepared(items: Sequence[_Item]) -> Iterator[tuple[int, Prepared[Any] | Exception]]:
    """Yield the number of each item, and what was prepared for it."""
    numbers: dict[Prepare[Any, Any], list[int]] = {}
    for number, item in enumerate(items):
        numbers.setdefault(item.prepare, []).append(number)
    for prepare, of_kind in numbers.items():
        try:
            prepared = prepare([items[number].item for number in of_kind])
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            prepared = [error] * len(of_kind)
        yield from zip(of_kind, prepared, strict=True)


def _finished(prepared: Prepared[Any], conflicts: Sequence[Conflict | None]) -> Any:
    try:
        return prepared.finish(conflicts)
    except Exception as error:  # noqa: BLE001 - it belongs to the one who waits
        return error


def _updated(prepared: Prepared[Any]) -> dict[str, int]:
    """Return the tickets that changes update, with the revisions that they expect."""
    return {c.ticket.ticket_id: c.expected_revision for c in prepared.changes if c.ticket and c.expected_revision}


def _first_changes(prepared: Mapping[int, Prepared[Any]]) -> dict[int, Prepared[Any]]:
    """Return what can be saved together: of several changes of one ticket, the first.

    Two changes of one ticket need two transactions: the second was decided on the state before the first.
    """
    group: dict[int, Prepared[Any]] = {}
    taken: set[str] = set()
    for number, one in prepared.items():
        updated = _updated(one).keys()
        if taken.isdisjoint(updated):
            group[number] = one
        taken |= updated
    return group
