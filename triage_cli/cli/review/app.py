"""The full-screen application of `triage review`: keys, prompts and verdicts."""

import asyncio
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from textual import events, work
from textual.widgets import Input

from triage_cli.cli import messages, safe_text
from triage_cli.cli.review import filters, key_bindings, screen_lines
from triage_cli.cli.review.browser import TicketBrowser
from triage_cli.cli.review.session import ReviewSession
from triage_cli.cli.review.ticket_queue import name_of
from triage_cli.cli.review.widgets import Pane
from triage_cli.cli.text_layout import cut
from triage_cli.domain import ExitCode, RoutePlan, Selection, Ticket, TriageError

HANGUP_SECONDS = 1.0  # between two checks whether the terminal still exists


class ReviewApp(TicketBrowser):
    """The full-screen application: handles keys, clicks and prompts of the ticket browser."""

    def __init__(self, session: ReviewSession, view: filters.View) -> None:
        super().__init__(session, view)
        self._prompt_key = ""  # that has opened the prompt; empty while it is closed
        self._held_keys: list[events.Event] | None = None  # those after the key that ends the prompt
        self._routes = False
        self._learns = False
        self._is_stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
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
            key_bindings.ORDER: self.reorder,
            key_bindings.ROUTE: self.route,
            key_bindings.LEARN: self.learn,
            key_bindings.HELP: self.help,
            key_bindings.QUIT: partial(self.exit, ExitCode.OK),
            **{key: partial(self.ask, key) for key in key_bindings.PROMPTS},
        }

    def on_mount(self) -> None:
        """Store the running loop; Textual also calls the handler of the base class."""
        self._loop = asyncio.get_running_loop()
        if self._is_stopped:  # before the loop was known
            self.exit(ExitCode.OK)
        self.set_interval(HANGUP_SECONDS, self._end_without_terminal)

    def _end_without_terminal(self) -> None:
        """Exit if the terminal is gone (a broken connection), since Textual would read the end of file for ever."""
        terminal_poll = select.poll()
        terminal_poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in terminal_poll.poll(0)):
            self.exit(ExitCode.TERMINATED)

    def stop(self) -> None:
        """Exit the application; for signal handlers."""
        self._is_stopped = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.exit, ExitCode.OK)

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
        """Handle a key that no prompt takes."""
        if event.key == "ctrl+c":
            self.exit(ExitCode.INTERRUPTED)
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
        elif character and character in self.by_key:
            self._try_action(partial(self.give, self.by_key[character]))
        elif character and character.isprintable():
            self.tell(f'no key "{character}": ? shows the keys, / finds a category by its name')

    def _try_action(self, action: Callable[[], None]) -> None:
        try:
            action()
        except TriageError as error:
            self.tell(messages.sentence(error))
            self._read_again()

    def on_pane_clicked(self, event: Pane.Clicked) -> None:
        """Handle a click: go to a ticket, or give a category."""
        self.message = ""
        if "place" in event.marks:
            self._try_action(partial(self.go_to, event.marks["place"]))
        elif "category" in event.marks:
            self._try_action(partial(self.give, self.session.category_names[event.marks["category"]]))

    def ask(self, key: str) -> None:
        """Open the prompt for a category, a note or a filter."""
        self._prompt_key = key
        prompt = self.query_one("#prompt", Input)
        prompt.value = {key_bindings.NOTE: self.note or "", key_bindings.FILTER: self.view.filters.line}.get(key, "")
        prompt.disabled, prompt.styles.display = False, "block"
        self.screen.set_focus(prompt)
        self.tell(key_bindings.PROMPTS[key] + "enter takes it, esc leaves")

    def _close_prompt(self) -> None:
        self._prompt_key, self.message = "", ""
        prompt = self.query_one("#prompt", Input)
        self.set_focus(None)
        prompt.disabled, prompt.styles.display = True, "none"
        self.draw()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show which categories begin with the typed text."""
        if self._prompt_key == key_bindings.NAME:
            matching_categories = key_bindings.beginning_with(event.value, self.session.category_names)
            self.tell(", ".join(matching_categories[:12]) or "no category begins so: esc leaves")

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Handle the typed text, and then the keys that came after it."""
        self._submit(event.value.strip())
        await self._handle_held()

    def _submit(self, typed: str) -> None:
        """Handle the text that was typed into the prompt."""
        if self._prompt_key == key_bindings.NAME:
            matching_categories = key_bindings.beginning_with(typed, self.session.category_names)
            if len(matching_categories) == 1:
                self._close_prompt()
                self._try_action(partial(self.give, matching_categories[0]))
        elif self._prompt_key == key_bindings.NOTE:
            self.note = typed or None
            self._close_prompt()
        elif self._prompt_key == key_bindings.FILTER:
            try:
                typed_filters = filters.parse(typed, self.session.category_names, every=self.view.every)
            except TriageError as error:
                self.tell(messages.sentence(error))
                return
            self._close_prompt()
            self._try_action(partial(self.open, self.view._replace(filters=typed_filters)))

    # -- deciding

    def take_guess(self) -> None:
        """Give the guessed category as the verdict."""
        guess = self.session.guess(self.ticket) if self.ticket else None
        if guess is None:
            self.tell("there is no guess to take: a key of the list gives a category")
        else:
            self.give(guess)

    def give(self, category: str) -> None:
        """Store a verdict, then go to the next ticket."""
        if self.ticket is None:
            return
        ticket = self.ticket
        self.queue.update(self.session.give(ticket, category, self.note))
        self.note = None
        self.marks[ticket.ticket_id] = "✓"
        undo = "; u takes it back" if self.session.can_undo() else ""
        self._go_on(messages.joined(f"{_short_name(ticket)}: {category}{undo}", self.session.offer))

    def skip(self) -> None:
        """Skip the ticket, which leaves it for later."""
        if self.ticket is not None:
            self.session.skip(self.ticket)
            self.marks.setdefault(self.ticket.ticket_id, "·")
            self._go_on(f"{_short_name(self.ticket)}: skipped; u takes it back")

    def undo(self) -> None:
        """Undo the last verdict or skip, and go to its ticket."""
        ticket, category, _ = self.session.undo()
        self.marks.pop(ticket.ticket_id, None)
        self.queue.update(ticket)
        self.message = safe_text.safe(f"taken back: {category}" if category else "back")
        if self.queue.place(ticket.ticket_id) is None:  # the queue was loaded after the verdict
            self.open(self.view)
        self.go_to(self.queue.place(ticket.ticket_id) or 0)

    def route(self) -> None:
        """Route the ticket that is shown."""
        if self.ticket is not None and not self._routes:
            self._routes = True
            self.tell(f"{_short_name(self.ticket)}: on its way")
            self._route(self.ticket.ticket_id)

    @work(thread=True)
    def _route(self, ticket_id: str) -> None:
        route_message = "nothing to route"
        try:
            for outcome in self.session.triage.route(Selection(ids=(ticket_id,)), RoutePlan()):
                sent = f"{outcome.action.value} {(outcome.value and outcome.value.ticket.routed_to) or ''}".strip()
                route_message = messages.sentence(outcome.error) if outcome.error else sent
        except TriageError as error:
            route_message = messages.sentence(error)
        self.call_from_thread(self._routed, ticket_id, route_message)

    def _routed(self, ticket_id: str, route_message: str) -> None:
        self._routes = False
        for ticket in self.session.triage.find(Selection(ids=(ticket_id,))):
            self.queue.update(ticket)
            self.message = safe_text.safe(f"{_short_name(ticket)}: {route_message}")
            if self.ticket is not None and self.ticket.ticket_id == ticket_id:
                self.go_to(self.cursor)

    def learn(self) -> None:
        """Learn from the verdicts, then show the tickets in their new order."""
        if not self._learns:
            self._learns = True
            self.tell("learning from the verdicts")
            self._learn()

    @work(thread=True)
    def _learn(self) -> None:
        try:
            learn_summary = self.session.learn()
        except TriageError as error:
            learn_summary = messages.sentence(error)
        self.call_from_thread(self._learned, learn_summary)

    def _learned(self, learn_summary: str) -> None:
        self._learns = False
        self._try_action(partial(self.open, self.view))
        self.tell(learn_summary)

    def help(self) -> None:
        """Show the help with all keys, until one is pressed."""
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
        with suppress(TriageError):  # the error is shown already
            self.queue.update(self.session.read_again(self.ticket))
            self.go_to(self.cursor)
        self.tell(error_message)


def _short_name(ticket: Ticket) -> str:
    """Return a ticket's name for a message."""
    return cut(name_of(ticket), screen_lines.NAME_WIDTH)
