"""`triage runs`: lists bulk commands with their counts, cost and exit code."""

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any, Literal

import typer

from triage_cli.cli import messages, options
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.cli.typed_commands import as_typed
from triage_cli.domain import KILLED, RUN_KEYS, NotFoundError, ids, run_record

RUN_KINDS = (
    "create", "pull", "classify", "route", "run", "undo", "reclassify", "plan", "preview", "verdict", "learn", "eval",
    "forget", "doctor", "serve", "classify_text",
)  # fmt: skip
# What a table of runs has in place of the counts, which a run stores at its end, by exit code.
UNCOUNTED_RUNS = {None: "still at work", KILLED: "killed before it counted; triage logs has what it did"}
SPARE_RUN_COLUMNS = (
    "kind",
    "actor",
    "cost_usd",
    "seconds",
)  # on narrow terminals; the words of a command begin with its kind
RUN_ROOM = {"counts": 18, "words": 26}  # columns that what a run did, and its command line, make use of
RUN_COLUMNS = ("id", "started_at", "kind", "seconds", "exit_code", "cost_usd", "counts", "actor", "words")


@remote_command
def runs(
    context: CommandContext,
    which: Annotated[Literal["last"] | None, typer.Argument(metavar="[last]", help="Only the latest.")] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Only runs of this command, such as classify.")
    ] = None,
    limit: options.Limit = None,
    *,
    printing: PrintOptions,
) -> None:
    """List bulk commands, the latest first: what each did, its cost, seconds and exit code.

    \b
    triage runs last -o json
    triage runs --kind reclassify --limit 7
    """
    printer = printing.printer()
    options.check_known("kind", kind, RUN_KINDS)
    chosen_runs = context.look().runs(None if kind else limit)
    if kind:
        chosen_runs = (run for run in chosen_runs if run.kind == kind)
    if which == "last":
        latest_run = next(chosen_runs, None)
        if latest_run is None:
            raise NotFoundError("no bulk command has been run here", hint="triage create tickets.csv is one")
        printer.one(run_record(latest_run), _run_table, RUN_KEYS, "run_id")
        return
    printer.many(islice(chosen_runs, limit), run_record, RUN_KEYS, _run_table, "run_id", rows=limit)


def _run_table(run_records: Sequence[Any]) -> object:
    draw_runs = drawn_by("tables.plain", columns=RUN_COLUMNS, spare=SPARE_RUN_COLUMNS, room=RUN_ROOM)
    return draw_runs([run | {"id": ids.short(run["run_id"]), "counts": _run_counts(run)} for run in run_records])


def _run_counts(run_record: Any) -> str:
    run_counts = ", ".join(f"{n:,} {messages.STATUS_LABELS.get(did, did)}" for did, n in run_record["counts"].items())
    return run_counts or as_typed(UNCOUNTED_RUNS.get(run_record["exit_code"], ""))
