"""What `triage review` draws: whatever a ticket's text is made of, it fits, and none of it is raw; keys and filters."""

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.cli import beginning_with, cut, entry_of, filters, keys_of, safe_text, screen_lines, wrapped

TICKET = dm.Ticket(
    "t" * 36, "i", "s", "A-1", "h", "Subject", "Text", "C-1", "high", 1, None, "now", suggestion="Billing"
)
NAMES = ("Billing", "Technical", "Bug report")
HOSTILE = st.text(max_size=1000) | st.text("\x1b[]31m\x07\u202e\n\t a/b@(){}", max_size=400)
WIDTHS = st.text("漢字カナ한글🙂🎉é a-b\t\u0301\u202e\ufe0f", max_size=400) | HOSTILE


@example("\u202e \u0301", 6)
@given(WIDTHS, st.integers(5, 120))
@settings(max_examples=200, deadline=None)
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(text: str, width: int) -> None:
    line = safe_text.safe(text)
    lines = wrapped(line, width)
    assert max(map(cell_len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(line.split())
    assert cell_len(cut(text, width)) <= width
    hanging = wrapped(line, width + 4, indent=4)
    assert max(map(cell_len, hanging)) <= width + 4
    assert "".join("".join(hanging).split()) == "".join(line.split())
    assert all(later.startswith("    ") for later in hanging[1:])


RAW = re.compile("[\x00-\x1f\x7f-\x9f\u202e\u2066\ud800-\udfff]")


def texts(lines: list[screen_lines.ScreenLine]) -> list[str]:
    return ["".join(segment.text for segment in line) for line in lines]


def test_of_many_suggestions_the_last_are_drawn_and_the_others_counted() -> None:
    suggestions = tuple(dm.AgentSuggestion("", "Billing", f"agent-{n}", "key", "") for n in range(8))
    lines = texts(screen_lines.ticket_lines(TICKET, dm.Why("", "new", ("head",), suggestions), NAMES, 80))
    drawn = [line for line in lines if "agent" in line]
    assert drawn == [
        *(f"Billing?  suggested by agent agent-{n} of key" for n in range(3, 8)),
        "and 3 more of agents: triage why A-1",
    ]


@given(WIDTHS, WIDTHS, st.integers(10, 160))
@settings(max_examples=150, deadline=None)
def test_no_text_of_a_ticket_is_drawn_raw_or_wider_than_there_is_room(subject: str, text: str, width: int) -> None:
    ticket = replace(TICKET,
        external_id=subject, subject=subject, description=text, reason=text, confidence=0.5, customer_id=text,
        suggestion=subject, extra='{"plan": "\\u001b[31m"}',
    )  # fmt: skip
    suggestion = dm.AgentSuggestion("", subject, text, text, "", subject)
    why = dm.Why("", "new", ("head", f"2026-11-24 08:00:00Z  {text}", text), (suggestion,))
    lines = texts(screen_lines.ticket_lines(ticket, why, NAMES, width))
    lines += texts([screen_lines.queue_line(entry_of(ticket), " ", width, marked=True)] if width >= 20 else [])
    lines += (
        texts(screen_lines.choice_lines(keys_of([text or "x"]), [text or "x"], text, width, 3)) if width >= 20 else []
    )
    for line in lines:
        assert not RAW.search(line)
        assert cell_len(line) <= width, line


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Billing?  ████░░░░ 0.50"),
        ({"suggestion": "Sales"}, "Sales?  ████░░░░ 0.50, which is no category now"),
        ({"category": "Sales", "verdict": 1}, "Sales, decided by a person, which is no category now"),
        ({"suggestion": None, "error": "it timed out"}, "no guess: it timed out"),
    ],
)
def test_what_was_guessed_or_decided_and_whether_that_is_a_category(fields: dict[str, Any], expected: str) -> None:
    ticket = replace(replace(TICKET, confidence=0.5), **fields)
    assert expected in texts(screen_lines.ticket_lines(ticket, None, NAMES, 80))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("T-1", "T-1"),
        ("SUMO-1420293", "…420293"),
        ("<CAF3xyz123@mail.example>", "…xyz123"),
        ("漢字漢字漢字", "…字漢字"),
    ],
)
def test_a_name_with_too_little_room_shows_where_it_differs_from_others_of_its_source(name: str, shown: str) -> None:
    entry = entry_of(replace(TICKET, external_id=name))
    assert texts([screen_lines.queue_line(entry, " ", 28, marked=False)])[0].split()[0].removeprefix("!") == shown


