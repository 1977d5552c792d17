"""Saves the changes of concurrent callers together: several callers in one transaction."""

import queue
import threading
from collections.abc import Iterator, Sequence

from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.runs import Lease
from triage_cli.ports.storage import Store


class _Waiting:
    """What one caller waits for. A lock is a lighter signal than a future, and there are thousands a second."""

    def __init__(self, changes: Sequence[Change], lease: Lease | None) -> None:
        self.changes = changes
        self.lease = lease
        self.conflicts: list[Conflict | None] = []
        self.error: Exception | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def end(self) -> None:
        self._done.release()

    def wait(self) -> list[Conflict | None]:
        self._done.acquire()
        if self.error is not None:
            raise self.error
        return self.conflicts


class GroupCommitter:
    """While one transaction is written, the changes of the next one are gathered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._save_until_closed, name="saver", daemon=True)
        self._thread.start()

    def save(self, changes: Sequence[Change], lease: Lease | None = None) -> list[Conflict | None]:
        """Save as `Store.save` does, together with what other callers save now. All leases are those of one run."""
        waiting = _Waiting(changes, lease)
        self._waiting.put(waiting)
        return waiting.wait()

    def _save_until_closed(self) -> None:
        while gathered := list(self._gathered()):
            for group in _apart([one for one in gathered if one]):
                self._save(group)
            if None in gathered:
                return

    def _gathered(self) -> Iterator[_Waiting | None]:
        """Yield the first that comes, and all that have come by then."""
        yield self._waiting.get()
        for _ in range(self._waiting.qsize()):
            yield self._waiting.get()

    def _save(self, group: Sequence[_Waiting]) -> None:
        lease = next((one.lease for one in group if one.lease), None)
        try:
            conflicts = iter(self._store.save([change for one in group for change in one.changes], lease))
            for one in group:
                one.conflicts = [next(conflicts) for _ in one.changes]
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            for one in group:
                one.error = error
        for one in group:
            one.end()

    def close(self) -> None:
        """Save what waits, and stop the thread."""
        self._waiting.put(None)
        self._thread.join()


def _apart(waiting: Sequence[_Waiting]) -> list[list[_Waiting]]:
    """Return all in one group, or each in its own if a ticket is changed twice.

    Two changes of one ticket need two transactions: the second was decided on the state before the first.
    """
    updated = [c.ticket.ticket_id for one in waiting for c in one.changes if c.ticket and c.expects]
    if len(set(updated)) == len(updated):
        return [list(waiting)] if waiting else []
    return [[one] for one in waiting]
