"""The application of `triage review`, pressed key by key over a real database."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.api_server import running_server
from tests.support.fake_destination import FakeDestination
from tests.support.online import ONLINE
from tests.support.review_pilot import Reviewer, reviewing
from tests.support.second_look import look
from tests.support.stored_tickets import a_ticket, filled, stored
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.cli import Filters, PlainReview, ReviewSession, TicketQueue, View, session
from triage_cli.extensions.remote import Address, RemoteTriage
from triage_cli.service import LocalConsultation
from triage_cli.stores import SqliteStore

WORDS = ("alpha", "beta", "gamma", "delta")
PRIORITIES = ("low", None, "urgent", "high")
NASTY = (
    "[/b] [bold]x[/bold] [@click=app.exit]here[/] [link=file:///etc/passwd]y[/link]",
    "\x1b[2J\x1b]0;title\x07 \x9b31m \x00\x08",
    "\u202egpj.exe \u2066a\u2069 \u200b\u200d \ufeff",
    "w" * 3000 + " 漢字カナ한글🙂🎉é " * 300,
    "a\u0301" * 500 + "\u0301" * 200,
    "{{ 7*7 }} $(reboot) %s {0} \\n \\x1b[31m",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(SqliteStore(str(tmp_path / "triage.db")))


@pytest.fixture
def store(world: World) -> SqliteStore:
    assert isinstance(world.store, SqliteStore)
    return world.store


@pytest.fixture
def unsure(world: World) -> World:
    """Four tickets that need a person; the model was least sure of the first."""
    world.classifier = FakeClassifier(lambda t: ("Billing", 0.5 + int(t.external_id or "0") / 10))
    world.classifier.threshold = 0.9
    list(
        world.triage().create(
            dm.TicketDraft(
                n, n + 2, f"subject {word}", f"about {word}", "C-1", PRIORITIES[n], external_id=str(n), cells=()
            )
            for n, word in enumerate(WORDS)
        )
    )
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    return world


def standing(world: World) -> dict[str | None, tuple[str, str | None, bool]]:
    """Return what another connection finds in the database."""
    other = SqliteStore(world.store.path)
    return {t.external_id: (t.status, t.category, bool(t.verdict)) for t in other.find(dm.Selection())}


def test_one_key_a_ticket_that_is_stored_at_once_undo_and_skip(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("review 1 of 4   0 given, 0 skipped   most informative first")
        await reviewer.press("2", see="0: Technical; u takes it back")
        assert standing(unsure)["0"] == ("classified", "Technical", True)
        await reviewer.press("g", see="1: General")
        await reviewer.press("u", see="taken back: General")
        assert standing(unsure)["1"] == ("needs_review", None, False)
        await reviewer.press("s", see="1: skipped")
        await reviewer.press("enter", see="2: Billing")
        await reviewer.press("b", see="that was the last one: q quits")
        assert "3 given, 1 skipped" in reviewer.screen
        await reviewer.press("q")

    app = reviewing(unsure.triage(), script)
    assert app.return_value == 0
    assert app.session.summary() == "3 verdicts given, 1 skipped, 1 left"
    assert [now[1] for _, now in sorted(standing(unsure).items())] == ["Technical", None, "Billing", "Billing"]


def learner(world: World) -> Callable[[], str]:
    """Return what learns: then delta is the least sure ticket, and gamma is clear."""

    def learn() -> str:
        unsure = {"2": 0.9, "3": 0.2}
        world.classifier = FakeClassifier(lambda t: ("Technical", unsure.get(t.external_id or "", 0.5)), "version-2")
        return f"{look(world).settled} no longer waits"

    return learn


def test_it_offers_to_learn_and_goes_on_in_the_new_order(unsure: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "EVERY", 2)

    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("b", see="0: Billing; u takes it back")
        assert "learns from them" not in reviewer.screen
        await reviewer.press("b", see="1: Billing; u takes it back; 2 new verdicts: l learns from them")
        await reviewer.press("l", see="1 no longer waits")
        await reviewer.sees("subject delta")
        await reviewer.sees("review 1 of 1")
        await reviewer.press("b", see="3: Billing")
        assert "learns from them" not in reviewer.screen

    reviewing(unsure.triage(), script, learn=learner(unsure), size=(120, 24))
    assert standing(unsure)["2"] == ("classified", "Technical", False)


def test_the_plain_review_learns_as_well(unsure: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "EVERY", 2)
    printed = list[str]()
    review_session = ReviewSession(unsure.triage(), unsure.triage().questions(), learner(unsure))
    queue = TicketQueue(unsure.triage(), View(), review_session.category_names)
    PlainReview(review_session, queue, iter(["b", "b", "l", "g", "q"]), printed.append).work()
    text = "\n".join(printed)
    assert "1: Billing; 2 new verdicts: l learns from them" in text
    assert "1 no longer waits" in text[text.index("learning from the verdicts") :]
    assert standing(unsure)["3"] == ("classified", "General", True)


def test_on_a_remote_there_is_nothing_to_learn(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("l", see="learning works on a database here only")

    reviewing(unsure.triage(), script)


def test_a_note_is_kept_with_the_verdict(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("n", see="note for the next verdict")
        await reviewer.type("they want money")
        await reviewer.press("enter", see="note: they want money")
        await reviewer.press("b", see="0: Billing")
        await reviewer.press("g", see="1: General")

    reviewing(unsure.triage(), script)
    by_name = {t.external_id: t for t in unsure.store.find(dm.Selection())}
    assert (by_name["0"].reason, by_name["1"].reason) == ("they want money", None)


def test_what_agents_suggest_is_shown_and_enter_takes_the_machine_s_guess(unsure: World) -> None:
    consult = LocalConsultation(unsure.services(), "ada")
    consult.suggest(dm.AgentSuggestionDraft("0", "Technical", "claude-code", "it [b]crashes[/b]"))
    suggested = "Technical?  suggested by agent claude-code of ada: it [b]crashes[/b]"

    async def at_it(reviewer: Reviewer) -> None:
        await reviewer.sees(suggested)
        await reviewer.press("enter", see="Billing; u takes it back")

    reviewing(unsure.triage(), at_it, size=(160, 40))
    assert standing(unsure)["0"] == ("classified", "Billing", True)
    shown: list[str] = []
    consult.suggest(dm.AgentSuggestionDraft("1", "General", "claude-code"))
    review_session = ReviewSession(unsure.triage(), unsure.triage().questions())
    PlainReview(
        review_session,
        TicketQueue(review_session.triage, View(), review_session.category_names),
        iter(["q"]),
        shown.append,
    ).work()
    assert "General?  suggested by agent claude-code of ada" in shown


def test_a_category_by_the_beginning_of_its_name(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("slash", see="category: ")
        await reviewer.type("x")
        await reviewer.sees("no category begins so")
        await reviewer.press("enter", "backspace", "t", "e", see="Technical")
        await reviewer.press("enter", see="0: Technical")
        await reviewer.press("slash", "g", "escape", "s", see="1: skipped")

    reviewing(unsure.triage(), script)
    assert standing(unsure)["0"] == ("classified", "Technical", True)
    assert standing(unsure)["1"][1] is None


def test_on_another_instance_it_is_the_same(unsure: World, tmp_path: Path) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("review 1 of 4   0 given, 0 skipped   most informative first")
        await reviewer.sees("a person decides")
        await reviewer.press("2", see="0: Technical; u takes it back")
        await reviewer.press("b", "u", see="taken back: Billing")
        await reviewer.press("s", "o", "o", see="newest first")
        await reviewer.press("f", "ctrl+u")
        await reviewer.type("category:billing gamma")
        await reviewer.press("enter", see="review 1 of 1 ")
        await reviewer.press("r", see="has no category yet")

    with running_server(tmp_path, services=unsure.services()) as running:
        triage = RemoteTriage(Address(running.url, running.keys["agent"]), ONLINE)
        app = reviewing(triage, script)
        assert app.session.summary() == "1 verdict given, 1 skipped, 3 left"
        triage.close()
    assert standing(unsure)["0"] == ("classified", "Technical", True)
    assert standing(unsure)["1"][1] is None


def test_filters_and_orders(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("o", see="subject gamma")
        assert "urgent first" in reviewer.screen
        await reviewer.press("o", see="newest first")
        assert "subject delta" in reviewer.screen
        await reviewer.press("f", see="show only: ")
        await reviewer.type("priority:soon")
        await reviewer.press("enter", see='no priority "soon"')
        await reviewer.press("ctrl+u")
        await reviewer.type("priority:high category:billing delta")
        await reviewer.press("enter", see="review 1 of 1 ")
        assert "newest first   priority:high category:Bill" in reviewer.screen
        await reviewer.press("f", "ctrl+u")
        await reviewer.type("nowhere")
        await reviewer.press("enter", see="no ticket matches the filter")
        await reviewer.press("1", "s", "down", "enter", see="there is no guess to take")

    reviewing(unsure.triage(), script)
    assert not any(verdict for *_, verdict in standing(unsure).values())


def waiting(number: int) -> list[dm.Ticket]:
    return [a_ticket(str(n), status="needs_review", suggestion="Billing", confidence=n / number) for n in range(number)]


@pytest.mark.sqlite
def test_all_that_wait_are_counted_and_loaded_as_they_come_into_view(world: World, store: SqliteStore) -> None:
    filled(store, *waiting(1300))

    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("review 1 of 1,300")
        assert len(reviewer.app.queue.entries) <= 200
        await reviewer.press("pagedown", "down", see="Subject")
        assert len(reviewer.app.queue.entries) <= 200
        await reviewer.press("end", see="review 1,300 of 1,300")
        assert len({entry.ticket_id for entry in reviewer.app.queue.entries}) == 1300
        await reviewer.press("home", see="review 1 of 1,300")

    reviewing(world.triage(), script)


@pytest.mark.sqlite
def test_the_queue_counts_what_its_view_finds(world: World, store: SqliteStore) -> None:
    statuses = ("needs_review", "needs_review", "routed", "failed", "withdrawn", "withdrawn")
    filled(store, *(a_ticket(str(n), status=status) for n, status in enumerate(statuses)))
    triage = world.triage()
    names = [category.name for category in triage.categories()]
    totals = []
    for every in (False, True):
        for filters in (
            Filters(),
            Filters(search="0"),
            *(Filters(statuses=frozenset(each)) for each in ({"routed", "new"}, {"withdrawn"})),
        ):
            view = View(every, filters=filters)
            totals.append(TicketQueue(triage, view, names).total)
            assert totals[-1] == len(list(triage.find(view.selection())))
    assert totals == [2, 1, 2, 2, 4, 1, 1, 2]


def test_verdicts_of_a_category_that_is_gone_come_too(unsure: World) -> None:
    list(unsure.triage().give_verdicts([dm.VerdictDraft(0, "0", "General")]))
    unsure.categories = (dm.Category("Billing"), dm.Category("Other"))

    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("review 1 of 4")
        await reviewer.press("end", see="General, decided by a person")
        await reviewer.press("2", see="0: Other; that was the last one")
        await reviewer.press("u", see="General is no category now, so that it cannot be given again")

    reviewing(unsure.triage(), script, View(order="newest"))


def test_every_ticket_a_verdict_over_a_verdict_is_taken_back_and_a_ticket_is_routed_again(unsure: World) -> None:
    unsure.rules = (dm.Rule("all", ("team",), {}),)
    unsure.destinations["team"] = FakeDestination("team")
    list(unsure.triage().give_verdicts([dm.VerdictDraft(0, "3", "General", "first word")]))

    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("review 1 of 4")
        await reviewer.sees("General, decided by a person")
        await reviewer.press("enter", see="there is no guess to take")
        await reviewer.press("2", see="3: Technical")
        await reviewer.press("u", see="taken back: Technical")
        await reviewer.sees("note: first word")
        await reviewer.press("r", see="3: routed team")
        await reviewer.sees("3  routed")

    reviewing(unsure.triage(), script, View(every=True, order="newest"))
    assert standing(unsure)["3"] == ("routed", "General", True)


def test_what_another_person_has_decided_meanwhile_is_not_overruled_unseen(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("subject alpha")
        list(unsure.triage("bob").give_verdicts([dm.VerdictDraft(0, "0", "General")]))
        await reviewer.press("b", see="another person has decided: General")
        assert standing(unsure)["0"][1] == "General"
        await reviewer.press("b", see="0: Billing")

    reviewing(unsure.triage(), script)
    assert standing(unsure)["0"] == ("classified", "Billing", True)


def test_undo_leaves_what_another_person_has_decided_since(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("b", "b", see="1: Billing")
        list(unsure.triage("bob").give_verdicts([dm.VerdictDraft(0, "1", "Technical", "it crashes")]))
        await reviewer.press("u", see="1: another person has decided since: Technical; that stays")
        assert standing(unsure)["1"] == ("classified", "Technical", True)
        await reviewer.press("u", see="taken back: Billing")  # the step before it
        await reviewer.press("u", see="nothing to undo")

    reviewing(unsure.triage(), script)
    assert standing(unsure)["0"] == ("needs_review", None, False)


def test_undo_brings_back_no_verdict_that_another_person_has_taken_back(unsure: World) -> None:
    list(unsure.triage("cleo").give_verdicts([dm.VerdictDraft(0, "3", "General")]))

    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("b", see="3: Billing")
        list(unsure.triage("bob").give_verdicts([dm.VerdictDraft(0, "3", None)]))
        await reviewer.press("u", see="3: another person has taken the verdict back")

    reviewing(unsure.triage(), script, View(every=True, order="newest"))
    assert standing(unsure)["3"] == ("needs_review", None, False)


def test_no_verdict_is_given_on_a_text_that_was_not_shown_and_its_note_waits(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("n", see="note for the next verdict")
        await reviewer.type("they want money")
        await reviewer.press("enter", see="note: they want money")
        list(
            unsure.triage().create([dm.TicketDraft(0, 2, "subject alpha", "now it crashes", external_id="0", cells=())])
        )
        await reviewer.press("b", see="its text has changed; read it again, then give the category again")
        assert not standing(unsure)["0"][2]
        await reviewer.sees("now it crashes")
        await reviewer.press("2", see="0: Technical")

    reviewing(unsure.triage(), script)
    by_name = {t.external_id: t for t in unsure.store.find(dm.Selection())}
    assert (by_name["0"].category, by_name["0"].reason) == ("Technical", "they want money")


def plainly(world: World, lines: Iterable[str], learn: Callable[[], str] | None = None) -> str:
    """Review line by line, and return what was printed."""
    printed = list[str]()
    session = ReviewSession(world.triage(), world.triage().questions(), learn)
    PlainReview(
        session, TicketQueue(world.triage(), View(), session.category_names), iter(lines), printed.append
    ).work()
    return "\n".join(printed)


def test_the_plain_review_shows_what_another_person_has_decided_and_overrules_it_by_a_second_line(
    unsure: World,
) -> None:
    def lines() -> Iterator[str]:
        yield "n they want money"
        list(unsure.triage("bob").give_verdicts([dm.VerdictDraft(0, "0", "General", "no, a question")]))
        yield from ("b", "b", "q")

    text = plainly(unsure, lines())
    refused = text.index("another person has decided: General; give it again to overrule that")
    assert "General, decided by a person" in text[refused:]
    assert "0: Billing" in text[refused:]
    by_name = {t.external_id: t for t in unsure.store.find(dm.Selection())}
    assert (by_name["0"].category, by_name["0"].reason) == ("Billing", "they want money")


def test_the_plain_review_goes_back_to_the_ticket_whose_step_is_undone(unsure: World) -> None:
    def lines() -> Iterator[str]:
        yield from ("b", "s")
        list(unsure.triage("bob").give_verdicts([dm.VerdictDraft(0, "0", "General")]))
        yield from ("u", "u", "q")

    text = plainly(unsure, lines())
    assert text.index("taken back: skip") < text.index("0: another person has decided since: General; that stays")


def test_a_ticket_whose_verdict_is_undone_is_shown_though_the_list_was_made_after_it(unsure: World) -> None:
    text = plainly(unsure, ["b", "l", "u", "q"], lambda: "learned")
    assert "subject alpha" in text[text.index("taken back: Billing") :]

    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("b", see="0: Billing")
        await reviewer.press("o", see="review 1 of 3")
        await reviewer.press("u", see="taken back: Billing")
        await reviewer.sees("about alpha")

    reviewing(unsure.triage(), script)


def test_an_error_of_the_store_is_told_and_another_ends_it_without_a_traceback(
    unsure: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise dm.StoreError("the disk is gone", hint="look for it")

    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("why")
        triage = reviewer.app.session.triage
        for name, key in (("give_verdicts", "b"), ("stats_by", "o"), ("find", "b")):
            setattr(triage, name, broken)
            await reviewer.press(key, see="the disk is gone; look for it")
            await reviewer.press("X", see="no key")
        triage.find = wrong  # type: ignore[method-assign, assignment]
        await reviewer.pilot.press("b")
        await reviewer.until(lambda: reviewer.app.failure is not None, "the end")

    with pytest.raises(ZeroDivisionError):
        reviewing(unsure.triage(), script)
    assert "Traceback" not in "".join(capsys.readouterr())


def test_the_mouse(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("subject alpha")
        await reviewer.pilot.click("#queue", offset=(4, 2))
        await reviewer.sees("review 3 of 4")
        await reviewer.pilot.click("#keys", offset=(14, 0))
        await reviewer.sees("2: Technical")

    reviewing(unsure.triage(), script)
    assert standing(unsure)["2"] == ("classified", "Technical", True)


@pytest.mark.sqlite
@pytest.mark.parametrize("nasty", NASTY)
def test_no_text_of_a_ticket_is_markup_or_reaches_the_terminal_raw(
    world: World, store: SqliteStore, nasty: str
) -> None:
    ticket = a_ticket(
        nasty[:70], subject=nasty, description=f"first\n{nasty}\nlast", customer_id=nasty[:80], reason=nasty,
        status="needs_review", suggestion=nasty[:50], confidence=0.5, extra='{"plan": "[red]gold\\u001b[0m"}',
    )  # fmt: skip
    filled(store, ticket)
    world.categories = (dm.Category("[/b]x"), dm.Category(nasty[:60]), dm.Category("Plain"))

    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("first")
        for _ in range(8):
            for line in reviewer.screen.splitlines():
                assert line.isprintable(), line
            await reviewer.press("space")
        if "[/b]" in nasty:
            assert "[/b] [bold]x[/bold]" in reviewer.screen
            assert "[red]gold" in reviewer.screen
        await reviewer.press("n")
        await reviewer.type("[/b]")
        await reviewer.press("enter", see="note: [/b]")
        await reviewer.press("3", see="Plain; u takes it back")
        assert all(line.isprintable() for line in reviewer.screen.splitlines())

    reviewing(world.triage(), script)
    assert stored(store, ticket).category == "Plain"


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (120, 40)])
def test_the_screen(unsure: World, size: tuple[int, int]) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("why")
        await reviewer.is_golden(f"{size[0]}x{size[1]}")
        await reviewer.press("question_mark", see="take the guess")
        await reviewer.is_golden(f"help-{size[0]}x{size[1]}")

    reviewing(unsure.triage(), script, size=size)


def test_a_window_of_another_size_is_drawn_anew(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("why")
        for size in ((120, 40), (40, 12), (20, 6), (80, 24)):
            await reviewer.pilot.resize_terminal(*size)
            await reviewer.sees("review 1")
        await reviewer.sees("why")
        await reviewer.is_golden("80x24")

    reviewing(unsure.triage(), script)


def test_many_categories_keep_to_a_fifth_of_the_screen(unsure: World) -> None:
    unsure.categories = tuple(dm.Category(f"Category {n}") for n in range(200))

    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("/ finds the other")
        assert sum("Category" in line for line in reviewer.screen.splitlines()) <= 5
        await reviewer.press("slash")
        await reviewer.type("category 150")
        await reviewer.press("enter", see="0: Category 150")

    reviewing(unsure.triage(), script)


def test_a_limit_and_filters_of_options(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees("review 1 of 2")
        await reviewer.press("b", "b", see="that was the last one")

    reviewing(unsure.triage(), script, View(limit=2))

    async def empty(reviewer: Reviewer) -> None:
        await reviewer.sees("no ticket matches the filter")

    reviewing(unsure.triage(), empty, View(filters=Filters(search="nowhere")))


ALARMS = ("Printer is broken", "Disk nearly full on host 1", "disk NEARLY full on host 2", "Disk nearly full on host 3")


@pytest.fixture
def alarms(world: World) -> World:
    """Three tickets with the same text that wait, and one with another."""
    world.classifier = FakeClassifier(lambda _: ("Billing", 0.5))
    drafts = [
        dm.TicketDraft(n, n + 2, text, "It was noticed", external_id=str(n), cells=()) for n, text in enumerate(ALARMS)
    ]
    list(world.triage().create(drafts))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    return world


def verdicts(world: World) -> dict[str | None, str | None]:
    return {name: category for name, (_, category, decided) in standing(world).items() if decided}


def test_what_waits_with_the_same_text_is_decided_together_and_taken_back_at_once(alarms: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.press("2", see="2 waiting tickets have the same text: = decides them too")
        await reviewer.press("=", see="2 tickets: Technical; u takes them back")
        assert verdicts(alarms) == dict.fromkeys("123", "Technical")
        await reviewer.press("u", see="taken back: Technical")
        assert len(verdicts(alarms)) == 1
        await reviewer.press("=", see="nothing that waits has nearly the text")
        await reviewer.press("u", see="taken back: Technical")
        assert verdicts(alarms) == {}
        await reviewer.press("q")

    view = View(order="newest")
    assert reviewing(alarms.triage(), script, view, size=(120, 40)).session.verdicts_given == 0


def test_what_another_person_decided_meanwhile_is_not_decided_together(alarms: World) -> None:
    review = ReviewSession(alarms.triage("ada"), alarms.triage().questions())
    tickets = {t.external_id: t for t in alarms.store.find(dm.Selection())}
    review.give(tickets["1"], "Technical")
    assert review.offer_alike == "2 waiting tickets have the same text: = decides them too"
    list(alarms.triage("bob").give_verdicts([dm.VerdictDraft(0, tickets["2"].ticket_id, "General")]))
    step = review.give_alike()
    assert (step.decided.external_id, step.alike) == ("3", ())
    assert verdicts(alarms) == {"1": "Technical", "2": "General", "3": "Technical"}


def test_the_plain_review_decides_together_too(alarms: World) -> None:
    review, written = ReviewSession(alarms.triage(), alarms.triage().questions()), list[str]()
    queue = TicketQueue(alarms.triage(), View(order="newest"), review.category_names)
    PlainReview(review, queue, iter(["2", "=", "q"]), written.append).work()
    assert "2 tickets: Technical" in written
    assert any("Printer is broken" in line for line in written), "the one that is left is shown"
    assert verdicts(alarms) == dict.fromkeys("123", "Technical")


def test_a_ticket_that_was_decided_with_the_last_one_is_shown_as_it_is_now(alarms: World) -> None:
    alarms.further = (
        dm.Question("urgency", (dm.Category("now"), dm.Category("soon"), dm.Category("later")), required=True),
    )
    review, written = ReviewSession(alarms.triage(), alarms.triage().questions(), lambda: ""), list[str]()
    queue = TicketQueue(alarms.triage(), View(order="newest"), review.category_names)
    PlainReview(review, queue, iter(["2", "1", "=", ".", "3", "q"]), written.append).work()
    assert [line for line in written if "urgency=" in line] == [
        "3: urgency=now; 2 waiting tickets have the same text: = decides them too",
        "2 tickets: urgency=now",
        "2: urgency=later",
    ]
    assert review.verdicts_given == 5, "those on all questions teach"


@pytest.fixture
def asked(unsure: World) -> World:
    """The four tickets; a person must say how urgent each is, and may say how its writer feels."""
    unsure.further = (
        dm.Question("urgency", (dm.Category("now"), dm.Category("soon"), dm.Category("later")), required=True),
        dm.Question("mood", (dm.Category("calm"), dm.Category("upset"))),
    )
    return unsure


def answers(world: World, name: str) -> dict[str, str | None]:
    ticket = next(t for t in SqliteStore(world.store.path).find(dm.Selection()) if t.external_id == name)
    return {question.name: dm.given_answer(ticket, question.name).value for question in world.further}


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_question_is_a_row_of_keys_and_a_required_one_holds_its_ticket(
    asked: World, tmp_path: Path, *, is_remote: bool
) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.sees(".  category  urgency  mood")
        await reviewer.sees("1 Billing↵  2 Technical")
        await reviewer.sees("urgency: unanswered")
        await reviewer.press("2", see="0: Technical; u takes it back")
        await reviewer.sees("1 now (N)  2 soon (S)  3 later")
        await reviewer.sees("review 1 of 4")
        assert standing(asked)["0"] == ("needs_review", "Technical", True)
        await reviewer.press("1", see="0: urgency=now; u takes it back")
        await reviewer.sees("review 2 of 4   2 given")
        await reviewer.sees("1 Billing↵")
        assert standing(asked)["0"] == ("classified", "Technical", True)
        await reviewer.press("u", see="taken back: urgency=now")
        await reviewer.sees("1 now (N)  2 soon (S)  3 later")
        assert (standing(asked)["0"][0], answers(asked, "0")["urgency"]) == ("needs_review", None)
        await reviewer.press("/", see="urgency: enter takes it")
        await reviewer.type("la")
        await reviewer.press("enter", see="0: urgency=later")
        await reviewer.press(".", ".", see="1 calm  2 upset")
        await reviewer.press("enter", see="there is no guess to take: a key of the list gives a value of mood")
        await reviewer.press("u", see="taken back: urgency=later")
        await reviewer.press("3", see="0: urgency=later")
        await reviewer.press(".", ".", "2", see="1: mood=upset")
        await reviewer.sees("mood: upset, decided by a person")
        await reviewer.sees("1 Billing↵")  # what the ticket still waits for
        await reviewer.press("?", see="the next question about the ticket")

    if is_remote:
        with running_server(tmp_path, services=asked.services()) as running:
            triage = RemoteTriage(Address(running.url, running.keys["agent"]), ONLINE)
            reviewing(triage, script, size=(120, 24))
            triage.close()
    else:
        reviewing(asked.triage(), script, size=(120, 24))
    assert (answers(asked, "0"), answers(asked, "1")["mood"]) == ({"urgency": "later", "mood": None}, "upset")
    assert {t.external_id for t in asked.triage().find(View().selection())} == {"1", "2", "3"}


def test_no_answer_of_another_person_is_overruled_unseen(asked: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        bob = asked.triage("bob")
        await reviewer.press(".", see="1 now (N)  2 soon (S)  3 later")
        list(
            bob.give_verdicts([dm.VerdictDraft(0, "0", "soon", question="urgency"), dm.VerdictDraft(1, "0", "General")])
        )
        await reviewer.press("1", see="another person has decided: soon; give it again to overrule that")
        await reviewer.press("1", see="0: urgency=now")
        list(bob.give_verdicts([dm.VerdictDraft(0, "0", "later", question="urgency")]))
        await reviewer.press("u", see="0: another person has decided since: later; that stays")

    reviewing(asked.triage(), script, size=(120, 24))
    assert (standing(asked)["0"][1], answers(asked, "0")["urgency"]) == ("General", "later")


def test_the_plain_review_asks_the_questions_too(asked: World) -> None:
    text = plainly(asked, iter(["2", "now", "u", ".", "calm", "soon", ".", "q"]))
    assert "urgency:   1/" in text
    assert [line for line in text.splitlines() if line.startswith(("0: ", "taken back"))] == [
        "0: Technical", "0: urgency=now", "taken back: urgency=now", "0: mood=calm", "0: urgency=soon",
    ]  # fmt: skip
    assert standing(asked)["0"] == ("classified", "Technical", True)
    assert answers(asked, "0") == {"urgency": "soon", "mood": "calm"}


def test_without_questions_the_key_of_the_next_one_is_none(unsure: World) -> None:
    async def script(reviewer: Reviewer) -> None:
        await reviewer.press(".", see='no key ".": ? shows the keys')

    reviewing(unsure.triage(), script)
    assert "that is no key and no category" in plainly(unsure, iter([".", "q"]))
