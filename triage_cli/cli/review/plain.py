"""The plain `triage review`, on a terminal that cannot draw: prints a ticket, reads a line, and goes on."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from triage_cli import domain as dm
from triage_cli.cli import messages, safe_text
from triage_cli.cli.review import key_bindings, screen_lines
from triage_cli.cli.review.session import ReviewSession
from triage_cli.cli.review.ticket_queue import TicketQueue, name_of
from triage_cli.cli.terminal import localized
from triage_cli.cli.text_layout import wrapped
from triage_cli.cli.typed_commands import with_typed_step

LINE_HINT = "enter: the guess, a key or the beginning of a name, s skip, u undo, w why, n TEXT note, l learn, q quit"
QUESTION_HINT = f"{key_bindings.NEXT_QUESTION} the next question"
TO_FIRST_TICKET = -sys.maxsize  # a step in the queue


class PlainReview:
    """Asks for the answers to each ticket of a queue; `lines` are what is typed, `write` prints a line."""

    def __init__(
        self, session: ReviewSession, queue: TicketQueue, lines: Iterator[str], write: Callable[[str], None]
    ) -> None:
        self._session = session
        self._queue = queue
        self._typed_lines = lines
        self._write_line = write
        self._typed_note: str | None = None
        self._line_hint = f"{LINE_HINT}, {QUESTION_HINT}" if session.asks_more else LINE_HINT
        self._decided: dm.Ticket | None = None  # by the last line, and waiting for another answer
        self._together: set[str] = set()  # the ids of tickets that were decided with another one

    def work(self) -> None:
        """Ask about tickets until there are no more tickets or typed lines, or the person quits."""
        queue_place = 0
        while queue_place < len(self._queue.entries) or self._queue.load():
            ticket = self._queue.ticket(queue_place)
            if ticket is None or ticket.ticket_id in self._together:
                queue_place += 1
                continue
            step = self._handle_lines(ticket, queue_place)
            if step is None:
                return
            queue_place = max(0, queue_place + step)

    def _print_ticket(self, ticket: dm.Ticket, queue_place: int) -> None:
        width = self._width()
        self._write_line(f"\nreview {queue_place + 1:,} of {self._queue.total:,}")
        why = self._session.triage.why(ticket.ticket_id)._replace(why=())
        for screen_line in screen_lines.ticket_lines(ticket, why, self._session.category_names, width):
            self._write_line("".join(segment.text for segment in screen_line))
        self._write_line("\n" + "\n".join((*wrapped(self._key_list(), width), *wrapped(self._line_hint, width))))

    def _key_list(self) -> str:
        keys_by_name: dict[str, list[str]] = {name: [] for name in self._session.choices}
        for key, name in self._session.by_key.items():
            keys_by_name[name].append(key)
        question = [f"{self._session.asked.name}:"] if self._session.asks_more else []
        choices = (f"{'/'.join(keys)} {safe_text.safe(name)}".strip() for name, keys in keys_by_name.items())
        return "   ".join((*question, *choices))

    def _write_wrapped(self, text: str) -> None:
        self._write_line("\n".join(wrapped(text, self._width())))

    @staticmethod
    def _width() -> int:
        return max(20, shutil.get_terminal_size((80, 24)).columns - 1)

    def _handle_lines(self, ticket: dm.Ticket, queue_place: int) -> int | None:
        """Print a ticket and handle typed lines until one moves on; return by how many tickets, None to quit."""
        self._session.begin(ticket)
        self._print_ticket(ticket, queue_place)
        self._typed_note = None
        for line in self._typed_lines:
            typed_line = line.strip()
            try:
                step = self._handle_line(ticket, typed_line)
            except dm.TriageError as error:
                self._write_line(safe_text.safe(messages.sentence(error)))
                ticket = self._read_again(ticket, queue_place)
                continue
            ticket, self._decided = self._decided or ticket, None
            if step != 0 or typed_line == key_bindings.QUIT:
                return step or None
        return None

    def _read_again(self, ticket: dm.Ticket, queue_place: int) -> dm.Ticket:
        """Return the ticket as it is now, printed again if others have changed it."""
        with suppress(dm.TriageError):  # the error is printed already
            now = self._session.read_again(ticket)
            if now != ticket:
                self._queue.update(now)
                self._print_ticket(now, queue_place)
            return now
        return ticket

    def _handle_line(self, ticket: dm.Ticket, typed_line: str) -> int:
        """Handle a typed line; return by how many tickets it moves on."""
        if typed_line == key_bindings.QUIT:
            return 0
        if typed_line == key_bindings.SKIP:
            self._session.skip(ticket)
            return 1
        if typed_line in (key_bindings.UNDO, key_bindings.ALIKE):
            return self._undo(ticket) if typed_line == key_bindings.UNDO else self._give_alike(ticket)
        if typed_line == key_bindings.LEARN:
            self._write_line("learning from the verdicts")
            self._write_line(safe_text.safe(self._session.learn()))
            self._queue = self._queue.again()
            return TO_FIRST_TICKET
        stays = [key_bindings.WHY, key_bindings.HELP, *([key_bindings.NEXT_QUESTION] * self._session.asks_more)]
        if typed_line in stays or typed_line.startswith(f"{key_bindings.NOTE} "):
            self._explain_or_note(ticket, typed_line)
            return 0
        return self._give_verdict(ticket, typed_line)

    def _give_alike(self, ticket: dm.Ticket) -> int:
        step = self._session.give_alike()
        decided = (step.decided, *step.alike)
        self._together |= {each.ticket_id for each in decided if not self._session.held_by(each)}
        for each in decided:
            self._queue.update(each)
        self._write_line(safe_text.safe(f"{messages.plural(len(decided), 'tickets')}: {step.said}"))
        shown_now = next((each for each in decided if each.ticket_id == ticket.ticket_id), None)
        return 0 if shown_now is None else self._after(shown_now)

    def _undo(self, ticket: dm.Ticket) -> int:
        undone = self._session.undo()
        self._together -= {each.ticket_id for each in (undone.ticket, *undone.alike)}
        self._write_line(safe_text.safe(f"taken back: {undone.said or 'skip'}"))
        self._queue.update(undone.ticket)
        queue_place = self._queue.place(undone.ticket.ticket_id)
        if queue_place is None:  # the queue was loaded after the verdict
            self._queue = self._queue.again()
            return TO_FIRST_TICKET
        return queue_place - (self._queue.place(ticket.ticket_id) or 0)

    def _explain_or_note(self, ticket: dm.Ticket, typed_line: str) -> None:
        """Handle a typed line that stays at the ticket: print the explanation or keys, or keep a note."""
        if typed_line == key_bindings.HELP:
            self._write_wrapped(self._line_hint)
        elif typed_line == key_bindings.WHY:
            for sentence in with_typed_step(self._session.triage.why(ticket.ticket_id).why):
                safe_sentence = safe_text.safe(localized(sentence, screen_lines.TO_THE_MINUTE))
                self._write_wrapped(safe_sentence)
        elif typed_line == key_bindings.NEXT_QUESTION:
            self._session.ask_next()
            self._write_wrapped(self._key_list())
        else:
            self._typed_note = typed_line[2:].strip()
            self._write_line("noted for the verdict")

    def _give_verdict(self, ticket: dm.Ticket, typed_line: str) -> int:
        guess, by_key = self._session.guess(ticket), self._session.by_key
        if not typed_line:
            matching_names = [guess] if guess else []
        elif typed_line in by_key and self._session.open(by_key[typed_line]):
            self._write_wrapped(self._key_list())
            return 0
        elif typed_line in by_key:
            matching_names = [by_key[typed_line]]
        else:
            matching_names = key_bindings.beginning_with(typed_line, self._session.names)
        if len(matching_names) != 1:
            no_match = f"that is no key and no {self._session.asked_for}; {self._line_hint}"
            self._write_wrapped(", ".join(map(safe_text.safe, matching_names)) or no_match)
            return 0
        decided = self._session.give(ticket, matching_names[0], self._typed_note)
        verdict = safe_text.safe(f"{name_of(ticket)}: {self._session.steps[-1].said}")
        self._write_line(messages.joined(verdict, self._session.offer_alike or self._session.offer))
        self._queue.update(decided)
        return self._after(decided)

    def _after(self, decided: dm.Ticket) -> int:
        """Return by how many tickets an answer to the shown one moves on: none if it waits for another answer."""
        if not self._session.held_by(decided):
            return 1
        self._decided, self._typed_note = decided, None
        self._write_wrapped(self._key_list())
        return 0
