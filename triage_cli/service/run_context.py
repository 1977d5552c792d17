"""What the parts of one run share: its store, its lease on tickets, who acts, its money and its heartbeat."""

from collections.abc import Mapping, Sequence
from typing import Any

from triage_cli.domain import ids
from triage_cli.domain.audit import Event
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.runs import Lease, Run
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.storage import Store
from triage_cli.runtime.budget import Bounds, Budget
from triage_cli.runtime.stop import StopControl

# A run that waits for something renews its lease so often, in seconds.
RENEW = 15.0


class RunContext:
    """A run at work. `stop` tells when nothing new is to be begun; `budget` is closed until `open_budget` is called."""

    def __init__(self, store: Store, run: Run, stop: StopControl) -> None:
        self.store = store
        self.run = run
        self.actor = run.actor
        self.lease = Lease(run.run_id)
        self.stop = stop
        self.budget = Budget.free(stop)
        self._renew_at = stop.clock() + RENEW

    def open_budget(self, max_cost: float | None, per_day: float | None) -> Budget:
        """Open what the run may spend, in USD: by its own command, and together with all other runs of a day.

        Where it is bounded, what it sets aside is written down before a call is made: so a kill takes nothing off the
        books. What it spends is written down with its answers and at its end.
        """

        def grant(spent: float, reserved: float, amounts: Sequence[float]) -> int:
            return self.store.set_aside(self.lease._replace(spent=spent, reserved=reserved), amounts, per_day)

        bounds = Bounds(max_cost, per_day, self.run.spent)
        self.budget = Budget(self.stop, bounds, None if max_cost is None and per_day is None else grant)
        return self.budget

    def event(self, action: str, ticket_id: str | None, data: Mapping[str, Any], at: str | None = None) -> Event:
        """Return an event of this run, of now unless a time is given."""
        return Event(action, ticket_id, self.run.run_id, self.actor, at or ids.now(), data)

    def save(self, changes: Sequence[Change]) -> list[Conflict | None]:
        """Save changes, and what was spent so far; each has a conflict where its ticket has moved on."""
        with self.budget.recording(self.lease) as lease:
            return self.store.save(changes, lease)

    def claim(self, selection: Selection, limit: int) -> list[Ticket]:
        """Take hold of up to so many of the selected tickets."""
        return self.store.claim(selection, self.lease, limit)

    def heartbeat(self) -> None:
        """Renew the lease where that is due: a claim and a save do so too, but the next one may be minutes away."""
        now = self.stop.clock()
        if now < self._renew_at:
            return
        self._renew_at = now + RENEW
        with self.budget.recording(self.lease) as lease:
            self.store.renew(lease)
