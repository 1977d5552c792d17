"""Filters, sorting and groups of counts: the same over each kind of store, at hand and on another instance."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import running_server
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.stored_tickets import a_ticket, an_event
from tests.support.use_cases import classify, made
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.extensions.remote import Address, RemoteTriage
from triage_cli.ports import Triage, operations
from triage_cli.service import ticket_lookup
from triage_cli.stores import SqliteStore, where_clauses

DAYS = ("2026-01-01T08:00:00.000Z", "2026-01-02T08:00:00.000Z")
SOURCES = ("import", "zendesk", "import", "mail")
EXTRAS = (
    '{"plan":"gold"}',
    r'{"a":"x,\"plan\":\"gold\"}","plan":"g"}',
    '{"order":4711,"plan":"gold"}',
    "{}",
)
PRIORITIES = ("urgent", None, "low", None)
Make = Callable[[], Triage]


@pytest.fixture(params=["local", "remote"])
def make(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Iterator[Make]:
    """What makes the use cases over a world."""
    if request.param == "local":
        yield world.triage
        return
    with ExitStack() as stack:
        running = stack.enter_context(running_server(tmp_path, services=world.services()))

        def made() -> Triage:
            triage = RemoteTriage(Address(running.url, running.keys["reader"]), ONLINE)
            stack.callback(triage.close)
            return triage

        yield made


def a_delivery(ticket: dm.Ticket, destination: str, state: str) -> dm.Delivery:
    name = f"msg_{ticket.external_id}_{destination}"
    return dm.Delivery(
        name, ticket.ticket_id, None, "Billing", destination, "r", "h", None, state, 1, 0.0, None, None, None, DAYS[0]
    )


@pytest.fixture
def four(world: World) -> list[dm.Ticket]:
    """Tickets of which the even ones are sure and sent, and the odd ones wait for a person."""
    tickets = []
    for n in range(4):
        ticket = a_ticket(
            f"T-{n}", source=SOURCES[n], priority=PRIORITIES[n], confidence=n / 10, stored_at=DAYS[n // 2],
            cost_usd=0.5, verdict=int(n == 0), status="needs_review" if n % 2 else "routed",
            category=None if n % 2 else "Billing", suggestion="Technical" if n == 3 else None,
            extra=EXTRAS[n],
        )  # fmt: skip
        sent = [("billing", "accepted"), ("archive", "superseded" if n else "accepted")]
        adds = () if n % 2 else tuple(a_delivery(ticket, *each) for each in sent)
        assert world.store.save([dm.Change(an_event(ticket), ticket, adds=adds)]) == [None]
        tickets.append(ticket)
    return tickets


def test_selections_are_the_same(make: Make, four: list[dm.Ticket]) -> None:
    for selection, numbers in (
        (dm.Selection(until=DAYS[0]), [1, 0]),
        (dm.Selection(since=DAYS[1]), [3, 2]),
        (dm.Selection(sources=("zendesk",)), [1]),
        (dm.Selection(sources=("zendesk", "mail")), [3, 1]),
        (dm.Selection(destinations=("billing",)), [2, 0]),
        (dm.Selection(destinations=("archive",)), [0]),
        (dm.Selection(destinations=("archive", "nowhere", "billing")), [2, 0]),
        (dm.Selection(verdict=True), [0]),
        (dm.Selection(verdict=False), [3, 2, 1]),
        (dm.Selection(extras=("plan=gold",)), [2, 0]),
        (dm.Selection(extras=("plan=gold", "order=4711")), [2]),
        (dm.Selection(extras=("order=471",)), []),
        (dm.Selection(min_confidence=0.2), [3, 2]),
        (dm.Selection(max_confidence=0.1), [1, 0]),
        (dm.Selection(categories=("billing",)), [2, 0]),
        (dm.Selection(suggestions=("technical", "General")), [3]),
        (dm.Selection(categories=("Billing", "Technical"), limit=1), [2]),
        (dm.Selection(sort="confidence"), [0, 1, 2, 3]),
        (dm.Selection(sort="confidence:desc", limit=2), [3, 2]),
        (dm.Selection(sort="external_id:asc", verdict=False), [1, 2, 3]),
        (dm.Selection(sort="priority:desc"), [0, 3, 1, 2]),
        (dm.Selection(sort="category:desc"), [2, 0, 3, 1]),
        (dm.Selection(order="review"), [1, 3]),
        (dm.Selection(order="review", sources=("mail",)), [3]),
        (dm.Selection(sort="source", statuses=frozenset({"routed", "needs_review"})), [0, 2, 3, 1]),
    ):
        found = [ticket.external_id for ticket in make().find(selection)]
        assert found == [four[n].external_id for n in numbers], selection


@pytest.mark.parametrize(
    "hostile",
    [
        dm.Selection(after="\0"),
        dm.Selection(customer_id="C\0"),
        dm.Selection(classifier="\0fake"),
        dm.Selection(sources=("im\0port",)),
        dm.Selection(sources=("im\0port", "mail")),
        dm.Selection(categories=("\0", "Billing")),
        dm.Selection(destinations=("\0",)),
        dm.Selection(search="\0"),
    ],
)
def test_a_nul_in_a_selection_means_what_is_stored_in_its_place(
    store: SqliteStore | PostgresStore, hostile: dm.Selection
) -> None:
    """No database may answer otherwise than the other: texts are stored with U+FFFD in the place of NUL."""
    odd = a_ticket("1", customer_id="C\ufffd", classifier="\ufffdfake", source="im\ufffdport", category="\ufffd")
    plain = a_ticket("2", category="Technical")
    assert store.save([dm.Change(an_event(ticket), ticket) for ticket in (odd, plain)]) == [None, None]
    cleaned: dict[str, Any] = {
        name: value.replace("\0", "\ufffd")
        if isinstance(value, str)
        else tuple(v.replace("\0", "\ufffd") for v in value)
        for name, value in hostile._asdict().items()
        if isinstance(value, str | tuple)
    }
    assert list(store.find(hostile)) == list(store.find(replace(hostile, **cleaned)))
    assert store.stats_by(dm.StatsQuery(hostile)) == store.stats_by(dm.StatsQuery(replace(hostile, **cleaned)))


def test_a_record_says_when_a_ticket_was_stored_and_decided(make: Make, world: World) -> None:
    """Of what nobody is sure, nothing was decided; a verdict decides anew."""
    world.classifier = FakeClassifier(lambda ticket: ("Billing", 0.9 if ticket.external_id == "0" else 0.1))
    tickets = made(world, 2)
    classify(world)

    def times() -> list[tuple[str | None, str | None]]:
        records = [dm.ticket_record(ticket) for ticket in make().find(dm.Selection(sort="external_id"))]
        return [(record["stored_at"], record["decided_at"]) for record in records]

    (sure, decided), (unsure, undecided) = times()
    assert [sure, unsure] == [ticket.stored_at for ticket in tickets]
    answered = world.triage().history("0").classifications[-1].at
    assert abs(dm.to_seconds(decided or "") - dm.to_seconds(answered)) < 1
    assert undecided is None
    list(world.triage().give_verdicts([dm.VerdictDraft(n, f"{n}", "General") for n in range(2)]))
    assert all((at or "") > (decided or "") for _, at in times())


def test_every_field_sorts_and_a_walk_goes_on_where_it_stopped(
    make: Make, four: list[dm.Ticket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where_clauses, "SORTED_IDS_PER_PAGE", 2)
    monkeypatch.setattr(operations, "PAGE", 3)
    for field in dm.SORTS:
        up = [ticket.ticket_id for ticket in make().find(dm.Selection(sort=field))]
        down = [ticket.ticket_id for ticket in make().find(dm.Selection(sort=f"{field}:desc"))]
        assert sorted(up) == sorted(ticket.ticket_id for ticket in four)
        assert down == up[::-1]


def test_the_order_of_review_goes_on_after_the_least_sure(
    make: Make, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticket_lookup, "WINDOW", 2)
    monkeypatch.setattr(where_clauses, "SORTED_IDS_PER_PAGE", 3)
    monkeypatch.setattr(operations, "PAGE", 3)  # a window and a half
    for n, confidence in enumerate((0.9, 0.6, None, 0.8, 0.7)):
        text = chr(97 + n) * 5
        ticket = a_ticket(f"T-{n}", subject=text, description=text, status="needs_review", confidence=confidence)
        world.store.save([dm.Change(an_event(ticket), ticket)])
    assert [t.external_id for t in make().find(dm.Selection(order="review"))] == ["T-2", "T-1", "T-4", "T-3", "T-0"]


def test_what_is_no_field_sorts_nothing(store: SqliteStore | PostgresStore) -> None:
    with pytest.raises(ValueError, match="drop table"):
        list(store.find(dm.Selection(sort="drop table tickets")))


def test_counts_come_in_groups(make: Make, four: list[dm.Ticket]) -> None:
    def counts(*by: str, **times: Any) -> list[tuple[Any, ...]]:
        found = make().stats_by(dm.StatsQuery(dm.Selection(**times), by))
        return [(*group.keys.values(), *group[1:]) for group in found]

    assert len(four) == 4
    assert counts() == [(4, 2, 2, 2.0)]
    assert counts("category") == [("Billing", 2, 2, 0, 1.0), (None, 2, 0, 2, 1.0)]
    assert counts("day", "status", until=DAYS[0]) == [
        ("2026-01-01", "needs_review", 1, 0, 1, 0.5),
        ("2026-01-01", "routed", 1, 1, 0, 0.5),
    ]
    assert counts("destination") == [("archive", 1, 1, 0, 0.5), ("billing", 2, 2, 0, 1.0), (None, 2, 0, 2, 1.0)]
    assert counts("classifier", since=DAYS[1]) == [(None, 2, 1, 1, 1.0)]
    assert counts(since="2999-01-01T00:00:00.000Z") == [(0, 0, 0, 0.0)]
    assert counts(statuses=frozenset({"needs_review"}), suggestions=("technical",)) == [(1, 0, 1, 0.5)]
    assert counts(categories=("billing",), search="subject t-2", priority="low") == [(1, 1, 0, 0.5)]
    assert counts("status", since="2999-01-01T00:00:00.000Z") == []
    assert counts("week", "month") == [("2025-12-29", "2026-01", 4, 2, 2, 2.0)]
    assert counts("source", "priority", until=DAYS[0]) == [
        ("import", "urgent", 1, 1, 0, 0.5), ("zendesk", None, 1, 0, 1, 0.5),
    ]  # fmt: skip
    assert counts("customer_id", categories=("Billing",)) == [(four[0].customer_id, 2, 2, 0, 1.0)]


@pytest.mark.parametrize("place", ["local", "remote"])
def test_a_former_value_finds_what_its_present_name_does(world: World, tmp_path: Path, place: str) -> None:
    list(world.triage().create(dm.TicketDraft(n, n, "s", "d", external_id=f"A-{n}") for n in range(2)))
    world.further = (dm.Question("urgency", (dm.Category("now"), dm.Category("later"))),)
    list(world.triage().give_verdicts([dm.VerdictDraft(0, "A-0", "now", question="urgency")]))
    world.further = (dm.Question("urgency", (dm.Category("soon", was=("now", "at once")), dm.Category("later"))),)
    with ExitStack() as stack:
        triage: Triage = world.triage()
        if place == "remote":
            running = stack.enter_context(running_server(tmp_path, services=world.services()))
            triage = RemoteTriage(Address(running.url, running.keys["reader"]), ONLINE)
            stack.callback(triage.close)
        for _ in range(2):  # before the rename is carried out, and after it
            for value, found in (("now", ["A-0"]), ("soon", ["A-0"]), ("SOON", ["A-0"]), ("later", []), ("", ["A-1"])):
                where = dm.Selection(answers=(f"urgency={value}",))
                assert [t.external_id for t in triage.find(where)] == found, value
                assert sum(group.tickets for group in triage.stats_by(dm.StatsQuery(where))) == len(found)
            list(world.triage().give_verdicts([dm.VerdictDraft(0, "A-1", "Billing")]))  # which carries it out


def test_a_week_begins_on_monday(make: Make, world: World) -> None:
    days = ("2026-03-01", "2026-03-02", "2026-03-08", "2026-03-09")  # Sunday, Monday, Sunday, Monday
    for day in days:
        ticket = a_ticket(day, stored_at=f"{day}T23:59:59.999Z")
        world.store.save([dm.Change(an_event(ticket), ticket)])
    found = make().stats_by(dm.StatsQuery(dm.Selection(), ("week",)))
    assert [(group.keys["week"], group.tickets) for group in found] == [
        ("2026-02-23", 1), ("2026-03-02", 2), ("2026-03-09", 1),
    ]  # fmt: skip


def test_who_decided_and_how_often_people_overruled_the_machine(make: Make, world: World) -> None:
    answers = {"a": 0.9, "b": 0.9, "c": 0.3, "d": 0.9}
    world.classifier = FakeClassifier(lambda ticket: ("Billing", answers[ticket.text]))
    list(world.triage().create([dm.TicketDraft(n, n + 2, text, external_id=text) for n, text in enumerate(answers)]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    assert make().overruled(None, None) == []
    verdicts = {"a": "Technical", "b": "Billing", "c": "General"}
    list(world.triage("ada").give_verdicts([dm.VerdictDraft(n, *each) for n, each in enumerate(verdicts.items())]))
    (found,) = make().overruled(None, None)
    assert found[1:5] == ("Billing", 2, 1, 0.5), "an unsure answer is a guess, which is not overruled"
    assert (found.low, found.high) == pytest.approx((0.0945, 0.9055), abs=1e-4)
    assert date.fromisoformat(found.week).weekday() == 0
    assert make().overruled("2999-01-01T00:00:00.000Z", None) == []
    assert make().overruled(None, "2001-01-01T00:00:00.000Z") == []
    list(world.triage("ada").give_verdicts([dm.VerdictDraft(0, "a", "Billing"), dm.VerdictDraft(1, "b", None)]))
    assert [each[1:5] for each in make().overruled(None, None)] == [("Billing", 1, 0, 0.0)]
    groups = make().stats_by(dm.StatsQuery(dm.Selection(), ("actor",)))
    assert {group.keys["actor"]: group.tickets for group in groups} == {"ada": 2, "test": 2}
