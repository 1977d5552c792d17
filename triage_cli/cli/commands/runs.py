"""Runs and imports: `triage runs` lists them with counts, cost and exit code, `triage undo` takes an import back."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Annotated, Any, Literal

from triage_cli import domain as dm
from triage_cli.cli import messages, options, summaries, terminal
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag, option
from triage_cli.cli.output import TICKETS_TABLE, Printer, PrintOptions, drawn_by
from triage_cli.cli.progress import elapsed_line
from triage_cli.cli.typed_commands import as_typed

RUN_KINDS = (
    "create", "pull", "classify", "route", "run", "undo", "reclassify", "plan", "preview", "verdict", "learn", "eval",
    "forget", "doctor", "serve", "classify_text",
)  # fmt: skip
# What a table of runs has in place of the counts, which a run stores at its end, by exit code.
UNCOUNTED_RUNS = {None: "still at work", dm.KILLED: "killed before it counted; triage logs has what it did"}
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
    which: Annotated[Literal["last"] | None, argument("[last]", "Only the latest.")] = None,
    kind: Annotated[str | None, option("COMMAND", "Only runs of this command, such as classify.")] = None,
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
            raise dm.NotFoundError("no bulk command has been run here", hint="triage create tickets.csv is one")
        printer.one(dm.run_record(latest_run), _run_table, dm.RUN_KEYS, "run_id")
        return
    printer.many(islice(chosen_runs, limit), dm.run_record, dm.RUN_KEYS, _run_table, "run_id", rows=limit)


def _run_table(run_records: Sequence[Any]) -> object:
    draw_runs = drawn_by("tables.plain", columns=RUN_COLUMNS, spare=SPARE_RUN_COLUMNS, room=RUN_ROOM)
    return draw_runs([run | {"id": dm.ids.short(run["run_id"]), "counts": _run_counts(run)} for run in run_records])


def _run_counts(run_record: Any) -> str:
    run_counts = ", ".join(f"{n:,} {messages.STATUS_LABELS.get(did, did)}" for did, n in run_record["counts"].items())
    return run_counts or as_typed(UNCOUNTED_RUNS.get(run_record["exit_code"], ""))


LEARN = "learn"  # the kind of a run that gave labelled texts, and no ticket
MOST_LOOKED_AT = 100  # runs, for one whose tickets are still there
# What stays, and why, in the order of the summary.
KEPT: Mapping[str, str] = {
    dm.Action.DECIDED: "decided by a person",
    dm.Action.REWRITTEN: "changed by a later import",
    dm.Action.ASKED: "asked about in a batch",
}


@remote_command
def undo(
    context: CommandContext,
    run: Annotated[
        str | None, argument("[RUN]", "Id of the import in triage runs, or its end; or last: your last one.")
    ] = None,
    dry_run: Annotated[bool, flag("--dry-run", "Print what would be taken back; change nothing.")] = False,
    yes: Annotated[bool, flag("--yes", "Do not ask first; needed where there is no terminal.")] = False,
    *,
    printing: PrintOptions,
) -> None:
    """Take back an import of create, run or pull: withdraw the tickets that it made, with their text.

    Of a learn with a file it erases the labelled texts that no other run gave, and ends versions that learned them.

    A ticket stays if a person decided it, or if a later import changed it, or while a batch asks about it. What the
    import only changed stays too, and is listed. What was sent stays where it is, and is listed by destination.
    On a terminal it asks first, and without RUN offers your last import; in a script it needs RUN and --yes.

    \b
    triage undo last --dry-run
    triage undo 6920eb28ec5b --yes
    """
    if run is None and not context.can_ask:
        raise dm.UsageError(
            "no run is given", hint="triage runs lists them; triage undo last takes back your last import"
        )
    columns = context.ticket_columns("did")
    printer = printing.printer(columns, quiet=context.quiet)
    triage = context.look() if dry_run else context.triage
    runs = triage.imported(run or dm.LAST_IMPORT)
    run_id = runs[-1].run_id
    if dry_run:
        preview = Summary()
        _print(printer, columns, preview.counted(triage.undo(run_id, dry_run=True)))
        preview.say(context, runs[-1], would=True)
        return
    context.need_agreement(yes=yes)
    if yes or _agreed(context, runs):
        summary = Summary()
        with elapsed_line("taking back", shown=context.shows_progress(printer.format)):
            _print(printer, columns, summary.counted(triage.undo(run_id)))
        summary.say(context, runs[-1])
    else:
        context.say("nothing was taken back")


def _agreed(context: CommandContext, runs: Sequence[dm.Run]) -> bool:
    """Ask for confirmation, unless there is nothing to take back."""
    preview = Summary()
    for _ in preview.counted(context.triage.undo(runs[-1].run_id, dry_run=True)):
        pass
    messages.say(_described(runs))
    preview.say(context, runs[-1], would=True)
    withdrawn = messages.plural(preview.counts[dm.Action.WITHDRAWN], "tickets")
    if runs[-1].kind == LEARN:
        return context.agrees("this erases the labelled texts of that run for good")
    return not preview.counts[dm.Action.WITHDRAWN] or context.agrees(f"this takes back {withdrawn} for good")


def _described(runs: Sequence[dm.Run]) -> str:
    """Return an import in a line: its id, when it was, what was typed, what it did."""
    counts: Counter[str] = Counter()
    for run in runs:
        counts.update({did: n for did, n in dm.from_json(run.counts).items() if did in summaries.CREATE_ACTIONS})
    began = f"{terminal.local_times(runs[0].started_at)[:16].replace('T', ' ')} ({terminal.time_zone()})"
    requests = f" in {len(runs)} runs" if len(runs) > 1 else ""
    did = messages.counted(counts, ()) or "killed before it counted"
    return f"import {dm.ids.short(runs[-1].run_id)}, {began}: {runs[0].command_line}{requests}; {did}"


class Summary:
    """Counts what became of an import's tickets, and to which destinations those that are taken back were sent."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()

    def counted(self, outcomes: Iterator[dm.Outcome[dm.Routed]]) -> Iterator[dm.Outcome[dm.Routed]]:
        """Yield outcomes, and count them."""
        for outcome in outcomes:
            self.counts[outcome.action] += 1
            if outcome.action == dm.Action.WITHDRAWN and outcome.value and outcome.value.ticket.routed_to:
                self._sent.update(outcome.value.ticket.routed_to.split(", "))
            yield outcome

    def say(self, context: CommandContext, run: dm.Run, *, would: bool = False) -> None:
        """Write the summary of a run's import: of what was done, or of what `would` be."""
        if run.kind == LEARN:  # it made no ticket, and what became of its labelled texts is told already
            return
        kept = [f"{self.counts[action]:,} {why}" for action, why in KEPT.items() if self.counts[action]]
        stays = f", {sum(self.counts[action] for action in KEPT):,} kept ({', '.join(kept)})" if kept else ""
        context.say(f"{self.counts[dm.Action.WITHDRAWN]:,} {'would be ' if would else ''}withdrawn{stays}")
        if not self.counts:
            gone = "note: no ticket of this import is left: it made none, or they are withdrawn already"
            context.say(f"{gone}{_other_import(context, run)}")
        if changed := self.counts[dm.Action.CHANGED]:
            were = "ticket was there before, and keeps" if changed == 1 else "tickets were there before, and keep"
            context.say(f"note: {changed:,} {were} what this import changed")
        if self._sent:
            places = summaries.listed_places(self._sent)
            context.say(f"note: sent before, or perhaps sent, and out of reach: {places}; a file there keeps it")


