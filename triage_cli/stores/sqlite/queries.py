"""The SQL that only SQLite takes: claims by this machine's clock, and many rows written by one statement."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any

from triage_cli.domain import Attempt, BatchItem, Change, Classification, Delivery, Ticket
from triage_cli.stores.batches import PUT_BATCH_ITEM
from triage_cli.stores.bulk_insert import placeholders, write_all
from triage_cli.stores.counts import COUNTED_AS
from triage_cli.stores.deliveries import DELIVERY_STANDS, OF_THESE_TICKETS, PUT_DELIVERY, TAKE_DELIVERY
from triage_cli.stores.tickets import (
    COLUMN_COUNT,
    DECISION_COLUMNS,
    GIVEN_COLUMNS,
    NEW_TICKET_DEFAULTS,
    TICKET_COLUMNS,
)

LIVE_RUNS = "(select run_id from runs where ended_at is null and lease_until > :now)"
UNCLAIMED_TICKET = (
    f"not exists (select 1 from claims where claims.ticket_id = tickets.ticket_id and claims.run_id in {LIVE_RUNS})"
)
# A run claims in ascending order (by `after`), else it would claim a ticket that failed again and again.
CLAIMABLE_TICKETS = "select *, :run from tickets where {where} order by urgency, ticket_id limit :limit"
# The new revision makes late writes of the earlier holder conflict.
TAKE_OVER_TICKETS = """update tickets set revision = revision + 1
    where ticket_id in (select ticket_id from claims where ticket_id in (select value from json_each(?)))
    returning ticket_id"""


def _due_deliveries(of: str = "") -> str:
    return f"""update deliveries set {TAKE_DELIVERY} where delivery_id in
    (select delivery_id from deliveries where destination = :destination and state = 'pending'
     and due_at <= :now and (run_id is null or run_id not in {LIVE_RUNS}) and {DELIVERY_STANDS} {of}
     order by due_at limit :limit) returning *"""


DUE_DELIVERIES, DUE_DELIVERIES_OF = _due_deliveries(), _due_deliveries(OF_THESE_TICKETS)

MOVED_ON = """select key from json_each(?) left join tickets on ticket_id = key where revision is not value"""
# Of tickets that still have the revision that is expected: few rows, because each returned row takes the GIL.
UNMOVED_BEFORE = f"""select {COUNTED_AS}, count(*) from json_each(?)
    join tickets on ticket_id = key and revision = value group by 1, 2, 3, 4"""

# An identity that was taken in the meantime is no error; the count of inserted rows shows it.
INSERT_TICKET = f"insert into tickets values ({placeholders(TICKET_COLUMNS)}) on conflict (identity) do nothing"
_INSERT_NEW_TICKET = (
    f"insert into tickets ({', '.join(TICKET_COLUMNS[:GIVEN_COLUMNS])}) "
    f"values ({placeholders(TICKET_COLUMNS[:GIVEN_COLUMNS])}) "
    "on conflict (identity) do nothing"
)


def _update_statement(columns: tuple[str, ...]) -> str:
    return (
        f"with new ({', '.join(columns)}) as (values ({placeholders(columns)})) update tickets set "
        f"{', '.join(f'{f} = new.{f}' for f in columns[1:])} from new where tickets.ticket_id = new.ticket_id"
    )


_UPDATE_TICKETS = _update_statement(TICKET_COLUMNS)
_DECIDE_TICKETS = _update_statement(DECISION_COLUMNS)
SET_DECISION = "update tickets set decision_id = ? where ticket_id = ?"
INSERT_EVENT = "insert into events values (?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_RECORD = {
    Classification: f"insert into classifications values ({placeholders(Classification._fields)})",
    Delivery: PUT_DELIVERY,
    Attempt: f"insert into attempts values ({placeholders(Attempt._fields)}) on conflict do nothing",
    BatchItem: PUT_BATCH_ITEM,
}


def insert_tickets(db: Connection, tickets: Sequence[Ticket]) -> int:
    """Insert tickets whose identity is free; return how many there were."""
    if all(ticket[GIVEN_COLUMNS:COLUMN_COUNT] == NEW_TICKET_DEFAULTS for ticket in tickets):
        return write_all(db, _INSERT_NEW_TICKET, [ticket[:GIVEN_COLUMNS] for ticket in tickets])
    # Their decisions come later: to insert an answer that a ticket refers to already, SQLite looks through all tickets.
    return write_all(db, INSERT_TICKET, [ticket._replace(decision_id=None)[:COLUMN_COUNT] for ticket in tickets])


def update_tickets(db: Connection, changes: Sequence[Change]) -> None:
    """Write changed tickets; the caller has checked their revisions."""
    rewritten: list[tuple[Any, ...]] = []
    decided: list[tuple[Any, ...]] = []
    for change in changes:
        ticket = change.ticket
        if ticket and change.rewrites:
            rewritten.append(ticket[:COLUMN_COUNT])
        elif ticket:
            decided.append(ticket[:1] + ticket[GIVEN_COLUMNS:COLUMN_COUNT])
    write_all(db, _UPDATE_TICKETS, rewritten)
    write_all(db, _DECIDE_TICKETS, decided)
