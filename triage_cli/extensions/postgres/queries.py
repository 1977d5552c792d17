"""The SQL that only PostgreSQL takes: claims that skip locked rows, its clock, and rows written by COPY or as JSON."""

from collections.abc import Sequence
from typing import Any, get_type_hints

from triage_cli import domain as dm
from triage_cli.extensions.postgres.dialect import DialectConnection
from triage_cli.stores import (
    COUNTED_AS,
    DECISION_COLUMNS,
    DELIVERY_STANDS,
    OF_THESE_TICKETS,
    PUT_BATCH_ITEM,
    PUT_DELIVERY,
    SET_HEAD,
    TAKE_DELIVERY,
    TICKET_COLUMNS,
)

# The database's clock, because machines may disagree on the time. It is stable in a statement, so indexes can be used.
CLOCK = "extract(epoch from statement_timestamp())::double precision"

# Reservations under the daily budget take this lock first, before any other, so that they come one after another.
TAKE_ADVISORY_LOCK = "select pg_advisory_xact_lock(?)"
BUDGET_LOCK = 74_219_203_119  # any number, the same in every version

_ALIVE = f"runs.ended_at is null and runs.lease_until > {CLOCK}"
UNCLAIMED_TICKET = f"""not exists (select 1 from claims join runs using (run_id)
    where claims.ticket_id = tickets.ticket_id and {_ALIVE})"""
# Returns the tickets that this run holds now, and whether another run had claimed them before. It is a statement of its
# own, so that it sees every claim up to now: the one before it may have read the claims, and then waited for a row.
CLAIM_TICKETS = f"""with wanted as (select value as ticket_id from (select value from json_each(:ids)) listed (value)),
    before as (select ticket_id from claims where ticket_id in (select ticket_id from wanted)),
    put as (insert into claims select ticket_id, :run from wanted
        on conflict (ticket_id) do update set run_id = excluded.run_id
        where not exists (select 1 from runs where runs.run_id = claims.run_id and {_ALIVE})
        returning ticket_id)
    select ticket_id, ticket_id in (select ticket_id from before) from put"""
# The new revision makes late writes of the earlier holder conflict.
TAKE_OVER_TICKETS = "update tickets set revision = revision + 1 where ticket_id in (select value from json_each(?))"


# PostgreSQL checks a row that changed during a wait again, but still sees the runs as at the start of the statement. So
# a run that is not known to have ended counts as alive: it may have begun since.
def _due_deliveries(of: str = "") -> str:
    return f"""with taken as materialized
    (select delivery_id from deliveries where destination = :destination and state = 'pending'
     and due_at <= {CLOCK} and (run_id is null or exists (select 1 from runs
        where runs.run_id = deliveries.run_id and (ended_at is not null or lease_until <= {CLOCK})))
     and {DELIVERY_STANDS} {of}
     order by due_at limit :limit for no key update skip locked)
    update deliveries set {TAKE_DELIVERY} from taken where deliveries.delivery_id = taken.delivery_id
    returning deliveries.*"""


DUE_DELIVERIES, DUE_DELIVERIES_OF = _due_deliveries(), _due_deliveries(OF_THESE_TICKETS)
# The batches that no live run holds.
FREE_BATCH = f"""(run_id is null or exists (select 1 from runs
    where runs.run_id = batches.run_id and (ended_at is not null or lease_until <= {CLOCK})))"""
# Ids are lower-case, and the tilde sorts after all their characters.
TICKETS_BY_ENDING = """select * from tickets
    where reverse(ticket_id) between reverse(:ending) and reverse(:ending) || '~'
    order by ticket_id desc limit :limit"""


def page_query(where: str, order: str, locked: str = "") -> str:
    """Return a query for the first tickets, up to `:limit` and about `:bytes` of text; `number` ignores the latter.

    Lengths are computed without reading the texts, and rows beyond the limit are not sent. `locked` is a locking
    clause: claims lock their rows, so that other runs choose other rows.
    """
    size = "coalesce(octet_length(subject), 0) + coalesce(octet_length(description), 0) + octet_length(extra)"
    return f"""select {", ".join(TICKET_COLUMNS)}, number from (
        select few.*, count(*) over () as number, sum(size) over (order by {order} rows unbounded preceding) as sum
        from (select *, {size} as size from tickets where {where} order by {order} limit :limit {locked}) few) counted
    where sum - size < :bytes order by {order}"""


