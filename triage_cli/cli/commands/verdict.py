"""`triage verdict`: a person's category, for one ticket or many."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from triage_cli.cli import input_tables, messages, ticket_id_input, verdict_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TICKETS_TABLE, Printer, TicketPrintOptions
from triage_cli.cli.rejects import opened
from triage_cli.cli.verdict_input import VerdictRow
from triage_cli.domain import (
    TICKET_KEYS,
    Action,
    ExitCode,
    Outcome,
    Ticket,
    TriageError,
    UsageError,
    VerdictDraft,
    outcome_record,
    ticket_record,
    to_json,
    writable_text,
)

VERDICT_LABELS = {"verdict": "verdicts given", "cleared": "taken back"}
REASON_COLUMN = "triage_error"  # the column with the reason of a rejected row, named as in `triage run`


@remote_command
def verdict(
    session: CommandContext,
    name: Annotated[
        str | None, typer.Argument(metavar="ID|-", help="A ticket, or - for CSV or JSON Lines on stdin.")
    ] = None,
    category: Annotated[str | None, typer.Argument(metavar="[CATEGORY]", help="The category it belongs to.")] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="The reason, shown by why.")] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Take the verdict back: the machine's last answer holds again.")
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With -: write rejected rows to this file, each with its reason."),
    ] = None,
    *,
    printing: TicketPrintOptions,
) -> int:
    """Set a person's category, which no machine changes. If the category is new, the next route sends the ticket on.

    \b
    triage verdict T-004 Technical --note "a login problem"
    triage verdict - < decided.csv    columns: external_id, category, note
    """
    if clear and note is not None:
        raise UsageError("--clear takes no --note: it would be kept nowhere", hint="leave one of them out")
    _check_verdict_options(name, category, rejects, clear=clear)
    printer = printing.printer(quiet=session.quiet, stop=session.stopper.stop)
    printer.check_columns(TICKET_KEYS)
    if name == "-":
        return _give_many(session, printer, note, rejects, clear=clear)
    draft = VerdictDraft(0, session.triage.resolve(name or ""), category, note)
    for verdict_outcome in session.triage.give_verdicts([draft]):
        if verdict_outcome.error is not None:
            raise UsageError(
                verdict_outcome.error.message.removeprefix(f"{draft.name}: "), hint=verdict_outcome.error.hint
            )
        if verdict_outcome.value is not None:
            printer.one(ticket_record(verdict_outcome.value), TICKETS_TABLE, TICKET_KEYS)
            if clear and verdict_outcome.action == Action.UNCHANGED:
                session.say(f"note: {name} has no verdict to take back")
            if session.guides and verdict_outcome.value.status == "classified":
                session.say("next: triage route")
    return ExitCode.OK


def _check_verdict_options(name: str | None, category: str | None, rejects: Path | None, *, clear: bool) -> None:
    """Raise `UsageError` if the arguments do not make a verdict."""
    if name is None:
        raise UsageError("no ticket is named", hint="triage verdict ID CATEGORY, or triage verdict - with CSV on stdin")
    if clear and category is not None:
        raise UsageError("--clear takes no category", hint="give one or the other")
    if name == "-" and category is not None:
        raise UsageError("with - the categories come from stdin", hint="pipe ticket_id,category")
    if name != "-" and rejects is not None:
        raise UsageError("--rejects is for rows on stdin, and a ticket is named", hint="triage verdict - < FILE")
    if name != "-" and category is None and not clear:
        if Path(name).is_file():
            raise UsageError(f"{name} is a file, and a ticket is named here", hint=f"triage verdict - < {name}")
        raise UsageError("no category is given", hint="triage verdict ID CATEGORY, or --clear to take one back")


def _give_many(
    session: CommandContext, printer: Printer, note: str | None, rejects: Path | None, *, clear: bool
) -> int:
    verdict_counts: Counter[str] = Counter()
    stdin = ticket_id_input.stdin()
    input_tables.check_written(session, rejects, "--rejects", (stdin.fileno(),))
    verdict_rows = verdict_input.read_cleared_names(stdin) if clear else verdict_input.read_verdicts(stdin, note)
    rejected_verdicts = RejectedVerdicts(rejects)
    try:
        verdict_outcomes = _verdict_outcomes(session, verdict_rows, rejected_verdicts, verdict_counts)
        printer.many(verdict_outcomes, outcome_record, TICKET_KEYS, TICKETS_TABLE)
    finally:
        rejected_verdicts.close()
        always_counted = ("cleared" if clear else "verdict", "unchanged", "rejected")
        session.say(messages.counted(verdict_counts, always_counted, VERDICT_LABELS))
    if session.guides and verdict_counts["verdict"] + verdict_counts["cleared"]:
        session.say("next: triage route")
    return ExitCode.PARTIAL if verdict_counts["rejected"] else ExitCode.OK


def _verdict_outcomes(
    session: CommandContext,
    verdict_rows: Iterator[VerdictRow],
    rejected_verdicts: "RejectedVerdicts",
    verdict_counts: Counter[str],
) -> Iterator[Outcome[Ticket]]:
    unfinished_rows: dict[int, VerdictRow] = {}  # verdicts whose outcome is still to come
    interruptible_rows = session.stopper.interruptible(verdict_rows)
    verdict_drafts = _verdict_drafts(interruptible_rows, unfinished_rows, rejected_verdicts, verdict_counts)
    for verdict_outcome in session.triage.give_verdicts(verdict_drafts):
        verdict_counts[verdict_outcome.action] += 1
        verdict_row = unfinished_rows.pop(verdict_outcome.row or 0)
        if verdict_outcome.error is not None:
            rejected_verdicts.add(verdict_row, verdict_outcome.error)
        yield verdict_outcome


def _verdict_drafts(
    verdict_rows: Iterator[VerdictRow],
    unfinished_rows: dict[int, VerdictRow],
    rejected_verdicts: "RejectedVerdicts",
    verdict_counts: Counter[str],
) -> Iterator[VerdictDraft]:
    """Yield the verdicts of rows.

    A row with a mistake is reported and does not stop other verdicts; a row without a category is counted.
    """
    for verdict_row in verdict_rows:
        if verdict_row.draft is not None:
            unfinished_rows[verdict_row.draft.row] = verdict_row
            yield verdict_row.draft
        elif verdict_row.error is None:
            verdict_counts["skipped"] += 1
        else:
            verdict_counts["rejected"] += 1
            rejected_verdicts.add(verdict_row, verdict_row.error)


class RejectedVerdicts:
    """Reports rejected verdicts with place, ticket and reason, and writes them as CSV or JSON Lines if asked to."""

    def __init__(self, path: Path | None) -> None:
        self._rejects_file = opened(path) if path is not None else None
        self._reject_columns: list[str] = []

    def add(self, verdict_row: VerdictRow, error: TriageError) -> None:
        """Report and write one rejected verdict."""
        ticket_name = verdict_row.ticket_name
        rejection_reason = error.sentence().removeprefix(f"{verdict_row.draft.name}: " if verdict_row.draft else "")
        messages.say(f"rejected: {verdict_row.place}{f' ({ticket_name})' if ticket_name else ''}: {rejection_reason}")
        if self._rejects_file is None:
            return
        rejected_record = {**verdict_row.record, REASON_COLUMN: rejection_reason}
        if verdict_row.is_json:
            self._rejects_file.write(writable_text(to_json(rejected_record)) + "\n")
            return
        rejects_writer = csv.writer(self._rejects_file, lineterminator="\n")
        if not self._reject_columns:
            self._reject_columns = list(rejected_record)
            rejects_writer.writerow(self._reject_columns)
        rejects_writer.writerow([rejected_record.get(column, "") for column in self._reject_columns])

    def close(self) -> None:
        """Close the file of rejected verdicts."""
        if self._rejects_file is not None:
            self._rejects_file.close()
