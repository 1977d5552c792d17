"""Messages on stderr: notes, errors, summaries, and the wording of counts."""

import re
import sys
import traceback
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, TextIO

from triage_cli import domain as dm
from triage_cli.cli import live_line, safe_text, terminal
from triage_cli.cli.typed_commands import as_typed

if TYPE_CHECKING:  # an annotation is no reason to import it for every error
    from triage_cli.readers import Table

INDENT = 2  # columns before a message's further lines
NARROWEST_TERMINAL = 40  # columns; on a narrower terminal, messages are not wrapped
PREFIX_COLOURS = {
    **dict.fromkeys(("error", "failed", "rejected"), terminal.RED),
    **dict.fromkeys(("warning", "note"), terminal.YELLOW),
    "next": terminal.GREEN,
}
MESSAGE_PREFIX = re.compile(rf"({'|'.join(PREFIX_COLOURS)}):")
# What counts of tickets are called.
STATUS_LABELS = {"needs_review": "need review", "routing": "pending", "outdated": "not sent again"}
SINGULARS = {"were": "was"}
JSON_FORMATS = ("json", "jsonl")  # where one of these was typed, an error is a JSON object too


def say(text: str) -> None:
    """Write a message to stderr, as one line, with commands as typed here; if that fails, the command goes on."""
    _write_line(as_typed(text))


def say_lines(text: str) -> None:
    """Write lines to stderr as they are to be copied, not wrapped."""
    _write_message(safe_text.safe_lines(text) + "\n")


def _write_line(text: str) -> None:
    _write_message(formatted(safe_text.safe(text), sys.stderr) + "\n")


def formatted(message: str, stream: TextIO) -> str:
    """Return a message wrapped at words for the terminal, its first word (such as error) in colour."""
    columns = terminal.width(stream) if terminal.is_terminal(stream) else 0
    if columns >= NARROWEST_TERMINAL and len(message) * 2 >= columns:  # a character takes two columns at most
        from triage_cli.cli.text_layout import wrapped  # with tables of wide characters, for long messages alone

        message = "\n".join(wrapped(message, columns - 1, indent=INDENT, whole_words=True))
    prefix = MESSAGE_PREFIX.match(message)
    if prefix and terminal.has_colour(stream):
        message = terminal.styled(prefix.group(), PREFIX_COLOURS[prefix[1]]) + message[prefix.end() :]
    return message


def _write_message(message_line: str) -> None:
    with suppress(OSError), live_line.above():
        sys.stderr.write(message_line)
        sys.stderr.flush()


def ask(question: str) -> None:
    """Write a question to stderr, without a line end."""
    sys.stderr.write(safe_text.safe(question))
    sys.stderr.flush()


def error(problem: dm.TriageError, args: Sequence[str], *, trace: Exception | None = None) -> None:
    """Write an error message: a sentence, or an object with JSON output; with `trace`, the traceback comes first."""
    for trace_line in "".join(traceback.format_exception(trace)).splitlines() if trace else ():
        _write_line(trace_line)
    for config_problem in problem.problems if isinstance(problem, dm.ConfigError) else ():
        say(config_problem)
    if _has_json_output(args):
        json_message = dm.to_json(dm.error_record(problem.code, problem.message, _typed_hint(problem)))
        _write_message((safe_text.safe_json(json_message) if terminal.is_terminal(sys.stderr) else json_message) + "\n")
    else:
        _write_line(f"error: {sentence(problem)}")


def sentence(problem: dm.TriageError) -> str:
    """Return an error's message and hint as one line, the commands of the hint as they are typed here."""
    return joined(problem.message, _typed_hint(problem))


def _typed_hint(problem: dm.TriageError) -> str:
    return as_typed(problem.hint, there=isinstance(problem, dm.RefusedError))  # keys are made where the remote is


def remarks(input_tables: "Sequence[Table]") -> Iterator[str]:
    """Yield messages with the notes about inputs that are known only after reading."""
    for input_table in input_tables:
        for remark in input_table.remarks():
            yield f"{f'{input_table.name}: ' if len(input_tables) > 1 else ''}note: {remark}"


class RepeatedProblems:
    """Messages about problems of many tickets: each problem once, with the first ticket, and at the end their number.

    The message about a problem of the configuration or the machine names no tickets.
    """

    def __init__(self) -> None:
        self._ticket_counts: Counter[str] = Counter()

    def tell(self, did: str, problem: dm.TriageError, ticket: dm.Ticket | None) -> None:
        """Write a message about a problem of a ticket, unless one was written about the same problem."""
        short_id = dm.ids.short(ticket.ticket_id) if ticket else ""
        ticket_name = (ticket.external_id or short_id) if ticket and isinstance(problem, dm.ItemError) else ""
        sentence = f"{did}: {problem.sentence().removeprefix(f'{short_id}: ')}"
        if sentence not in self._ticket_counts:
            say(f"{sentence} ({ticket_name})" if ticket_name else sentence)
        self._ticket_counts[sentence] += isinstance(problem, dm.ItemError)

    def close(self) -> None:
        """Write messages with the numbers of tickets that have repeated problems."""
        for sentence, ticket_count in self._ticket_counts.items():
            if ticket_count > 1:
                say(f"{sentence} ({ticket_count:,} tickets)")
        self._ticket_counts.clear()


