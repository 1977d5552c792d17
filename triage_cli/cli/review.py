"""`triage review`: what waits for a person, one ticket a screen, one key a category."""

import os
import shutil
import string
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import typer

from triage_cli.cli import inputs, telling
from triage_cli.cli.session import Session, served
from triage_cli.errors import ExitCode, UsageError
from triage_cli.models import Selection, Ticket, VerdictDraft

QUIT, SKIP, UNDO, MORE, ACCEPT, FIND = "q", "s", "u", " ", "\r", "/"
DIGITS = "123456789"
CLEAR, BOLD, DIM, PLAIN = "\x1b[H\x1b[2J\x1b[3J", "\x1b[1m", "\x1b[2m", "\x1b[0m"
LEAST = 40  # columns that are written to even where a terminal says it has fewer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("review")(review)


@served
def review(session: Session, limit: inputs.Limit = None) -> int:
    """Work through what waits for a person, the most informative first; each key is stored at once.

    \b
    triage review              then: triage route
    """
    if not (telling.on_terminal(sys.stdin) and telling.on_terminal(sys.stdout)):
        raise UsageError(
            "review needs a terminal",
            hint="triage list --status needs_review -o csv gives a table to fill in, triage verdict - takes it",
        )
    categories = session.triage.categories()
    tickets = list(islice(session.triage.find(Selection(order="review", limit=limit)), limit))
    if not tickets:
        session.say("nothing waits for a person")
        return ExitCode.OK
    desk = Desk(session, tickets, [category.name for category in categories])
    try:
        with _one_key_at_a_time(sys.stdin.fileno()):
            desk.work(session.stopper.interruptible(_keys(sys.stdin.fileno())))
    finally:
        sys.stdout.write(CLEAR)
        sys.stdout.flush()
        session.say(desk.summary())
    if desk.given:
        session.say("next: triage route")
    return ExitCode.OK


class Step(NamedTuple):
    """What was done with a ticket: a category, or None where it was skipped."""

    ticket: Ticket
    category: str | None


class Desk:
    """The tickets of one sitting and what was done with them, so that it can be undone."""

    def __init__(self, session: Session, tickets: Sequence[Ticket], names: Sequence[str]) -> None:
        self._session = session
        self._tickets = list(tickets)
        self._names = list(names)
        self._by_key = keys_of(names)
        self._steps: list[Step] = []
        self._page = 0
        self._said = ""
        self._typed: str | None = None  # the beginning of a name, while one is looked for

    @property
    def given(self) -> int:
        """Return how many verdicts stand."""
        return sum(step.category is not None for step in self._steps)

    def summary(self) -> str:
        """Return what was done, in a line."""
        left = len(self._tickets) - len(self._steps)
        return f"{self.given} verdicts given, {len(self._steps) - self.given} skipped, {left} left"

    def work(self, keys: Iterator[str]) -> None:
        """Show ticket after ticket and do what each key says."""
        self._show()
        for key in keys:
            if not self._press(key) or len(self._steps) == len(self._tickets):
                return
            self._show()

    def _press(self, key: str) -> bool:
        """Do what a key says; return False for the end."""
        self._said, page, self._page = "", self._page, 0
        if self._typed is not None:
            self._look_for(key)
        elif key == QUIT:
            return False
        elif key == SKIP:
            self._steps.append(Step(self._ticket, None))
        elif key == UNDO:
            self._undo()
        elif key == MORE:
            self._page = page + 1
        elif key == FIND:
            self._typed = ""
        elif key in (ACCEPT, "\n") and self._ticket.suggestion in self._names:
            self._give(self._ticket.suggestion or "")
        elif key in self._by_key:
            self._give(self._by_key[key])
        return True

    @property
    def _ticket(self) -> Ticket:
        return self._tickets[len(self._steps)]

    def _give(self, category: str) -> None:
        for outcome in self._session.triage.give_verdicts([VerdictDraft(0, self._ticket.ticket_id, category)]):
            if outcome.error is not None:
                self._said = outcome.error.sentence()
                return
        self._steps.append(Step(self._ticket, category))

    def _undo(self) -> None:
        if not self._steps:
            self._said = "nothing to undo"
            return
        step = self._steps[-1]
        if step.category is not None and step.ticket.verdict:
            self._said = f"{step.ticket.category} is no category now, so that it cannot be given again"
            return
        del self._steps[-1]
        if step.category is not None:
            list(self._session.triage.give_verdicts([VerdictDraft(0, step.ticket.ticket_id, None)]))
            self._said = f"taken back: {step.category}"

    def _look_for(self, key: str) -> None:
        if key == "\x1b":
            self._typed = None
            return
        typed = (self._typed or "")[:-1] if key in "\x7f\b" else (self._typed or "") + key.strip("\r\n")
        found = [name for name in self._names if name.casefold().startswith(typed.casefold())]
        exact = [name for name in found if name.casefold() == typed.casefold()]
        if key in "\r\n" and (len(found) == 1 or exact):
            self._typed = None
            self._give((exact or found)[0])
        else:
            self._typed = typed
            self._said = "  ".join(found[:12]) or "no category begins so"

    def _show(self) -> None:
        place = f"{len(self._steps) + 1} of {len(self._tickets)}"
        size = shutil.get_terminal_size((80, 24))
        typed = None if self._typed is None else f"category: {self._typed}"
        lines = screen(self._ticket, place, self._by_key, self._page, (max(size.columns, LEAST), size.lines))
        sys.stdout.write(CLEAR + "\n".join(lines) + f"\n{telling.safe(typed or self._said)}")
        sys.stdout.flush()


