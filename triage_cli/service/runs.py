"""A run: what its parts share, its record with its exit code, the tickets that it claims, the trials it pays for."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from triage_cli import domain as dm
from triage_cli.ports import ModelRegistry, Store
from triage_cli.runtime import Budget, BudgetLimits, StopControl, lease_clock
from triage_cli.service.answers import EarlierSteps

T = TypeVar("T")
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


class Hold:
    """What a run has begun is its own for as long as its lease is known to last, on this machine's clock."""

    def __init__(self, at: float) -> None:
        self._until = at + dm.LEASE_SECONDS

    def lasts(self) -> bool:
        """Return whether the lease was renewed in time; once it was not, another run may hold what this one had."""
        return lease_clock() < self._until

    def renew(self, at: float) -> None:
        """Note that the lease was renewed, not before `at`."""
        if at < self._until:
            self._until = at + dm.LEASE_SECONDS


class RunContext:
    """A run in progress. `stop` says when to begin nothing new; without `open_budget`, nothing can be spent.

    What it does is signed by its actor and the request in which it was made, but for tickets that have one of the
    `signatures`, by ticket id: those of callers who share the run.
    """

    def __init__(
        self, store: Store, run: dm.Run, stop: StopControl, signatures: Mapping[str, Signature] | None = None
    ) -> None:
        self.store = store
        self.run = run
        self.actor = run.actor
        self.lease = dm.Lease(run.run_id)
        self.stop = stop
        self.signatures = {} if signatures is None else signatures
        self._own_signature = Signature(run.actor, request_id.get())
        self.budget = Budget.free(stop)
        self._renew_lease_at = stop.clock() + RENEW
        self._hold = Hold(-math.inf)

    def open_budget(self, max_cost: float | None, per_day: float | None) -> Budget:
        """Open the run's budget, in USD: `max_cost` for this command, `per_day` for all runs of a day.

        With a limit, sums are set aside in the store before a call is made, so that a killed run's calls stay on the
        books. What was spent is stored with the answers and at the end.
        """

        def grant(spent: float, reserved: float, amounts: Sequence[float]) -> int:
            return self.store.runs.set_aside(self.lease._replace(spent=spent, reserved=reserved), amounts, per_day)

        limits = BudgetLimits(max_cost, per_day, self.run.spent)
        self.budget = Budget(self.stop, limits, None if max_cost is None and per_day is None else grant)
        self.budget.spent_by_all = self.store.runs.spent_of_day
        return self.budget

    def event(
        self, action: dm.EventAction, ticket_id: str | None, data: Mapping[str, Any], at: str | None = None
    ) -> dm.Event:
        """Return an event of this run, with the present time if none is given."""
        actor, request = self.signatures.get(ticket_id or "", self._own_signature)
        data = {**data, "request": request} if request else data
        return dm.Event(action, ticket_id, self.run.run_id, actor, at or dm.times.now(), data)

    def signature(self, ticket_id: str | None) -> Signature:
        """Return in whose name something is done about a ticket."""
        return self.signatures.get(ticket_id or "", self._own_signature)

    def save(self, changes: Sequence[dm.Change]) -> Sequence[dm.Conflict | None]:
        """Save changes, and what was spent so far; return a conflict for each ticket that has moved on."""
        with self._naming_lost_answers(), self.budget.recording(self.lease) as lease:
            conflicts = self.store.save(changes, lease)
        if self.budget.unsaved_answers:
            saved = [change for change, conflict in zip(changes, conflicts, strict=True) if conflict is None]
            self.budget.saved(a.classification_id for c in saved for a in c.adds if isinstance(a, dm.Classification))
        return conflicts

    @contextmanager
    def _naming_lost_answers(self) -> Iterator[None]:
        """Have the error that ends the run say how many paid answers are lost with it."""
        try:
            yield
        except dm.UnavailableError as error:
            if (lost := self.budget.unsaved_answers) > 0:
                answers = "1 paid answer" if lost == 1 else f"{lost} paid answers"
                error.hint = f"{answers} could not be stored; {dm.Step.SAME} asks again and does the rest"
            raise

    def claim(self, selection: dm.Selection, limit: int) -> list[dm.Ticket]:
        """Claim up to `limit` of the selected tickets for this run."""
        return self.store.runs.claim(selection, self.lease, limit)

    def heartbeat(self) -> None:
        """Renew the lease if that is due. Claims and saves renew it too, but the next one may be minutes away."""
        now = self.stop.clock()
        if now < self._renew_lease_at:
            return
        self._renew_lease_at = now + RENEW
        renewed_at = lease_clock()
        with self._naming_lost_answers(), self.budget.recording(self.lease) as lease:
            self.store.runs.renew(lease)
        self._hold.renew(renewed_at)

    def hold_since(self, at: float) -> Hold:
        """Return the hold on what was begun with the lease, which was renewed with that and not before `at`."""
        if self._hold.lasts():
            self._hold.renew(at)
        else:
            self._hold = Hold(at)
        return self._hold


