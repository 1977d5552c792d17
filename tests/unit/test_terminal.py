"""Colour and wrapping: who gets them, and that nothing else changes."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from triage_cli.cli import help_text, messages, tables, terminal


class Stream(io.StringIO):
    """A stream that says of itself whether it is a terminal."""

    def __init__(self, *, watched: bool) -> None:
        super().__init__()
        self.watched = watched

    def isatty(self) -> bool:
        return self.watched


@pytest.mark.parametrize(
    ("watched", "env", "coloured"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, watched: bool, env: dict[str, str], coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    stream = Stream(watched=watched)
    assert terminal.has_colour(stream) is coloured
    shown = "\x1b[1;31merror:\x1b[0m no such" if coloured else "error: no such"
    assert messages.formatted("error: no such", stream) == shown
    page = "Usage: triage x\n\n  Does a,\n  and b.\n\n  triage x -q    quietly\n\nOptions:\n  --limit N  Most.\n"
    styled = help_text.coloured(page, stream)
    assert (styled != page) is coloured
    if coloured:
        assert "\x1b[32mtriage x -q\x1b[0m    quietly" in styled
        assert "\x1b[1mOptions:\x1b[0m" in styled
        assert "\x1b[36m--limit N\x1b[0m  Most." in styled
        assert "\n  Does a,\n  and b.\n" in styled


def test_a_message_is_wrapped_at_words_and_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(terminal, "width", lambda _: 40)
    line = "note: there is no database yet at /a/path/that/is/longer/than/the/whole/window/is/wide; triage create"
    shown = messages.formatted(line, Stream(watched=True))
    assert shown.splitlines() == [
        "note: there is no database yet at",
        "  /a/path/that/is/longer/than/the/whole/window/is/wide;",
        "  triage create",
    ]
    assert messages.formatted(line, Stream(watched=False)) == line


def test_a_message_is_wrapped_by_the_columns_that_its_characters_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(terminal, "width", lambda _: 80)
    problem = f'error: "{"至急ご対応お願いします" * 5}" is no priority; write /{"p" * 90}'
    shown = messages.formatted(problem, Stream(watched=True)).splitlines()
    assert [cell_len(line) for line in shown][:-1] == [78, 65]
    assert shown[-1] == f"  /{'p' * 90}", "what may be copied stays whole"


@pytest.mark.parametrize("columns", range(60, 130))
def test_a_table_of_tickets_shows_a_confidence_whole_or_not_at_all(columns: int) -> None:
    record = {
        "external_id": "4711", "ticket_id": "01a21a4e", "status": "needs_review", "category": "Technical",
        "confidence": 0.96, "priority": "urgent", "customer_id": "1016", "subject": "something odd " * 9,
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=columns)
    with console.capture() as capture:
        console.print(tables.tickets([record]))
    header, row = capture.get().splitlines()
    assert ("0.96" in row) == ("confidence" in header)
