"""One test body on both sides of the wire: `LocalTriage`, and `RemoteTriage` over a server on the same parts."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.commands import PATIENCE
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.cli import ReviewSession
from triage_cli.destinations import FileDestination
from triage_cli.extensions.remote import (
    Address,
    ConnectionLostError,
    RemoteTriage,
    checked_address,
    http_connection,
    upload,
)
from triage_cli.ports import Triage, operations

ROWS = 50  # of one chunk, and of one page
NUMBER = 2 * ROWS + 30


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "ROWS", ROWS)
    monkeypatch.setattr(upload, "MOST_ROWS", ROWS)
    monkeypatch.setattr(operations, "PAGE", ROWS)


class Side:
    """A world, and the way to its use cases."""

    def __init__(self, world: World, make: Callable[[], Triage]) -> None:
        self.world = world
        self.make = make


@contextmanager
def served(world: World, folder: Path) -> Iterator[ApiServer]:
    with running_server(folder, services=world.services()) as running:
        yield running


@pytest.fixture(params=["local", "remote"])
def side(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Iterator[Side]:
    world.rules = (dm.Rule("r", ("kept",), {"category": ("Billing", "Technical")}),)
    world.destinations["kept"] = FileDestination("kept", tmp_path / "kept.jsonl", 1, ())
    if request.param == "local":
        yield Side(world, world.triage)
        return
    with ExitStack() as stack:
        running = stack.enter_context(served(world, tmp_path))

        def make() -> Triage:
            triage = RemoteTriage(Address(running.url, running.keys["agent"]), ONLINE)
            stack.callback(triage.close)
            return triage

        yield Side(world, make)


def a_row(n: int, external_id: str | None = "", **more: object) -> dm.TicketDraft:
    made = dm.TicketDraft(
        n, n + 2, f"subject {n}", None, external_id=f"E-{n}" if external_id == "" else external_id, cells=()
    )
    return replace(made, **more)


def dids(outcomes: list[dm.Outcome[dm.Ticket]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for outcome in outcomes:
        found[outcome.action] = found.get(outcome.action, 0) + 1
    return found


def test_rows_come_back_in_their_order_with_what_was_asked(side: Side) -> None:
    drafts: list[dm.TicketDraft | dm.Rejected] = [a_row(n) for n in range(NUMBER)]
    for n in (0, 1, ROWS - 1, ROWS, NUMBER - 1):
        drafts[n] = dm.Rejected(n, n + 2, dm.RowError(f"line {n + 2}: nothing in it"), "raw")
    outcomes = list(side.make().create(drafts))
    assert [o.row for o in outcomes] == list(range(NUMBER))
    assert [o.item for o in outcomes] == drafts
    assert dids(outcomes) == {"created": NUMBER - 5, "rejected": 5}
    assert dids(list(side.make().create(drafts))) == {"unchanged": NUMBER - 5, "rejected": 5}


def test_rows_without_an_id_are_known_again_by_their_occurrence_over_all_parcels(side: Side) -> None:
    drafts = [a_row(n, None, subject="the same") for n in range(NUMBER)]
    assert dids(list(side.make().create(drafts))) == {"created": NUMBER}
    assert dids(list(side.make().create(drafts))) == {"unchanged": NUMBER}
    more = [*drafts, a_row(NUMBER, None, subject="the same")]
    assert dids(list(side.make().create(more))) == {"unchanged": NUMBER, "created": 1}


def test_an_id_that_stands_in_two_parcels_with_another_text_is_rejected(side: Side) -> None:
    drafts = [a_row(n) for n in range(NUMBER)]
    drafts.append(a_row(NUMBER, "E-0", subject="another"))
    drafts.append(a_row(NUMBER + 1, "E-1", subject="subject 1"))
    outcomes = list(side.make().create(drafts))
    assert dids(outcomes) == {"created": NUMBER, "rejected": 1, "unchanged": 1}
    error = outcomes[NUMBER].error
    assert isinstance(error, dm.RowError)
    assert "is already in this input" in error.message


def test_a_record_that_shares_its_line_is_rejected_by_its_number(side: Side) -> None:
    drafts = [a_row(n, line=1, record=n + 1) for n in range(2)]
    drafts.append(a_row(2, line=1, record=3, verdict="Nothing like that"))
    drafts.append(a_row(3, "E-0", line=1, record=4, subject="another"))
    errors = [outcome.error for outcome in side.make().create(drafts)]
    places = [error and error.message.partition(":")[0] for error in errors]
    assert places == [None, None, "line 1, record 3", "line 1, record 4"]


@pytest.mark.slow
def test_other_tickets_under_known_ids_are_told_by_the_whole_input(side: Side) -> None:
    """A parcel full of changes stops nothing where what came before was unchanged; nor does it hide a doubt."""
    list(side.make().create([a_row(n) for n in range(NUMBER)]))
    changed = [a_row(n, subject="new words" if n >= 2 * ROWS else f"subject {n}") for n in range(NUMBER)]
    assert dids(list(side.make().create(changed))) == {"unchanged": 2 * ROWS, "updated": NUMBER - 2 * ROWS}
    with pytest.raises(dm.InputError, match="would get the text of another ticket"):
        list(side.make().create([a_row(n, subject="quite other words") for n in range(NUMBER)]))


def test_nothing_behind_other_tickets_under_known_ids_is_stored_or_sent(side: Side) -> None:
    """The ids that are known come first; those behind them are new, and would pass by themselves."""
    list(side.make().create([a_row(n) for n in range(ROWS)]))
    others: list[dm.TicketDraft | dm.Rejected] = [a_row(n, subject=f"quite other words {n}") for n in range(3 * ROWS)]
    for use in (lambda: side.make().create(others), lambda: side.make().run(others, dm.ClassifyPlan())):
        with pytest.raises(dm.InputError, match=f"{ROWS} of {ROWS} known ids .*; no row was stored"):
            list(use())
        assert side.world.store.stats().by_status == {"new": ROWS}
    assert not side.world.store.stats().deliveries
    taken = list(side.make().run(others, dm.ClassifyPlan(), same_tickets=True))
    assert dids(taken) == {"updated": ROWS, "created": 2 * ROWS}  # type: ignore[arg-type]


def test_it_is_told_how_many_rows_came_before_other_tickets(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the parts before are stored, and decided and sent by a run; none of the others are."""
    monkeypatch.setattr(dm.chunks, "CHUNK", ROWS)
    monkeypatch.setattr(dm.chunks.bounded, "__defaults__", (ROWS,))
    list(side.make().create([a_row(n) for n in range(ROWS, 2 * ROWS)]))
    rows: list[dm.TicketDraft | dm.Rejected] = [a_row(n, subject=f"quite other words {n}") for n in range(3 * ROWS)]
    rows[3] = dm.Rejected(3, 5, dm.RowError("line 5: nothing in it"))
    outcomes: list[dm.Outcome[dm.Routed]] = []
    with pytest.raises(dm.InputError, match=f"the first {ROWS} rows were stored, and none after them"):
        outcomes.extend(side.make().run(rows, dm.ClassifyPlan()))
    assert side.world.store.stats().by_status == {"new": ROWS, "routed": ROWS - 1}
    assert [o.row for o in outcomes] == list(range(ROWS))


