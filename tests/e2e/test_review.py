"""`triage review` on a real terminal: one key a ticket, stored at once; and the order in which tickets come."""

import json
import os
import re
import signal
import threading
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.cli import Cli
from tests.support.commands import PATIENCE
from tests.support.typed_terminal import Typist
from tests.support.world import FakeClassifier, World
from triage_cli.cli import messages
from triage_cli.cli.review_screen import cut, keys_of, screen, wrapped
from triage_cli.cli.signals import Stopper
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.tickets import Category, Selection, Ticket, TicketDraft, VerdictDraft
from triage_cli.service.lookup import Waiting, lead, order_of_review
from triage_cli.stores.sqlite.store import SqliteStore


def reviewing(cli: Cli, *args: str, columns: int = 80) -> Typist:
    return Typist(cli, "review", *args, columns=columns)


@pytest.fixture
def unsure(cli: Cli) -> Cli:
    """Four tickets that wait for a person; the model was least sure of the first."""
    cli.env["COLUMNS"] = "80"
    world = World(SqliteStore(str(cli.db)))
    guesses = {"0": 0.1, "1": 0.2, "2": 0.3, "3": 0.4}
    world.classifier = FakeClassifier(lambda t: ("Billing", guesses[t.external_id or ""]))
    words = ("alpha", "beta", "gamma", "delta")
    drafts = (
        TicketDraft(n, n + 2, f"subject {w}", f"about {w}", external_id=str(n), cells=()) for n, w in enumerate(words)
    )
    list(world.triage().create(drafts))
    list(world.triage().classify(Selection(), ClassifyPlan()))
    world.store.close()
    return cli


def standing(cli: Cli) -> dict[str, tuple[str, str | None, bool]]:
    listed = map(json.loads, cli("list").stdout.splitlines())
    return {t["external_id"]: (t["status"], t["category"], t["verdict"]) for t in listed}


def test_one_key_a_ticket_undo_skip_and_quit(unsure: Cli) -> None:
    typist = reviewing(unsure)
    typist.sees("1 of 4")
    assert "subject alpha" in typist.shown
    assert "the machine's guess: Billing at 0.10, because of: because" in typist.shown
    typist.types("2", see="subject beta")
    typist.types("g", see="subject gamma")
    typist.types("u", see="taken back: General")
    assert standing(unsure)["1"] == ("needs_review", None, False)
    typist.types("s", see="subject gamma")
    typist.types("\r", see="subject delta")
    typist.types("x", see="4 of 4")
    typist.types("q", see="2 verdicts given, 1 skipped, 1 left")
    assert typist.ends() == 0
    assert "next: triage route" in typist.shown
    assert standing(unsure) == {
        "0": ("classified", "Technical", True), "1": ("needs_review", None, False),
        "2": ("classified", "Billing", True), "3": ("needs_review", None, False),
    }  # fmt: skip
    assert unsure("route", "-q").returncode == 0
    assert standing(unsure)["0"] == ("routed", "Technical", True)


def test_the_last_ticket_ends_it_and_an_empty_desk_says_so(unsure: Cli) -> None:
    typist = reviewing(unsure, "--limit", "2")
    typist.sees("1 of 2")
    typist.types("11", see="2 verdicts given, 0 skipped, 0 left")
    assert typist.ends() == 0
    typist = reviewing(unsure)
    typist.sees("1 of 2")
    typist.types("11", see="0 left")
    assert typist.ends() == 0
    typist = reviewing(unsure)
    typist.sees("nothing waits for a person")
    assert typist.ends() == 0


def test_a_category_by_the_beginning_of_its_name(unsure: Cli) -> None:
    typist = reviewing(unsure)
    typist.sees("1 of 4")
    typist.types("/", see="category: ")
    typist.types("te", see="category: te")
    typist.types("\r", see="subject beta")
    typist.types("/x", see="category: x")
    typist.types("\r", see="category: x")
    typist.types("\x7f\x7f", see="category: ")
    typist.types("q", see="category: q")
    os.kill(typist.process.pid, signal.SIGTERM)
    assert typist.ends() == 143
    assert standing(unsure)["0"] == ("classified", "Technical", True)


def test_ctrl_c_leaves_the_terminal_as_it_was_and_keeps_what_was_given(unsure: Cli) -> None:
    typist = reviewing(unsure)
    typist.sees("1 of 4")
    typist.types("b", see="subject beta")
    typist.process.send_signal(signal.SIGINT)
    assert typist.ends() == 130
    assert standing(unsure)["0"] == ("classified", "Billing", True)


def test_a_key_takes_no_time(unsure: Cli) -> None:
    """300 an hour are 12 s a ticket: the program's own share of them must not be felt."""
    typist = reviewing(unsure)
    typist.sees("1 of 4")
    began = time.monotonic()
    for _ in range(10):
        typist.types("1", see="2 of 4")
        typist.types("u", see="taken back")
    assert time.monotonic() - began < 10, "a second for a key and its undo is already too much"
    typist.types("q", see="left")
    assert typist.ends() == 0