class RunRecorder:
    """Counts the outcomes of a run, and finds its exit code."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.counts: Counter[str] = Counter()
        self.exit_codes = {dm.ExitCode.OK}
        self.exit_code_given: int | None = None  # by the command, if it ended otherwise than the run
        self.ended = False

    def add(self, outcomes: Iterable[dm.Outcome[Any]]) -> None:
        """Count the outcomes of the run, and collect the exit codes of their errors."""
        for outcome in outcomes:
            for result in dm.routing.results(outcome) if self.context.run.kind == "run" else (outcome.action,):
                self.counts[result] += 1
            ticket = outcome.value.ticket if isinstance(outcome.value, dm.Routed) else None
            is_due_later = ticket and ticket.status == "routing" and isinstance(outcome.error, dm.ItemError)
            if outcome.error is not None and not is_due_later:
                self.exit_codes.add(outcome.error.exit_code)

    def counted(self, chunks: Iterable[Sequence[dm.Outcome[T]]]) -> Iterator[dm.Outcome[T]]:
        """Count the outcomes of the run as `add` does, a chunk at a time, and yield them."""
        for outcomes in chunks:
            self.add(outcomes)
            yield from outcomes

    @property
    def exit_code(self) -> int:
        """Return the run's exit code so far."""
        return dm.gravest(self.exit_codes) if self.exit_code_given is None else self.exit_code_given

    def exited(self, code: int) -> None:
        """Record the exit code of the command, if it differs from the run's."""
        if self.exit_code == code:
            return
        self.exit_code_given = code
        if self.ended:
            self.context.store.runs.exited(self.context.run.run_id, code)


Began = Callable[[RunRecorder], object]


@contextmanager
def recorded_run(
    store: Store,
    kind: str,
    actor: str,
    command_line: str,
    stop: StopControl,
    part: dm.InputPart = dm.WHOLE,
    *,
    served: bool = False,
) -> Iterator[RunRecorder]:
    """Begin a run, and end it however the block ends; a run that was killed is ended when its lease expires.

    What `part` has spent before counts against the cost limit of the command. A run that a server begins is `served`.
    One that imports belongs to the import that `part` names, or begins one.
    """
    run_id = dm.ids.new_id()
    new_run = dm.Run(
        run_id,
        kind,
        actor,
        command_line,
        dm.times.now(),
        spent=part.spent,
        parcel=part.parcel,
        served=int(served),
        import_id=(part.import_id or run_id) if kind in dm.IMPORT_KINDS else "",
    )
    recorder = RunRecorder(RunContext(store, store.runs.begin(new_run), stop))
    failure_to_end: AbstractContextManager[None] = nullcontext()
    try:
        yield recorder
    except dm.TriageError as error:
        recorder.exit_codes.add(error.exit_code)
        failure_to_end = suppress(dm.UnavailableError)  # the first error is the one to show
        raise
    except (KeyboardInterrupt, GeneratorExit):
        recorder.exit_codes.add(dm.ExitCode.INTERRUPTED)
        raise
    except Exception:
        recorder.exit_codes.add(dm.ExitCode.UNEXPECTED)
        raise
    finally:
        if stop.stopped:
            recorder.exit_codes.add(dm.ExitCode.INTERRUPTED)
        budget = recorder.context.budget
        ended_run = recorder.context.run._replace(
            ended_at=dm.times.now(),
            spent=budget.spent + budget.reserved,  # calls in flight may still be charged
            counts=dm.compact(dict(sorted(recorder.counts.items()))),
            exit_code=int(recorder.exit_code),
        )
        with failure_to_end:
            store.runs.end(ended_run)
            recorder.ended = True


