"""Messages on stderr: notes, errors, summaries, and the wording of counts."""

import sys
import traceback
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING

from triage_cli.cli import live_line, terminal
from triage_cli.domain import ids
from triage_cli.domain.errors import ConfigError, ItemError, TriageError
from triage_cli.domain.serialization import error_record, to_json
from triage_cli.domain.tickets import Ticket

if TYPE_CHECKING:  # an annotation is no reason to import it for every error
    from triage_cli.readers import Table

ONE = {"were": "was"}
JSON_FORMATS = ("json", "jsonl")  # where one of these was typed, an error is a JSON object too


def say(text: str) -> None:
    """Write one line to stderr; if that fails, the command goes on."""
    _put(terminal.message(terminal.safe(text), sys.stderr) + "\n")


def _put(line: str) -> None:
    with suppress(OSError), live_line.above():
        sys.stderr.write(line)
        sys.stderr.flush()


def ask(question: str) -> None:
    """Write a question to stderr, without a line end."""
    sys.stderr.write(terminal.safe(question))
    sys.stderr.flush()


def error(problem: TriageError, args: Sequence[str], *, trace: Exception | None = None) -> None:
    """Write an error: one sentence, or a JSON object with JSON output; with `trace`, the traceback comes first."""
    for line in "".join(traceback.format_exception(trace)).splitlines() if trace else ():
        say(line)
    problems = problem.problems if isinstance(problem, ConfigError) else ()
    for line in problems:
        say(line)
    if _wants_json(args):
        record = to_json(error_record(problem.code, problem.message, problem.hint))
        _put((terminal.safe_json(record) if terminal.is_terminal(sys.stderr) else record) + "\n")
    else:
        say(f"error: {problem.sentence()}")


def remarks(read: "Sequence[Table]") -> Iterator[str]:
    """Write the notes about inputs that are known only after reading."""
    for table in read:
        for remark in table.remarks():
            yield f"{f'{table.name}: ' if len(read) > 1 else ''}note: {remark}"


class Repeats:
    """Reports a problem of many tickets once, with the first ticket, and at the end their number.

    A problem of the configuration or the machine is reported without tickets.
    """

    def __init__(self) -> None:
        self._number: Counter[str] = Counter()

    def tell(self, did: str, problem: TriageError, ticket: Ticket | None) -> None:
        """Report a problem of a ticket, if it is a new one."""
        short = ids.short(ticket.ticket_id) if ticket else ""
        name = (ticket.external_id or short) if ticket and isinstance(problem, ItemError) else ""
        sentence = f"{did}: {problem.sentence().removeprefix(f'{short}: ')}"
        if sentence not in self._number:
            say(f"{sentence} ({name})" if name else sentence)
        self._number[sentence] += isinstance(problem, ItemError)

    def close(self) -> None:
        """Report the numbers of repeated problems."""
        for sentence, number in self._number.items():
            if number > 1:
                say(f"{sentence} ({number:,} tickets)")
        self._number.clear()


class Unroutable:
    """Reports the tickets of a run that no rule matches, in one line at its end, also with -q."""

    def __init__(self) -> None:
        self._by_category: Counter[str] = Counter()

    def add(self, category: str | None) -> None:
        """Count one more."""
        self._by_category[category or "no category"] += 1

    def close(self) -> None:
        """Report their number, their categories, and what to do."""
        if not self._by_category:
            return
        number = self._by_category.total()
        listed = ", ".join(f"{name} ({count:,})" for name, count in self._by_category.most_common())
        say(
            f"{plural(number, 'tickets are unroutable', 'ticket is unroutable')}, since no rule takes "
            f"{'it' if number == 1 else 'them'}: {listed}; add one to routes in the config, then triage route"
        )


def _wants_json(args: Sequence[str]) -> bool:
    pairs = zip_longest(args, args[1:])
    return any(
        (word in ("-o", "--output") and after in JSON_FORMATS)
        or word in [f"{option}{name}" for option in ("-o", "--output=", "-o=") for name in JSON_FORMATS]
        for word, after in pairs
    )


def joined(*parts: str) -> str:
    """Return the non-empty parts, joined to one line."""
    return "; ".join(filter(None, parts))


def plural(number: int, many: str, one: str | None = None) -> str:
    """Return `3 tickets` or `1 ticket`; without `one`, the singular is made from the first word of `many`."""
    return f"{number:,} {_words(number, many, one)}"


def _words(number: int, many: str, one: str | None = None) -> str:
    if number != 1:
        return many
    first, space, rest = many.partition(" ")
    singular = f"{first[:-3]}y" if first.endswith("ies") else first.removesuffix("s")
    return one or f"{ONE.get(first, singular)}{space}{rest}"


def still(number: int, status: str) -> str:
    """Return a note about tickets that a command for all of this status has left, or nothing."""
    one = number == 1
    if status == "routing":
        otherwise = f"{'its' if one else 'their'} deliveries are due later: triage why ID says why, and when"
    else:
        otherwise = "it has just come" if one else "they have just come"
    left = plural(number, f"tickets are still {status}", f"ticket is still {status}")
    return f"note: {left}: another run holds {'it' if one else 'them'}, or {otherwise}" if number > 0 else ""


def cut(which: str, number: int) -> str:
    """Return the note that a list on a terminal shows only its first or its last rows."""
    return f"these are the {which} {number}: --limit N, or a pipe, shows more"


def after_storing(statuses: Collection[str]) -> str:
    """Return what to do next where tickets of these statuses were created or updated; empty if there is nothing."""
    if "new" in statuses:
        return "next: triage classify"
    return "next: triage route" if "classified" in statuses else ""


def counted(counts: Mapping[str, int], always: Iterable[str], labels: Mapping[str, str] | None = None) -> str:
    """Return counts as `12 created, 0 updated`: those in `always`, and others that are not 0."""
    numbers = {name: (counts.get(name, 0), (labels or {}).get(name, name)) for name in (*always, *counts)}
    shown = (numbers[name] for name in numbers if name in always or counts.get(name))
    return ", ".join(f"{number} {_words(number, many)}" for number, many in shown)