def test_a_typed_ticket_is_always_a_new_one(side: Side) -> None:
    draft = dm.TicketDraft(subject="the same", extra={}, origin="typed")
    made = [next(iter(side.make().create([draft]))) for _ in range(2)]
    assert [o.action for o in made] == ["created", "created"]
    assert made[0].value is not None
    assert made[1].value is not None
    assert made[0].value.ticket_id != made[1].value.ticket_id


def test_a_ticket_that_another_store_exported_keeps_its_source_and_id(side: Side) -> None:
    draft = a_row(0, dm.ids.new_id(), exported=("zendesk", "77"))
    for action in ("created", "unchanged"):
        (outcome,) = side.make().create([draft])
        assert outcome.action == action
        assert outcome.value is not None
        assert (outcome.value.source, outcome.value.external_id) == ("zendesk", "77")


@pytest.mark.slow
def test_a_run_gives_every_row_back_within_the_window(side: Side) -> None:
    side.world.classifier._answer = lambda t: ("Billing", 0.9) if "7" not in (t.subject or "") else ("General", 0.9)
    drafts: list[dm.TicketDraft | dm.Rejected] = [a_row(n) for n in range(NUMBER)]
    drafts[3] = dm.Rejected(3, 5, dm.RowError("line 5: nothing in it"))
    outcomes = list(side.make().run(iter(drafts), dm.ClassifyPlan()))
    assert sorted(o.place for o in outcomes) == list(range(NUMBER))
    assert all(o.place <= place + dm.MOST_ROWS_LATE for place, o in enumerate(outcomes))
    assert [o.row for o in dm.in_order(outcomes)] == list(range(NUMBER))
    assert {o.value.ticket.status for o in outcomes if o.value} == {"unroutable", "routed"}


