"""`triage verdict`: a person's category, for one ticket or many.

Many come from stdin: a CSV or JSON with a ticket and its category in each row, or names of tickets, to clear or to
give one category to.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count, zip_longest
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple

from triage_cli import domain as dm
from triage_cli.cli import input_tables, messages, summaries, ticket_id_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag, option
from triage_cli.cli.output import TICKETS_TABLE, Printer, TicketPrintOptions
from triage_cli.cli.rejects import opened_rejects
from triage_cli.readers import compact, csv_rows

CATEGORY_COLUMNS = ("category", "label", "verdict", "triage_category")
TRANSLATED_COLUMNS = frozenset({"kategorie", "categorie", "categoria"})  # compact
OBJECT_HINT = 'write {"ticket_id": …, "category": …}'
NAME_HINT = 'write {"ticket_id": …}'
VerdictRecord = Mapping[str, Any]
Answers = Mapping[str, str | None]  # by the question; None takes an answer back
ReadRow = tuple[str, VerdictRecord, dm.RowError | None]  # the place of a row, the row, and why it is none


class VerdictRow(NamedTuple):
    """A verdict of a row of an input, or why it is none; a row with an empty category has neither.

    `is_last` of those of the row; `is_typed`: the answer was typed, and is that of all rows.
    """

    place: str  # in the input, for messages
    record: VerdictRecord
    draft: dm.VerdictDraft | None = None
    error: dm.RowError | None = None
    is_json: bool = False
    is_last: bool = True
    is_typed: bool = False

    @property
    def ticket_name(self) -> str:
        """Return the ticket that the verdict is about, as the row names it: its external id rather than its id."""
        return _text_of(self.record, ("external_id",)) or _text_of(self.record, ticket_id_input.IDS)


def read_verdicts(stream: BinaryIO, note: str | None, questions: Sequence[str] = ()) -> Iterator[VerdictRow]:
    """Read verdicts from CSV with a header or from JSON. `note` is for rows without one of their own.

    Columns that are named after `questions` hold verdicts on these.
    """
    first_line, lines = ticket_id_input.opened_ids(stream)
    if not first_line:
        return
    if ticket_id_input.is_json(first_line):
        rows = _verdict_rows(_json_verdicts(first_line, lines), note, questions)
        yield from (row._replace(is_json=True) for row in rows)
    else:
        yield from _verdict_rows(_csv_verdicts(first_line, lines, questions), note, questions)


def _verdict_rows(read_rows: Iterator[ReadRow], note: str | None, questions: Sequence[str]) -> Iterator[VerdictRow]:
    row_numbers = count()
    for place, verdict_record, malformed in read_rows:
        if malformed is not None:
            yield VerdictRow(place, verdict_record, error=malformed)
            continue
        # Only the first of these columns is used: triage's own export also has `verdict`, which is no category.
        category_column = next((name for name in CATEGORY_COLUMNS if name in verdict_record), "")
        columns = {dm.CATEGORY: category_column} | {name: name for name in (*dm.whole_names(questions), *questions)}
        said = {q: value for q, column in columns.items() if (value := _text_of(verdict_record, (column,)))}
        present = [column for column in columns.values() if column in verdict_record]
        if present and all(verdict_record[column] in (None, "") for column in present):
            yield VerdictRow(place, verdict_record)
            continue
        name = _text_of(verdict_record, ticket_id_input.IDS)
        if name and said:
            source = _text_of(verdict_record, ("source",)) or None
            own_note = _text_of(verdict_record, ("note",)) or note
            given: dict[str, str | None] = {}
            for question, value in said.items():
                try:
                    given |= dm.spread(question, value, questions)
                except dm.UsageError as unknown:
                    error = dm.RowError(unknown.message, hint=unknown.hint)
                    yield VerdictRow(place, verdict_record, error=error)
            for left, (part, each) in zip(range(len(given) - 1, -1, -1), given.items(), strict=True):
                draft = dm.VerdictDraft(next(row_numbers), name, each, own_note, source=source, question=part)
                yield VerdictRow(place, verdict_record, draft, is_last=not left)
        else:
            problem = f"no category for {name}" if name else "no ticket_id"
            hint = "verdict - --clear takes verdicts back" if name else "fill in ticket_id or external_id"
            yield VerdictRow(place, verdict_record, error=dm.RowError(problem, hint=hint))


def read_names(stream: BinaryIO, given: Answers, note: str | None) -> Iterator[VerdictRow]:
    """Read the names of tickets that all get the same answers.

    Raises `InputError` if the first line of JSON is malformed; a later one is rejected.
    """
    first_line, lines = ticket_id_input.opened_ids(stream)
    if not ticket_id_input.is_json(first_line):
        yield from _named_rows(ticket_id_input.plain_names(first_line, lines), given, note)
        return
    is_verdict_array, row_numbers = first_line.lstrip().startswith("["), count()
    for number, (line, text, name, problem) in enumerate(ticket_id_input.json_names(first_line, lines)):
        place = dm.place_of(line, number + 1 if is_verdict_array else 0)
        if not problem:
            yield from _rows_of_ticket(VerdictRow(place, {"ticket_id": name}, is_json=True), given, note, row_numbers)
        elif number:
            yield VerdictRow(place, {"text": text.strip()}, error=dm.RowError(problem, hint=NAME_HINT), is_json=True)
        else:
            raise ticket_id_input.malformed(line, problem)


def _named_rows(names: Iterable[str], given: Answers, note: str | None) -> Iterator[VerdictRow]:
    row_numbers = count()
    for number, name in enumerate(names, 1):
        yield from _rows_of_ticket(VerdictRow(f"record {number}", {"ticket_id": name}), given, note, row_numbers)


def _rows_of_ticket(
    row: VerdictRow, given: Answers, note: str | None, row_numbers: Iterator[int]
) -> Iterator[VerdictRow]:
    """Yield a row for each answer about the ticket of a row."""
    for left, (question, value) in zip(range(len(given) - 1, -1, -1), given.items(), strict=True):
        own_note = None if value is None else note
        draft = dm.VerdictDraft(next(row_numbers), row.record["ticket_id"], value, own_note, question=question)
        yield row._replace(draft=draft, is_last=not left, is_typed=True)


def _text_of(verdict_record: VerdictRecord, keys: Sequence[str]) -> str:
    """Return the first text or number that a verdict's record has under one of the keys."""
    values = (verdict_record.get(key) for key in keys)
    texts = (value for value in values if isinstance(value, str | int) and not isinstance(value, bool) and value != "")
    return next((str(text).strip() for text in texts), "")