_COLUMN_TYPES = {int: "bigint", float: "double precision", float | None: "double precision"}
_FIELD_TYPES = get_type_hints(dm.Ticket)


def _typed_column(field: str) -> str:
    return f"{field} {_COLUMN_TYPES.get(_FIELD_TYPES[field], 'text')}"


def _update_query(columns: Sequence[str]) -> str:
    return f"""update tickets set {", ".join(f"{f} = new.{f}" for f in columns[1:])}
    from json_to_recordset(?::json) new ({", ".join(map(_typed_column, columns))}, expects bigint)
    where tickets.ticket_id = new.ticket_id and tickets.revision = new.expects returning tickets.ticket_id"""


UPDATE_TICKETS = _update_query(TICKET_COLUMNS)
DECIDE_TICKETS = _update_query(DECISION_COLUMNS)

TICKETS_BEFORE = f"select ticket_id, {COUNTED_AS} from tickets where ticket_id in (select value from json_each(?))"
FROM_JSON_ROWS = "from json_populate_recordset(null::{table}, ?::json)"
INSERT_TICKETS = (
    f"insert into tickets select * {FROM_JSON_ROWS.format(table='tickets')} on conflict (identity) do nothing"
)
INSERT_CLASSIFICATIONS = f"insert into classifications select * {FROM_JSON_ROWS.format(table='classifications')}"
INSERT_ATTEMPTS = f"insert into attempts select * {FROM_JSON_ROWS.format(table='attempts')} on conflict do nothing"
PUT_DELIVERIES = (
    f"insert into deliveries select * {FROM_JSON_ROWS.format(table='deliveries')} "
    "on conflict (delivery_id) do update set " + PUT_DELIVERY.partition("do update set ")[2]
)
PUT_BATCH_ITEMS = (
    f"insert into batch_items select * {FROM_JSON_ROWS.format(table='batch_items')} "
    "on conflict (batch_id, ticket_id) do update set " + PUT_BATCH_ITEM.partition("do update set ")[2]
)
LOCKED_CHAIN = "select seq, hash, key from chain for update"
# The head in `last_head` is not overwritten if the log does not contain it, because then the log was truncated.
KEEP_HEAD = """update last_head set seq = ?, hash = ?
    where seq = 0 or hash = (select hash from events where events.seq = last_head.seq)"""
# Events and head in one round trip, because all other writers wait for the end of this transaction.
APPEND_EVENTS = f"""with logged as (insert into events select * {FROM_JSON_ROWS.format(table="events")}),
    kept as ({KEEP_HEAD})
    {SET_HEAD}"""
EVENT_COLUMNS = ("seq", "timestamp", "action", "ticket_id", "actor", "run_id", "detail", "hash")

# From so many rows on, COPY is faster despite its extra round trips.
ROWS_FOR_COPY = 40


def json_rows(fields: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as a JSON array of objects."""
    return dm.compact([dict(zip(fields, row, strict=True)) for row in rows])


def write_records(
    db: DialectConnection,
    record_type: "type[dm.Classification | dm.Delivery | dm.Attempt | dm.BatchItem]",
    rows: Sequence[Sequence[Any]],
) -> None:
    """Write records of one type to their table."""
    if not rows:
        return
    if record_type is dm.Classification and len(rows) >= ROWS_FOR_COPY:
        db.copy("classifications", dm.Classification._fields, rows)
        return
    insert_statement = {
        dm.Classification: INSERT_CLASSIFICATIONS,
        dm.Delivery: PUT_DELIVERIES,
        dm.Attempt: INSERT_ATTEMPTS,
        dm.BatchItem: PUT_BATCH_ITEMS,
    }[record_type]
    db.execute(insert_statement, (json_rows(record_type._fields, rows),))
