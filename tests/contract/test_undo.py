"""An import is taken back on both stores, here and over HTTP: its untouched tickets, their words, and nothing else."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import running_server
from tests.support.fake_destination import FakeDestination
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.stored_tickets import a_run, ended
from tests.support.use_cases import ALL, PLAN, actions, classify, log_is_whole, now, route
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.extensions.postgres import tables as postgres_tables
from triage_cli.extensions.remote import Address, RemoteTriage, upload
from triage_cli.ports import Triage
from triage_cli.service import Callers, LocalTriage
from triage_cli.stores import Db, SqlInflow, SqlModelRegistry

ROWS = 50  # of one request
NUMBER = 2 * ROWS + 30
KNOWN = 5  # tickets that were there before; the wrong file changes two of them
WORD = "CANARY"
TABLES = [table for table in postgres_tables() if table != "api_keys"]  # of both stores; callers use their keys


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "ROWS", ROWS)


@pytest.fixture
def box(world: World) -> FakeDestination:
    """Where all tickets of any category go."""
    box = FakeDestination("box")
    world.rules, world.destinations = (dm.Rule("all", ("box",)),), {"box": box}
    return box


@pytest.fixture(params=["local", "remote"])
def make(request: pytest.FixtureRequest, world: World, box: FakeDestination, tmp_path: Path) -> Iterator[Any]:
    """Return the use cases for a command of this person, here or over HTTP."""
    del box
    if request.param == "local":
        yield world.triage
        return
    with ExitStack() as stack:
        running = stack.enter_context(running_server(tmp_path, services=world.services()))

        def make(role: str = "agent") -> Triage:
            triage = RemoteTriage(Address(running.url, running.keys[role]), ONLINE)
            stack.callback(triage.close)
            return triage

        yield make


def known(n: int, text: str = "") -> dm.TicketDraft:
    return dm.TicketDraft(n, n + 2, text or f"known {n}, a question of its own", external_id=f"K-{n}", cells=())


def wrong(n: int) -> dm.TicketDraft:
    """Return a row of the wrong file: each field that may hold a customer's words has one."""
    return dm.TicketDraft(
        n, n + 2, f"{WORD} {n}", f"{WORD} text", f"{WORD}-{n}", external_id=f"{WORD}{n}", extra={"shop": WORD}, cells=()
    )


def wrong_file() -> list[dm.TicketDraft]:
    changed = [replace(known(n, f"known {n}, a question of its own, edited"), row=NUMBER + n) for n in range(2)]
    return [*map(wrong, range(NUMBER)), *changed]


