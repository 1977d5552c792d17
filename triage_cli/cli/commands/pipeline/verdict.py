"""`triage verdict`: a person's category, for one ticket or many."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple

import typer

from triage_cli.cli import input_tables, messages, ticket_id_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TICKETS_TABLE, Printer, TicketPrintOptions
from triage_cli.cli.rejects import opened
from triage_cli.domain.errors import InputError, RowError, TriageError, UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.serialization import TICKET_KEYS, outcome_record, ticket_record, to_json
from triage_cli.domain.tickets import Ticket, VerdictDraft, place_of
from triage_cli.readers import compact, csv_rows

WORDS = {"verdict": "verdicts given", "cleared": "taken back"}
CATEGORIES = ("category", "label", "verdict", "triage_category")
TRANSLATED = frozenset({"kategorie", "categorie", "categoria"})  # compact
OBJECT_HINT = 'write {"ticket_id": …, "category": …}'
NAME_HINT = 'write {"ticket_id": …}'
REASON = "triage_error"  # the column with the reason of a rejected row, named as in `triage run`
Record = Mapping[str, Any]
Read = tuple[str, Record, RowError | None]  # the place of a row, the row, and why it is none


class VerdictRow(NamedTuple):
    """One row: a verdict, or the reason why it is none. A row with an empty category has neither."""

    place: str  # in the input, for messages
    record: Record
    draft: VerdictDraft | None = None
    error: RowError | None = None
    is_json: bool = False


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
    _check(name, category, rejects, clear=clear)
    printer = printing.printer(quiet=session.quiet, stop=session.stopper.stop)
    printer.check_columns(TICKET_KEYS)
    if name == "-":
        return _many(session, printer, note, rejects, clear=clear)
    draft = VerdictDraft(0, session.triage.resolve(name or ""), category, note)
    for outcome in session.triage.give_verdicts([draft]):
        if outcome.error is not None:
            raise UsageError(outcome.error.message.removeprefix(f"{draft.name}: "), hint=outcome.error.hint)
        if outcome.value is not None:
            printer.one(ticket_record(outcome.value), TICKETS_TABLE, TICKET_KEYS)
            if clear and outcome.action == Action.UNCHANGED:
                session.say(f"note: {name} has no verdict to take back")
            if session.guides and outcome.value.status == "classified":
                session.say("next: triage route")
    return ExitCode.OK


def _check(name: str | None, category: str | None, rejects: Path | None, *, clear: bool) -> None:
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


def _many(session: CommandContext, printer: Printer, note: str | None, rejects: Path | None, *, clear: bool) -> int:
    counts: Counter[str] = Counter()
    stdin = ticket_id_input.stdin()
    input_tables.check_written(session, rejects, "--rejects", (stdin.fileno(),))
    verdict_rows = _read_names(stdin) if clear else _read(stdin, note)
    rejected = RejectedVerdicts(rejects)
    try:
        outcomes = _outcomes(session, verdict_rows, rejected, counts)
        printer.many(outcomes, outcome_record, TICKET_KEYS, TICKETS_TABLE)
    finally:
        rejected.close()
        session.say(messages.counted(counts, ("cleared" if clear else "verdict", "unchanged", "rejected"), WORDS))
    if session.guides and counts["verdict"] + counts["cleared"]:
        session.say("next: triage route")
    return ExitCode.PARTIAL if counts["rejected"] else ExitCode.OK


def _outcomes(
    session: CommandContext, verdict_rows: Iterator[VerdictRow], rejected: "RejectedVerdicts", counts: Counter[str]
) -> Iterator[Outcome[Ticket]]:
    unfinished_rows: dict[int, VerdictRow] = {}  # those whose outcome is still to come
    drafts = _drafts(session.stopper.interruptible(verdict_rows), unfinished_rows, rejected, counts)
    for outcome in session.triage.give_verdicts(drafts):
        counts[outcome.action] += 1
        row = unfinished_rows.pop(outcome.row or 0)
        if outcome.error is not None:
            rejected.add(row, outcome.error)
        yield outcome


def _drafts(
    rows: Iterator[VerdictRow],
    unfinished_rows: dict[int, VerdictRow],
    rejected: "RejectedVerdicts",
    counts: Counter[str],
) -> Iterator[VerdictDraft]:
    """Yield the verdicts.

    A row with a mistake is reported and does not stop the others; a row without a category is counted.
    """
    for row in rows:
        if row.draft is not None:
            unfinished_rows[row.draft.row] = row
            yield row.draft
        elif row.error is None:
            counts["skipped"] += 1
        else:
            counts["rejected"] += 1
            rejected.add(row, row.error)


def _read(stream: BinaryIO, note: str | None) -> Iterator[VerdictRow]:
    """Read verdicts from CSV with a header or from JSON. `note` is for rows without one of their own."""
    first, lines = ticket_id_input.opened(stream)
    if not first:
        return
    if ticket_id_input.is_json(first):
        yield from (row._replace(is_json=True) for row in _verdicts(_objects(first, lines), note))
    else:
        yield from _verdicts(_cells(first, lines), note)


def _verdicts(rows: Iterator[Read], note: str | None) -> Iterator[VerdictRow]:
    for row, (place, record, malformed) in enumerate(rows):
        if malformed is not None:
            yield VerdictRow(place, record, error=malformed)
            continue
        # Only the first of these columns is used: triage's own export also has `verdict`, which is no category.
        column = next((name for name in CATEGORIES if name in record), "")
        if column and record[column] in (None, ""):
            yield VerdictRow(place, record)
            continue
        name, category = _text(record, ticket_id_input.IDS), _text(record, (column,))
        if name and category:
            source = _text(record, ("source",)) or None
            draft = VerdictDraft(row, name, category, _text(record, ("note",)) or note, source=source)
            yield VerdictRow(place, record, draft)
        else:
            problem = f"no category for {name}" if name else "no ticket_id"
            hint = "verdict - --clear takes verdicts back" if name else "fill in ticket_id or external_id"
            yield VerdictRow(place, record, error=RowError(problem, hint=hint))


def _read_names(stream: BinaryIO) -> Iterator[VerdictRow]:
    """Read the names of tickets whose verdicts are to be removed.

    Raises `InputError` if the first line of JSON is malformed; a later one is rejected.
    """
    first, lines = ticket_id_input.opened(stream)
    if not ticket_id_input.is_json(first):
        for row, name in enumerate(ticket_id_input.plain_names(first, lines)):
            yield VerdictRow(f"record {row + 1}", {"ticket_id": name}, VerdictDraft(row, name, None))
        return
    is_array = first.lstrip().startswith("[")
    for row, (line, text, name, problem) in enumerate(ticket_id_input.json_names(first, lines)):
        place = place_of(line, row + 1 if is_array else 0)
        if not problem:
            yield VerdictRow(place, {"ticket_id": name}, VerdictDraft(row, name, None), is_json=True)
        elif row:
            yield VerdictRow(place, {"text": text.strip()}, error=RowError(problem, hint=NAME_HINT), is_json=True)
        else:
            raise ticket_id_input.malformed(line, problem)


def _text(record: Record, keys: Sequence[str]) -> str:
    cells = (record.get(key) for key in keys)
    return next((str(v).strip() for v in cells if isinstance(v, str | int) and not isinstance(v, bool) and v != ""), "")


def _objects(first: str, lines: Iterator[str]) -> Iterator[Read]:
    """Yield the objects of JSON Lines or of an array, in which several may share a line, each with its place.

    Raises `InputError` if the first one is malformed. A later one is rejected, so that no verdict before it is lost.
    """
    is_array = first.lstrip().startswith("[")
    for number, (line, text, record, problem) in enumerate(ticket_id_input.values(first, lines), 1):
        place = place_of(line, number if is_array else 0)
        if not problem and isinstance(record, dict):
            yield place, record, None
        elif number > 1:
            yield place, {"text": text.strip()}, RowError(problem or "no JSON object", hint=OBJECT_HINT)
        elif problem:
            raise ticket_id_input.malformed(line, problem)
        else:
            raise InputError(f"{place} is no JSON object", hint=OBJECT_HINT)


def _cells(first: str, lines: Iterator[str]) -> Iterator[Read]:
    """Yield the rows of a CSV, each with the line on which it begins."""
    delimiter, _ = ticket_id_input.columns_of(first)
    reader = csv_rows(chain([first], lines), delimiter)
    header = list(map(str.strip, next(reader)))
    columns = ticket_id_input.column_names(header)
    if not {*columns} & {*CATEGORIES}:
        columns = ["category" if compact(column) in TRANSLATED else column for column in columns]
    needed = (("ticket_id", ticket_id_input.IDS), ("category", CATEGORIES))
    if missing := [name for name, names in needed if not {*columns} & {*names}]:
        raise InputError(
            f"the input has no column {' and no column '.join(missing)}; its columns are {', '.join(header)}",
            hint="name ticket_id (or external_id) and category in the first line",
        )
    last = reader.line_num
    for cells in reader:
        begins, last = last + 1, reader.line_num
        if any(cell.strip() for cell in cells):
            record = dict(zip_longest(columns, map(str.strip, cells[: len(columns)]), fillvalue=""))
            yield place_of(begins), record, None


class RejectedVerdicts:
    """Reports rejected rows with place, ticket and reason, and writes them as CSV or JSON Lines if asked to."""

    def __init__(self, path: Path | None) -> None:
        self._file = opened(path) if path is not None else None
        self._columns: list[str] = []

    def add(self, verdict_row: VerdictRow, error: TriageError) -> None:
        """Report and write one row."""
        named = _text(verdict_row.record, ("external_id",)) or _text(verdict_row.record, ticket_id_input.IDS)
        reason = error.sentence().removeprefix(f"{verdict_row.draft.name}: " if verdict_row.draft else "")
        messages.say(f"rejected: {verdict_row.place}{f' ({named})' if named else ''}: {reason}")
        if self._file is None:
            return
        record = {**verdict_row.record, REASON: reason}
        if verdict_row.is_json:
            self._file.write(to_json(record) + "\n")
            return
        writer = csv.writer(self._file, lineterminator="\n")
        if not self._columns:
            self._columns = list(record)
            writer.writerow(self._columns)
        writer.writerow([record.get(column, "") for column in self._columns])

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
