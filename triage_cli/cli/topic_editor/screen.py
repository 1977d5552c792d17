"""The screen of `triage discover --edit`: topics, one in full, and a prompt; each key makes a line for the editor."""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from triage_cli import domain as dm
from triage_cli.cli import messages, safe_text
from triage_cli.cli.review.screen_lines import BOLD, DIM, ScreenLine
from triage_cli.cli.review.widgets import Pane, QueuePane, TerminalApp
from triage_cli.cli.text_layout import cut, wrapped
from triage_cli.cli.topic_editor.editing import EditedTopic, TopicEditor

KEYS = "n name  t text  a add  m merge  p parent  d drop  u undo  q write  ctrl+c leave"  # fit 80 columns
PROMPTS = {
    "n": ("name", "its whole name"),
    "t": ("text", "its description"),
    "m": ("merge", "the numbers of those that join it"),
    "p": ("nest", "the name of its parent; empty: the first level"),
}
DESCRIBE = {"add": " (t)", "merge": " (t)"}  # the key for what the message asks for
SELECTED = Style(reverse=True)


class TopicScreen(TerminalApp):
    """Shows topics and takes keys; its result is an exit code."""

    CSS: ClassVar[str] = """
    #head, #foot { height: 1; overflow: hidden; }
    #topics { width: 45%; min-width: 20; overflow-x: hidden; scrollbar-size-vertical: 1; }
    #topic { width: 1fr; padding: 0 1; overflow-x: hidden; scrollbar-size-vertical: 1; }
    #prompt { display: none; height: 1; border: none; padding: 0; }
    """
    stop_code: ClassVar[dm.ExitCode] = dm.ExitCode.INTERRUPTED

    def __init__(self, editor: TopicEditor) -> None:
        super().__init__()
        self._editor = editor
        self._cursor = 0
        self._message = ""
        self._verb = ""  # of the line that the prompt makes; empty while it is closed

    def compose(self) -> ComposeResult:
        yield Pane(id="head")
        with Horizontal():
            yield QueuePane(self._topic_line, id="topics")
            yield Pane(id="topic")
        yield Pane(id="foot")
        yield Input(id="prompt", disabled=True)

    def on_mount(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    @property
    def _selected(self) -> EditedTopic | None:
        topics = self._editor.topics
        return topics[self._cursor] if topics else None

    def _draw(self) -> None:
        topics = self._editor.topics
        self._cursor = max(0, min(self._cursor, len(topics) - 1))
        heading = f"discover {messages.plural(len(topics), 'topics')}"
        self.query_one("#head", Pane).show(lambda width: [[Segment(cut(heading, width), BOLD)]])
        foot, style = (self._message, BOLD) if self._message else (KEYS, DIM)
        self.query_one("#foot", Pane).show(lambda width: [[Segment(cut(foot, width), style)]])
        queue = self.query_one("#topics", QueuePane)
        queue.resize_to(len(topics))
        queue.reveal(self._cursor)
        self.query_one("#topic", Pane).show(self._topic_lines)

    def _topic_line(self, place: int, width: int) -> ScreenLine:
        if place >= len(self._editor.topics):
            return []
        return [Segment(cut(self._editor.topics[place].line, width), SELECTED if place == self._cursor else None)]

    def _topic_lines(self, width: int) -> Sequence[ScreenLine]:
        topic = self._selected
        if topic is None:
            return [[Segment("no topic is left: u takes the last edit back")]]
        lines: list[ScreenLine] = [[Segment(line, BOLD)] for line in wrapped(safe_text.safe(topic.line.strip()), width)]
        for text in topic.core:
            lines.append([])
            lines += [[Segment(line)] for line in wrapped(safe_text.safe(dm.shortened(text)), width)]
        return lines

    def on_key(self, event: events.Key) -> None:
        if event.key == "ctrl+c":
            self.exit(dm.ExitCode.INTERRUPTED)
        elif self._verb:
            if event.key == "escape":
                self._close_prompt()
                self._draw()
        else:
            self._press(event.key, event.character or "")

    def _press(self, key: str, character: str) -> None:
        self._message = ""
        page = max(1, self.size.height - 3)
        steps = {"up": -1, "down": 1, "pageup": -page, "pagedown": page, "home": -self._cursor, "end": 10**6}
        topic = self._selected
        if key in steps:
            self._cursor += steps[key]
        elif character == "q":
            self.exit(dm.ExitCode.OK)
        elif character == "u":
            self._do("undo")
        elif character == "a":
            self._verb, self._message = "add", "the name of a category that has no topic: enter takes it, esc leaves"
            self.open_prompt("")
        elif character == "d" and topic is not None:
            self._do(f"drop {topic.number}")
        elif character in PROMPTS and topic is not None:
            self._ask(character, topic)
        self._draw()

    def _ask(self, character: str, topic: EditedTopic) -> None:
        self._verb, question = PROMPTS[character]
        self._message = f"{question}: enter takes it, esc leaves"
        self.open_prompt({"n": topic.category, "t": topic.description}.get(character, ""))

    def _close_prompt(self) -> None:
        self._verb, self._message = "", ""
        self.close_prompt()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        verb, topic = self._verb, self._selected
        self._close_prompt()
        if verb == "add":
            known = len(self._editor.topics)
            self._do(f"add {event.value.strip()}")
            if len(self._editor.topics) > known:
                self._cursor = known
        elif topic is not None:
            self._do(f"{verb} {topic.number} {event.value.strip()}")
        self._draw()

    def on_pane_clicked(self, event: Pane.Clicked) -> None:
        self._cursor = event.marks.get("place", self._cursor)
        self._draw()

    def _do(self, line: str) -> None:
        try:
            self._message = safe_text.safe(self._editor.do(line)) + DESCRIBE.get(line.partition(" ")[0], "")
        except dm.UsageError as error:
            self._message = safe_text.safe(messages.sentence(error))
