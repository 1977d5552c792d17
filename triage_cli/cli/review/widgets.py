"""Two widgets that draw lines of styled text and never read it as markup."""

from collections.abc import Callable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from triage_cli.cli.review.screen_lines import Line


class Pane(ScrollView, can_focus=False):
    """Draws lines of styled text; a click event has the marks of the clicked part."""

    class Clicked(Message):
        """A click on a part of a line with marks."""

        def __init__(self, marks: dict[str, int]) -> None:
            super().__init__()
            self.marks = marks

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._draw: Callable[[int], Sequence[Line]] = lambda _: ()
        self._lines: Sequence[Line] = ()

    def show(self, draw: Callable[[int], Sequence[Line]], *, top: bool = True) -> None:
        """Show the lines that `draw` returns for the width, from the top by default."""
        self._draw = draw
        if top:
            self.scroll_to(y=0, animate=False)
        self.lay_out()

    def on_resize(self) -> None:
        """Draw again for the new width."""
        self.lay_out()

    def lay_out(self) -> None:
        """Compute the lines for the present width."""
        width = self.scrollable_content_region.width
        self._lines = self._draw(width) if width > 0 else ()  # before the first layout the width is 0
        self.virtual_size = Size(width, len(self._lines))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a line of what is in view."""
        place = y + self.scroll_offset.y
        return self._strip(self._lines[place] if place < len(self._lines) else [])

    def _strip(self, line: Line) -> Strip:
        segments = [Segment(s.text, self.rich_style + s.style if s.style else self.rich_style) for s in line]
        return Strip(segments).crop_extend(0, self.scrollable_content_region.width, self.rich_style)

    def on_click(self, event: Click) -> None:
        """Post a `Clicked` event."""
        marks = {key: value for key, value in event.style.meta.items() if not key.startswith("@")}
        if marks:
            self.post_message(self.Clicked(marks))


class QueuePane(Pane, can_focus=False):
    """Draws the visible lines of a queue; `line` returns the line of a place for a width."""

    def __init__(self, line: Callable[[int, int], Line], *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._line = line
        self._number = 0

    def resize_to(self, number: int) -> None:
        """Set the number of lines."""
        self._number = number
        self.lay_out()

    def lay_out(self) -> None:
        """Set the number of lines to that of the tickets."""
        self.virtual_size = Size(self.scrollable_content_region.width, self._number)
        self.refresh()

    def reveal(self, place: int) -> None:
        """Scroll so that a place is in view."""
        height, top = max(1, self.size.height), self.scroll_offset.y
        if not top <= place < top + height:
            self.scroll_to(y=max(0, place - height // 2), animate=False)

    def render_line(self, y: int) -> Strip:
        """Return a line of what is in view."""
        place = y + self.scroll_offset.y
        if place >= self.virtual_size.height:
            return self._strip([])
        mark = Style.from_meta({"place": place})
        return self._strip(
            [Segment(s.text, s.style + mark if s.style else mark) for s in self._line(place, self.size.width)]
        )