def test_why_names_the_run_that_ended_before_it_came_to_a_ticket(side: Side) -> None:
    list(side.make().create([a_row(0)]))

    def failing(_: dm.Ticket) -> tuple[str | None, float]:
        raise dm.BudgetError("the money is gone", hint="tomorrow")

    side.world.classifier._answer = failing
    with pytest.raises(dm.BudgetError):
        list(side.make().classify(dm.Selection(), dm.ClassifyPlan()))
    *_, early, following = side.make().why("E-0").why
    reason = "ended because the next call might have passed its cost limit or the budget"
    assert re.search(rf"Z  triage classify \(run \w+, begun at .*Z\) {reason} .*\(exit code 7\)$", early)
    assert following.startswith("Next: triage classify asks about it, as far as the budget allows: raise --max-cost")
    side.world.classifier._answer = lambda _: ("Billing", 0.9)
    list(side.make().classify(dm.Selection(), dm.ClassifyPlan()))
    assert early not in side.make().why("E-0").why, "it was classified since"


def test_a_tickets_own_failure_is_a_value_and_a_runs_failure_ends_it(side: Side) -> None:
    list(side.make().create([a_row(n) for n in range(4)]))

    def failing(ticket: dm.Ticket) -> tuple[str | None, float]:
        if ticket.subject == "subject 3":
            raise dm.BudgetError("the money is gone", hint="tomorrow")
        return None, 0.0

    side.world.classifier._answer = failing
    side.world.classifier.chunk_size = 1
    with pytest.raises(dm.BudgetError, match="the money is gone") as caught:
        list(side.make().classify(dm.Selection(), dm.ClassifyPlan()))
    assert caught.value.hint == "tomorrow"


def test_reads_are_the_same(side: Side) -> None:
    list(side.make().create([a_row(n) for n in range(NUMBER)]))
    triage = side.make()
    found = list(triage.find(dm.Selection()))
    assert {t.external_id for t in found} == {f"E-{n}" for n in range(NUMBER)}
    # Over a remote two parts of the input are on their way at once, and either may be stored first.
    assert found == sorted(found, key=lambda t: t.ticket_id, reverse=True), "the newest first"
    assert list(triage.find(dm.Selection(limit=2))) == found[:2]
    assert len(list(triage.find(dm.Selection(limit=ROWS + 1)))) == ROWS + 1
    assert list(triage.find(dm.Selection(limit=0))) == []
    assert list(triage.find(dm.Selection(search="nowhere"))) == []
    created = [e for e in triage.events(dm.EventQuery()) if e.action == "created"]
    assert len(created) == NUMBER
    assert created == sorted(created, key=lambda e: e.seq)
    assert [e.seq for e in triage.events(dm.EventQuery(limit=ROWS + 7))] == [e.seq for e in created[-ROWS - 7 :]]
    assert list(triage.events(dm.EventQuery(limit=0))) == []
    assert [e.seq for e in triage.events(dm.EventQuery(after=created[-3].seq))] == [e.seq for e in created[-2:]]
    assert triage.resolve("E-3") == triage.history("E-3").ticket.ticket_id
    assert triage.stats().by_status == {"new": NUMBER}
    assert [c.name for c in triage.categories()] == ["Billing", "Technical", "General"]
    with pytest.raises(dm.NotFoundError, match='no ticket "nobody"'):
        triage.history("nobody")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["INC/2026/7", "a b", "ü?#&%2F", "..", "http://x/y", "batch", "x" * 300])
