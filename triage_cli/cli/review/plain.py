"""`triage review` on a terminal that cannot draw: prints one ticket after the other, and reads a line for each."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from triage_cli.cli import messages, terminal
from triage_cli.cli.display.text_layout import wrapped
from triage_cli.cli.local_time import localized
from triage_cli.cli.review import key_bindings, screen_lines
from triage_cli.cli.review.session import ReviewSession
from triage_cli.cli.review.ticket_queue import TicketQueue, name_of
from triage_cli.domain.errors import TriageError
from triage_cli.domain.tickets import Ticket

HINT = "enter: the guess, a key or the beginning of a name, s skip, u undo, w why, n TEXT note, l learn, q quit"
FIRST = -sys.maxsize  # a step to the first ticket


class PlainReview:
    """Asks for each ticket of a queue; `lines` are what is typed, `write` prints a line."""

    def __init__(
        self, session: ReviewSession, queue: TicketQueue, lines: Iterator[str], write: Callable[[str], None]
    ) -> None:
        self._session = session
        self._queue = queue
        self._lines = lines
        self._write = write
        self._by_key = key_bindings.keys_of(session.names)
        self._note: str | None = None

    def work(self) -> None:
        """Ask until there are no more tickets or lines, or the person quits."""
        place = 0
        while place < len(self._queue.entries) or self._queue.load():
            ticket = self._queue.ticket(place)
            if ticket is None:
                place += 1
                continue
            step = self._asked(ticket, place)
            if step is None:
                return
            place = max(0, place + step)

    def _show(self, ticket: Ticket, place: int) -> None:
        width = self._width()
        self._write(f"\nreview {place + 1:,} of {self._queue.total:,}")
        why = self._session.triage.why(ticket.ticket_id)._replace(why=())
        for line in screen_lines.ticket_lines(ticket, why, self._session.names, width):
            self._write("".join(segment.text for segment in line))
        by_name = {name: [key for key, named in self._by_key.items() if named == name] for name in self._session.names}
        listed = (f"{'/'.join(category_keys)} {terminal.safe(name)}".strip() for name, category_keys in by_name.items())
        self._write("\n" + "\n".join((*wrapped("   ".join(listed), width), *wrapped(HINT, width))))

    @staticmethod
    def _width() -> int:
        return max(20, shutil.get_terminal_size((80, 24)).columns - 1)

    def _asked(self, ticket: Ticket, place: int) -> int | None:
        """Show a ticket and handle lines until one moves on; return by how many tickets, None to quit."""
        self._show(ticket, place)
        self._note = None
        for line in self._lines:
            typed = line.strip()
            try:
                step = self._done(ticket, typed)
            except TriageError as error:
                self._write(terminal.safe(error.sentence()))
                ticket = self._read_again(ticket, place)
                continue
            if step != 0 or typed == key_bindings.QUIT:
                return step or None
        return None

    def _read_again(self, ticket: Ticket, place: int) -> Ticket:
        """Return the ticket as it is now, shown again if others have changed it."""
        with suppress(TriageError):  # the error is shown already
            now = self._session.read_again(ticket)
            if now != ticket:
                self._queue.update(now)
                self._show(now, place)
            return now
        return ticket

    def _done(self, ticket: Ticket, typed: str) -> int:
        """Handle a line; return by how many tickets it moves on."""
        if typed == key_bindings.QUIT:
            return 0
        if typed == key_bindings.SKIP:
            self._session.skip(ticket)
            return 1
        if typed == key_bindings.UNDO:
            return self._undo(ticket)
        if typed == key_bindings.LEARN:
            self._write("learning from the verdicts")
            self._write(terminal.safe(self._session.learn()))
            self._queue = self._queue.again()
            return FIRST
        if typed in (key_bindings.WHY, key_bindings.HELP) or typed.startswith(f"{key_bindings.NOTE} "):
            self._stay(ticket, typed)
            return 0
        return self._give(ticket, typed)

    def _undo(self, ticket: Ticket) -> int:
        undone = self._session.undo()
        self._write(terminal.safe(f"taken back: {undone.category or 'skip'}"))
        self._queue.update(undone.ticket)
        place = self._queue.place(undone.ticket.ticket_id)
        if place is None:  # the list was made after the verdict
            self._queue = self._queue.again()
            return FIRST
        return place - (self._queue.place(ticket.ticket_id) or 0)

    def _stay(self, ticket: Ticket, typed: str) -> None:
        """Handle a line that stays at the ticket: print the explanation or the keys, or keep a note."""
        if typed == key_bindings.HELP:
            self._write("\n".join(wrapped(HINT, self._width())))
        elif typed == key_bindings.WHY:
            for sentence in self._session.triage.why(ticket.ticket_id).why:
                line = terminal.safe(localized(sentence, screen_lines.TO_THE_MINUTE))
                self._write("\n".join(wrapped(line, self._width())))
        else:
            self._note = typed[2:].strip()
            self._write("noted for the verdict")

    def _give(self, ticket: Ticket, typed: str) -> int:
        guess = self._session.guess(ticket)
        matching_categories = (
            [self._by_key[typed]] if typed in self._by_key else key_bindings.beginning_with(typed, self._session.names)
        )
        if not typed:
            matching_categories = [guess] if guess else []
        if len(matching_categories) != 1:
            named = ", ".join(map(terminal.safe, matching_categories)) or f"that is no key and no category; {HINT}"
            self._write("\n".join(wrapped(named, self._width())))
            return 0
        self._session.give(ticket, matching_categories[0], self._note)
        self._write(
            messages.joined(
                f"{terminal.safe(name_of(ticket))}: {terminal.safe(matching_categories[0])}", self._session.offer
            )
        )
        return 1