# Tickets of these statuses may have a question that is open beside their category.
HALF_ANSWERED = frozenset(dm.STATUSES) - dm.TO_CLASSIFY - dm.ERASED.keys() - {"waiting"}


class TicketClaimer:
    """Claims the tickets of one run, a chunk at a time, until the run is stopped."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def chunks(
        self, selection: dm.Selection, statuses: frozenset[str], claim_limit: Callable[[], int] = lambda: dm.CHUNK
    ) -> Iterator[list[dm.Ticket]]:
        """Claim the selected tickets, or those with these statuses, and yield them in chunks of `claim_limit` at most.

        If the selection has ids, tickets that another run holds are yielded too, unclaimed.
        """
        unclaimed = selection.limit
        if selection.ids is not None:
            unclaimed_names = iter(dict.fromkeys(selection.ids))
            while unclaimed != 0 and (names := tuple(islice(unclaimed_names, min(claim_limit(), dm.NAMED)))):
                if self._context.stop.stopping:
                    return
                selected = list(self._context.store.find(selection._replace(ids=names, limit=unclaimed)))
                to_claim = selection._replace(ids=tuple(ticket.ticket_id for ticket in selected))
                claimed = {t.ticket_id: t for t in self._context.claim(to_claim, dm.CHUNK)}
                yield [claimed.get(ticket.ticket_id, ticket) for ticket in selected]
                unclaimed = None if unclaimed is None else unclaimed - len(selected)
            return
        selection = selection._replace(statuses=selection.statuses or statuses)
        while (unclaimed is None or unclaimed > 0) and not self._context.stop.stopping:
            claim_size = claim_limit() if unclaimed is None else min(unclaimed, claim_limit())
            claimed_chunk = self._context.claim(selection, claim_size)
            if not claimed_chunk:
                return
            yield claimed_chunk
            unclaimed = None if unclaimed is None else unclaimed - len(claimed_chunk)
            selection = selection._replace(after=f"{claimed_chunk[-1].urgency}{claimed_chunk[-1].ticket_id}")

    @property
    def stopping(self) -> bool:
        """Return whether it claims no more because the run is to stop."""
        return self._context.stop.stopping

    def lost(self, ticket: dm.Ticket) -> bool:
        """Return whether another run holds a ticket that was yielded."""
        return ticket.run_id != self._context.run.run_id


class TrialRecorder:
    """Saves the paid answers of one run, each once; `saved` is their number."""

    def __init__(self, registry: ModelRegistry, context: RunContext) -> None:
        self.saved = 0
        self._registry = registry
        self._context = context
        self._unfinished_ids: set[str] = set()  # of saved answers that the final ones will repeat

    def save_steps(self, earlier: Sequence[EarlierSteps]) -> None:
        """Save the paid answers of tickets about which a further step is asked."""
        steps = [step for each in earlier for step in each.steps]
        self._save(steps)
        self._unfinished_ids.update(step.classification_id for step in steps)

    def save(self, outcomes: Sequence[dm.Outcome[dm.Answer]]) -> None:
        """Save the paid answers that are not saved yet, and renew the run's lease."""
        self._context.heartbeat()
        steps = [step for outcome in outcomes if outcome.value for step in outcome.value.steps]
        self._save(steps)
        self._unfinished_ids.difference_update(step.classification_id for step in steps)

    def _save(self, steps: Sequence[dm.Classification]) -> None:
        paid_answers = [
            step._replace(confidence=step.raw_confidence)
            for step in steps
            if not (step.confidence_source == "model" or step.error or step.reused)
            and step.classification_id not in self._unfinished_ids
        ]
        if paid_answers:
            with self._context.budget.recording(self._context.lease) as lease:
                self._registry.keep_trials(paid_answers, lease)
            self.saved += len(paid_answers)