def _other_import(context: CommandContext, run: dm.Run) -> str:
    """Return the newest import of a run's actor whose tickets can be taken back; empty if none is known."""
    triage, others = context.look(), list[dm.Run]()
    with suppress(dm.RefusedError):  # of a remote only an administrator sees the runs
        others += triage.runs(MOST_LOOKED_AT)
    for other in others:
        if other.kind in dm.IMPORT_KINDS and other.actor == run.actor:
            with suppress(dm.UsageError):  # it is still at work
                if any(outcome.action == dm.Action.WITHDRAWN for outcome in triage.undo(other.run_id, dry_run=True)):
                    name = dm.ids.short(other.run_id)
                    return f"; those of import {name} are there: triage undo {name} --dry-run shows them"
    return ""


def _print(printer: Printer, columns: Sequence[str], outcomes: Iterator[dm.Outcome[dm.Routed]]) -> None:
    """Print the record of each ticket; a table has those that stay, since of the others no text is left."""
    shown = (o for o in outcomes if printer.format != "table" or o.action != dm.Action.WITHDRAWN)
    printer.many(shown, _record, columns, TICKETS_TABLE)


def _record(outcome: dm.Outcome[dm.Routed]) -> dict[str, Any] | None:
    record = dm.outcome_record(outcome)
    return None if record is None else record | {"did": outcome.action.value}
