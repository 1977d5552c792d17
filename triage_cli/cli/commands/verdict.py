"""`triage verdict`: a person's category, for one ticket or many."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Annotated, Any, BinaryIO

import typer

from triage_cli.cli import input_files, messages, options
from triage_cli.cli.context import CommandContext, served
from triage_cli.cli.output import Columns, Excel, Output, Printer
from triage_cli.domain.errors import InputError, RowError, UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.runs import Outcome
from triage_cli.domain.serialization import TICKET_KEYS, outcome_record, ticket_record
from triage_cli.domain.tickets import Rejected, Ticket, VerdictDraft
from triage_cli.readers import csv_rows

WORDS = {"verdict": "verdicts given", "cleared": "taken back"}
CATEGORIES = ("category", "label", "verdict", "triage_category")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("verdict")(verdict)


@served
def verdict(
    session: CommandContext,
    name: Annotated[
        str | None, typer.Argument(metavar="ID|-", help="A ticket, or - for CSV or JSON Lines on stdin.")
    ] = None,
    category: Annotated[str | None, typer.Argument(metavar="[CATEGORY]", help="What it is.")] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.", show_default=False)] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take it back: what the machine said holds again.")] = False,
    output: Output = None,
    columns: Columns = None,
    excel: Excel = False,
) -> int:
    """Set a person's category, which no machine changes; the next route sends the ticket on if it is another one.

    \b
    triage verdict T-004 Technical --note "a login problem"
    triage verdict - < decided.csv         columns ticket_id (or external_id), category, note
    """
    if name is None:
        raise UsageError("no ticket is named", hint="triage verdict ID CATEGORY, or triage verdict - with CSV on stdin")
    if clear and category is not None:
        raise UsageError("--clear takes no category", hint="give one or the other")
    printer = Printer(output, columns, excel=excel, quiet=session.quiet)
    printer.check_columns(TICKET_KEYS)
    if name == "-":
        if category is not None:
            raise UsageError("with - the categories come from stdin", hint="pipe ticket_id,category")
        return _many(session, printer, note, clear=clear)
    if category is None and not clear:
        raise UsageError("no category is given", hint="triage verdict ID CATEGORY, or --clear to take one back")
    draft = VerdictDraft(0, session.triage.resolve(name), category, note)
    for outcome in session.triage.give_verdicts([draft]):
        if outcome.error is not None:
            raise UsageError(outcome.error.message.removeprefix(f"{draft.name}: "), hint=outcome.error.hint)
        if outcome.value is not None:
            printer.one(ticket_record(outcome.value), _table, TICKET_KEYS)
            if session.guides and outcome.value.status == "classified":
                session.say("next: triage route")
    return ExitCode.OK


def _many(session: CommandContext, printer: Printer, note: str | None, *, clear: bool) -> int:
    counts: Counter[str] = Counter()
    if clear:
        drafts: Iterator[VerdictDraft] = _named(input_files.names(options.stdin()))
    else:
        drafts = _given(_drafts(options.stdin(), note), counts)
    try:
        outcomes = _outcomes(session, session.stopper.interruptible(drafts), counts)
        printer.many(outcomes, outcome_record, TICKET_KEYS, _table)
    finally:
        session.say(messages.counted(counts, ("cleared" if clear else "verdict", "unchanged", "rejected"), WORDS))
    if session.guides and counts["verdict"] + counts["cleared"]:
        session.say("next: triage route")
    return ExitCode.PARTIAL if counts["rejected"] else ExitCode.OK


def _given(rows: Iterator[VerdictDraft | Rejected | None], counts: Counter[str]) -> Iterator[VerdictDraft]:
    """Yield what can be given; a row that cannot is told and does not stop the rest, one not judged is counted."""
    for row in rows:
        if isinstance(row, VerdictDraft):
            yield row
        elif row is None:
            counts["skipped"] += 1
        else:
            counts["rejected"] += 1
            messages.say(f"rejected: {row.error.sentence()}")


def _named(names: Iterator[str]) -> Iterator[VerdictDraft]:
    for row, name in enumerate(names):
        yield VerdictDraft(row, name, None)


def _outcomes(
    session: CommandContext, drafts: Iterator[VerdictDraft], counts: Counter[str]
) -> Iterator[Outcome[Ticket]]:
    for outcome in session.triage.give_verdicts(drafts):
        counts[outcome.action] += 1
        if outcome.error is not None:
            messages.say(f"rejected: {outcome.error.sentence()}")
        yield outcome


def _drafts(stream: BinaryIO, note: str | None) -> Iterator[VerdictDraft | Rejected | None]:
    """Read verdicts from CSV with a header or from JSON; None is a row whose category was left empty.

    A row without a ticket, or with no place for a category, is rejected.
    """
    first, lines = input_files.opened(stream)
    if not first:
        return
    records = _objects(first, lines) if input_files.is_json(first) else _cells(first, lines)
    row = 0
    for line, record in records:
        # The first that is there alone: an export of ours has a `verdict` too, which is no category.
        column = next((name for name in CATEGORIES if name in record), "")
        if column and record[column] in (None, ""):
            yield None
            continue
        name, category = _text(record, input_files.IDS), _text(record, (column,))
        if not name or not category:
            problem = f"line {line}: {f'no category for {name}' if name else 'no ticket_id'}"
            yield Rejected(row, line, RowError(problem, hint="verdict - --clear takes verdicts back"))
            continue
        yield VerdictDraft(row, name, category, _text(record, ("note",)) or note)
        row += 1


def _text(record: Mapping[str, Any], keys: Sequence[str]) -> str:
    found = (record.get(key) for key in keys)
    return next((str(v).strip() for v in found if isinstance(v, str | int) and not isinstance(v, bool) and v != ""), "")


def _objects(first: str, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, record in input_files.values(first, lines):
        if not isinstance(record, dict):
            raise InputError(f"line {line} is no JSON object", hint='write {"ticket_id": …, "category": …}')
        yield line, record


def _cells(first: str, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    delimiter = max(",;\t", key=first.count)
    reader = csv_rows(chain([first], lines), delimiter)
    columns = [column.strip().lower() for column in next(reader)]
    if not {*columns} & {*input_files.IDS} or not {*columns} & {*CATEGORIES}:
        raise InputError(
            f"no columns ticket_id and category among {', '.join(columns)}", hint="name them so in the first line"
        )
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, dict(zip_longest(columns, map(str.strip, cells[: len(columns)]), fillvalue=""))


def _table(records: Any) -> object:
    from triage_cli.cli import tables

    return tables.tickets(records)
