"""`triage runs`: lists bulk commands with their counts, cost and exit code."""

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any, Literal

import typer

from triage_cli.cli import options
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.domain.errors import NotFoundError
from triage_cli.domain.exit_codes import KILLED
from triage_cli.domain.serialization import RUN_KEYS, run_record

KINDS = (
    "create", "pull", "classify", "route", "run", "reclassify", "plan", "verdict", "learn", "eval", "forget",
    "doctor", "serve", "classify_text",
)  # fmt: skip
# What a table has in place of the counts, which a run stores at its end, by exit code.
UNCOUNTED = {None: "still at work", KILLED: "killed before it counted; triage logs has what it did"}
SPARE = ("kind", "actor", "cost_usd")  # on narrow terminals; the words of a command begin with its kind
SHOWN = ("started_at", "kind", "seconds", "exit_code", "cost_usd", "counts", "actor", "words")


@remote_command
def runs(
    session: CommandContext,
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
    options.check_known("kind", kind, KINDS)
    chosen_runs = session.look().runs(None if kind else limit)
    if kind:
        chosen_runs = (run for run in chosen_runs if run.kind == kind)
    if which == "last":
        latest = next(chosen_runs, None)
        if latest is None:
            raise NotFoundError("no bulk command has been run here", hint="triage create tickets.csv is one")
        printer.one(run_record(latest), _table, RUN_KEYS, "run_id")
        return
    printer.many(islice(chosen_runs, limit), run_record, RUN_KEYS, _table, "run_id", rows=limit)


def _table(records: Sequence[Any]) -> object:
    return drawn_by("tables.plain", columns=SHOWN, spare=SPARE)([r | {"counts": _counts(r)} for r in records])


def _counts(record: Any) -> str:
    return ", ".join(f"{n:,} {did}" for did, n in record["counts"].items()) or UNCOUNTED.get(record["exit_code"], "")
