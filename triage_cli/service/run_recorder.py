"""The record of a run: begun before its work, and ended with its counts, its cost and its exit code."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from triage_cli.domain import (
    WHOLE,
    ExitCode,
    InputPart,
    ItemError,
    Outcome,
    Routed,
    Run,
    TriageError,
    UnavailableError,
    compact,
    gravest,
    ids,
    routing,
    times,
)
from triage_cli.ports import Store
from triage_cli.runtime import StopControl
from triage_cli.service.run_context import RunContext


class RunRecorder:
    """Counts the outcomes of a run, and finds its exit code."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.counts: Counter[str] = Counter()
        self.exit_codes = {ExitCode.OK}
        self.exit_code_given: int | None = None  # by the command, if it ended otherwise than the run
        self.ended = False

    def add(self, outcomes: Iterable[Outcome[Any]]) -> None:
        """Count the outcomes of the run, and collect the exit codes of their errors."""
        for outcome in outcomes:
            self.counts[outcome.action] += 1
            status = outcome.value.ticket.status if isinstance(outcome.value, Routed) else ""
            if self.context.run.kind == "run" and isinstance(outcome.value, Routed) and outcome.row is not None:
                # Besides the action of the row, the status of its ticket.
                self.counts[routing.counted_as(outcome.value.ticket, outcome.outdated)] += 1
            is_due_later = status == "routing" and isinstance(outcome.error, ItemError)
            if outcome.error is not None and not is_due_later:
                self.exit_codes.add(outcome.error.exit_code)

    @property
    def exit_code(self) -> int:
        """Return the run's exit code so far."""
        if self.exit_code_given is not None:
            return self.exit_code_given
        return gravest(self.exit_codes)

    def exited(self, code: int) -> None:
        """Record the exit code of the command, if it differs from the run's."""
        if self.exit_code == code:
            return
        self.exit_code_given = code
        if self.ended:
            self.context.store.exited(self.context.run.run_id, code)


Began = Callable[[RunRecorder], object]


@contextmanager
def recorded_run(
    store: Store, kind: str, actor: str, command_line: str, stop: StopControl, part: InputPart = WHOLE,
    *, served: bool = False,
) -> Iterator[RunRecorder]:  # fmt: skip
    """Begin a run, and end it however the block ends; a run that was killed is ended when its lease expires.

    What `part` has spent before counts against the cost limit of the command. A run that a server begins is `served`.
    """
    new_run = Run(
        ids.new_id(), kind, actor, command_line, times.now(), spent=part.spent, parcel=part.parcel, served=int(served)
    )
    recorder = RunRecorder(RunContext(store, store.begin(new_run), stop))
    failure_to_end: AbstractContextManager[None] = nullcontext()
    try:
        yield recorder
    except TriageError as error:
        recorder.exit_codes.add(error.exit_code)
        failure_to_end = suppress(UnavailableError)  # the first error is the one to show
        raise
    except (KeyboardInterrupt, GeneratorExit):
        recorder.exit_codes.add(ExitCode.INTERRUPTED)
        raise
    except Exception:
        recorder.exit_codes.add(ExitCode.UNEXPECTED)
        raise
    finally:
        if stop.stopped:
            recorder.exit_codes.add(ExitCode.INTERRUPTED)
        budget = recorder.context.budget
        ended_run = recorder.context.run._replace(
            ended_at=times.now(),
            spent=budget.spent + budget.reserved,  # calls in flight may still be charged
            counts=compact(dict(sorted(recorder.counts.items()))),
            exit_code=int(recorder.exit_code),
        )
        with failure_to_end:
            store.end(ended_run)
            recorder.ended = True
