"""`triage review` on a real terminal: drawn, plain, and what ends it."""

import json
import re
import signal

import pytest

from tests.support.cli import Cli
from tests.support.typed_terminal import Typist
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.stores import SqliteStore


@pytest.fixture
def unsure(cli: Cli) -> Cli:
    """Four tickets that wait for a person; the model was least sure of the first."""
    world = World(SqliteStore(str(cli.db)))
    world.classifier = FakeClassifier(lambda t: ("Billing", 0.5 + int(t.external_id or "") / 10))
    world.classifier.threshold = 0.9
    words = ("alpha", "beta", "gamma", "delta")
    drafts = (
        dm.TicketDraft(n, n + 2, f"subject {w}", f"about {w}", external_id=str(n), cells=())
        for n, w in enumerate(words)
    )
    list(world.triage().create(drafts))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    world.store.close()
    return cli


def standing(cli: Cli) -> dict[str, tuple[str, str | None, bool]]:
    listed = map(json.loads, cli("list").stdout.splitlines())
    return {t["external_id"]: (t["status"], t["category"], t["verdict"]) for t in listed}


def test_on_a_terminal_keys_are_stored_at_once_and_kill_9_loses_nothing(unsure: Cli) -> None:
    typist = Typist(unsure, "review", columns=60, lines=20)
    typist.sees("subject alpha")
    typist.types("2", see="0: Technical")
    typist.process.kill()
    typist.process.wait()
    assert standing(unsure)["0"] == ("classified", "Technical", True)
    typist = Typist(unsure, "review")
    typist.sees("subject beta")
    typist.types("g", see="1: General")
    typist.types("u", see="taken back")
    typist.types("\r", see="1: Billing")
    typist.resize(100)
    typist.types("q", see="1 verdict given, 0 skipped, 2 left")
    assert typist.ends() == 0
    assert "triage route\r\n" in typist.shown
    assert unsure("route", "-q").returncode == 0
    assert standing(unsure)["1"] == ("routed", "Billing", True)


def test_what_arrives_with_the_key_of_a_prompt_is_typed_into_it(unsure: Cli) -> None:
    typist = Typist(unsure, "review")
    typist.sees("subject alpha")
    typist.types("nthey want money\r", see="note: they want money")
    typist.types("2", see="0: Technical")
    typist.types("q", see="1 verdict given")
    assert typist.ends() == 0
    assert json.loads(unsure("show", "0").stdout)["reason"] == "they want money"


def test_what_arrives_with_the_enter_of_a_prompt_is_pressed_after_it(unsure: Cli) -> None:
    typist = Typist(unsure, "review")
    typist.sees("subject alpha")
    typist.types("nthey want money\r2", see="0: Technical")
    typist.types("/bill\rs/gen\r", see="3: General")
    typist.types("q", see="3 verdicts given, 1 skipped")
    assert typist.ends() == 0
    assert json.loads(unsure("show", "0").stdout)["reason"] == "they want money"
    assert standing(unsure) == {
        "0": ("classified", "Technical", True),
        "1": ("classified", "Billing", True),
        "2": ("needs_review", None, False),
        "3": ("classified", "General", True),
    }


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (None, 130)])
def test_a_signal_and_ctrl_c_leave_the_terminal_as_it_was(unsure: Cli, sent: signal.Signals | None, code: int) -> None:
    typist = Typist(unsure, "review", "--all", "--order", "urgent", "--search", "delta")
    typist.sees("subject delta")
    typist.types("b", see="3: Billing")
    if sent is None:
        typist.types("\x03", see="1 verdict given")
    else:
        typist.process.send_signal(sent)
    assert typist.ends() == code
    assert standing(unsure)["3"] == ("classified", "Billing", True)