class ChangedTexts:
    """The note about texts that a command changed after they were sent: which destinations keep the earlier ones."""

    def __init__(self) -> None:
        self._changed = 0
        self._keep_earlier: Counter[str] = Counter()

    def add(self, outdated: Collection[str] | None) -> None:
        """Count the row of a ticket: where it is `outdated`, None if no sent text changed."""
        if outdated is not None:
            self._changed += 1
            self._keep_earlier.update(outdated)

    def note(self) -> str:
        """Return the note, or nothing."""
        if not self._changed:
            return ""
        changed = plural(self._changed, "texts changed after they were sent", "text changed after it was sent")
        if not self._keep_earlier:
            return f"note: {changed}, and {'was' if self._changed == 1 else 'were'} sent again"
        keepers = ", ".join(f"{name} ({count:,})" for name, count in self._keep_earlier.most_common())
        hint = "triage route ID --again sends the present one, and on_change: again in the config does so by itself"
        return f"note: {changed}; the earlier one is still at {keepers}; {hint}"


class UnknownLabels:
    """The note about cells in the columns of questions that are none of their values."""

    def __init__(self, questions: Iterable[dm.Question]) -> None:
        columns = (question for question in questions if question.column)  # a cell says something of each part, or none
        self._questions = {question.name.partition(dm.PART)[0]: question for question in columns}
        self._counts: Counter[str] = Counter()

    def add(self, ticket: dm.Ticket | None) -> None:
        """Count the row of a ticket."""
        columns = dm.from_json(ticket.extra) if self._questions and ticket is not None else {}
        for name, question in self._questions.items() if columns else ():
            cell = columns.get(question.column)
            self._counts[name] += cell is not None and question.label_of(cell) is None

    def note(self) -> str:
        """Return the note, or nothing."""
        unknown = [
            f"{plural(number, 'rows have', 'row has')} something in {question.column} that is no value of "
            f"{name}; questions.{name}.map says what it means"
            for name, question in self._questions.items()
            if (number := self._counts[name])
        ]
        return f"note: {'; '.join(unknown)}" if unknown else ""


class UnroutableTickets:
    """The message about the tickets of a run that no rule matches: one line at its end, also with -q."""

    def __init__(self) -> None:
        self._counts_by_category: Counter[str] = Counter()

    def add(self, category: str | None) -> None:
        """Count one more unroutable ticket for the message."""
        self._counts_by_category[category or "no category"] += 1

    def close(self) -> None:
        """Write the message: how many tickets are unroutable, their categories, and what to do."""
        if not self._counts_by_category:
            return
        unroutable_count = self._counts_by_category.total()
        category_counts = ", ".join(f"{name} ({count:,})" for name, count in self._counts_by_category.most_common())
        unroutable_tickets = plural(unroutable_count, "tickets are unroutable", "ticket is unroutable")
        say(
            f"{unroutable_tickets}, since no rule takes {'it' if unroutable_count == 1 else 'them'}: "
            f"{category_counts}; add one to routes in the config, then triage route"
        )


def _has_json_output(args: Sequence[str]) -> bool:
    arg_pairs = zip_longest(args, args[1:])
    return any(
        (arg in ("-o", "--output") and next_arg in JSON_FORMATS)
        or arg in [f"{option}{name}" for option in ("-o", "--output=", "-o=") for name in JSON_FORMATS]
        for arg, next_arg in arg_pairs
    )


def joined(*message_parts: str) -> str:
    """Return the non-empty parts of a message, joined to one line."""
    return "; ".join(filter(None, message_parts))


def plural(number: int, many: str, one: str | None = None) -> str:
    """Return a count for a message, as `3 tickets` or `1 ticket`; without `one`, the singular is made from `many`."""
    return f"{number:,} {_counted_noun(number, many, one)}"


def _counted_noun(number: int, many: str, one: str | None = None) -> str:
    if number != 1:
        return many
    first_word, space, rest = many.partition(" ")
    singular = f"{first_word[:-3]}y" if first_word.endswith("ies") else first_word.removesuffix("s")
    return one or f"{SINGULARS.get(first_word, singular)}{space}{rest}"


def still(number: int, status: str) -> str:
    """Return the message about tickets that a command for all of this status has left, or nothing."""
    is_one = number == 1
    if status == "routing":
        other_reason = f"{'its' if is_one else 'their'} next attempts come later: triage why ID says why, and when"
    else:
        other_reason = "it has just come" if is_one else "they have just come"
    state = dm.status_words(status)
    still_there = plural(number, f"tickets are still {state}", f"ticket is still {state}")
    note = f"note: {still_there}: another run holds {'it' if is_one else 'them'}, or {other_reason}"
    return note if number > 0 else ""


def need_you(number: int) -> str:
    """Return the message about tickets that need review, or nothing."""
    return f"{number:,} {'needs' if number == 1 else 'need'} you: triage review" if number else ""


def followed(number: int) -> str:
    """Return the message about tickets with the text of one that a person decided, or nothing."""
    has = "ticket has" if number == 1 else "tickets have"
    return f"{number:,} {has} the text of one that a person decided, and got its category" if number else ""


def cut_list(which: str, number: int) -> str:
    """Return the message that a list on a terminal shows only its first or its last rows."""
    return f"these are the {which} {number}: --limit N, or a pipe, shows more"


def way_back(counts: Mapping[str, int]) -> str:
    """Return the message about how an import with these counts is taken back; empty if it made no ticket."""
    return "triage undo takes this back" if counts.get("created") else ""


def counted(counts: Mapping[str, int], always: Iterable[str], labels: Mapping[str, str] | None = None) -> str:
    """Return counts for a message, as `12 created, 0 updated`: those in `always`, and others that are not 0."""
    labelled_counts = {name: (counts.get(name, 0), (labels or {}).get(name, name)) for name in (*always, *counts)}
    shown_counts = (labelled_counts[name] for name in labelled_counts if name in always or counts.get(name))
    return ", ".join(f"{count} {_counted_noun(count, many)}" for count, many in shown_counts)