def _json_verdicts(first_line: str, lines: Iterator[str]) -> Iterator[ReadRow]:
    """Yield the verdicts of JSON Lines or of an array, in which several may share a line, each with its place.

    Raises `InputError` if the first one is malformed. A later one is rejected, so that no verdict before it is lost.
    """
    is_verdict_array = first_line.lstrip().startswith("[")
    for number, (line, text, verdict_record, problem) in enumerate(ticket_id_input.values(first_line, lines), 1):
        place = dm.place_of(line, number if is_verdict_array else 0)
        if not problem and isinstance(verdict_record, dict):
            yield place, verdict_record, None
        elif number > 1:
            yield place, {"text": text.strip()}, dm.RowError(problem or "no JSON object", hint=OBJECT_HINT)
        elif problem:
            raise ticket_id_input.malformed(line, problem)
        else:
            raise dm.InputError(f"{place} is no JSON object", hint=OBJECT_HINT)


def _csv_verdicts(first_line: str, lines: Iterator[str], questions: Sequence[str]) -> Iterator[ReadRow]:
    """Yield the rows of a CSV of verdicts, each with the line on which it begins."""
    delimiter, _ = ticket_id_input.columns_of(first_line)
    verdict_csv = csv_rows(chain([first_line], lines), delimiter)
    verdict_header = list(map(str.strip, next(verdict_csv)))
    columns = ticket_id_input.column_names(verdict_header)
    if not {*columns} & {*CATEGORY_COLUMNS}:
        columns = ["category" if compact(column) in TRANSLATED_COLUMNS else column for column in columns]
    subjects = (*CATEGORY_COLUMNS, *dm.whole_names(questions), *questions)
    needed_columns = (("ticket_id", ticket_id_input.IDS), ("category", subjects))
    if missing_columns := [name for name, names in needed_columns if not {*columns} & {*names}]:
        absent_columns = " and no column ".join(missing_columns)
        raise dm.InputError(
            f"the input has no column {absent_columns}; its columns are {', '.join(verdict_header)}",
            hint="name ticket_id (or external_id) and category in the first line",
        )
    last_at = verdict_csv.line_num
    for verdict_cells in verdict_csv:
        begins_at, last_at = last_at + 1, verdict_csv.line_num
        if any(cell.strip() for cell in verdict_cells):
            own_cells = map(str.strip, verdict_cells[: len(columns)])
            yield dm.place_of(begins_at), dict(zip_longest(columns, own_cells, fillvalue="")), None


VERDICT_LABELS = {"verdict": "verdicts given", "cleared": "taken back"}
REASON_COLUMN = "triage_error"  # the column with the reason of a rejected row, named as in `triage run`


