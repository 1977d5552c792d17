"""Stores single tickets of concurrent requests: without a run, and several in one transaction."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.runs import Outcome
from triage_cli.domain.tickets import Category, Ticket, TicketDraft
from triage_cli.ports.storage import Store
from triage_cli.service.intake.import_tickets import Intake
from triage_cli.service.verdicts import Verdicts


class GroupCommitter:
    """Stores single tickets for a server. While one transaction is written, the next one is gathered."""

    def __init__(self, store: Store, categories: tuple[Category, ...]) -> None:
        self._store = store
        self._categories = categories
        self._lock = threading.Lock()
        self._waiting: list[tuple[Sequence[Change], Future[list[Conflict | None]]]] = []
        self._saver = ThreadPoolExecutor(1, "saver")

    def create(self, draft: TicketDraft, actor: str, identity: str | None = None) -> Outcome[Ticket]:
        """Store one draft. With an `identity`, for a draft without an external id, repeated calls store it once."""
        intake = Intake(self._store, actor, Verdicts(self._categories, actor), None)
        return intake.one(draft, identity, self._save)

    def _save(self, changes: Sequence[Change]) -> list[Conflict | None]:
        result: Future[list[Conflict | None]] = Future()
        with self._lock:
            self._waiting.append((changes, result))
        self._saver.submit(self._save_all)
        return result.result()

    def _save_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        # Two updates of one ticket need two transactions: the second was decided on the state before the first.
        for group in _apart(waiting):
            try:
                conflicts = iter(self._store.save([change for changes, _ in group for change in changes]))
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                for _, future in group:
                    future.set_exception(error)
            else:
                for changes, future in group:
                    future.set_result([next(conflicts) for _ in changes])

    def close(self) -> None:
        """Save what waits, and stop the thread."""
        self._saver.shutdown()


def _apart(
    waiting: Sequence[tuple[Sequence[Change], Future[list[Conflict | None]]]],
) -> list[list[tuple[Sequence[Change], Future[list[Conflict | None]]]]]:
    """Return all in one group, or each in its own if a ticket is changed twice."""
    updated = [c.ticket.ticket_id for changes, _ in waiting for c in changes if c.ticket and c.expects]
    if len(set(updated)) == len(updated):
        return [list(waiting)] if waiting else []
    return [[one] for one in waiting]
