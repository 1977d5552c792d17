"""One sitting of `triage review`: what each key does, and what is said at the bottom."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from triage_cli.cli import messages
from triage_cli.cli.context import CommandContext
from triage_cli.cli.review_screen import ACCEPT, FIND, MORE, QUIT, SKIP, UNDO, cut, keys_of, name_of, screen
from triage_cli.domain.tickets import Ticket, VerdictDraft

CLEAR = "\x1b[H\x1b[2J\x1b[3J"
LEAST = 20  # columns that are written to even where a terminal says it has fewer
RESIZED = ""  # comes among the keys where the window has another size now


class Step(NamedTuple):
    """What was done with a ticket: a category, or None where it was skipped."""

    ticket: Ticket
    category: str | None


class ReviewSession:
    """The tickets of one sitting and what was done with them, so that it can be undone."""

    def __init__(self, session: CommandContext, tickets: Sequence[Ticket], names: Sequence[str]) -> None:
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
        given = messages.plural(self.given, "verdicts given")
        return f"{given}, {len(self._steps) - self.given} skipped, {left} left"

    def work(self, keys: Iterator[str]) -> None:
        """Show ticket after ticket and do what each key says."""
        self._show()
        for key in keys:
            if key != RESIZED and (not self._press(key) or len(self._steps) == len(self._tickets)):
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
            self._done(None, "skipped")
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
        else:
            self._page, self._said = page, self._unknown(key)
        return True

    @property
    def _ticket(self) -> Ticket:
        return self._tickets[len(self._steps)]

    def _unknown(self, key: str) -> str:
        if key in (ACCEPT, "\n"):
            return "there is no guess to take: a key of the list gives a category"
        return f'no key "{messages.safe(key)}": the keys stand above, / finds a category by its name'

    def _done(self, category: str | None, message: str) -> None:
        ticket = self._ticket
        self._steps.append(Step(ticket, category))
        # What a person said before of a category that is gone cannot be given again.
        undo = "" if category is not None and ticket.verdict else "; u takes it back"
        self._said = f"{name_of(ticket)}: {message}{undo}"

    def _give(self, category: str) -> None:
        for outcome in self._session.triage.give_verdicts([VerdictDraft(0, self._ticket.ticket_id, category)]):
            if outcome.error is not None:
                self._said = outcome.error.sentence()
                return
        self._done(category, category)

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
            self._said = ", ".join(found[:12]) or f'no category begins with "{typed}": esc leaves'

    def _show(self) -> None:
        place = f"{len(self._steps) + 1} of {len(self._tickets)}"
        size = shutil.get_terminal_size((80, 24))
        width = max(size.columns, LEAST)
        lines = screen(self._ticket, place, self._by_key, self._page, (width, size.lines))
        typed = [] if self._typed is None else [f"category: {self._typed}"]
        line = "   ".join([*typed, self._said] if self._said else typed)
        sys.stdout.write(CLEAR + "\n".join(lines) + f"\n{cut(line, width - 1)}")
        sys.stdout.flush()