def test_any_external_id_names_its_ticket(side: Side, name: str) -> None:
    (made,) = side.make().create([a_row(0, name)])
    assert made.value is not None
    triage = side.make()
    assert triage.resolve(name) == made.value.ticket_id
    assert triage.history(name).ticket.external_id == name
    assert triage.why(name).ticket_id == made.value.ticket_id
    assert [e.action for e in triage.events(dm.EventQuery(triage.resolve(name)))] == ["created"]
    assert [o.action for o in triage.give_verdicts([dm.VerdictDraft(0, name, "Billing")])] == ["verdict"]


@pytest.mark.parametrize(
    ("given", "actions", "holds"),
    [
        ([("Billing", "a"), ("Technical", None)], ["unchanged", "verdict"], ("Technical", None)),
        ([("Billing", "a"), ("Billing", "b")], ["unchanged", "verdict"], ("Billing", "b")),
        ([("Billing", "a"), ("Billing", None)], ["verdict", "unchanged"], ("Billing", "a")),
        ([("Billing", "a"), ("Technical", "b"), ("Billing", None)], ["unchanged"] * 2 + ["verdict"], ("Billing", None)),
        ([("Billing", "a"), (None, None), ("General", None)], ["unchanged"] * 2 + ["verdict"], ("General", None)),
    ],
)
def test_of_several_verdicts_on_a_ticket_the_last_holds_and_a_repetition_changes_nothing(
    side: Side, given: list[tuple[str | None, str | None]], actions: list[str], holds: tuple[str, str | None]
) -> None:
    triage = side.make()
    (made,) = triage.create([a_row(0, "A-1")])
    assert made.value is not None
    names = (made.value.ticket_id, "A-1")
    drafts = [dm.VerdictDraft(row, names[row % 2], *one) for row, one in enumerate(given)]
    for expected in (actions, ["unchanged"] * len(given), ["unchanged"] * len(given)):
        outcomes = list(triage.give_verdicts(drafts))
        assert ([o.action for o in outcomes], [o.row for o in outcomes]) == (expected, [*range(len(given))])
        assert {(o.value.category, o.value.reason) for o in outcomes if o.value} == {holds}
    (event,) = triage.events(dm.EventQuery(actions=("verdict",)))
    assert json.loads(event.detail)["category"] == holds[0]


def test_undo_takes_back_a_note_on_a_verdict_that_had_none(side: Side) -> None:
    list(side.make().create([a_row(0)]))
    list(side.make().give_verdicts([dm.VerdictDraft(0, "E-0", "Billing")]))
    session = ReviewSession(side.make(), side.make().questions())
    (before,) = side.make().find(dm.Selection())
    assert session.give(before, "Billing", "a slip").reason == "a slip"
    undone = session.undo().ticket
    assert (undone.category, undone.reason, undone.verdict) == ("Billing", None, 1)


