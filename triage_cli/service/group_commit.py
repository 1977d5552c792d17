"""Saves the changes of concurrent callers together: several callers in one transaction."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.runs import Lease
from triage_cli.ports.storage import Store


class _Waiting(NamedTuple):
    changes: Sequence[Change]
    lease: Lease | None
    result: Future[list[Conflict | None]]


class GroupCommitter:
    """While one transaction is written, the changes of the next one are gathered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._saver = ThreadPoolExecutor(1, "saver")

    def save(self, changes: Sequence[Change], lease: Lease | None = None) -> list[Conflict | None]:
        """Save as `Store.save` does, together with what other callers save now. All leases are those of one run."""
        result: Future[list[Conflict | None]] = Future()
        with self._lock:
            self._waiting.append(_Waiting(changes, lease, result))
        self._saver.submit(self._save_all)
        return result.result()

    def _save_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for group in _apart(waiting):
            lease = next((one.lease for one in group if one.lease), None)
            try:
                conflicts = iter(self._store.save([change for one in group for change in one.changes], lease))
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                for one in group:
                    one.result.set_exception(error)
            else:
                for one in group:
                    one.result.set_result([next(conflicts) for _ in one.changes])

    def close(self) -> None:
        """Save what waits, and stop the thread."""
        self._saver.shutdown()


def _apart(waiting: Sequence[_Waiting]) -> list[list[_Waiting]]:
    """Return all in one group, or each in its own if a ticket is changed twice.

    Two changes of one ticket need two transactions: the second was decided on the state before the first.
    """
    updated = [c.ticket.ticket_id for one in waiting for c in one.changes if c.ticket and c.expects]
    if len(set(updated)) == len(updated):
        return [list(waiting)] if waiting else []
    return [[one] for one in waiting]
