"""A bulk command's run: its lease, its counts and how it ended."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from triage_cli.domain import ids
from triage_cli.domain.deliveries import Routed
from triage_cli.domain.errors import PRECEDENCE, ExitCode, ItemError, TriageError
from triage_cli.domain.runs import Lease, Outcome, Run
from triage_cli.domain.serialization import compact
from triage_cli.ports.storage import Store
from triage_cli.runtime.budget import Bounds, Budget
from triage_cli.runtime.stop import StopControl

# A run that waits for something renews its lease so often, in seconds.
RENEW = 15.0


class RunRecorder:
    """What a run has done so far, and its money; `brought` is what its command had spent before it."""

    def __init__(self, run: Run, store: Store, allowance: StopControl) -> None:
        self.run = run
        self.lease = Lease(run.run_id)
        self.allowance = allowance
        self.brought = run.spent
        self.money = Budget.free(allowance)
        self.breathe = LeaseHeartbeat(store, self)
        self.counts: Counter[str] = Counter()
        self.codes = {ExitCode.OK}
        self.exit_code_given: int | None = None  # by the command, which knows more of its end than the run does
        self.ended = False
        self.store = store

    def budget(self, max_cost: float | None, per_day: float | None) -> Budget:
        """Open what the run may spend, in USD: by its own command, and together with all other runs of a day.

        Where it is bounded, what it sets aside is written down before a call is made: so a kill takes nothing off the
        books. What it spends is written down with its answers and at its end.
        """

        def grant(spent: float, reserved: float, amounts: Sequence[float]) -> int:
            return self.store.set_aside(self.lease._replace(spent=spent, reserved=reserved), amounts, per_day)

        bounds = Bounds(max_cost, per_day, self.brought)
        self.money = Budget(self.allowance, bounds, None if max_cost is None and per_day is None else grant)
        return self.money

    def add(self, outcomes: Iterable[Outcome[Any]]) -> None:
        """Count outcomes."""
        for outcome in outcomes:
            self.counts[outcome.action] += 1
            status = outcome.value.ticket.status if isinstance(outcome.value, Routed) else ""
            if self.run.kind == "run" and status:
                self.counts[status] += 1  # `did` is what became of the row, this of its ticket
            due_later = status == "routing" and isinstance(outcome.error, ItemError)
            if outcome.error is not None and not due_later:
                self.codes.add(outcome.error.exit_code)

    @property
    def exit_code(self) -> int:
        """Return the code that the run ends with."""
        if self.exit_code_given is not None:
            return self.exit_code_given
        return next(code for code in PRECEDENCE if code in self.codes)


class LeaseHeartbeat:
    """Renews a run's lease while it waits: a claim and a save do so too, but the next one may be minutes away."""

    def __init__(self, store: Store, tally: RunRecorder) -> None:
        self._store = store
        self._tally = tally
        self._next = tally.allowance.clock() + RENEW

    def __call__(self) -> None:
        """Take a breath; most write nothing."""
        now = self._tally.allowance.clock()
        if now < self._next:
            return
        self._next = now + RENEW
        with self._tally.money.recording(self._tally.lease) as lease:
            self._store.renew(lease)


@contextmanager
def running(
    store: Store,
    kind: str,
    actor: str,
    command_line: str,
    allowance: StopControl,
    brought: float = 0.0,
    parcel: str = "",
) -> Iterator[RunRecorder]:
    """Begin a run and end it however the block ends; a killed one is ended by its lease.

    `brought` is what its command has spent in USD, `parcel` names the request that may come again, if one began it.
    """
    begun = Run(ids.new_id(), kind, actor, command_line, ids.now(), spent=brought, parcel=parcel)
    tally = RunRecorder(store.begin(begun), store, allowance)
    try:
        yield tally
    except TriageError as error:
        tally.codes.add(error.exit_code)
        raise
    except (KeyboardInterrupt, GeneratorExit):
        tally.codes.add(ExitCode.INTERRUPTED)
        raise
    except Exception:
        tally.codes.add(ExitCode.UNEXPECTED)
        raise
    finally:
        if allowance.stopped:
            tally.codes.add(ExitCode.INTERRUPTED)
        run = tally.run._replace(
            ended_at=ids.now(),
            spent=tally.money.spent + tally.money.reserved,  # what is in flight still may be paid for
            counts=compact(dict(sorted(tally.counts.items()))),
            exit_code=int(tally.exit_code),
        )
        store.end(run)
        tally.ended = True