@remote_command
def verdict(
    context: CommandContext,
    name: Annotated[
        str | None, argument("ID|-", "A ticket, or - for CSV, JSON Lines, or ids of one category, on stdin.")
    ] = None,
    answers: Annotated[
        list[str] | None,
        argument("[CATEGORY]", "The category it belongs to, or QUESTION=VALUE (QUESTION= takes it back)."),
    ] = None,
    note: Annotated[str | None, option("TEXT", "The reason, shown by why.")] = None,
    clear: Annotated[bool, flag("--clear", "Take the verdict back: the machine's last answer holds again.")] = False,
    rejects: Annotated[
        Path | None, option("FILE", "With -: write rejected rows to this file, each with its reason.")
    ] = None,
    *,
    printing: TicketPrintOptions,
) -> int:
    """Set a person's category, which no machine changes. If the category is new, the next route sends the ticket on.

    \b
    triage verdict T-004 Technical --note "a login problem"
    triage verdict T-004 urgency=now    a further question of the configuration
    triage verdict - < decided.csv    columns: external_id, category, note
    triage list --search invoice -o id | triage verdict - Billing
    triage verdict Billing T-004 T-007    several tickets, as xargs types them
    """
    if clear and note is not None:
        raise dm.UsageError("--clear takes no --note: it would be kept nowhere", hint="leave one of them out")
    _check_verdict_options(name, answers or (), rejects, clear=clear)
    printer = printing.printer(context.ticket_columns(), quiet=context.quiet, stop=context.stopper.stop)
    if name == "-" and not (clear or answers):
        given_rows = read_verdicts(ticket_id_input.stdin(), note, context.question_names)
        return _give_many(context, printer, given_rows, rejects)
    names, words = _tickets_and_words(context, name or "", answers or [])
    typed = _typed_answers(words, context.question_names)
    if names == ["-"]:
        return _give_many(context, printer, read_names(ticket_id_input.stdin(), typed, note), rejects, clear=clear)
    if len(names) > 1:
        return _give_many(context, printer, _named_rows(names, typed, note), rejects)
    (name,) = names
    ticket_id = context.triage.resolve(name)
    drafts = [
        dm.VerdictDraft(row, ticket_id, given, None if given is None else note, question=subject)
        for row, (subject, given) in enumerate(typed.items())
    ]
    outcomes = list(context.triage.give_verdicts(drafts))
    for draft, outcome in zip(drafts, outcomes, strict=True):
        if outcome.error is not None:
            raise _as_typed(draft, outcome.error)
    ticket = outcomes[-1].value
    if ticket is not None:
        printer.one(dm.ticket_record(ticket), TICKETS_TABLE, context.ticket_columns())
        if clear and outcomes[-1].action == dm.Action.UNCHANGED:
            context.say(f"note: {name} has no verdict to take back")
        if context.guides and ticket.status == "classified":
            context.say(f"next: {summaries.step_to_routing(context)}")
    return dm.ExitCode.OK


