"""The run that all concurrent callers of a server share; it holds the deliveries that are being sent."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from triage_cli.domain import ids, times
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.json_values import compact
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.runs import Lease, Run
from triage_cli.runtime.stop import StopControl
from triage_cli.service import category_renames
from triage_cli.service.concurrent_callers.group_commit import GroupCommitter
from triage_cli.service.run_context import RENEW, RunContext
from triage_cli.service.services import Services

# Of the shared run.
KIND, COMMAND_LINE, ACTOR = "serve", "POST /tickets", "serve"


class SharedRun:
    """The shared run of one server: the first caller begins it, and what it saves goes through the `committer`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self.committer = GroupCommitter(services.store, self._due_lease)
        self._lock = threading.Lock()
        self._shared_context: RunContext | None = None
        self._renew_lease_at = 0.0
        self._outcome_counts: Counter[str] = Counter()  # for the record of the shared run

    def context(self) -> RunContext:
        """Return the context of the shared run; the first call begins the run."""
        with self._lock:
            if self._shared_context is None:
                run = self._store.begin(Run(ids.new_id(), KIND, ACTOR, COMMAND_LINE, times.now(), served=1))
                rules = self._services.routing_map.rules
                category_renames.apply_renames(self._store, self._services.categories, rules, ACTOR, run.run_id)
                self._shared_context = RunContext(self._store, run, StopControl(), self._save)
            return self._shared_context

    def context_of(self, actor: str) -> RunContext:
        """Return the shared run in the name of an actor, for the request that is being served."""
        shared_context = self.context()
        return RunContext(self._store, shared_context.run._replace(actor=actor), shared_context.stop, self._save)

    def count(self, *outcomes: Outcome[Any]) -> None:
        """Count outcomes of callers for the record of the shared run."""
        with self._lock:
            self._outcome_counts.update(outcome.action for outcome in outcomes)

    def end(self) -> None:
        """Save what callers have handed over, and end the shared run, if it has begun."""
        self.committer.close()
        if self._shared_context is not None:
            counts = compact(dict(sorted(self._outcome_counts.items())))
            self._store.end(self._shared_context.run._replace(ended_at=times.now(), counts=counts, exit_code=0))

    def _save(self, changes: Sequence[Change], _: Lease) -> Sequence[Conflict | None]:
        """Save changes of the shared run with those of other callers. It spends nothing."""
        return self.committer.save(changes)

    def _due_lease(self) -> Lease | None:
        """Return the lease of the shared run now and then, to be renewed with what is saved."""
        now = time.monotonic()
        if self._shared_context is None or now < self._renew_lease_at:
            return None
        self._renew_lease_at = now + RENEW
        return Lease(self._shared_context.run.run_id)
