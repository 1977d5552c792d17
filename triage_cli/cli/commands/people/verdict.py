"""`triage verdict`: a person's category, for one ticket or many."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from triage_cli.cli import input_tables, messages, ticket_names, verdict_rows
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TICKETS_TABLE, Printer, TicketPrintOptions
from triage_cli.cli.verdict_rows import RejectedVerdicts, VerdictRow
from triage_cli.domain.errors import UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.runs import Outcome
from triage_cli.domain.serialization import TICKET_KEYS, outcome_record, ticket_record
from triage_cli.domain.tickets import Ticket, VerdictDraft

WORDS = {"verdict": "verdicts given", "cleared": "taken back"}


@remote_command
def verdict(
    session: CommandContext,
    name: Annotated[
        str | None, typer.Argument(metavar="ID|-", help="A ticket, or - for CSV or JSON Lines on stdin.")
    ] = None,
    category: Annotated[str | None, typer.Argument(metavar="[CATEGORY]", help="The category it belongs to.")] = None,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The reason, shown by why.", show_default=False)
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Take the verdict back: the machine's last answer holds again.")
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With -: write rejected rows to this file, each with its reason.", show_default=False
        ),
    ] = None,
    *,
    printing: TicketPrintOptions,
) -> int:
    """Set a person's category, which no machine changes. If the category is new, the next route sends the ticket on.

    \b
    triage verdict T-004 Technical --note "a login problem"
    triage verdict - < decided.csv         columns ticket_id (or external_id), category, note
    """
    _check(name, category, rejects, clear=clear)
    printer = printing.printer(quiet=session.quiet)
    printer.check_columns(TICKET_KEYS)
    if name == "-":
        return _many(session, printer, note, rejects, clear=clear)
    draft = VerdictDraft(0, session.triage.resolve(name or ""), category, note)
    for outcome in session.triage.give_verdicts([draft]):
        if outcome.error is not None:
            raise UsageError(outcome.error.message.removeprefix(f"{draft.name}: "), hint=outcome.error.hint)
        if outcome.value is not None:
            printer.one(ticket_record(outcome.value), TICKETS_TABLE, TICKET_KEYS)
            if session.guides and outcome.value.status == "classified":
                session.say("next: triage route")
    return ExitCode.OK


def _check(name: str | None, category: str | None, rejects: Path | None, *, clear: bool) -> None:
    """Raise `UsageError` where what was typed names no verdict."""
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


def _many(session: CommandContext, printer: Printer, note: str | None, rejects: Path | None, *, clear: bool) -> int:
    counts: Counter[str] = Counter()
    stdin = ticket_names.stdin()
    input_tables.check_written(session, rejects, "--rejects", (stdin.fileno(),))
    rows = verdict_rows.read_names(stdin) if clear else verdict_rows.read(stdin, note)
    rejected = RejectedVerdicts(rejects)
    try:
        outcomes = _outcomes(session, rows, rejected, counts)
        printer.many(outcomes, outcome_record, TICKET_KEYS, TICKETS_TABLE)
    finally:
        rejected.close()
        session.say(messages.counted(counts, ("cleared" if clear else "verdict", "unchanged", "rejected"), WORDS))
    if session.guides and counts["verdict"] + counts["cleared"]:
        session.say("next: triage route")
    return ExitCode.PARTIAL if counts["rejected"] else ExitCode.OK


def _outcomes(
    session: CommandContext, rows: Iterator[VerdictRow], rejected: RejectedVerdicts, counts: Counter[str]
) -> Iterator[Outcome[Ticket]]:
    given: dict[int, VerdictRow] = {}  # those whose outcome is still to come
    drafts = _drafts(session.stopper.interruptible(rows), given, rejected, counts)
    for outcome in session.triage.give_verdicts(drafts):
        counts[outcome.action] += 1
        row = given.pop(outcome.row or 0)
        if outcome.error is not None:
            rejected.add(row, outcome.error)
        yield outcome


def _drafts(
    rows: Iterator[VerdictRow], given: dict[int, VerdictRow], rejected: RejectedVerdicts, counts: Counter[str]
) -> Iterator[VerdictDraft]:
    """Yield what can be given; a row that cannot is told and does not stop the rest, one not judged is counted."""
    for row in rows:
        if row.draft is not None:
            given[row.draft.row] = row
            yield row.draft
        elif row.error is None:
            counts["skipped"] += 1
        else:
            counts["rejected"] += 1
            rejected.add(row, row.error)