def keys_of(names: Sequence[str]) -> dict[str, str]:
    """Return the keys that give a category: digits for the first nine, and for each the first free letter of its name.

    Where letters run out, `/` and the beginning of a name still give it.
    """
    taken = set(QUIT + SKIP + UNDO)
    by_key = dict(zip(DIGITS, names, strict=False))
    for name in names:
        wanted = [c for c in name.casefold() if c in string.ascii_lowercase]
        for letter in (*wanted, *(c.upper() for c in wanted), *string.ascii_letters):
            if letter not in taken:
                taken.add(letter)
                by_key[letter] = name
                break
    return by_key


def screen(ticket: Ticket, place: str, by_key: Mapping[str, str], page: int, size: tuple[int, int]) -> list[str]:
    """Return the lines that show a ticket; no escape code of its text is among them."""
    width, height = size
    facts = "  ".join(filter(None, (ticket.external_id or ticket.ticket_id[-8:], ticket.priority, ticket.customer_id)))
    head = [
        _cut(f"review {place}  {facts}", width, DIM),
        "",
        *(f"{BOLD}{line}{PLAIN}" for line in _wrapped(ticket.subject, width)[:3]),
    ]
    foot = ["", *_guess(ticket, width), "", *_menu(by_key, width)]
    body = _wrapped(ticket.description, width)
    room = max(3, height - len(head) - len(foot) - 3)
    pages = max(1, -(-len(body) // room))
    shown = body[page % pages * room :][:room]
    more = [f"{DIM}… {page % pages + 1} of {pages}, space for more{PLAIN}"] if pages > 1 else []
    return [*head, *shown, *more, *foot]


def _guess(ticket: Ticket, width: int) -> list[str]:
    if ticket.verdict:
        return [_cut(f"a person said {ticket.category}, which is no category now", width)]
    if ticket.suggestion is None:
        return [_cut(f"the machine has no guess: {ticket.error or ticket.reason or 'it abstained'}", width)]
    share = "" if ticket.confidence is None else f" at {ticket.confidence:.2f}"
    because = f", because of: {ticket.reason}" if ticket.reason else ""
    return [_cut(f"the machine's guess: {ticket.suggestion}{share}{because}", width)]


def _menu(by_key: Mapping[str, str], width: int) -> list[str]:
    names = dict.fromkeys(by_key.values())
    told = ["".join(k for k, named in by_key.items() if named == name) + f" {name}" for name in names]
    told += ["enter: the guess", "s skip", "u undo", "/ by name", "q quit"]
    return textwrap.wrap(telling.safe("   ".join(t.replace(" ", "\xa0") for t in told)), width)


def _wrapped(text: str | None, width: int) -> list[str]:
    lines: list[str] = []
    for line in (text or "").splitlines():
        lines += textwrap.wrap(telling.safe(line), width) or [""]
    return lines


def _cut(text: str, width: int, style: str = "") -> str:
    shown = telling.safe(text)
    shown = shown if len(shown) <= width else shown[: width - 1] + "…"
    return f"{style}{shown}{PLAIN}" if style else shown


def _keys(number: int) -> Iterator[str]:
    """Yield keys as they are pressed; what an arrow or a function key sends is no key."""
    while data := os.read(number, 64):
        text = data.decode(errors="ignore")
        if len(text) > 1 and text.startswith("\x1b"):
            continue
        yield from text


@contextmanager
def _one_key_at_a_time(number: int) -> Iterator[None]:
    """Let the terminal hand over each key at once and unseen; as it was afterwards, whatever happens."""
    import termios
    import tty

    before = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
