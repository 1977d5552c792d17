"""Frees deliveries that the shared run holds although nobody sends them, so that a later run can send them."""

import threading
from collections.abc import Mapping

from triage_cli.domain.errors import TriageError
from triage_cli.ports.storage import Store
from triage_cli.service.concurrent_callers.shared_run import SharedRun


class HeldDeliveries:
    """The deliveries to be freed, by id, and whether they were attempted."""

    def __init__(self, store: Store, shared_run: SharedRun) -> None:
        self._store = store
        self._shared_run = shared_run
        self._lock = threading.Lock()
        self._to_free: dict[str, bool] = {}

    def add(self, held_deliveries: Mapping[str, bool]) -> None:
        """Note deliveries that are to be freed, with whether each was attempted, and free what can be freed now."""
        with self._lock:
            self._to_free |= held_deliveries
        self.free()

    def free(self) -> None:
        """Free the deliveries that nobody sends; what cannot be freed now, the next heartbeat frees."""
        for was_attempted in (True, False):
            with self._lock:
                freed_ids = [delivery_id for delivery_id, tried in self._to_free.items() if tried == was_attempted]
            if not freed_ids:
                continue
            try:
                self._store.let_go(freed_ids, self._shared_run.context().lease, attempted=was_attempted)
            except TriageError:
                return
            with self._lock:
                for delivery_id in freed_ids:
                    self._to_free.pop(delivery_id, None)