@pytest.mark.parametrize("no_color", [{}, {"NO_COLOR": "1"}], ids=["colours", "none"])
def test_it_keeps_the_colours_of_the_terminal_and_has_none_with_no_color(unsure: Cli, no_color: dict[str, str]) -> None:
    unsure.env.update(no_color)
    typist = Typist(unsure, "review")
    typist.sees("subject alpha")
    typist.types("q", see="0 verdicts given")
    assert typist.ends() == 0
    painted = {code for codes in re.findall(r"\x1b\[([\d;]+)m", typist.shown) for code in codes.split(";")}
    assert "38" not in painted, "a colour of its own"
    assert ("32" in painted, "1" in painted) == (not no_color, True)


def test_it_ends_where_its_terminal_is_gone(unsure: Cli) -> None:
    typist = Typist(unsure, "review")
    typist.sees("1 of 4")
    assert typist.hangs_up() == 143


def test_a_terminal_that_cannot_draw_is_asked_line_by_line(unsure: Cli) -> None:
    typist = Typist(unsure, "review", term="dumb")
    typist.sees("review 1 of 4")
    typist.types("te\n", see="0: Technical")
    typist.types("x\n", see="that is no key and no category")
    typist.types("?\n", see="enter: the guess")
    assert typist.shown.count("no key") == 1
    typist.types("n they want money\n", see="noted")
    typist.types("w\n", see="or triage review")
    assert all(len(line) < 80 for line in typist.shown.splitlines())
    typist.types("\n", see="1: Billing")
    typist.types("u\n", see="taken back: Billing")
    typist.types("s\n", see="review 3 of 4")
    typist.types("2\n", see="review 4 of 4")
    typist.types("q\n", see="2 verdicts given, 1 skipped, 2 left")
    assert typist.ends() == 0
    assert "\x1b" not in typist.shown
    assert standing(unsure)["2"] == ("classified", "Technical", True)


def test_of_many_categories_the_first_keys_are_the_best_guesses(fitted: Cli) -> None:
    subjects = ("printers", "keyboards", "laptops", "passwords", "networks", "phones", "desks", "doors", "travel",
                "holidays", "parking", "refunds of money")  # fmt: skip
    config = "".join(f"  - {{name: {each.split()[0].capitalize()}, description: {each}}}\n" for each in subjects)
    (fitted.folder / "config.yaml").write_text(
        f"categories:\n{config}classifiers: {{local: {{type: local, min_confidence: 1}}}}\n"
    )
    for name, priority, text in (("R", "urgent", "I want a refund of my money"), ("L", "low", "new laptops please")):
        fitted("create", "-q", "--description", text, "--external-id", name, "--priority", priority)
    assert fitted("classify", "-q").returncode == 0
    typist = Typist(fitted, "review", "--order", "urgent", term="dumb")
    typist.sees("1/R Refunds")
    typist.types("1\r", see="R: Refunds")
    typist.sees("1/a Laptops")
    typist.types("u\r", see="1/R Refunds")
    typist.types("1\r", see="1/a Laptops")
    typist.types("1\r", see="L: Laptops")
    typist.sees("2 verdicts given")
    assert typist.ends() == 0


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_where_nothing_waits_it_says_so(unsure: Cli, term: str) -> None:
    typist = Typist(unsure, "review", "--search", "nowhere", term=term)
    typist.sees("no ticket matches the filters")
    assert typist.ends() == 0


def test_without_a_terminal_it_is_2_and_tells_the_way_for_pipes(unsure: Cli) -> None:
    done = unsure("review")
    assert (done.returncode, done.stdout) == (2, "")
    assert "triage verdict -" in done.stderr


def test_verdicts_of_a_category_that_is_gone_are_listed(world: World) -> None:
    world.classifier = FakeClassifier(lambda t: ("Billing", 0.9 if t.external_id == "2" else 0.1))
    list(world.triage().create(dm.TicketDraft(n, n + 2, f"s{n}", external_id=str(n), cells=()) for n in range(3)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().give_verdicts([dm.VerdictDraft(0, "0", "General"), dm.VerdictDraft(1, "1", "Technical")]))
    world.categories = (dm.Category("Technical"), dm.Category("Other"))
    listed = [t.external_id for t in world.triage().find(dm.Selection(order="review"))]
    assert listed == ["0"], "a person's word in a category that is gone; what a machine said is the machine's affair"
