"""The browser of `triage review`: the queue on the left, the ticket and its explanation on the right."""

from functools import partial
from typing import ClassVar

from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from triage_cli.cli import messages, safe_text
from triage_cli.cli.review import filters, key_bindings, screen_lines
from triage_cli.cli.review.session import ReviewSession
from triage_cli.cli.review.ticket_queue import PAGE, QueueEntry, TicketQueue
from triage_cli.cli.review.widgets import Pane, QueuePane
from triage_cli.cli.text_layout import cut
from triage_cli.domain import Ticket, TriageError, Why

LOAD_BEFORE_KEYS = 1_000  # tickets of the queue that are loaded before keys are handled again
WHY_DELAY = 0.08  # seconds without a key before the explanation of a ticket is loaded


class TicketBrowser(App[int]):
    """Browses the tickets of a view: shows the queue and one ticket in full; its result is an exit code."""

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
        self.queue = TicketQueue(session.triage, view, session.category_names)
        self.by_key = key_bindings.keys_of(session.category_names)
        self.cursor = 0
        self.ticket: Ticket | None = None
        self.message = ""
        self.note: str | None = None  # for the next verdict
        self.helps = False
        self.marks: dict[str, str] = {}  # of the tickets that were decided or skipped
        self._why: Why | None = None
        self._loads_to: int | None = None  # the place up to which the queue is being loaded

    def compose(self) -> ComposeResult:
        """Lay out the panes of the browser: head, queue, ticket, keys, foot, prompt."""
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
        """Draw all panes for the new size."""
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Draw all panes of the browser, but not the prompt."""
        width, height = self.size
        guess = self.session.guess(self.ticket) if self.ticket else None
        names, most = self.session.category_names, max(1, height // 5)
        categories = screen_lines.category_lines(self.by_key, names, guess, width, most)
        message, message_style = self.message, screen_lines.BOLD
        if not message and self.note:
            message, message_style = f"note: {self.note}", screen_lines.DIM
        self._pane("head").show(lambda width: [self._head_line(width)])
        self._pane("keys").styles.height = len(categories)
        self._pane("keys").show(lambda _: categories)
        self._pane("foot").show(
            lambda width: [[Segment(cut(message, width), message_style)] if message else screen_lines.key_line(width)]
        )
        queue_pane = self.query_one("#queue", QueuePane)
        queue_pane.styles.display = "none" if self.helps else "block"
        queue_pane.resize_to(self.queue.total)
        queue_pane.reveal(self.cursor)
        self._draw_ticket()

    def _pane(self, name: str) -> Pane:
        return self.query_one(f"#{name}", Pane)

    def _draw_ticket(self) -> None:
        ticket_pane, ticket, why = self._pane("ticket"), self.ticket, self._why
        if self.helps:
            ticket_pane.show(screen_lines.help_lines)
        elif ticket is None:
            no_ticket = "no ticket matches the filter" if self.view.filters.line else "there are no tickets"
            ticket_pane.show(lambda width: [[Segment(cut(no_ticket, width))]])
        else:
            names = self.session.category_names
            ticket_pane.show(lambda width: screen_lines.ticket_lines(ticket, why, names, width), top=why is None)

    def _head_line(self, width: int) -> screen_lines.ScreenLine:
        position = f"{self.cursor + 1:,} of {self.queue.total:,}" if self.queue.entries else "no tickets"
        done = f"{self.session.verdicts_given:,} given, {self.session.skipped:,} skipped"
        head_parts = [f"review {position}", done, filters.ORDER_LABELS[self.view.order], self.view.filters.line]
        return [Segment(cut("   ".join(filter(None, head_parts)), width), screen_lines.BOLD)]

    def _queue_line(self, queue_place: int, width: int) -> screen_lines.ScreenLine:
        if queue_place >= len(self.queue.entries):
            self.call_later(self._load_to, queue_place)
            return [Segment("…", screen_lines.DIM)]
        queue_entry = self.queue.entries[queue_place]
        return screen_lines.queue_line(queue_entry, self._mark(queue_entry), width, marked=queue_place == self.cursor)

    def _mark(self, queue_entry: QueueEntry) -> str:
        return self.marks.get(queue_entry.ticket_id, " ")

    # -- moving

    def open(self, view: filters.View) -> None:
        """Browse the tickets of another view from its first one."""
        self.queue = TicketQueue(self.session.triage, view, self.session.category_names)
        self.view = view
        self.queue.load(PAGE)
        self.go_to(0)

    def reorder(self) -> None:
        """Switch to the next order of the queue."""
        next_order = filters.ORDERS.index(self.view.order) + 1
        self.open(self.view._replace(order=filters.ORDERS[next_order % len(filters.ORDERS)]))

    def move(self, steps: int) -> None:
        """Move forward in the queue by so many tickets, or back."""
        self.go_to(self.cursor + steps)

    def move_pages(self, pages: int) -> None:
        """Move forward in the queue by so many screens of tickets, or back."""
        self.move(pages * max(1, self.query_one("#queue", QueuePane).size.height - 1))

    def go_to_end(self) -> None:
        """Go to the last ticket of the queue."""
        self.go_to(self.queue.total - 1)

    def go_to(self, queue_place: int) -> None:
        """Go to a place of the queue, after loading the tickets up to it if needed."""
        queue_place = max(0, min(queue_place, self.queue.total - 1))
        if queue_place + 1 > len(self.queue.entries) + LOAD_BEFORE_KEYS:
            self._loads_to = queue_place
            self._load_on()
            return
        while len(self.queue.entries) <= queue_place and self.queue.load():
            pass
        self.cursor = max(0, min(queue_place, len(self.queue.entries) - 1))
        ticket_before, self._why = self.ticket, None
        self.ticket = self.queue.ticket(self.cursor) if self.queue.entries else None
        if self.ticket is None or ticket_before is None or self.ticket.ticket_id != ticket_before.ticket_id:
            self.note = None
        self.draw()
        if self.ticket is not None:
            # The pane's own timer, which ends with it.
            self._pane("ticket").set_timer(WHY_DELAY, partial(self._explain, self.ticket.ticket_id))

    def _load_to(self, queue_place: int) -> None:
        """Load the tickets of the queue that are in view."""
        if queue_place >= len(self.queue.entries) and self._loads_to is None:
            self._loads_to = -queue_place - 1
            self._load_on()

    def _load_on(self) -> None:
        """Load some tickets of the queue, and continue after pending keys."""
        if self._loads_to is None:
            return
        moves_cursor, queue_place = self._loads_to >= 0, max(self._loads_to, -self._loads_to - 1)
        try:
            were_loaded = self.queue.load(LOAD_BEFORE_KEYS)
        except TriageError as error:
            self._loads_to = None
            self.tell(messages.sentence(error))
            return
        if were_loaded and len(self.queue.entries) <= queue_place:
            self.tell(f"{len(self.queue.entries):,} of {self.queue.total:,} loaded")
            self._pane("ticket").set_timer(0.001, self._load_on)
            return
        self._loads_to, self.message = None, ""
        if moves_cursor:
            self.go_to(queue_place)
        else:
            self.draw()

    def _explain(self, ticket_id: str) -> None:
        """Show the explanation of a ticket too, if the browser still shows the ticket."""
        if self.ticket is None or self.ticket.ticket_id != ticket_id or self._why:
            return
        try:
            self._why = self.session.triage.why(ticket_id)
        except TriageError as error:
            self._why = Why(ticket_id, "", ("", messages.sentence(error)))
        self._draw_ticket()

    def scroll_text(self, pages: int) -> None:
        """Show the next page of a ticket's long text, or the previous one; the first follows the last."""
        ticket_pane = self._pane("ticket")
        page_height = max(1, ticket_pane.size.height - 1)
        next_top = ticket_pane.scroll_offset.y + pages * page_height
        last_top = ticket_pane.max_scroll_y
        at_end = ticket_pane.scroll_offset.y >= last_top and pages > 0
        ticket_pane.scroll_to(y=0 if at_end else max(0, min(next_top, last_top)), animate=False)

    def tell(self, message: str) -> None:
        """Show a message in the last line of the browser."""
        self.message = safe_text.safe(message)
        self.draw()

    def _fatal_error(self) -> None:
        """Exit without Textual's traceback, which shows local variables; the command line reports the error."""
        self._close_messages_no_wait()