def test_tickets_of_many_ids_come_in_their_order_without_those_that_are_none(side: Side) -> None:
    created = list(side.make().create([a_row(n) for n in range(230)]))
    ids = [outcome.value.ticket_id for outcome in created if outcome.value][::-1]
    named = (*ids[:50], "01a20e9c-1d27-7000-8f6f-e2de12e6ffde", "nobody", *ids[50:])
    assert [ticket.ticket_id for ticket in side.make().find(dm.Selection(ids=named))] == ids
    assert [ticket.ticket_id for ticket in side.make().find(dm.Selection(ids=named, limit=3))] == ids[:3]
    assert [ticket.ticket_id for ticket in side.make().find(dm.Selection(ids=(ids[7],)))] == [ids[7]]
    assert list(side.make().find(dm.Selection(ids=()))) == []


def test_a_verdict_may_name_the_source_of_its_ticket(side: Side) -> None:
    list(side.make().create([a_row(0, "7", source="north"), a_row(1, "7", source="south")]))
    drafts = [dm.VerdictDraft(0, "7", "Billing", source="south"), dm.VerdictDraft(1, "7", "Billing", source="west")]
    outcomes = list(side.make().give_verdicts(drafts))
    assert [(o.action, o.value and o.value.source) for o in outcomes] == [("verdict", "south"), ("rejected", None)]


def test_of_two_people_who_press_a_key_at_once_one_hears_of_the_other(side: Side) -> None:
    list(side.make().create([a_row(n) for n in range(12)]))
    shown = list(side.make().find(dm.Selection()))
    keys = ("Billing", "Technical")
    people = [ReviewSession(side.make(), side.make().questions()) for _ in keys]
    with ThreadPoolExecutor(len(people)) as pool:
        for ticket in shown:
            pressed = threading.Barrier(len(people), timeout=PATIENCE)

            def press(person: ReviewSession, key: str, ticket: dm.Ticket, pressed: threading.Barrier) -> str:
                pressed.wait()
                try:
                    return person.give(ticket, key).category or ""
                except dm.RowError as error:
                    return error.message

            one, other = sorted(pool.map(press, people, keys, [ticket] * 2, [pressed] * 2))
            assert (one in keys, other) == (True, f"another person has decided: {one}")


def test_a_verdict_on_what_was_shown_is_rejected_once_that_is_another(side: Side) -> None:
    list(side.make().create([a_row(0)]))
    (new,) = side.make().find(dm.Selection())
    changed = "E-0: it has changed since it was shown"

    def given(shown: dm.Ticket, category: str | None, note: str | None = None) -> str:
        draft = dm.VerdictDraft(0, "E-0", category, note, dm.shown_hash_of(shown, dm.CATEGORY))
        (outcome,) = side.make().give_verdicts([draft])
        return outcome.error.message if outcome.error else outcome.action

    list(side.make().classify(dm.Selection(), dm.ClassifyPlan()))  # changes nothing that a person decides by
    assert given(new, "General", "a question") == "verdict"
    assert given(new, "Billing") == changed
    (judged,) = side.make().find(dm.Selection())
    assert (judged.category, judged.reason) == ("General", "a question")
    list(side.make().route(dm.Selection(), dm.RoutePlan()))
    assert given(judged, None) == "cleared"
    assert given(judged, "Billing") == changed
    list(side.make().create([replace(a_row(0), description="another text")]))
    assert given(new, "Billing") == changed


def test_events_of_several_actions(side: Side) -> None:
    triage = side.make()
    assert [o.action for o in triage.create([a_row(0, "A-1")])] == ["created"]
    assert [o.action for o in triage.give_verdicts([dm.VerdictDraft(0, "A-1", "Billing")])] == ["verdict"]
    assert [o.action for o in triage.give_verdicts([dm.VerdictDraft(0, "A-1", None)])] == ["cleared"]
    for actions in (("verdict",), ("verdict", "created"), ("routed", "created")):
        expected = [action for action in ("created", "verdict", "verdict") if action in actions]
        assert [e.action for e in triage.events(dm.EventQuery(actions=actions))] == expected
        ticket_id = triage.resolve("A-1")
        assert [e.action for e in triage.events(dm.EventQuery(ticket_id, actions, limit=9))] == expected