def _tickets_and_words(context: CommandContext, name: str, words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the named tickets, and the words that answer about them.

    A ticket comes first, unless that is a category and no other word is an answer: then all others are tickets.
    """
    if not words or name == "-":
        return [name], words
    categories = {category.name.casefold() for category in context.triage.categories()}
    is_answered = any("=" in word or word.casefold() in categories for word in words)
    return ([name], words) if is_answered or name.casefold() not in categories else (words, [name])


def _typed_answers(answers: Sequence[str], questions: Sequence[str]) -> dict[str, str | None]:
    """Return what is typed, by the question: None takes it back, as the category without any. Raises `UsageError`."""
    said: dict[str, str | None] = {}
    for word in answers:
        question, equals, value = word.partition("=")
        is_question = bool(equals) and question in (*questions, *dm.whole_names(questions))
        given = dm.spread(question, value.strip() or None, questions) if is_question else {dm.CATEGORY: word}
        if said.keys() & given.keys():
            subject = question if is_question else dm.CATEGORY
            hint = "give one" if is_question else "give one; for several tickets, triage verdict CATEGORY ID ID"
            raise dm.UsageError(f"two answers are given to {subject}", hint=hint)
        said |= given
    return said or {dm.CATEGORY: None}


def _as_typed(draft: dm.VerdictDraft, error: dm.TriageError) -> dm.UsageError:
    """Return the error about a typed answer that was rejected."""
    is_unknown = isinstance(error, dm.UnknownValueError)
    hint = error.hint + (_how_to_add(draft.question) if is_unknown else "")
    return dm.UsageError(error.message.removeprefix(f"{draft.name}: "), hint=hint)


def _how_to_add(question: str) -> str:
    """Return how a value of a question is added, for the end of a hint."""
    added = "categories:" if question == dm.CATEGORY else "questions:"
    then_learn = "then triage learn, since a version answers for its own list alone"
    return f"; to add one, write it to {added} of the config, {then_learn}"


def _check_verdict_options(name: str | None, category: Sequence[str], rejects: Path | None, *, clear: bool) -> None:
    """Raise `UsageError` if the arguments do not make a verdict."""
    if name is None:
        raise dm.UsageError(
            "no ticket is named", hint="triage verdict ID CATEGORY, or triage verdict - with CSV on stdin"
        )
    if clear and category:
        raise dm.UsageError("--clear takes no category", hint="give one or the other")
    if name != "-" and rejects is not None:
        raise dm.UsageError("--rejects is for rows on stdin, and a ticket is named", hint="triage verdict - < FILE")
    if name != "-" and not category and not clear:
        if Path(name).is_file():
            raise dm.UsageError(f"{name} is a file, and a ticket is named here", hint=f"triage verdict - < {name}")
        raise dm.UsageError("no category is given", hint="triage verdict ID CATEGORY, or --clear to take one back")


def _give_many(
    context: CommandContext,
    printer: Printer,
    verdict_rows: Iterator[VerdictRow],
    rejects: Path | None,
    *,
    clear: bool = False,
) -> int:
    """Give the verdicts of rows, or with `clear` take them back; return the exit code."""
    verdict_counts: Counter[str] = Counter()
    if rejects is not None:
        input_tables.check_written(context, rejects, "--rejects", (ticket_id_input.stdin().fileno(),))
    rejected_verdicts = RejectedVerdicts(rejects)
    try:
        verdict_outcomes = _verdict_outcomes(context, verdict_rows, rejected_verdicts, verdict_counts)
        printer.many(verdict_outcomes, dm.outcome_record, context.ticket_columns(), TICKETS_TABLE)
    finally:
        rejected_verdicts.close()
        always_counted = ("cleared" if clear else "verdict", "unchanged", "rejected")
        context.say(messages.counted(verdict_counts, always_counted, VERDICT_LABELS))
    if context.guides and verdict_counts["verdict"] + verdict_counts["cleared"]:
        context.say(f"next: {summaries.step_to_routing(context)}")
    return dm.ExitCode.PARTIAL if verdict_counts["rejected"] else dm.ExitCode.OK


def _verdict_outcomes(
    context: CommandContext, rows: Iterator[VerdictRow], rejected_verdicts: "RejectedVerdicts", counts: Counter[str]
) -> Iterator[dm.Outcome[dm.Ticket]]:
    """Yield the outcomes of verdicts: of those of one row that were taken, the last one."""
    unfinished_rows: dict[int, VerdictRow] = {}  # verdicts whose outcome is still to come
    taken: dm.Outcome[dm.Ticket] | None = None
    interruptible_rows = context.stopper.interruptible(rows)
    verdict_drafts = _verdict_drafts(interruptible_rows, unfinished_rows, rejected_verdicts, counts)
    for outcome in context.triage.give_verdicts(verdict_drafts):
        verdict_row = unfinished_rows.pop(outcome.row or 0)
        if verdict_row.is_typed and verdict_row.draft and isinstance(outcome.error, dm.UnknownValueError):
            raise _as_typed(verdict_row.draft, outcome.error)
        counts[outcome.action] += 1
        if outcome.error is not None:
            rejected_verdicts.add(verdict_row, outcome.error)
            yield outcome
        else:
            taken = outcome
        if verdict_row.is_last and taken is not None:
            yield taken
            taken = None


def _verdict_drafts(
    verdict_rows: Iterator[VerdictRow],
    unfinished_rows: dict[int, VerdictRow],
    rejected_verdicts: "RejectedVerdicts",
    verdict_counts: Counter[str],
) -> Iterator[dm.VerdictDraft]:
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
        self._rejects_file = opened_rejects(path) if path is not None else None
        self._reject_columns: list[str] = []

    def add(self, verdict_row: VerdictRow, error: dm.TriageError) -> None:
        """Report and write one rejected verdict."""
        ticket_name = verdict_row.ticket_name
        rejection_reason = error.sentence().removeprefix(f"{verdict_row.draft.name}: " if verdict_row.draft else "")
        messages.say(f"rejected: {verdict_row.place}{f' ({ticket_name})' if ticket_name else ''}: {rejection_reason}")
        if self._rejects_file is None:
            return
        rejected_record = {**verdict_row.record, REASON_COLUMN: rejection_reason}
        if verdict_row.is_json:
            self._rejects_file.write(dm.writable_text(dm.to_json(rejected_record)) + "\n")
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
