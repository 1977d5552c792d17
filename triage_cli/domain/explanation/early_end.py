"""Explains the early end of a run, before it was done with a ticket, by its exit code, and what to do about that."""

from triage_cli.domain.exit_codes import KILLED, ExitCode
from triage_cli.domain.ids import short
from triage_cli.domain.runs import Run
from triage_cli.domain.times import readable

# The kinds of runs that take up a ticket of a status.
KINDS: dict[str, tuple[str, ...]] = {
    "new": ("classify", "run"),
    "failed": ("classify", "run"),
    "classified": ("route", "run"),
    "routing": ("route", "run"),
}
REASONS: dict[int, str] = {  # one for each of `EARLY_END`
    ExitCode.UNEXPECTED: "ended with an unexpected error",
    ExitCode.REFUSED: "ended because a key was missing or refused",
    ExitCode.UNAVAILABLE: "ended because a provider or the disk was unavailable",
    ExitCode.BUDGET: "ended because the next call might have passed its cost limit or the budget",
    ExitCode.INTERRUPTED: "was interrupted",
    ExitCode.TERMINATED: "was terminated",
    KILLED: "was killed",
}
ADVICE: dict[int, str] = {
    ExitCode.UNEXPECTED: "{step}; if that ends so again, run it with -v and report what it prints",
    ExitCode.REFUSED: "triage doctor tells which key is missing or wrong; then {step}",
    ExitCode.UNAVAILABLE: "triage doctor tells whether everything answers again; then {step}",
    ExitCode.BUDGET: "{step}, as far as the budget allows: raise --max-cost or the budget, or run it again tomorrow",
}


def early_end(run: Run) -> str:
    """Return a sentence about the early end of a run."""
    code = run.exit_code or 0
    return f"{run_name(run)} {REASONS[code]} before it was done with this ticket (exit code {code})"


def run_name(run: Run) -> str:
    """Return a run's command, id and begin, as a sentence names it."""
    return f"triage {run.kind} (run {short(run.run_id)}, begun at {readable(run.started_at)})"


def advice(run: Run, status: str, step: str) -> str:
    """Return what to do after the early end of a run; `step` is what a ticket of this status needs otherwise."""
    code = run.exit_code or 0
    is_free = "classify" not in KINDS[status]  # the budget does not hold it up
    return step if code == ExitCode.BUDGET and is_free else ADVICE.get(code, "{step}").format(step=step)