def test_verdicts_flips_and_routes(side: Side) -> None:
    list(side.make().create([a_row(n) for n in range(3)]))
    assert [o.action for o in side.make().classify(dm.Selection(), dm.ClassifyPlan())] == ["classified"] * 3
    drafts = [dm.VerdictDraft(5, "E-0", "technical", "because"), dm.VerdictDraft(7, "E-9", "General")]
    given = list(side.make().give_verdicts(drafts))
    assert [(o.row, o.action) for o in given] == [(5, "verdict"), (7, "rejected")]
    assert [o.item for o in given] == drafts
    assert [o.action for o in side.make().give_verdicts([dm.VerdictDraft(8, "E-0", None)])] == ["cleared"]
    side.world.classifier._answer = lambda _: ("Technical", 0.8)
    side.world.classifier.fingerprint = "fake-2"
    flips = list(side.make().reclassify(dm.Selection(), dm.ReclassifyPlan()))
    assert {(o.value.old, o.value.new, o.value.applied) for o in flips if o.value} == {("Billing", "Technical", False)}
    routed = list(side.make().route(dm.Selection(), dm.RoutePlan()))
    assert [(o.action, o.value and o.value.ticket.routed_to) for o in routed] == [("routed", "kept")] * 3


# -- what only a wire can do


@contextmanager
def flaky(port: int, cuts: list[int]) -> Iterator[str]:
    """Pass connections on; each answer is cut after so many bytes, as the list has it; afterwards none is."""
    listening_socket = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket, most: int | None) -> None:
        with suppress(OSError):
            while piece := source.recv(4096):
                if most is not None and (most := most - len(piece)) <= 0:
                    break
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def both(client: socket.socket, most: int | None) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            there = threading.Thread(target=pump, args=(client, server, None), daemon=True)
            there.start()
            pump(server, client, most)
            there.join(PATIENCE)

    def serve() -> None:
        while True:
            try:
                client, _ = listening_socket.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=both, args=(client, cuts.pop(0) if cuts else None), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=serve, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listening_socket.getsockname()[1]}"
    finally:
        listening_socket.shutdown(socket.SHUT_RDWR)
        listening_socket.close()
        for thread in (accepting, *threads):
            thread.join(PATIENCE)


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [[6000], [10_000, 2000], [1, 1], [1000, 1000]])
def test_a_lost_parcel_is_sent_again_and_stored_once(world: World, tmp_path: Path, cuts: list[int]) -> None:
    drafts = [a_row(n, None, subject="the same") for n in range(NUMBER)]
    with served(world, tmp_path) as running, flaky(running.port, cuts) as url:
        triage = RemoteTriage(checked_address(url, running.keys["agent"], insecure=False), ONLINE)
        outcomes = list(triage.create(drafts))
        triage.close()
    assert [o.row for o in outcomes] == list(range(NUMBER)), "each row once, in order"
    assert set(dids(outcomes)) <= {"created", "unchanged"}
    assert len({o.value.ticket_id for o in outcomes if o.value}) == NUMBER
    assert world.store.stats().tickets == NUMBER


def test_a_typed_ticket_whose_answer_is_lost_is_stored_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "RETRY_DELAYS", (0.01, 0.01))
    typed = dm.TicketDraft(subject="the same", origin="typed")
    with served(world, tmp_path) as running:
        for cuts in ([], [1, 1]):
            with flaky(running.port, cuts) as url:
                triage = RemoteTriage(checked_address(url, running.keys["agent"], insecure=False), ONLINE)
                assert [o.value.subject for o in triage.create([typed]) if o.value] == ["the same"]
                triage.close()
    assert world.store.stats().tickets == 2, "each call makes one, however often it is sent"