def test_without_a_terminal_it_is_2_and_tells_the_way_for_pipes(unsure: Cli) -> None:
    done = unsure("review")
    assert (done.returncode, done.stdout) == (2, "")
    assert "triage verdict -" in done.stderr


def test_verdicts_of_a_category_that_is_gone_are_listed(world: World) -> None:
    world.classifier = FakeClassifier(lambda t: ("Billing", 0.9 if t.external_id == "2" else 0.1))
    list(world.triage().create(TicketDraft(n, n + 2, f"s{n}", external_id=str(n), cells=()) for n in range(3)))
    list(world.triage().classify(Selection(), ClassifyPlan()))
    list(world.triage().give_verdicts([VerdictDraft(0, "0", "General"), VerdictDraft(1, "1", "Technical")]))
    world.categories = (Category("Technical"), Category("Other"))
    listed = [t.external_id for t in world.triage().find(Selection(order="review"))]
    assert listed == ["0"], "a person's word in a category that is gone; what a machine said is the machine's affair"


TICKET = Ticket("t" * 36, "i", "s", "A-1", "h", "Subject", "Text", "C-1", "high", 1, None, "now", suggestion="Billing")
HOSTILE = st.text(max_size=2000) | st.text("\x1b[]31m\x07\u202e\n\t a", max_size=400)


@given(HOSTILE, HOSTILE, st.integers(40, 200), st.integers(5, 60), st.integers(0, 30))
@settings(max_examples=150, deadline=None)
def test_no_text_reaches_the_terminal_raw(subject: str, text: str, width: int, height: int, page: int) -> None:
    ticket = TICKET._replace(subject=subject, description=text, reason=text, confidence=0.5)
    lines = screen(ticket, "1 of 2", keys_of(["Billing", "Technical"]), page, (width, height))
    ours = re.compile(r"\x1b\[[0-2]?m")
    for line in lines:
        assert "\x1b" not in ours.sub("", line)
        assert not re.search("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202e]", line)


def test_a_long_text_has_pages_and_all_of_it_is_shown() -> None:
    ticket = TICKET._replace(description="\n".join(f"line {n}" for n in range(100)))
    seen = set()
    for page in range(20):
        lines = screen(ticket, "1 of 1", keys_of(["Billing"]), page, (80, 24))
        assert len(lines) <= 24
        seen |= {line for line in lines if line.startswith("line ")}
    assert len(seen) == 100


@given(st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=255, unique=True))
@settings(max_examples=100, deadline=None)
def test_each_key_gives_one_category_and_none_is_a_command(names: list[str]) -> None:
    keys = keys_of(names)
    assert set(keys.values()) <= set(names)
    assert not set(keys) & set("qsu /\r\n\x1b")
    assert set(names[:40]) <= set(keys.values())
    assert all(len(key) == 1 for key in keys)


def test_the_first_letter_of_a_name_is_its_key_where_it_is_free() -> None:
    keys = keys_of(["Billing", "Technical", "General", "Outage", "Quotes"])
    assert (keys["b"], keys["t"], keys["g"], keys["o"]) == ("Billing", "Technical", "General", "Outage")
    assert keys["e"] == "Quotes", "q quits, u undoes, o and t are taken"
    assert (keys["1"], keys["5"]) == ("Billing", "Quotes")


def waiting(name: str, text: str, guess: str | None, lead: float) -> Waiting:
    return Waiting(name, text, guess, lead)


def test_the_least_sure_come_first_in_turns_over_the_guesses_and_twins_last() -> None:
    tickets = [
        waiting("a", "my card was charged", "Billing", 0.3),
        waiting("b", "the printer is on fire", "Technical", 0.2),
        waiting("c", "invoice from may missing", "Billing", 0.1),
        waiting("d", "the printer is on fire again", "Technical", 0.25),
        waiting("e", "where are you", None, 0.0),
        waiting("f", "vpn error on login", "Technical", 0.4),
    ]
    assert order_of_review(tickets) == ["e", "c", "b", "a", "f", "d"]


@given(
    st.lists(
        st.tuples(st.text("ab c", max_size=12), st.sampled_from(["B", "T", None]), st.floats(0, 1)),
        max_size=40,
    )
)
@settings(max_examples=100, deadline=None)
def test_the_order_holds_each_ticket_once_and_does_not_depend_on_where_it_stood(
    found: list[tuple[str, str | None, float]],
) -> None:
    tickets = [waiting(str(n), *each) for n, each in enumerate(found)]
    order = order_of_review(tickets)
    assert sorted(order) == sorted(w.ticket_id for w in tickets)
    assert order == order_of_review(tickets[::-1])