def test_of_a_very_long_text_the_rest_is_told() -> None:
    ticket = replace(TICKET, description="word " * 200_000)
    lines = texts(screen_lines.ticket_lines(ticket, None, NAMES, 80))
    assert len(lines) < 1000
    assert "… 950,000 more characters: triage show A-1" in lines


def test_no_command_that_is_proposed_holds_what_a_shell_would_run() -> None:
    ticket = replace(TICKET, external_id="x; rm -rf ~", description="word " * 20_000)
    suggestions = tuple(dm.AgentSuggestion("", "Billing", f"agent-{n}", "key", "") for n in range(8))
    lines = texts(screen_lines.ticket_lines(ticket, dm.Why("", "new", ("head",), suggestions), NAMES, 80))
    proposed = [line for line in lines if ": triage " in line]
    assert len(proposed) == 2
    assert all(line.endswith(dm.short(ticket.ticket_id)) for line in proposed)


def test_categories_take_no_more_lines_than_they_may_and_the_guess_is_marked() -> None:
    names = [f"Category {n}" for n in range(40)]
    lines = texts(screen_lines.choice_lines(keys_of(names), names, "Category 1", 60, 3))
    assert len(lines) == 3
    assert "2 Category 1↵" in lines[0]
    shown = sum(line.count("Category") for line in lines)
    assert lines[-1].endswith(f"… / finds the other {40 - shown}")
    assert max(map(cell_len, lines)) <= 60


@given(st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=255, unique=True))
@settings(max_examples=100, deadline=None)
def test_each_key_gives_one_category_and_none_is_a_command(names: list[str]) -> None:
    keys = keys_of(names)
    assert set(keys.values()) <= set(names)
    assert not set(keys) & set("qsunforlw/? \r\n\x1b")
    assert set(names[:40]) <= set(keys.values())
    assert all(len(key) == 1 for key in keys)


def test_the_first_letter_of_a_name_is_its_key_where_it_is_free() -> None:
    keys = keys_of(["Billing", "Technical", "General", "Outage", "Quotes", "Warranty"])
    assert (keys["b"], keys["t"], keys["g"], keys["a"]) == ("Billing", "Technical", "General", "Outage")
    assert keys["e"] == "Quotes", "q quits, u undoes, o orders, and t is taken"
    assert "w" not in keys, "it explains, on a terminal that cannot draw"
    assert (keys["1"], keys["5"]) == ("Billing", "Quotes")


def test_a_category_is_found_by_the_beginning_of_its_name_in_any_case() -> None:
    assert beginning_with("b", NAMES) == ["Billing", "Bug report"]
    assert beginning_with(" BILLING ", [*NAMES, "Billing again"]) == ["Billing"]
    assert beginning_with("x", NAMES) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", filters.Filters()),
        ("refund  me", filters.Filters(search="refund me")),
        ("priority:Urgent refund", filters.Filters("urgent", search="refund")),
        ("prio:urgent c:refund", filters.Filters("urgent", search="c:refund")),
        ('category:"bug report" category:Billing', filters.Filters(categories=("Bug report", "Billing"))),
        ("status:routed status:new", filters.Filters(statuses=frozenset({"routed", "new"}))),
        ("http://x.example priority:", filters.Filters(search="http://x.example priority:")),
    ],
)
def test_a_line_of_filters(line: str, expected: filters.Filters) -> None:
    found = filters.parsed_filters(line, NAMES, every=True)
    assert found == expected
    assert filters.parsed_filters(found.line, NAMES, every=True) == found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("priority:soon", 'no priority "soon"'),
        ("priority:low priority:high", "a ticket has one priority"),
        ("category:Sales", 'no category "Sales"'),
        ("status:routed", "triage review --all"),
        ('"open', "a quote is open"),
    ],
)
def test_a_line_that_is_no_filter(line: str, message: str) -> None:
    with pytest.raises(dm.UsageError) as caught:
        filters.parsed_filters(line, NAMES, every=False)
    assert message in caught.value.sentence()
