"""Tickets, runs and events that tests put into a store, and looks into its tables."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database, Migrations

from tests.support.old_schemas import first_release
from tests.support.pg_server import sql as pg_sql
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.stores import SqliteStore, SqlStore

# A ticket as a caller posts it.
POSTED = dm.TicketDraft(0, 0, "Refund?", "I was charged twice", "C-1", source="api", origin="request")


def a_ticket(name: str = "1", **fields: Any) -> dm.Ticket:
    ticket = dm.Ticket(
        dm.ids.new_id(), f"{name}\timport", "import", name, f"hash-{name}",
        f"Subject {name}", "Text", None, None, 2, None,
        dm.times.now(),
    )  # fmt: skip
    if "priority" in fields:
        fields["urgency"] = dm.URGENCY[fields["priority"]]
    return replace(ticket, **fields)


def an_event(ticket: dm.Ticket | None, action: str = "created", **data: Any) -> dm.Event:
    return dm.Event(action, ticket.ticket_id if ticket else None, None, "tester", dm.times.now(), data)


def created(ticket: dm.Ticket) -> dm.Change:
    return dm.Change(an_event(ticket), ticket)


def an_answer(ticket: dm.Ticket, category: str = "Billing") -> dm.Classification:
    """Return a model's answer."""
    return dm.Classification(
        dm.ids.new_id(), ticket.ticket_id, None, "fake", category, 0.9, "model", "because", "fake", "tester", "print-1",
        0.6, None, "key", dm.times.now(),
    )  # fmt: skip


def a_delivery(ticket: dm.Ticket, destination: str = "box", **fields: Any) -> dm.Delivery:
    """Return a delivery of a ticket that is to be made."""
    delivery = dm.Delivery(
        dm.ids.delivery_id(ticket.ticket_id, "Billing", destination, 0), ticket.ticket_id, None, "Billing", destination,
        "rule", "map-1", None, "pending", 0, 0.0, None, None, None, dm.times.now(),
    )  # fmt: skip
    return replace(delivery, **fields)


def changed(before: dm.Ticket, **fields: Any) -> dm.Change:
    return dm.Change(
        an_event(before, "updated"), replace(before, revision=before.revision + 1, **fields), before.revision
    )


def a_run(store: SqliteStore) -> dm.Lease:
    return dm.Lease(store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "tester", "classify", dm.times.now())).run_id)


def ended(store: SqliteStore, lease: dm.Lease) -> None:
    store.runs.end(dm.Run(lease.run_id, "classify", "tester", "classify", "", ended_at=dm.times.now(), exit_code=0))


def filled(store: SqliteStore, *tickets: dm.Ticket) -> list[dm.Ticket]:
    assert store.save([created(t) for t in tickets]) == [None] * len(tickets)
    return list(tickets)


def stored(store: SqliteStore, ticket: dm.Ticket) -> dm.Ticket:
    (found,) = store.find(dm.Selection(ids=(ticket.ticket_id,)))
    return found


def actions(store: SqliteStore) -> list[str]:
    return [e.action for e in store.log.events(dm.EventQuery())]


def sql(store: SqlStore, statement: str, values: Sequence[Any] = ()) -> list[Any]:
    """Run SQL as another program would; it is stored at once."""
    if "://" in store.path:
        return pg_sql(store.path, statement, values)
    db = sqlite3.connect(store.path, isolation_level=None, timeout=60)
    try:
        return db.execute(statement, values).fetchall()
    finally:
        db.close()


def as_of_version_1(path: str) -> None:
    """Build the database of the first release, with a run that was killed."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    migrations = Migrations("triage")

    @migrations()
    def first(made: Database) -> None:
        for statement in first_release("sqlite"):
            made.execute(statement)

    migrations.apply(Database(db, execute_plugins=False))
    db.execute("pragma user_version = 1")
    db.execute(OLD_RUN)
    db.close()


OLD_RUN = f"""insert into runs values ('r1', 'classify', 'tester', 'classify', '{dm.times.ago(3600)}', 'here', 1,
    null, 2.5, 0.5, null, '{{}}', null, null, 1)"""

# What only the wording of a run and of a refusal said before version 11.
OLD_WORDING = (
    *(
        f"insert into runs values ('{run_id}', 'route', 'x', '{words}', '2026-01-01T00:00:00Z', 'there', 1, null, 0, "
        "0, '2026-01-01T00:00:01Z', '{}', 0, null, 1)"
        for run_id, words in (("s1", "POST /tickets"), ("s2", "serve"), ("t1", "route"), ("t2", "create ''POST /''"))
    ),
    """insert into tickets (ticket_id, identity, source, content_hash, urgency, stored_at, extra)
        values ('t', 't', 'import', 'h', 2, '', '{}')""",
    *(
        f"insert into deliveries values ('{number}', 't', null, 'A', 'desk', 'r', 'h', null, '{state}', 1, 0, null, "
        f"'desk: {error}', null, '', null)"
        for number, state, error in (
            (1, "dead", 'the ticket there holds "B", which somebody has set and which stays; triage pull takes it in'),
            (2, "dead", "answered 400"),
        )
    ),
)
