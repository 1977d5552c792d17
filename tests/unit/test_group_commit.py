"""What the changes of concurrent callers are saved by: kinds that are prepared apart share a transaction."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

from tests.support.commands import PATIENCE, until
from tests.support.stored_tickets import a_ticket
from triage_cli.domain.audit.events import Event
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.runs import Lease
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.storage import Store
from triage_cli.service.concurrent_callers.group_commit import GroupCommitter, Prepared


class HeldStore:
    """Keeps the actions of each transaction; the first is held until `go` is set. `forbidden` is refused."""

    def __init__(self) -> None:
        self.saved: list[list[str]] = []
        self.revisions: dict[str, int] = {}
        self.reached, self.go = threading.Event(), threading.Event()

    def save(self, changes: Sequence[Change], lease: Lease | None) -> list[Conflict | None]:
        self.saved.append([change.event.action for change in changes])
        assert lease is None
        self.reached.set()
        assert self.go.wait(PATIENCE)
        if any(change.event.action == "forbidden" for change in changes):
            raise ValueError("forbidden")
        return [self.conflict(change) for change in changes]

    def conflict(self, change: Change) -> Conflict | None:
        if change.ticket is None:
            return Conflict(None) if change.event.action == "late" else None
        ticket_id = change.ticket.ticket_id
        if self.revisions.setdefault(ticket_id, 1) != change.expected_revision:
            return Conflict(self.ticket(ticket_id))
        self.revisions[ticket_id] += 1
        return None

    def ticket(self, ticket_id: str) -> Ticket:
        return a_ticket()._replace(ticket_id=ticket_id, revision=self.revisions.get(ticket_id, 1))

    def find(self, selection: Selection) -> list[Ticket]:
        return [self.ticket(ticket_id) for ticket_id in selection.ids or ()]


def change_of(action: str, ticket_id: str | None = None, expects: int = 1) -> Change:
    """Return a change; with a ticket, it is an update of it."""
    ticket = a_ticket()._replace(ticket_id=ticket_id) if ticket_id else None
    event = Event(action, ticket_id, None, "ada", "2026-01-01T00:00:00.000Z", {})
    return Change(event, ticket, expects if ticket else 0)


def measured(texts: Sequence[str]) -> list[Prepared[tuple[int, bool]] | Exception]:
    """Prepare texts: the caller gets how many came together, and whether its change was refused."""
    return [
        KeyError(text) if text == "unknown" else Prepared(
            [change_of(text)], lambda conflicts: (len(texts), conflicts != [None])
        )
        for text in texts
    ]  # fmt: skip


def failing(_: Sequence[str]) -> list[Prepared[None] | Exception]:
    raise ArithmeticError("none of them")


def is_waiting(committer: GroupCommitter, number: int) -> bool:
    return committer._worker._thread.queue.qsize() == number


def together(calls: Sequence[Any]) -> tuple[list[Any], HeldStore]:
    """Return the result or the error of each call, all of which share a group, and the store."""
    store = HeldStore()
    committer = GroupCommitter(cast("Store", store), lambda: None)
    with ThreadPoolExecutor(len(calls) + 1) as callers:
        callers.submit(committer.save, [change_of("first")])
        assert store.reached.wait(PATIENCE)
        futures = []
        for number, call in enumerate(calls, start=1):
            futures.append(callers.submit(call, committer))
            until(partial(is_waiting, committer, number), "the call")
        store.go.set()
        results = [future.exception(PATIENCE) or future.result() for future in futures]
    committer.close()
    return results, store


def test_kinds_that_are_prepared_apart_share_a_transaction() -> None:
    results, store = together([
        lambda committer: committer.ask(measured, "one"),
        lambda committer: committer.save([change_of("as given"), change_of("late")]),
        lambda committer: committer.ask(measured, "late"),
    ])  # fmt: skip
    assert results == [(2, False), [None, Conflict(None)], (2, True)]
    assert [sorted(saved) for saved in store.saved] == [["first"], ["as given", "late", "late", "one"]]


def test_what_cannot_be_prepared_fails_its_caller_alone() -> None:
    results, store = together([
        lambda committer: committer.ask(measured, "unknown"),
        lambda committer: committer.ask(failing, "any"),
        lambda committer: committer.ask(measured, "one"),
    ])  # fmt: skip
    assert [type(result) for result in results] == [KeyError, ArithmeticError, tuple]
    assert store.saved == [["first"], ["one"]]


def test_a_transaction_that_fails_fails_all_of_its_group() -> None:
    results, _ = together([
        lambda committer: committer.ask(measured, "one"),
        lambda committer: committer.save([change_of("forbidden")]),
    ])  # fmt: skip
    assert [type(result) for result in results] == [ValueError, ValueError]


def test_two_changes_of_one_ticket_are_two_transactions() -> None:
    results, store = together([
        lambda committer: committer.save([change_of("routed", "t-1")]),
        lambda committer: committer.save([change_of("verdict", "t-1", 2)]),
    ])  # fmt: skip
    assert results == [[None], [None]]
    assert store.saved == [["first"], ["routed"], ["verdict"]]


def test_a_ticket_that_is_changed_often_leaves_the_others_together() -> None:
    results, store = together([
        lambda committer: committer.save([change_of("routed", "t-1")]),
        lambda committer: committer.save([change_of("delivered", "t-1", 2)]),
        lambda committer: committer.save([change_of("other", "t-2")]),
        lambda committer: committer.ask(measured, "new"),
        lambda committer: committer.save([change_of("verdict", "t-1", 3)]),
        lambda committer: committer.save([change_of("late", "t-2", 2)]),
    ])  # fmt: skip
    assert results == [[None], [None], [None], (1, False), [None], [None]]
    assert [sorted(saved) for saved in store.saved] == [
        ["first"], ["new", "other", "routed"], ["delivered", "late"], ["verdict"]
    ]  # fmt: skip


def test_changes_of_a_ticket_that_has_moved_on_need_no_transaction() -> None:
    results, store = together([
        lambda committer, number=number: committer.save([change_of(f"update {number}", "t-1")]) for number in range(9)
    ])  # fmt: skip
    assert results[0] == [None]
    assert [conflict.ticket.revision for (conflict,) in results[1:]] == [2] * 8
    assert store.saved == [["first"], ["update 0"]]


def test_an_error_of_the_last_step_comes_to_its_caller_alone() -> None:
    def failing_at_last(texts: Sequence[str]) -> list[Prepared[float] | Exception]:
        return [Prepared([change_of(text)], lambda _: 1 / 0) for text in texts]

    results, store = together([
        lambda committer: committer.ask(failing_at_last, "one"),
        lambda committer: committer.ask(measured, "two"),
    ])  # fmt: skip
    assert [type(result) for result in results] == [ZeroDivisionError, tuple]
    assert store.saved == [["first"], ["one", "two"]]