def dump(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables."""
    return {table: [tuple(r) for r in world.store.database.read(f"select * from {table}")] for table in TABLES}


def words_in(world: World, but: Collection[str] = ()) -> set[str]:
    """Return the tables that hold a word of the wrong file, but for rows about these tickets."""
    rows = ((table, row) for table, rows in dump(world).items() for row in rows if not set(but) & set(row))
    return {table for table, row in rows if any(WORD in str(value) for value in row)}


def named(world: World, external_id: str) -> str:
    (ticket,) = world.store.named(external_id, 2)
    return ticket.ticket_id


def counted(outcomes: Iterator[dm.Outcome[dm.Routed]]) -> dict[str, int]:
    return dict(Counter(str(outcome.action) for outcome in outcomes))


def imported(world: World, *drafts: dm.TicketDraft) -> str:
    """Import drafts, and return the run."""
    list(world.triage().create(drafts))
    return str(world.store.database.read("select max(run_id) from runs")[0][0])


def test_it_is_withdrawn_with_its_words_and_the_rest_is_untouched(world: World, make: Callable[..., Triage]) -> None:
    """A part was routed, one was decided, one was changed by a later import, and two were there before."""
    list(world.triage().create(map(known, range(KNOWN))))
    assert Counter(o.action for o in make().create(wrong_file())) == {"created": NUMBER, "updated": 2}
    runs = make().imported("last")
    part = dm.Selection(ids=tuple(named(world, f"{WORD}{n}") for n in range(40)))
    list(world.triage().classify(part, PLAN))
    list(world.triage().route(part, dm.RoutePlan()))
    decided, rewritten = named(world, f"{WORD}0"), named(world, f"{WORD}1")
    list(world.triage().give_verdicts([dm.VerdictDraft(0, decided, "Technical")]))
    list(world.triage().create([replace(wrong(1), subject=f"other text of {WORD}")], same_tickets=True))
    kept_ids = {decided, rewritten, *(named(world, f"K-{n}") for n in range(KNOWN))}
    before, size = dump(world), world.store.log.head().events

    assert sum(json.loads(run.counts).get("created", 0) for run in runs) == NUMBER
    there = {"withdrawn": NUMBER - 2, "decided": 1, "rewritten": 1, "changed": 2}
    assert counted(make().undo(runs[0].run_id, dry_run=True)) == there
    assert dump(world) == before
    outcomes = list(make().undo(runs[0].run_id))
    assert counted(iter(outcomes)) == there
    routed_to = Counter(o.value.ticket.routed_to for o in outcomes if o.value and o.action == "withdrawn")
    assert routed_to == {"box": 38, None: NUMBER - 40}

    after = dump(world)
    for table in ("tickets", "classifications", "deliveries"):
        column = {"tickets": 0, "classifications": 1, "deliveries": 1}[table]
        assert [r for r in after[table] if r[column] in kept_ids] == [r for r in before[table] if r[column] in kept_ids]
    assert log_is_whole(world)
    assert actions(world)[size:] == ["withdrawn"] * (NUMBER - 2)
    assert {t.ticket_id for t in world.store.find(ALL)} == kept_ids
    assert words_in(world, but=kept_ids) == set()
    assert counted(make().undo(runs[-1].run_id)) == {"decided": 1, "rewritten": 1, "changed": 2}
    assert Counter(o.action for o in make().create(map(wrong, range(2, NUMBER)))) == {"created": NUMBER - 2}, "free"


def test_it_is_in_no_list_count_queue_learning_or_inflow(world: World, box: FakeDestination) -> None:
    judged = [replace(wrong(n), verdict="Technical") for n in range(3)]
    run = imported(world, *judged, *map(wrong, range(3, 6)))
    classify(world)
    route(world)
    assert (len(list(SqlModelRegistry(world.store).labelled())), len(box.got)) == (3, 6)
    assert counted(world.triage().undo(run)) == {"withdrawn": 6}, "its own verdicts are none of a person"
    assert list(world.triage().find(ALL)) == list(world.triage().find(dm.Selection(sort="source"))) == []
    assert (
        list(world.triage().find(dm.Selection(order="review")))
        == list(world.triage().find(dm.Selection(search="")))
        == []
    )
    stats = world.triage().stats()
    assert (stats.tickets, stats.by_status, stats.by_category, stats.by_day) == (0, {}, {}, {})
    assert world.triage().stats_by(dm.StatsQuery(by=("status", "category"))) == []
    assert (world.store.gauges().by_status, world.store.gauges().oldest_new) == ({}, None)
    registry, inflow = SqlModelRegistry(world.store), SqlInflow(world.store)
    assert (list(registry.labelled()), registry.unlabelled(10), registry.opinions()) == ([], {}, {})
    assert inflow.written("1970", "2999") == []
    world.store.database.write(world.store._counts.count_anew)
    assert world.triage().stats().tickets == 0
    found = [t.ticket_id for t in world.triage().find(dm.Selection(statuses=frozenset({"withdrawn"})))]
    assert len(found) == 6, "where its status is asked for by name"


def test_nothing_and_nobody_brings_it_out_of_it(world: World, box: FakeDestination) -> None:
    run = imported(world, wrong(0))
    ticket_id = named(world, f"{WORD}0")
    only, events = dm.Selection(ids=(ticket_id,)), world.store.log.head().events + 1
    list(world.triage().undo(run))
    assert [o.action for o in world.triage().classify(only, dm.ClassifyPlan(force=True))] == ["held"]
    assert [o.action for o in world.triage().route(only, dm.RoutePlan(again=True, retry_dead=True))] == ["unchanged"]
    (judged,) = world.triage().give_verdicts([dm.VerdictDraft(0, ticket_id, "Billing")])
    assert (judged.action, judged.error and "its import was taken back" in judged.error.message) == ("rejected", True)
    assert world.triage().why(ticket_id).why[-1].startswith("Next: nothing; its import was taken back")
    assert (world.store.log.head().events, box.got) == (events, [])
    (again,) = world.triage().create([replace(wrong(0), external_id=ticket_id)])
    assert (again.action, again.value and again.value.ticket_id != ticket_id) == ("created", True), "its id is free too"


def test_deliveries_are_cancelled_and_those_that_may_have_arrived_are_told(world: World) -> None:
    """One is owed, of one the answer was lost, and one is on its way while its import is taken back."""
    taken: list[dict[str, Any]] = []

    def answer(outgoing: dm.OutgoingDelivery) -> dm.DeliveryError | None:
        if outgoing.ticket.external_id == "way":  # by a run that is thought dead
            world.store.database.write(lambda db: db.execute("update runs set lease_until = 0"))
            taken.extend({"id": o.value.ticket.routed_to} for o in world.triage().undo(run) if o.value)
            return dm.DeliveryError("no: CANARY 0")
        return dm.DeliveryError("gone", doubtful=outgoing.ticket.external_id == "lost")

    world.rules, world.destinations = (dm.Rule("all", ("page",)),), {"page": FakeDestination("page", answer)}
    drafts = [replace(wrong(n), external_id=name, row=n) for n, name in enumerate(("owed", "lost", "way"))]
    run = imported(world, *drafts)
    classify(world)
    for name in ("owed", "lost"):
        list(world.triage().route(dm.Selection(ids=(named(world, name),)), dm.RoutePlan()))
    way = named(world, "way")
    list(world.triage().route(dm.Selection(ids=(way,)), dm.RoutePlan()))
    assert Counter(one["id"] for one in taken) == {None: 1, "page": 2}
    assert world.store.deliveries.next_due() is None
    assert {row[0] for row in world.store.database.read("select distinct state from deliveries")} == {"superseded"}
    counts = world.store.database.read("select state, number from delivery_counts where number > 0")
    assert [tuple(row) for row in counts] == [("superseded", 3)]
    assert now(world, world.store.named(way, 1)[0]).status == "withdrawn"
    assert words_in(world) == set()


def test_an_answer_that_comes_after_it_was_withdrawn_keeps_no_words(world: World) -> None:
    run = imported(world, wrong(0))

    def answer(_: object) -> tuple[str, float]:
        world.store.database.write(lambda db: db.execute("update runs set lease_until = 0 where kind = 'classify'"))
        assert counted(world.triage().undo(run)) == {"withdrawn": 1}
        return "Technical", 0.9

    world.classifier = FakeClassifier(answer)
    assert [o.action for o in classify(world)] == ["held"]
    kept = [tuple(row) for row in world.store.database.read("select reason, answer_key from classifications")]
    assert kept == [(None, "")]
    assert words_in(world) == set()


def test_a_verdict_that_comes_meanwhile_keeps_its_ticket(world: World) -> None:
    run, save = imported(world, *map(wrong, range(3))), world.store.save

    def late(*args: Any, **kwargs: Any) -> Any:
        world.store.save = save  # type: ignore[method-assign]
        list(world.triage().give_verdicts([dm.VerdictDraft(0, named(world, f"{WORD}1"), "Billing")]))
        return save(*args, **kwargs)

    world.store.save = late  # type: ignore[method-assign]
    assert counted(world.triage().undo(run)) == {"withdrawn": 2, "decided": 1}
    (kept,) = world.store.find(ALL)
    assert (kept.external_id, kept.category, kept.description) == (f"{WORD}1", "Billing", f"{WORD} text")


def test_a_ticket_that_is_forgotten_meanwhile_stays_forgotten_and_is_no_ticket_of_a_later_import(world: World) -> None:
    run, claim = imported(world, *map(wrong, range(3))), world.store.runs.claim

    def late(selection: dm.Selection, lease: Any, limit: int) -> Any:
        world.store.runs.claim = claim  # type: ignore[method-assign]
        list(world.triage().forget(f"{WORD}-1"))
        return claim(selection, lease, limit)

    world.store.runs.claim = late  # type: ignore[method-assign]
    assert counted(world.triage().undo(run)) == {"withdrawn": 2}
    imported(world, wrong(1))
    assert [t.status for t in world.store.find(ALL)] == ["forgotten"]
    assert words_in(world) == set()


def test_what_a_batch_is_asked_about_stays_until_it_has_ended(world: World) -> None:
    run = imported(world, wrong(0), wrong(1))
    asked = named(world, f"{WORD}1")

    def ask(db: Db) -> None:
        db.execute("insert into batches values ('b', 'c', 'a', 'f', '[]', '{}', 'p', 't', 'submitted', 1, 't', "
                   "null, null, null, null, '{}')")  # fmt: skip
        db.execute("insert into batch_items values ('b', ?, 0, 'k', 'new', 0.0, null, 'waiting', '[]')", (asked,))

    world.store.database.write(ask)
    assert counted(world.triage().undo(run)) == {"withdrawn": 1, "asked": 1}
    world.store.database.write(lambda db: db.execute("update batch_items set state = 'answered'"))
    assert counted(world.triage().undo(run)) == {"withdrawn": 1}


def test_what_another_run_holds_is_told_and_the_rest_is_withdrawn(world: World) -> None:
    run = imported(world, *map(wrong, range(3)))
    lease = a_run(world.store)  # type: ignore[arg-type]
    world.store.runs.claim(dm.Selection(ids=(named(world, f"{WORD}1"),)), lease, 1)
    with pytest.raises(dm.UnavailableError, match="at work on 1 more"):
        list(world.triage().undo(run))
    assert [t.external_id for t in world.store.find(ALL)] == [f"{WORD}1"]
    ended(world.store, lease)  # type: ignore[arg-type]
    assert counted(world.triage().undo(run)) == {"withdrawn": 1}


def test_what_other_parts_keep_of_its_tickets_goes_too(world: World) -> None:
    """Answers that the API keeps for a day, and a name by which a ticket was called."""
    run = imported(world, wrong(0))
    imported(world, known(0))
    ended_run = dm.Run(dm.ids.new_id(), "classify", "x", f"classify {WORD}0 K-0", dm.times.now())
    world.store.runs.end(replace(world.store.runs.begin(ended_run), exit_code=0))

    def answered(db: Db) -> None:
        for n, name in enumerate((f"{WORD}0", "K-0")):
            values = (str(n), named(world, name))
            db.execute("insert into idempotency values ('k', ?, 'h', 0.0, 201, '{}', 0.0, ?)", values)

    world.store.database.write(answered)
    list(world.triage().undo(run))
    assert [row[0] for row in world.store.database.read("select key from idempotency where answer is not null")] == [
        "1"
    ]
    assert "classify … K-0" in {row[0] for row in world.store.database.read("select words from runs")}


def test_the_files_of_one_command_are_one_import_and_its_sources_and_others_are_not(world: World) -> None:
    command, other = world.triage(), world.triage()
    list(command.create([wrong(0)]))
    list(other.create([wrong(1)]))
    list(command.create([wrong(2)]))
    assert [run.kind for run in command.imported("last")] == ["create", "create"]
    assert counted(world.triage().undo("last")) == {"withdrawn": 2}
    assert [t.external_id for t in world.store.find(ALL)] == [f"{WORD}1"]


def test_the_last_import_is_that_of_the_actor_and_nothing_else(world: World, box: FakeDestination) -> None:
    """Neither what a server stores for single callers, nor an import of others, nor another command."""
    mine = imported(world, wrong(0))
    list(world.triage("bob").create([wrong(1)]))
    callers = Callers(world.services())
    callers.create(replace(wrong(2), origin="request"), "tester", None)
    callers.close()
    classify(world)
    assert [run.run_id for run in world.triage().imported("last")] == [mine]
    assert [run.run_id for run in world.triage().imported(mine[-8:].upper())] == [mine]
    listed = "triage runs lists what others have imported"
    for served, hint in (
        (False, listed),
        (True, f"{listed}; to list that and to take it back takes an administrator's key"),
    ):
        services = replace(world.services(), served=served)
        with pytest.raises(dm.NotFoundError, match="carol has imported nothing here") as nothing:
            LocalTriage(services, "carol", "test").imported("last")
        assert nothing.value.hint == hint
    for name in ("nobody", "", "%", "ffffff", mine[-5:]):
        with pytest.raises(dm.NotFoundError, match="no run"):
            world.triage().imported(name)
    other = world.store.database.read("select run_id from runs where kind = 'classify'")[0][0]
    with pytest.raises(dm.UsageError, match="is no import, but triage classify"):
        world.triage().imported(other)
    assert len(box.got) == 0


def test_a_run_that_is_still_at_work_is_not_taken_back(world: World) -> None:
    def rows() -> Iterator[dm.TicketDraft]:
        yield wrong(0)
        with pytest.raises(dm.UsageError, match="still at work"):
            world.triage().imported("last")
        yield wrong(1)

    list(world.triage().create(rows()))
    assert counted(world.triage().undo("last")) == {"withdrawn": 2}


def test_two_runs_with_one_ending_are_ambiguous(world: World) -> None:
    for first in ("01", "02"):
        run = dm.Run(f"{first}{dm.ids.new_id()[2:-6]}abcdef", "create", "tester", "create", dm.times.now())
        world.store.runs.end(replace(world.store.runs.begin(run), exit_code=0))
    with pytest.raises(dm.AmbiguousError, match="names 2 runs"):
        world.triage().imported("abcdef")


def test_a_caller_takes_back_its_own_imports_and_an_administrator_all(
    world: World, box: FakeDestination, tmp_path: Path
) -> None:
    del box
    with running_server(tmp_path, services=world.services()) as running:
        sides = {role: RemoteTriage(Address(running.url, running.keys[role]), ONLINE) for role in ("agent", "admin")}
        for n, (role, triage) in enumerate(sides.items()):
            list(triage.create([wrong(n)]))
            assert [run.actor for run in triage.imported("last")] == [role]
        (theirs,), (own,) = sides["admin"].imported("last"), sides["agent"].imported("last")
        for act in (sides["agent"].imported, lambda name: list(sides["agent"].undo(name))):
            with pytest.raises(dm.RefusedError, match="has not made this import"):
                act(theirs.run_id)
        with pytest.raises(dm.NotFoundError, match="no run"):
            sides["admin"].imported("01a216f8-f527-7000-801c-6920eb28ec5b/undo?x=")
        with running.client("reader") as reader:
            assert reader.post(f"/imports/{own.run_id}/undo").status_code == 403
            assert reader.get("/imports/last").status_code == 404
        with running.client("admin") as admin:
            lines = [json.loads(line) for line in admin.post(f"/imports/{own.run_id}/undo").text.splitlines()]
            assert [line.get("did", "end") for line in lines] == ["withdrawn", "end"]
            assert admin.post("/imports/last/undo", json={"dry": True}).status_code == 422
        assert counted(sides["agent"].undo("last")) == {}
        # An upload that calls itself as that of another caller does not belong to it.
        sides["agent"]._import_id = world.store.database.read(
            "select import_id from runs where actor = 'admin' and kind = 'create'"
        )[0][0]
        list(sides["agent"].create([wrong(7)]))
        assert counted(sides["admin"].undo("last")) == {"withdrawn": 1}
        assert [t.external_id for t in world.store.find(ALL)] == [f"{WORD}7"]
        for triage in sides.values():
            triage.close()
