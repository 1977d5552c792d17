"""A bulk command's run: its lease, its counts and how it ended."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from triage_cli import ids
from triage_cli.allowance import Allowance
from triage_cli.codec import compact
from triage_cli.errors import PRECEDENCE, ExitCode, ItemError, TriageError
from triage_cli.models import ClassifyPlan, Lease, Outcome, Routed, Run
from triage_cli.ports import Store

DAY = 24 * 3600.0


class Tally:
    """What a run has done so far."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.lease = Lease(run.run_id)
        self.counts: Counter[str] = Counter()
        self.codes = {ExitCode.OK}

    def add(self, outcomes: Iterable[Outcome[Any]]) -> None:
        """Count outcomes."""
        for outcome in outcomes:
            self.counts[outcome.did] += 1
            status = outcome.value.ticket.status if isinstance(outcome.value, Routed) else ""
            if self.run.kind == "run" and status:
                self.counts[status] += 1  # `did` is what became of the row, this of its ticket
            due_later = status == "routing" and isinstance(outcome.error, ItemError)
            if outcome.error is not None and not due_later:
                self.codes.add(outcome.error.exit_code)

    @property
    def exit_code(self) -> ExitCode:
        """Return the code that the run ends with."""
        return next(code for code in PRECEDENCE if code in self.codes)


@contextmanager
def running(store: Store, kind: str, actor: str, words: str, allowance: Allowance) -> Iterator[Tally]:
    """Begin a run and end it however the block ends; a killed one is ended by its lease."""
    tally = Tally(store.begin(Run(ids.new_id(), kind, actor, words, ids.now())))
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
            spent=allowance.spent,
            counts=compact(dict(sorted(tally.counts.items()))),
            exit_code=int(tally.exit_code),
        )
        store.end(run)


def limit_of(store: Store, run: Run, plan: ClassifyPlan, per_day: float | None, before: float = 0.0) -> float | None:
    """Return what a run may spend: what its own bound leaves, and what others leave of the budget of a day, in USD.

    `before` is what its allowance had spent in runs before it: that counts in the record of those.
    """
    limits = []
    if plan.max_cost is not None:
        limits.append(plan.max_cost - run.spent)
    if per_day is not None:
        limits.append(per_day - store.spent_since(ids.ago(DAY), besides=run.run_id) + before)
    return max(0.0, min(limits)) if limits else None


def recorded(allowance: Allowance, store: Store, lease: Lease) -> None:
    """Have a run whose money is bounded write down what it sets aside."""

    def record() -> None:
        with allowance.recording(lease) as now:
            store.renew(now)

    allowance.record = None if allowance.limit is None else record