@pytest.mark.parametrize(
    ("chances", "confidence", "expected"),
    [
        ({"a": 0.5, "b": 0.4, "c": 0.1}, 0.5, 0.1),
        ({}, 0.7, 0.4),
        ({}, 0.2, 0.0),
        ({}, None, 0.0),
        ({"a": 0.9}, 0.9, 0.8),
    ],
)
def test_the_margin_is_what_is_known_of_it(
    chances: dict[str, float], confidence: float | None, expected: float
) -> None:
    assert lead(chances, confidence) == pytest.approx(expected)


def bottom(typist: Typist) -> str:
    """Return the last line of what is shown."""
    return typist.shown.rpartition("\r\n")[2]


def test_the_last_line_tells_what_a_key_did_or_that_it_is_none(unsure: Cli) -> None:
    typist = reviewing(unsure, columns=100)
    typist.sees("1 of 4")
    typist.types("X", see='no key "X"')
    assert "/ finds a category by its name" in bottom(typist)
    typist.types("g", see="2 of 4")
    typist.sees("; u takes it back")
    assert bottom(typist) == "0: General; u takes it back"
    typist.types("s", see="1: skipped; u takes it back")
    typist.types("/zz", see="category: zz   no category begins with")
    assert 'no category begins with "zz": esc leaves' in bottom(typist)
    typist.types("\x1b", see="3 of 4")
    typist.types("q", see="1 verdict given, 1 skipped, 2 left")
    assert typist.ends() == 0


def test_a_window_of_another_size_is_drawn_anew_and_ctrl_c_still_ends_it(unsure: Cli) -> None:
    typist = reviewing(unsure)
    typist.sees("q quit")
    for columns in (30, 120, 40):
        start = len(typist.shown)
        typist.resize(columns)
        typist.sees("q quit", start)
        menu = typist.shown[start:].rpartition("because\r\n\r\n")[2]
        assert max(map(len, menu.splitlines())) <= columns
        assert (menu.count("\r\n") > 2) == (columns < 120)
    typist.types("b", see="subject beta")
    typist.process.send_signal(signal.SIGINT)
    assert typist.ends() == 130
    assert standing(unsure)["0"] == ("classified", "Billing", True)


def test_another_signal_is_told_of_while_the_block_runs_and_stops_nothing() -> None:
    told = threading.Event()
    before = signal.getsignal(signal.SIGWINCH)
    with Stopper() as stopper:
        with stopper.telling_of(signal.SIGWINCH, told.set):
            os.kill(os.getpid(), signal.SIGWINCH)
            assert told.wait(PATIENCE)
        assert signal.getsignal(signal.SIGWINCH) == before
        told.clear()
        os.kill(os.getpid(), signal.SIGWINCH)
        assert stopper.code == 0
    assert not told.is_set()


WIDTHS = st.text("漢字カナ한글🙂🎉é a-b\t\u0301\u202e\ufe0f", max_size=400) | HOSTILE


@example("\u202e \u0301", 6)
@given(WIDTHS, st.integers(5, 120))
@settings(max_examples=200, deadline=None)
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(text: str, width: int) -> None:
    line = messages.safe(text)
    lines = wrapped(line, width)
    assert max(map(cell_len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(line.split())
    assert cell_len(cut(text, width)) <= width


@given(WIDTHS, WIDTHS, st.integers(20, 120), st.integers(5, 50), st.integers(1, 90), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_a_screen_fits_its_window(subject: str, text: str, width: int, height: int, many: int, page: int) -> None:
    ticket = TICKET._replace(subject=subject, description=text, reason=text, confidence=0.5)
    lines = screen(ticket, "1 of 2", keys_of([f"カテゴリ {n}" for n in range(many)]), page, (width, height))
    assert len(lines) < height, "the last line is for what is said"
    assert "review 1 of 2"[: width - 1] in lines[0]
    shown = (re.sub("\x1b\\[[0-9]m", "", line) for line in lines)
    assert all(cell_len(line) <= width for line in shown)


def test_a_guess_takes_three_lines_where_the_text_leaves_them() -> None:
    ticket = TICKET._replace(reason=" ".join(f"word{n}" for n in range(60)), confidence=0.5)
    keys = keys_of(["Billing"])

    def guessed(text: str) -> list[str]:
        lines = screen(ticket._replace(description=text), "1 of 1", keys, 0, (80, 24))
        begin = next(n for n, line in enumerate(lines) if line.startswith("the machine's guess"))
        return lines[begin : lines.index("", begin)]

    short, long = guessed("short"), guessed("line\n" * 60)
    assert len(short) == 3
    assert "word20" in " ".join(short)
    assert short[-1].endswith("…")
    assert len(long) == 1
    assert long[0].endswith("…")
