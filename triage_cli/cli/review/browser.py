"""The screen of `triage review`: the queue on the left, the ticket and its explanation on the right."""

from functools import partial
from typing import ClassVar

from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from triage_cli.cli import terminal
from triage_cli.cli.display.text_layout import cut
from triage_cli.cli.review import filters, key_bindings, screen_lines
from triage_cli.cli.review.session import ReviewSession
from triage_cli.cli.review.ticket_queue import PAGE, Entry, TicketQueue
from triage_cli.cli.review.widgets import Pane, QueuePane
from triage_cli.domain.errors import TriageError
from triage_cli.domain.explanation.history import Why
from triage_cli.domain.tickets import Ticket

HINT = "? help   q quit   enter the guess   s skip   u undo   n note   / name   f filter   o order   r route"
STRETCH = 1_000  # tickets that are loaded before keys are handled again
IDLE = 0.08  # seconds without a key before the explanation is loaded


class TicketBrowser(App[int]):
    """Shows the tickets of a view and one of them in full, and moves among them; its result is an exit code."""

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    CSS: ClassVar[str] = """
    #head, #keys, #foot { height: 1; overflow: hidden; }
    #queue { width: 36%; min-width: 20; max-width: 56; overflow-x: hidden; scrollbar-size-vertical: 1; }
    #ticket { width: 1fr; padding: 0 1; overflow-x: hidden; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    #prompt { display: none; height: 1; border: none; padding: 0; }
    """

    def __init__(self, session: ReviewSession, view: filters.View) -> None:
        super().__init__(ansi_color=True)  # else NO_COLOR would paint black on black
        self.session = session
        self.view = view
        self.queue = TicketQueue(session.triage, view, session.names)
        self.by_key = key_bindings.keys_of(session.names)
        self.cursor = 0
        self.ticket: Ticket | None = None
        self.message = ""
        self.note: str | None = None  # for the next verdict
        self.helps = False
        self.marks: dict[str, str] = {}  # of the tickets with a step
        self._why: Why | None = None
        self._goes_to: int | None = None  # the place up to which tickets are being loaded

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield Pane(id="head")
        with Horizontal():
            yield QueuePane(self._queue_line, id="queue")
            yield Pane(id="ticket")
        yield Pane(id="keys")
        yield Pane(id="foot")
        yield Input(id="prompt", disabled=True)

    def on_mount(self) -> None:
        """Show the first ticket, in the colours of the terminal."""
        self.theme = "ansi-dark"
        self.queue.load(PAGE)
        self.go_to(0)

    @property
    def failure(self) -> Exception | None:
        """Return the error that ended the application, if any."""
        return self._exception

    # -- what is shown

    def on_resize(self) -> None:
        """Draw everything for the new size."""
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Draw everything but the prompt."""
        width, height = self.size
        guess = self.session.guess(self.ticket) if self.ticket else None
        categories = screen_lines.category_lines(self.by_key, self.session.names, guess, width, max(1, height // 5))
        text = self.message or (f"note: {self.note}" if self.note else HINT)
        style = screen_lines.BOLD if self.message else screen_lines.DIM
        self._pane("head").show(lambda width: [self._headline(width)])
        self._pane("keys").styles.height = len(categories)
        self._pane("keys").show(lambda _: categories)
        self._pane("foot").show(lambda width: [[Segment(cut(text, width), style)]])
        queue = self.query_one("#queue", QueuePane)
        queue.styles.display = "none" if self.helps else "block"
        queue.resize_to(self.queue.total)
        queue.reveal(self.cursor)
        self._draw_ticket()

    def _pane(self, name: str) -> Pane:
        return self.query_one(f"#{name}", Pane)

    def _draw_ticket(self) -> None:
        ticket, why = self.ticket, self._why
        if self.helps:
            self._pane("ticket").show(screen_lines.help_lines)
        elif ticket is None:
            text = "no ticket matches the filter" if self.view.filters.line else "there are no tickets"
            self._pane("ticket").show(lambda width: [[Segment(cut(text, width))]])
        else:
            names = self.session.names
            self._pane("ticket").show(
                lambda width: screen_lines.ticket_lines(ticket, why, names, width), top=why is None
            )

    def _headline(self, width: int) -> screen_lines.Line:
        number = len(self.queue.entries)
        position = f"{self.cursor + 1:,} of {self.queue.total:,}" if number else "no tickets"
        done = f"{self.session.verdicts_given:,} given, {self.session.skipped:,} skipped"
        parts = [f"review {position}", done, filters.LABELS[self.view.order], self.view.filters.line]
        return [Segment(cut("   ".join(filter(None, parts)), width), screen_lines.BOLD)]

    def _queue_line(self, queue_place: int, width: int) -> screen_lines.Line:
        if queue_place >= len(self.queue.entries):
            self.call_later(self._load_to, queue_place)
            return [Segment("…", screen_lines.DIM)]
        entry = self.queue.entries[queue_place]
        return screen_lines.queue_line(entry, self._mark(entry), width, marked=queue_place == self.cursor)

    def _mark(self, entry: Entry) -> str:
        return self.marks.get(entry.ticket_id, " ")

    # -- moving

    def open(self, view: filters.View) -> None:
        """Show the tickets of another view from its first one."""
        self.queue = TicketQueue(self.session.triage, view, self.session.names)
        self.view = view
        self.queue.load(PAGE)
        self.go_to(0)

    def reorder(self) -> None:
        """Switch to the next order."""
        next_index = filters.ORDERS.index(self.view.order) + 1
        self.open(self.view._replace(order=filters.ORDERS[next_index % len(filters.ORDERS)]))

    def move(self, steps: int) -> None:
        """Move forward by so many tickets, or back."""
        self.go_to(self.cursor + steps)

    def move_pages(self, pages: int) -> None:
        """Move forward by so many screens of tickets, or back."""
        self.move(pages * max(1, self.query_one("#queue", QueuePane).size.height - 1))

    def go_to_end(self) -> None:
        """Go to the last ticket."""
        self.go_to(self.queue.total - 1)

    def go_to(self, queue_place: int) -> None:
        """Go to a place, after loading it if needed."""
        queue_place = max(0, min(queue_place, self.queue.total - 1))
        if queue_place + 1 > len(self.queue.entries) + STRETCH:
            self._goes_to = queue_place
            self._load_on()
            return
        while len(self.queue.entries) <= queue_place and self.queue.load():
            pass
        self.cursor = max(0, min(queue_place, len(self.queue.entries) - 1))
        shown, self._why = self.ticket, None
        self.ticket = self.queue.ticket(self.cursor) if self.queue.entries else None
        if self.ticket is None or shown is None or self.ticket.ticket_id != shown.ticket_id:
            self.note = None
        self.draw()
        if self.ticket is not None:
            # The pane's own timer, which ends with it.
            self._pane("ticket").set_timer(IDLE, partial(self._explain, self.ticket.ticket_id))

    def _load_to(self, queue_place: int) -> None:
        """Load the tickets in view."""
        if queue_place >= len(self.queue.entries) and self._goes_to is None:
            self._goes_to = -queue_place - 1
            self._load_on()

    def _load_on(self) -> None:
        """Load some tickets, and continue after pending keys."""
        if self._goes_to is None:
            return
        moves, queue_place = self._goes_to >= 0, max(self._goes_to, -self._goes_to - 1)
        try:
            came = self.queue.load(STRETCH)
        except TriageError as error:
            self._goes_to = None
            self.tell(error.sentence())
            return
        if came and len(self.queue.entries) <= queue_place:
            self.tell(f"{len(self.queue.entries):,} of {self.queue.total:,} loaded")
            self._pane("ticket").set_timer(0.001, self._load_on)
            return
        self._goes_to, self.message = None, ""
        if moves:
            self.go_to(queue_place)
        else:
            self.draw()

    def _explain(self, ticket_id: str) -> None:
        """Add the explanation, if the ticket is still shown."""
        if self.ticket is None or self.ticket.ticket_id != ticket_id or self._why:
            return
        try:
            self._why = self.session.triage.why(ticket_id)
        except TriageError as error:
            self._why = Why(ticket_id, "", ("", error.sentence()))
        self._draw_ticket()

    def scroll_text(self, pages: int) -> None:
        """Show the next page of a long text, or the previous one; the first follows the last."""
        pane = self.query_one("#ticket", Pane)
        step = max(1, pane.size.height - 1)
        top = pane.scroll_offset.y + pages * step
        last = pane.max_scroll_y
        past = pane.scroll_offset.y >= last and pages > 0
        pane.scroll_to(y=0 if past else max(0, min(top, last)), animate=False)

    def tell(self, message: str) -> None:
        """Show a message in the last line."""
        self.message = terminal.safe(message)
        self.draw()

    def _fatal_error(self) -> None:
        """Exit without Textual's traceback, which shows local variables; the command line reports the error."""
        self._close_messages_no_wait()
