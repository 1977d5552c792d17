"""Memory is bounded by the size of the texts that are held at once, not by the number of rows."""

import json
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.commands import TRIAGE, peak_mb
from tests.support.fake_destination import FakeDestination, run
from tests.support.read_tables import read
from tests.support.records import replace
from tests.support.stored_tickets import a_run, a_ticket, ended, filled
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.service import queue
from triage_cli.stores import SqliteStore

MB = 1 << 20
NUMBER = 40
NEW = dm.Selection(statuses=frozenset({"new"}))


def long_tickets(store: SqliteStore) -> list[str]:
    """Store tickets of which every other one holds a megabyte, in a column of its own now and then."""
    long = "x" * MB
    kinds: tuple[dict[str, str], ...] = (
        {"description": long},
        {},
        {"subject": long},
        {"extra": json.dumps({"a": long})},
    )
    for number in range(NUMBER):
        filled(store, a_ticket(f"{number:02}", **kinds[number % len(kinds)]))
    return [f"{number:02}" for number in range(NUMBER)]


def test_chunks_of_an_input_are_bounded_by_what_they_hold() -> None:
    small = read("id,subject,description\n" + "1,a,b\n" * 2500)
    assert [len(chunk) for chunk in dm.bounded(small)] == [dm.CHUNK, dm.CHUNK, 500]
    big = read("id,subject,description\n" + f"1,a,{'x' * 900_000}\n" * 30 + "1,,\n" + f"2,,,{'y' * 900_000}\n" * 30)
    sizes = [len(chunk) for chunk in dm.bounded(big)]
    assert sum(sizes) == 61
    assert max(sizes) <= dm.BYTES // 900_000 + 2
    objects = read("\n".join(json.dumps({"subject": "a", "x": [{"y": "z" * 900_000}]}) for _ in range(30)), "t.jsonl")
    assert max(len(chunk) for chunk in dm.bounded(objects)) <= dm.BYTES // 900_000 + 2
    wide = read("subject" + ",a" * 3999 + "\n" + ("hello" + ",x" * 3999 + "\n") * 60)
    assert max(len(chunk) for chunk in dm.bounded(wide)) < 25
    assert {type(row) for row in big} == {dm.TicketDraft, dm.Rejected}


def test_a_claim_takes_no_more_than_can_be_held(store: SqliteStore) -> None:
    expected = long_tickets(store)
    lease, selection, claims = a_run(store), NEW, []
    while chunk := store.runs.claim(selection, lease, dm.CHUNK):
        claims.append([t.external_id for t in chunk])
        assert sum(t.size for t in chunk) <= dm.BYTES + MB
        selection = replace(selection, after=f"{chunk[-1].urgency}{chunk[-1].ticket_id}")
    assert [name for names in claims for name in names] == expected
    assert len(claims) > 1


def test_pages_of_a_run_are_kept_in_memory_no_longer_than_it_lasts(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "triage.db"))

    def cache() -> int:
        size: int = store.database.connection().execute("pragma cache_size").fetchone()[0]
        return size

    usual = cache()
    lease = a_run(store)
    assert cache() < usual < 0, "in KiB, and so negative"
    ended(store, lease)
    assert cache() == usual


def test_those_that_are_named_are_claimed_all(store: SqliteStore) -> None:
    long_tickets(store)
    named = tuple(t.ticket_id for t in store.find(dm.Selection()))
    assert len(store.runs.claim(dm.Selection(ids=named), a_run(store), dm.CHUNK)) == NUMBER


@pytest.mark.parametrize("order", ["newest", "urgent"])
@pytest.mark.parametrize("limit", [None, 7, NUMBER])
def test_a_walk_misses_and_repeats_nothing(store: SqliteStore, order: str, limit: int | None) -> None:
    expected = long_tickets(store)
    found = [t.external_id for t in store.find(dm.Selection(order=order, limit=limit))]
    assert found == (expected[::-1] if order == "newest" else expected)[:limit]


@pytest.mark.sqlite  # the driver of PostgreSQL holds its rows where Python does not look
@pytest.mark.parametrize("order", ["newest", "urgent"])
def test_a_walk_holds_a_page_of_bounded_size(store: SqliteStore, order: str) -> None:
    long_tickets(store)
    tracemalloc.start()
    assert sum(1 for _ in store.find(dm.Selection(order=order))) == NUMBER
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * dm.BYTES + 4 * MB, "the last page, and the next one"


@pytest.mark.sqlite
def test_what_is_on_its_way_to_a_destination_is_bounded_too(
    world: World,
    three: dict[str, FakeDestination],
) -> None:
    run(world, 1)
    (ticket,) = world.store.find(dm.Selection())
    (delivery,) = world.store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
    outgoing, now = dm.OutgoingDelivery(replace(delivery, destination="a"), replace(ticket, description="x" * MB)), 0.0
    post = queue.Dispatcher(lambda _: three["a"], clock=lambda: now)
    number = queue.QUEUE_BYTES // MB
    post.put([outgoing] * (number - 1))
    assert (post.full, post.room("a") > 0) == (False, True)
    post.put([outgoing])
    assert (post.full, post.room("a")) == (True, 0)
    now = queue.STUCK_SECONDS + 1
    assert not post.full
    post.put([outgoing] * (queue.STUCK_QUEUE_BYTES // MB - number))
    assert post.full
    now = 0.0
    while post.open:
        post.collect()
    assert (post.full, post.room("a")) == (False, queue.QUEUE_LIMIT)


def test_an_import_of_long_rows_takes_no_more_memory_than_others(tmp_path: Path) -> None:
    words = "my invoice was charged twice and the refund did not arrive " * 15_000
    with (tmp_path / "long.csv").open("w") as file:
        file.write("id,subject,description\n")
        file.writelines(f"{number},invoice {number},{words}\n" for number in range(120))
    assert peak_mb(*TRIAGE, "create", str(tmp_path / "long.csv"), "-q", "--db", str(tmp_path / "t.db")) < 130
