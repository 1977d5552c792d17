"""The context that the parts of a run share: its store, lease, actor, budget and heartbeat."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from triage_cli.domain import (
    Change,
    Classification,
    Conflict,
    Event,
    EventAction,
    Lease,
    Run,
    Selection,
    Ticket,
    UnavailableError,
    times,
)
from triage_cli.ports import Store
from triage_cli.runtime import Budget, BudgetLimits, StopControl

# The request that a server answers, which events and deliveries name; threads that begin for it inherit it.
request_id: ContextVar[str] = ContextVar("request_id", default="")
# Seconds between two renewals of the lease.
RENEW = 15.0


def with_request(data: Mapping[str, Any], request: str | None = None) -> Mapping[str, Any]:
    """Return the data of an event, with the id of the request that it comes from: by default the present one."""
    current = request_id.get() if request is None else request
    return {**data, "request": current} if current else data


class Signature(NamedTuple):
    """In whose name something is done, and for which request of a server ("": for none)."""

    actor: str
    request: str


class RunContext:
    """A run in progress. `stop` says when to begin nothing new; without `open_budget`, nothing can be spent.

    What it does is signed by its actor and the request in which it was made, but for tickets that have one of the
    `signatures`, by ticket id: those of callers who share the run.
    """

    def __init__(
        self, store: Store, run: Run, stop: StopControl, signatures: Mapping[str, Signature] | None = None
    ) -> None:
        self.store = store
        self.run = run
        self.actor = run.actor
        self.lease = Lease(run.run_id)
        self.stop = stop
        self.signatures = {} if signatures is None else signatures
        self._own_signature = Signature(run.actor, request_id.get())
        self.budget = Budget.free(stop)
        self._renew_lease_at = stop.clock() + RENEW

    def open_budget(self, max_cost: float | None, per_day: float | None) -> Budget:
        """Open the run's budget, in USD: `max_cost` for this command, `per_day` for all runs of a day.

        With a limit, sums are set aside in the store before a call is made, so that a killed run's calls stay on the
        books. What was spent is stored with the answers and at the end.
        """

        def grant(spent: float, reserved: float, amounts: Sequence[float]) -> int:
            return self.store.set_aside(self.lease._replace(spent=spent, reserved=reserved), amounts, per_day)

        limits = BudgetLimits(max_cost, per_day, self.run.spent)
        self.budget = Budget(self.stop, limits, None if max_cost is None and per_day is None else grant)
        self.budget.spent_by_all = self.store.spent_of_day
        return self.budget

    def event(
        self, action: EventAction, ticket_id: str | None, data: Mapping[str, Any], at: str | None = None
    ) -> Event:
        """Return an event of this run, with the present time if none is given."""
        actor, request = self.signature(ticket_id)
        return Event(action, ticket_id, self.run.run_id, actor, at or times.now(), with_request(data, request))

    def signature(self, ticket_id: str | None) -> Signature:
        """Return in whose name something is done about a ticket."""
        return self.signatures.get(ticket_id or "", self._own_signature)

    def save(self, changes: Sequence[Change]) -> Sequence[Conflict | None]:
        """Save changes, and what was spent so far; return a conflict for each ticket that has moved on."""
        with self._naming_lost_answers(), self.budget.recording(self.lease) as lease:
            conflicts = self.store.save(changes, lease)
        if self.budget.unsaved_answers:
            saved_changes = [change for change, conflict in zip(changes, conflicts, strict=True) if conflict is None]
            self.budget.saved(
                a.classification_id for c in saved_changes for a in c.adds if isinstance(a, Classification)
            )
        return conflicts

    @contextmanager
    def _naming_lost_answers(self) -> Iterator[None]:
        """Have the error that ends the run say how many paid answers are lost with it."""
        try:
            yield
        except UnavailableError as error:
            if (lost := self.budget.unsaved_answers) > 0:
                answers = "1 paid answer" if lost == 1 else f"{lost} paid answers"
                error.hint = f"{answers} could not be stored; the same command asks again and does the rest"
            raise

    def claim(self, selection: Selection, limit: int) -> list[Ticket]:
        """Claim up to `limit` of the selected tickets for this run."""
        return self.store.claim(selection, self.lease, limit)

    def heartbeat(self) -> None:
        """Renew the lease if that is due. Claims and saves renew it too, but the next one may be minutes away."""
        now = self.stop.clock()
        if now < self._renew_lease_at:
            return
        self._renew_lease_at = now + RENEW
        with self._naming_lost_answers(), self.budget.recording(self.lease) as lease:
            self.store.renew(lease)
