"""The full-screen application of `triage review`: queue, ticket and explanation, keys, prompts, verdicts."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import ClassVar

from rich.segment import Segment
from textual import events, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from triage_cli import domain as dm
from triage_cli.cli import messages, safe_text
from triage_cli.cli.review import filters, key_bindings, screen_lines
from triage_cli.cli.review.session import ReviewSession
from triage_cli.cli.review.ticket_queue import PAGE, QueueEntry, TicketQueue, name_of
from triage_cli.cli.review.widgets import Pane, QueuePane, TerminalApp
from triage_cli.cli.text_layout import cut

LOAD_BEFORE_KEYS = 1_000  # tickets of the queue that are loaded before keys are handled again
WHY_DELAY = 0.08  # seconds without a key before the explanation of a ticket is loaded


class TicketBrowser(TerminalApp):
    """Browses the tickets of a view: shows the queue and one ticket in full; its result is an exit code."""

    CSS: ClassVar[str] = """
    #head, #keys, #foot { height: 1; overflow: hidden; }
    #queue { width: 36%; min-width: 20; max-width: 56; overflow-x: hidden; scrollbar-size-vertical: 1; }
    #ticket { width: 1fr; padding: 0 1; overflow-x: hidden; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    #prompt { display: none; height: 1; border: none; padding: 0; }
    """

    def __init__(self, session: ReviewSession, view: filters.View) -> None:
        super().__init__()
        self.session = session
        self.view = view
        self.queue = TicketQueue(session.triage, view, session.category_names)
        self.cursor = 0
        self.ticket: dm.Ticket | None = None
        self.message = ""
        self.note: str | None = None  # for the next verdict
        self.helps = False
        self.marks: dict[str, str] = {}  # of the tickets that were decided or skipped
        self._why: dm.Why | None = None
        self._loads_to: int | None = None  # the place up to which the queue is being loaded

    def compose(self) -> ComposeResult:
        yield Pane(id="head")
        with Horizontal():
            yield QueuePane(self._queue_line, id="queue")
            yield Pane(id="ticket")
        yield Pane(id="keys")
        yield Pane(id="foot")
        yield Input(id="prompt", disabled=True)

    def on_mount(self) -> None:
        self.queue.load(PAGE)
        self.go_to(0)

    @property
    def by_key(self) -> dict[str, str]:
        """Return the values to choose from by their keys."""
        return self.session.by_key

    # -- what is shown

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Draw all panes of the browser, but not the prompt."""
        width, height = self.size
        guess = self.session.likely_choice(self.ticket) if self.ticket else None
        names, most = self.session.choices, max(1, height // 5)
        choices = screen_lines.choice_lines(self.by_key, names, guess, width, most)
        if self.session.asks_more:
            choices.insert(0, screen_lines.question_line([*self.session.questions], self.session.asked.name, width))
        commands = key_bindings.shown_keys(key_bindings.SHORT_COMMANDS, asks_more=self.session.asks_more)
        message, message_style = self.message, screen_lines.BOLD
        if not message and self.note:
            message, message_style = f"note: {self.note}", screen_lines.DIM
        self._pane("head").show(lambda width: [self._head_line(width)])
        self._pane("keys").styles.height = len(choices)
        self._pane("keys").show(lambda _: choices)
        self._pane("foot").show(
            lambda width: [
                [Segment(cut(message, width), message_style)] if message else screen_lines.key_line(commands, width)
            ]
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
            commands = key_bindings.shown_keys(key_bindings.COMMANDS, asks_more=self.session.asks_more)
            ticket_pane.show(partial(screen_lines.help_lines, commands))
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
        next_order = filters.ORDERS.index(self.view.order) + 1
        self.open(self.view._replace(order=filters.ORDERS[next_order % len(filters.ORDERS)]))

    def move(self, steps: int) -> None:
        """Move forward in the queue by so many tickets, or back."""
        self.go_to(self.cursor + steps)

    def move_pages(self, pages: int) -> None:
        """Move forward in the queue by so many screens of tickets, or back."""
        self.move(pages * max(1, self.query_one("#queue", QueuePane).size.height - 1))

    def go_to_end(self) -> None:
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
            self.note = self.session.opened = None
        if self.ticket is not None:
            self.session.begin(self.ticket)
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
        except dm.TriageError as error:
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
        except dm.TriageError as error:
            self._why = dm.Why(ticket_id, "", ("", messages.sentence(error)))
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


class ReviewApp(TicketBrowser):
    """The full-screen application: handles keys, clicks and prompts of the ticket browser."""

    def __init__(self, session: ReviewSession, view: filters.View) -> None:
        super().__init__(session, view)
        self._prompt_key = ""  # that has opened the prompt; empty while it is closed
        self._held_keys: list[events.Event] | None = None  # those after the key that ends the prompt
        self._routes = False
        self._learns = False
        self.actions: dict[str, Callable[[], None]] = {
            "up": partial(self.move, -1),
            "down": partial(self.move, 1),
            "pageup": partial(self.move_pages, -1),
            "pagedown": partial(self.move_pages, 1),
            "home": partial(self.go_to, 0),
            "end": self.go_to_end,
            "space": partial(self.scroll_text, 1),
            "backspace": partial(self.scroll_text, -1),
            "enter": self.take_guess,
            key_bindings.SKIP: self.skip,
            key_bindings.UNDO: self.undo,
            key_bindings.ALIKE: self.give_alike,
            key_bindings.ORDER: self.reorder,
            key_bindings.ROUTE: self.route,
            key_bindings.LEARN: self.learn,
            key_bindings.HELP: self.help,
            key_bindings.QUIT: partial(self.exit, dm.ExitCode.OK),
            **{key: partial(self.ask, key) for key in key_bindings.PROMPTS},
            **({key_bindings.NEXT_QUESTION: self.ask_next} if session.asks_more else {}),
        }

    # -- keys, mouse, prompts

    async def on_event(self, event: events.Event) -> None:
        """Handle keys one after another, though those that arrive together may open a prompt, fill it and end it."""
        if not isinstance(event, events.Key) or event.is_forwarded or event.key == "ctrl+q":
            await super().on_event(event)
        elif self._held_keys is not None:
            self._held_keys.append(event)
        elif self._prompt_key:
            self._held_keys = [] if event.key in ("enter", "escape") else None
            await super().on_event(event)
        else:
            await self.on_key(event)

    async def _handle_held(self) -> None:
        """Handle the keys that came after the one that was to end the prompt."""
        held_keys, self._held_keys = self._held_keys or [], None
        for key_event in held_keys:
            await self.on_event(key_event)

    async def on_key(self, event: events.Key) -> None:
        if event.key == "ctrl+c":
            self.exit(dm.ExitCode.INTERRUPTED)
        elif not self._prompt_key:
            self.press(event.key, event.character)
        elif event.key == "escape":
            self._close_prompt()
            await self._handle_held()

    def press(self, key: str, character: str | None) -> None:
        """Handle a key and show the error of its action."""
        if self.helps:
            self.helps = False
            self.draw()
            return
        self.message = ""
        key_action = self.actions.get(character or "") or self.actions.get(key)
        if key_action is not None:
            self._try_action(key_action)
        elif key == "escape" and self.session.opened is not None:
            self.session.opened = None
            self.draw()
        elif character and character in self.by_key:
            self._try_action(partial(self.choose, self.by_key[character]))
        elif character and character.isprintable():
            self.tell(f'no key "{character}": ? shows the keys, / finds a {self.session.asked_for} by its name')

    def _try_action(self, action: Callable[[], None]) -> None:
        try:
            action()
        except dm.TriageError as error:
            self.tell(messages.sentence(error))
            self._read_again()

    def on_pane_clicked(self, event: Pane.Clicked) -> None:
        self.message = ""
        if "place" in event.marks:
            self._try_action(partial(self.go_to, event.marks["place"]))
        elif "question" in event.marks:
            self.session.turn_to([*self.session.questions][event.marks["question"]])
            self.draw()
        elif "choice" in event.marks:
            self._try_action(partial(self.choose, self.session.choices[event.marks["choice"]]))

    def ask(self, key: str) -> None:
        """Open the prompt for an answer, a note or a filter."""
        self._prompt_key = key
        self.open_prompt({key_bindings.NOTE: self.note or "", key_bindings.FILTER: self.view.filters.line}.get(key, ""))
        self.tell(key_bindings.PROMPTS[key].format(self.session.asked.name) + "enter takes it, esc leaves")

    def _close_prompt(self) -> None:
        self._prompt_key, self.message = "", ""
        self.close_prompt()
        self.draw()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show which answers begin with the typed text."""
        if self._prompt_key == key_bindings.NAME:
            matching_names = key_bindings.beginning_with(event.value, self.session.names)
            self.tell(", ".join(matching_names[:12]) or f"no {self.session.asked_for} begins so: esc leaves")

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Handle the typed text, and then the keys that came after it."""
        self._submit(event.value.strip())
        await self._handle_held()

    def _submit(self, typed: str) -> None:
        """Handle the text that was typed into the prompt."""
        if self._prompt_key == key_bindings.NAME:
            matching_names = key_bindings.beginning_with(typed, self.session.names)
            if len(matching_names) == 1:
                self._close_prompt()
                self._try_action(partial(self.give, matching_names[0]))
        elif self._prompt_key == key_bindings.NOTE:
            self.note = typed or None
            self._close_prompt()
        elif self._prompt_key == key_bindings.FILTER:
            try:
                typed_filters = filters.parsed_filters(typed, self.session.category_names, every=self.view.every)
            except dm.TriageError as error:
                self.tell(messages.sentence(error))
                return
            self._close_prompt()
            self._try_action(partial(self.open, self.view._replace(filters=typed_filters)))

    # -- deciding

    def take_guess(self) -> None:
        guess = self.session.guess(self.ticket) if self.ticket else None
        if guess is None:
            self.tell(f"there is no guess to take: a key of the list gives a {self.session.asked_for}")
        else:
            self.give(guess)

    def ask_next(self) -> None:
        self.session.ask_next()
        self.draw()

    def choose(self, value: str) -> None:
        """Give an answer, or show those below it."""
        if self.session.open(value):
            self.tell(f"below {value}; 1 is {value} itself, esc goes back")
            self.draw()
        else:
            self.give(value)

    def give(self, value: str) -> None:
        """Store a verdict, then go to the next ticket; one that waits for another answer stays."""
        if self.ticket is None:
            return
        ticket = self.ticket
        decided = self.session.give(ticket, value, self.note)
        self._update_decided(decided)
        self.note = None
        undo = "; u takes it back" if self.session.can_undo() else ""
        done = f"{_short_name(ticket)}: {self.session.steps[-1].said}{undo}"
        message = messages.joined(done, self.session.offer_alike or self.session.offer)
        if self.session.held_by(decided):
            self.message = safe_text.safe(message)
            self.go_to(self.cursor)
        else:
            self._go_on(message)

    def _update_decided(self, ticket: dm.Ticket) -> None:
        """Show a decided ticket in the queue, with a mark if it waits for nothing more."""
        if not self.session.held_by(ticket):
            self.marks[ticket.ticket_id] = "✓"
        self.queue.update(ticket)

    def give_alike(self) -> None:
        """Give what waits with nearly the text of the last ticket the same answer."""
        step = self.session.give_alike()
        for ticket in (step.decided, *step.alike):
            self._update_decided(ticket)
        number = messages.plural(1 + len(step.alike), "tickets")
        self.cursor -= 1  # the one that is shown may not be among them
        self._go_on(f"{number}: {step.said}; u takes them back")

    def skip(self) -> None:
        if self.ticket is not None:
            self.session.skip(self.ticket)
            self.marks.setdefault(self.ticket.ticket_id, "·")
            self._go_on(f"{_short_name(self.ticket)}: skipped; u takes it back")

    def undo(self) -> None:
        """Undo the last verdict or skip, and go to its ticket."""
        step = self.session.undo()
        ticket = step.ticket
        for taken_back in (ticket, *step.alike):
            self.marks.pop(taken_back.ticket_id, None)
            self.queue.update(taken_back)
        self.message = safe_text.safe(f"taken back: {step.said}" if step.said else "back")
        if self.queue.place(ticket.ticket_id) is None:  # the queue was loaded after the verdict
            self.open(self.view)
        self.go_to(self.queue.place(ticket.ticket_id) or 0)

    @work(thread=True)
    def _in_background(self, step: Callable[[], str], then: Callable[[str], None]) -> None:
        """Take a step that may last in a thread; `then` gets what it has done, or why it could not."""
        try:
            said = step()
        except dm.TriageError as error:
            said = messages.sentence(error)
        self.call_from_thread(then, said)

    def route(self) -> None:
        if self.ticket is not None and not self._routes:
            self._routes = True
            name, ticket_id = _short_name(self.ticket), self.ticket.ticket_id
            self.tell(f"{name}: on its way")
            self._in_background(partial(self._route, ticket_id, name), partial(self._routed, ticket_id))

    def _route(self, ticket_id: str, name: str) -> str:
        """Return what became of the ticket; an error names it itself."""
        route_message = f"{name}: nothing to route"
        for outcome in self.session.triage.route(dm.Selection(ids=(ticket_id,)), dm.RoutePlan()):
            sent = f"{outcome.action.value} {(outcome.value and outcome.value.ticket.routed_to) or ''}".strip()
            route_message = messages.sentence(outcome.error) if outcome.error else f"{name}: {sent}"
        return route_message

    def _routed(self, ticket_id: str, route_message: str) -> None:
        self._routes = False
        for ticket in self.session.triage.find(dm.Selection(ids=(ticket_id,))):
            self.queue.update(ticket)
            self.message = safe_text.safe(route_message)
            if self.ticket is not None and self.ticket.ticket_id == ticket_id:
                self.go_to(self.cursor)

    def learn(self) -> None:
        """Learn from the verdicts, then show the tickets in their new order."""
        if not self._learns:
            self._learns = True
            self.tell("learning from the verdicts")
            self._in_background(self.session.learn, self._learned)

    def _learned(self, learn_summary: str) -> None:
        self._learns = False
        self._try_action(partial(self.open, self.view))
        self.tell(learn_summary)

    def help(self) -> None:
        self.helps = True
        self.draw()

    def _go_on(self, message: str) -> None:
        """Go to the next ticket that is not decided or skipped, and show a message about the last step."""
        self.message = safe_text.safe(message)
        queue_place = self.cursor + 1
        while queue_place < len(self.queue.entries) or self.queue.load():
            if self._mark(self.queue.entries[queue_place]) == " ":
                break
            queue_place += 1
        else:
            self.message += "; that was the last one: q quits"
            queue_place = self.cursor
        self.go_to(queue_place)

    def _read_again(self) -> None:
        """Reload the shown ticket, which others may have changed."""
        if self.ticket is None:
            return
        error_message = self.message
        with suppress(dm.TriageError):  # the error is shown already
            self.queue.update(self.session.read_again(self.ticket))
            self.go_to(self.cursor)
        self.tell(error_message)


def _short_name(ticket: dm.Ticket) -> str:
    """Return a ticket's name for a message."""
    return cut(name_of(ticket), screen_lines.NAME_WIDTH)
