"""Textual screens, and their widgets: panes that draw lines of styled text and never read it as markup."""

import asyncio
import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.driver import Driver
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input

from triage_cli import domain as dm
from triage_cli.cli.context import CommandContext
from triage_cli.cli.review.screen_lines import ScreenLine
from triage_cli.cli.signals import own_wakeup


class Pane(ScrollView, can_focus=False):
    """A widget that draws lines of styled text; a click event has the marks of the clicked part."""

    class Clicked(Message):
        """A click in the pane on a part of a line with marks."""

        def __init__(self, marks: dict[str, int]) -> None:
            super().__init__()
            self.marks = marks

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._draw_lines: Callable[[int], Sequence[ScreenLine]] = lambda _: ()
        self._pane_lines: Sequence[ScreenLine] = ()

    def show(self, draw_lines: Callable[[int], Sequence[ScreenLine]], *, top: bool = True) -> None:
        """Show in the pane the lines that `draw_lines` returns for its width, from the top by default."""
        self._draw_lines = draw_lines
        if top:
            self.scroll_to(y=0, animate=False)
        self.lay_out()

    def on_resize(self) -> None:
        self.lay_out()

    def lay_out(self) -> None:
        """Compute the lines of the pane for its present width."""
        width = self.scrollable_content_region.width
        self._pane_lines = self._draw_lines(width) if width > 0 else ()  # before the first layout of the pane it is 0
        self.virtual_size = Size(width, len(self._pane_lines))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        line_index = y + self.scroll_offset.y
        return self._strip(self._pane_lines[line_index] if line_index < len(self._pane_lines) else [])

    def _strip(self, line: ScreenLine) -> Strip:
        segments = [Segment(s.text, self.rich_style + s.style if s.style else self.rich_style) for s in line]
        return Strip(segments).crop_extend(0, self.scrollable_content_region.width, self.rich_style)

    def on_click(self, event: Click) -> None:
        marks = {key: value for key, value in event.style.meta.items() if not key.startswith("@")}
        if marks:
            self.post_message(self.Clicked(marks))


class QueuePane(Pane, can_focus=False):
    """A widget that draws the visible lines of a queue; `line` returns the line of a place for a width."""

    def __init__(self, line: Callable[[int, int], ScreenLine], *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._queue_line = line
        self._line_count = 0

    def resize_to(self, line_count: int) -> None:
        self._line_count = line_count
        self.lay_out()

    def lay_out(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, self._line_count)
        self.refresh()

    def reveal(self, queue_place: int) -> None:
        """Scroll the pane so that a place of the queue is in view."""
        pane_height, top_line = max(1, self.size.height), self.scroll_offset.y
        if not top_line <= queue_place < top_line + pane_height:
            self.scroll_to(y=max(0, queue_place - pane_height // 2), animate=False)

    def render_line(self, y: int) -> Strip:
        queue_place = y + self.scroll_offset.y
        if queue_place >= self.virtual_size.height:
            return self._strip([])
        click_mark = Style.from_meta({"place": queue_place})
        queue_line = self._queue_line(queue_place, self.scrollable_content_region.width)
        return self._strip([Segment(s.text, s.style + click_mark if s.style else click_mark) for s in queue_line])


def has_hung_up() -> bool:
    """Return whether the terminal is gone."""
    terminal_poll = select.poll()
    terminal_poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in terminal_poll.poll(0))


HANGUP_SECONDS = 1.0  # between two checks whether the terminal still exists


class TerminalApp(App[int]):
    """A full-screen application with a prompt; its result is an exit code, `stop_code` after a signal."""

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    stop_code: ClassVar[dm.ExitCode] = dm.ExitCode.OK

    def __init__(self) -> None:
        super().__init__(ansi_color=True)  # else NO_COLOR would paint black on black
        self._is_stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def get_driver_class(self) -> type[Driver]:
        """Return Textual's driver, which draws on stderr, with the size of that terminal: stdout may be a file."""

        class SizedDriver(super().get_driver_class()):  # type: ignore[misc]
            def _get_terminal_size(self) -> tuple[int, int]:
                try:
                    columns, lines = os.get_terminal_size(sys.__stderr__.fileno() if sys.__stderr__ else 2)
                except OSError:
                    columns = lines = 0
                return (columns, lines) if columns and lines else super()._get_terminal_size()

        return SizedDriver

    @property
    def failure(self) -> Exception | None:
        """Return the error that ended the application, if any."""
        return self._exception

    def run_until_stopped(self, context: CommandContext) -> int:
        """Run until a person quits or a signal comes, and return the exit code. Raises the error that ended it."""
        context.stopper.watch(self.stop)
        with own_wakeup():
            code = self.run()
        if self.failure is not None:
            raise self.failure
        return code or dm.ExitCode.OK

    def on_mount(self) -> None:
        """Take the colours of the terminal; Textual calls the handlers of derived classes before."""
        self.theme = "ansi-dark"
        self._loop = asyncio.get_running_loop()
        if self._is_stopped:  # before the loop was known
            self.exit(self.stop_code)
        self.set_interval(HANGUP_SECONDS, self._end_without_terminal)

    def _end_without_terminal(self) -> None:
        """Exit if the terminal is gone (a broken connection), since Textual would read the end of file for ever."""
        if has_hung_up():
            self.exit(dm.ExitCode.TERMINATED)

    def stop(self) -> None:
        """Exit the application; for signal handlers."""
        self._is_stopped = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.exit, self.stop_code)

    def _fatal_error(self) -> None:
        """Exit without Textual's traceback, which shows local variables; the command line reports the error."""
        self._close_messages_no_wait()

    def open_prompt(self, value: str) -> None:
        """Show the prompt, with a value to begin with, and let it take the keys."""
        prompt = self.query_one("#prompt", Input)
        prompt.value = value
        prompt.disabled, prompt.styles.display = False, "block"
        self.screen.set_focus(prompt)

    def close_prompt(self) -> None:
        prompt = self.query_one("#prompt", Input)
        self.set_focus(None)
        prompt.disabled, prompt.styles.display = True, "none"