@pytest.mark.slow
def test_a_long_input_is_sent_however_often_the_server_asks_for_a_while(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "PATIENCE", 0.05)
    monkeypatch.setattr(http_connection, "retry_after", lambda *_, **__: 0.02)
    with served(world, tmp_path) as running:
        take, turns = running.served.stream_slots.take, iter(range(100))

        def every_second_time() -> None:
            if next(turns) % 2:
                raise dm.OverloadedError("too many bulk requests are at work", retry_after=1.0)
            take()

        monkeypatch.setattr(running.served.stream_slots, "take", every_second_time)
        triage = RemoteTriage(checked_address(running.url, running.keys["agent"], insecure=False), ONLINE)
        outcomes = list(triage.create([a_row(n) for n in range(5 * ROWS)]))
        triage.close()
    assert dids(outcomes) == {"created": 5 * ROWS}, "one wait each time, and together more than anybody waits for once"


def test_a_server_that_loses_every_answer_is_given_up(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "RETRY_DELAYS", (0.01, 0.01))
    with served(world, tmp_path) as running, flaky(running.port, [3000] * 20) as url:
        triage = RemoteTriage(checked_address(url, running.keys["agent"], insecure=False), ONLINE)
        with pytest.raises(ConnectionLostError, match="broke off"):
            list(triage.create([a_row(n) for n in range(ROWS)]))
        triage.close()
    assert dids(list(world.triage().create([a_row(n) for n in range(ROWS)]))) == {"unchanged": ROWS}


def test_a_reader_may_not_write(world: World, tmp_path: Path) -> None:
    with served(world, tmp_path) as running:
        triage = RemoteTriage(Address(running.url, running.keys["reader"]), ONLINE)
        assert triage.stats().tickets == 0
        with pytest.raises(dm.RefusedError):
            list(triage.create([a_row(0)]))
        with pytest.raises(dm.RefusedError):
            list(triage.classify(dm.Selection(), dm.ClassifyPlan()))
        with pytest.raises(dm.RefusedError):
            list(triage.runs(None))
        triage.close()


@pytest.mark.slow
def test_an_input_is_read_only_as_fast_as_it_is_stored(world: World, tmp_path: Path) -> None:
    """Memory is that of two parcels, however long the input is."""
    read = 0

    def rows() -> Iterator[dm.TicketDraft]:
        nonlocal read
        for n in range(10 * ROWS):
            read += 1
            yield a_row(n)

    with served(world, tmp_path) as running:
        triage = RemoteTriage(Address(running.url, running.keys["agent"]), ONLINE)
        ahead = 0
        for stored, _ in enumerate(triage.create(rows()), 1):
            ahead = max(ahead, read - stored)
        triage.close()
    assert (stored, read) == (10 * ROWS, 10 * ROWS)
    assert ahead <= 3 * ROWS


def test_stopping_takes_no_new_parcel(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "GRACE", PATIENCE)  # a busy machine takes longer than a user would wait
    with served(world, tmp_path) as running:
        triage = RemoteTriage(Address(running.url, running.keys["agent"]), ONLINE)
        outcomes = []
        for outcome in triage.create(a_row(n) for n in range(20 * ROWS)):
            outcomes.append(outcome)
            triage.stop()
        triage.close()
    assert len(outcomes) <= 2 * ROWS
    assert world.store.stats().tickets == len(outcomes)


def test_an_answer_error_comes_as_what_it_was(world: World, tmp_path: Path) -> None:
    world.classifier._answer = lambda _: (None, 0.0)
    with served(world, tmp_path) as running:
        triage = RemoteTriage(Address(running.url, running.keys["agent"]), ONLINE)
        list(triage.create([a_row(0)]))
        (here,) = triage.classify(dm.Selection(), dm.ClassifyPlan())
        triage.close()
    assert here.action in ("needs_review", "failed")
    assert here.error is None or isinstance(here.error, dm.AnswerError)
