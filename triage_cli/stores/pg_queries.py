"""The SQL that only PostgreSQL takes: claims that pass over locked rows, its clock, and rows by COPY or as JSON."""

from collections.abc import Sequence
from typing import Any

from triage_cli.codec import compact
from triage_cli.models import Attempt, Classification, Delivery, Ticket
from triage_cli.stores import queries
from triage_cli.stores.pg_door import Door

# A statement's time by the database's clock: machines need not agree on theirs, and an index can be asked for it.
CLOCK = "extract(epoch from statement_timestamp())::double precision"

RENEW = f"""update runs set lease_until = {CLOCK} + ?, spent = coalesce(?, spent), reserved = coalesce(?, reserved)
    where run_id = ?"""
BEGIN = f"insert into runs values ({', '.join('?' * 14)}, {CLOCK} + ?)"
# Of two runs that continue a dead one, the first takes over what it had spent.
CONTINUE = f"""update runs set ended_at = ?, exit_code = 137 where kind = ? and words = ? and ended_at is null
    and lease_until <= {CLOCK} returning spent + reserved"""

# A row that changed while it was waited for is looked at again, but with the runs as they were when the statement
# began. So a run that is not known to be over counts as alive: it may have begun since.
_FREE = f"""(%(table)s.run_id is null or exists (select 1 from runs where runs.run_id = %(table)s.run_id
    and (ended_at is not null or lease_until <= {CLOCK})))"""
FREE = _FREE % {"table": "tickets"}
# Rows are locked in the order of the queue, and changed only then.
CLAIM = """with taken as materialized
    (select ticket_id from tickets where {where} order by urgency, ticket_id limit :limit for no key update {locked})
    update tickets set run_id = :run, revision = revision + 1 from taken where tickets.ticket_id = taken.ticket_id
    returning tickets.*"""
DUE = f"""with taken as materialized
    (select delivery_id from deliveries where destination = :destination and state = 'pending'
     and due_at <= {CLOCK} + :horizon and {_FREE % {"table": "deliveries"}}
     order by due_at limit :limit for no key update skip locked)
    update deliveries set run_id = :run from taken where deliveries.delivery_id = taken.delivery_id
    returning deliveries.*"""

_TYPES = {int: "bigint", float: "double precision"}


def _typed(field: str) -> str:
    kind = Ticket.__annotations__[field]
    return f"{field} {_TYPES.get(kind, 'double precision' if kind == (float | None) else 'text')}"


_CHANGED = Ticket._fields[1:]
UPDATE_TICKETS = f"""update tickets set {", ".join(f"{f} = new.{f}" for f in _CHANGED)}
    from json_to_recordset(?::json) new ({", ".join(map(_typed, Ticket._fields))}, expects bigint)
    where tickets.ticket_id = new.ticket_id and tickets.revision = new.expects returning tickets.ticket_id"""

ROWS = "from json_populate_recordset(null::{table}, ?::json)"
INSERT_TICKETS = f"insert into tickets select * {ROWS.format(table='tickets')} on conflict (identity) do nothing"
INSERT_CLASSIFICATIONS = f"insert into classifications select * {ROWS.format(table='classifications')}"
INSERT_ATTEMPTS = f"insert into attempts select * {ROWS.format(table='attempts')} on conflict do nothing"
PUT_DELIVERIES = (
    f"insert into deliveries select * {ROWS.format(table='deliveries')} on conflict (delivery_id) do update set "
    + queries.PUT_DELIVERY.partition("do update set ")[2]
)
CHAIN = "select seq, hash from chain for update"
# The events and their chain's head in one round trip: all other writers wait for the end of this transaction.
LOG = f"""with logged as (insert into events select * {ROWS.format(table="events")})
    update chain set seq = ?, hash = ?"""
EVENT_COLUMNS = ("seq", "timestamp", "action", "ticket_id", "actor", "run_id", "detail", "hash")

# From so many rows on, COPY pays for its extra round trips.
MANY = 40


def as_json(fields: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as a JSON array of objects."""
    return compact([dict(zip(fields, row, strict=True)) for row in rows])


def add(door: Door, record: "type[Classification | Delivery | Attempt]", rows: Sequence[Sequence[Any]]) -> None:
    """Write the rows of one table."""
    if not rows:
        return
    if record is Classification and len(rows) >= MANY:
        door.copy("classifications", Classification._fields, rows)
        return
    statement = {Classification: INSERT_CLASSIFICATIONS, Delivery: PUT_DELIVERIES, Attempt: INSERT_ATTEMPTS}[record]
    door.execute(statement, (as_json(record._fields, rows),))
