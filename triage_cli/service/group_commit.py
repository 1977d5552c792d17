"""Saves the changes of concurrent callers together: several callers in one transaction."""

from collections.abc import Sequence
from typing import NamedTuple

from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.runs import Lease
from triage_cli.ports.storage import Store
from triage_cli.runtime.group_worker import GroupWorker


class _Save(NamedTuple):
    changes: Sequence[Change]
    lease: Lease | None


class GroupCommitter:
    """While one transaction is written, the changes of the next one are gathered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._worker = GroupWorker[_Save, Sequence[Conflict | None]]("saver", self._save_all)
        self.close = self._worker.close

    def save(self, changes: Sequence[Change], lease: Lease | None = None) -> Sequence[Conflict | None]:
        """Save as `Store.save` does, together with what other callers save now. All leases are those of one run."""
        return self._worker(_Save(changes, lease))

    def _save_all(self, saves: Sequence[_Save]) -> list[Sequence[Conflict | None] | Exception]:
        return [result for group in _apart(saves) for result in self._save(group)]

    def _save(self, group: Sequence[_Save]) -> Sequence[Sequence[Conflict | None] | Exception]:
        lease = next((one.lease for one in group if one.lease), None)
        try:
            conflicts = iter(self._store.save([change for one in group for change in one.changes], lease))
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            return [error] * len(group)
        return [[next(conflicts) for _ in one.changes] for one in group]


def _apart(saves: Sequence[_Save]) -> list[Sequence[_Save]]:
    """Return all in one group, or each in its own if a ticket is changed twice.

    Two changes of one ticket need two transactions: the second was decided on the state before the first.
    """
    updated = [c.ticket.ticket_id for one in saves for c in one.changes if c.ticket and c.expects]
    return [saves] if len(set(updated)) == len(updated) else [[one] for one in saves]
