"""The SQL that both dialects share."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, count
from sqlite3 import Connection
from typing import Any

from triage_cli.domain.audit.hash_chain import GENESIS
from triage_cli.domain.batches import BatchItem
from triage_cli.domain.changes import Change
from triage_cli.domain.decisions import Classification
from triage_cli.domain.deliveries import Attempt, Delivery
from triage_cli.domain.runs import LEASE_SECONDS, Run
from triage_cli.domain.tickets import Ticket
from triage_cli.domain.times import ago, now

# Rows in one statement: a third faster than single rows, and SQLite works on them without holding the GIL. SQLite takes
# 32,766 values at most.
BLOCK = 1000
MOST_VALUES = 32_000
MANY = 100  # from so many rows on, columns with one value (run id, classifier, time) are looked for and bound once


def _marks(fields: tuple[str, ...]) -> str:
    return ", ".join("?" * len(fields))


def write_all(db: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert or update rows, many per statement; return how many. The statement has `values (?, …)` for one row."""
    written = 0
    block_size = min(BLOCK, MOST_VALUES // len(rows[0])) if rows else BLOCK
    for start in range(0, len(rows), block_size):
        chunk = rows[start : start + block_size]
        if len(chunk) < MANY:
            few = _for_many(statement, (False,) * len(chunk[0]), len(chunk))
            written += db.execute(few, list(chain.from_iterable(chunk))).rowcount
            continue
        columns = list(zip(*chunk, strict=True))
        constant = tuple(c[0] == c[-1] and c.count(c[0]) == len(chunk) for c in columns)
        if all(constant):  # at least one column must be bound per row
            constant = (False, *constant[1:])
        varying_columns = [column for column, is_constant in zip(columns, constant, strict=True) if not is_constant]
        values = [column[0] for column, is_constant in zip(columns, constant, strict=True) if is_constant]
        values += chain.from_iterable(zip(*varying_columns, strict=True))
        written += db.execute(_for_many(statement, constant, len(chunk)), values).rowcount
    return written


@lru_cache(128)  # several statements, of each number of rows that concurrent callers make
def _for_many(statement: str, constant: tuple[bool, ...], rows: int) -> str:
    """Return the statement for several rows. The values of `constant` columns are bound once, before all rows.

    Numbered placeholders would do the same, but Python 3.12 searches all numbers for each of them.
    """
    head, _, tail = statement.partition("values ")
    rest = tail.partition(")")[2]
    listed = f"values {', '.join(['(' + ', '.join('?' * constant.count(False)) + ')'] * rows)}"
    if not any(constant):
        return f"{head}{listed}{rest}"
    numbers = count(1)
    selected = ", ".join("?" if is_constant else f"column{next(numbers)}" for is_constant in constant)
    return f"{head}select {selected} from ({listed}) many where true{rest}"


# An identity that was taken in the meantime is no error; the count of inserted rows shows it.
COLUMNS = Ticket._fields[:-1]  # without `run_id`, which is in `claims`
INSERT_TICKET = f"insert into tickets values ({_marks(COLUMNS)}) on conflict (identity) do nothing"
# The schema has the defaults of a new ticket, so that an import binds only half the values.
GIVEN = Ticket._fields.index("status")
START = ("new", *(Ticket._field_defaults[field] for field in COLUMNS[GIVEN + 1 :]))
_INSERT_NEW = (
    f"insert into tickets ({', '.join(COLUMNS[:GIVEN])}) values ({_marks(COLUMNS[:GIVEN])}) "
    "on conflict (identity) do nothing"
)
# The columns that a decision changes: a third less to write than the whole row, and no index on identities to update.
DECIDED = (COLUMNS[0], *COLUMNS[GIVEN:])


def _update(columns: tuple[str, ...]) -> str:
    return (
        f"with new ({', '.join(columns)}) as (values ({_marks(columns)})) update tickets set "
        f"{', '.join(f'{f} = new.{f}' for f in columns[1:])} from new where tickets.ticket_id = new.ticket_id"
    )


UPDATE_TICKETS = _update(COLUMNS)
DECIDE_TICKETS = _update(DECIDED)
SET_DECISION = "update tickets set decision_id = ? where ticket_id = ?"
INSERT_CLASSIFICATION = f"insert into classifications values ({_marks(Classification._fields)})"
INSERT_ATTEMPT = f"insert into attempts values ({_marks(Attempt._fields)}) on conflict do nothing"
# A delivery is written when it is planned and after each attempt; its id, ticket and destination never change. If it
# was superseded while it was being sent, a failure does not revive it; a success is recorded and final.
SETTLED = ("attempts", "due_at", "last_status", "last_error", "run_id", "done_at", "kept", "refusal")
PUT_DELIVERY = (
    f"insert into deliveries values ({_marks(Delivery._fields)}) on conflict (delivery_id) do update set "
    "state = case when deliveries.state = 'superseded' and excluded.state <> 'accepted' then 'superseded' "
    "else excluded.state end, "
    "doubtful = case when excluded.doubtful = 1 then 1 else deliveries.doubtful end, "
    + ", ".join(f"{f} = excluded.{f}" for f in SETTLED)
    + " where deliveries.state <> 'accepted' or excluded.state = 'accepted'"
)

# An item is written when its ticket starts to wait and when it ends; the same ticket may wait again.
PUT_BATCH_ITEM = (
    f"insert into batch_items values ({_marks(BatchItem._fields)}) on conflict (batch_id, ticket_id) do update set "
    + ", ".join(f"{f} = excluded.{f}" for f in ("number", "answer_key", "was", "reserved", "redacted", "state"))
)
LOCK_CHAIN = "update chain set seq = seq"
SET_HEAD = "update chain set seq = ?, hash = ?, key = ?"
INSERT_EVENT = "insert into events values (?, ?, ?, ?, ?, ?, ?, ?)"


def insert_tickets(db: Connection, tickets: Sequence[Ticket]) -> int:
    """Insert tickets whose identity is free; return how many there were."""
    if all(ticket[GIVEN:-1] == START for ticket in tickets):
        return write_all(db, _INSERT_NEW, [ticket[:GIVEN] for ticket in tickets])
    # Their decisions come later: to insert an answer that a ticket refers to already, SQLite looks through all tickets.
    return write_all(db, INSERT_TICKET, [ticket._replace(decision_id=None)[:-1] for ticket in tickets])


def update_tickets(db: Connection, changes: Sequence[Change]) -> None:
    """Write changed tickets; the caller has checked their revisions."""
    rewritten: list[tuple[Any, ...]] = []
    decided: list[tuple[Any, ...]] = []
    for change in changes:
        ticket = change.ticket
        if ticket and change.rewrites:
            rewritten.append(ticket[:-1])
        elif ticket:
            decided.append(ticket[:1] + ticket[GIVEN:-1])
    write_all(db, UPDATE_TICKETS, rewritten)
    write_all(db, DECIDE_TICKETS, decided)


PUT_CURSOR = """insert into source_cursors values (?, ?, ?) on conflict (source)
    do update set position = excluded.position, saved_at = excluded.saved_at"""
PUT_MODEL = """insert into models values (?, ?, ?, ?) on conflict (fingerprint) do update set
    weights = excluded.weights, metrics = excluded.metrics, at = excluded.at"""

BY_ID = "select * from tickets where ticket_id in (select value from json_each(?))"
BY_IDENTITY = "select * from tickets where identity in (select value from json_each(?))"
MOVED_ON = """select key from json_each(?) left join tickets on ticket_id = key where revision is not value"""
DECISIONS = "select * from classifications where classification_id in (select value from json_each(?))"
ANSWERS = """select * from classifications where ticket_id in (select value from json_each(?))
    and fingerprint in (select value from json_each(?)) order by classification_id"""
DELIVERIES = """select * from deliveries where ticket_id in (select value from json_each(?))
    order by ticket_id, revision, at, delivery_id"""
# Sure answers of each step of a cascade that a later one was asked to confirm, and how many it confirmed. They have one
# run, since only `audit_rate` asks twice in one. `{among}` may join the tickets that are meant.
AUDITED = """select sure.classifier, count(*), sum(case when sure.category = control.category then 1 else 0 end)
    from classifications control join classifications sure on sure.ticket_id = control.ticket_id
        and sure.run_id = control.run_id and sure.classification_id < control.classification_id {among}
    where control.confidence_source in ('decision', 'logprob', 'said') and control.error is null
        and sure.category is not null and sure.confidence >= sure.threshold and sure.classifier <> control.classifier
    group by 1 order by 1"""
ANSWERS_OF = "select * from classifications where ticket_id = ? order by classification_id"
ATTEMPTS_OF = """select a.* from attempts a join deliveries d using (delivery_id) where d.ticket_id = ?
    order by a.at, a.number"""
ASKINGS_OF = """select * from askings where fingerprint in
    (select fingerprint from classifications where ticket_id = ?)"""
BOUNDS_OF = """select * from error_bounds where fingerprint in
    (select fingerprint from classifications where ticket_id = ?)"""
# An identity consists of the external id, a tab and the source.
NAMED = """select * from tickets where identity between :low and :high
    order by ticket_id desc limit :limit"""
ENDING = "select * from tickets where ticket_id like :ending escape '\\' order by ticket_id desc limit :limit"

RECALL = """select * from classifications where answer_key in (select value from json_each(?)) and reused is null
    and error is null and confidence_source not in ('model', 'human') order by classification_id"""
# A killed command is continued by the same command of the same person, which inherits what it had spent. Requests are
# not continued, because all requests to an endpoint have the same command line. The bound, below half a day, keeps a
# job from continuing the one of yesterday, even if it starts twice a day.
CONTINUABLE_SECONDS = 11 * 3600.0
# In these, `{now}` is the clock that leases are measured by: the database's own, or a value. If two runs continue the
# same dead one, only the first inherits what it had spent.
CONTINUE = """update runs set ended_at = ?, exit_code = 137
    where kind = ? and actor = ? and words = ? and started_at >= ? and served = 0
    and ended_at is null and lease_until <= {now} returning inherited + spent + reserved"""
RENEW = f"""update runs set lease_until = {{now}} + {LEASE_SECONDS}, spent = coalesce(? + settled, spent),
    reserved = coalesce(?, reserved) where run_id = ?"""
END = """update runs set ended_at = ?, counts = ?, exit_code = ?, summary = ?, spent = ? + settled, reserved = 0
    where run_id = ?"""
RUN_COLUMNS = tuple("words" if field == "command_line" else field for field in Run._fields)
BEGIN = (
    f"insert into runs ({', '.join(RUN_COLUMNS)}, inherited, place, process, lease_until) "
    f"values ({_marks(RUN_COLUMNS)}, ?, ?, ?, {{now}} + {LEASE_SECONDS})"
)


# A run holds what it claimed while it has not ended and its lease is not over.
LIVE = "(select run_id from runs where ended_at is null and lease_until > :now)"
FREE = f"not exists (select 1 from claims where claims.ticket_id = tickets.ticket_id and claims.run_id in {LIVE})"
# A run claims in ascending order (by `after`), else it would claim a ticket that failed again and again.
CLAIMABLE = "select *, :run from tickets where {where} order by urgency, ticket_id limit :limit"
CLAIM = """insert into claims (ticket_id, run_id) select value, ? from json_each(?) where true
    on conflict (ticket_id) do update set run_id = excluded.run_id"""
# The new revision makes late writes of the earlier holder conflict.
TAKE_OVER = """update tickets set revision = revision + 1
    where ticket_id in (select ticket_id from claims where ticket_id in (select value from json_each(?)))
    returning ticket_id"""
LET_GO = "delete from claims where ticket_id in (select value from json_each(?))"
# True while a delivery still matches its ticket; if the category or text changed, it waits for the next decision.
# A scalar subquery, because PostgreSQL turns `exists` into a join that reads all tickets.
STANDS = """(select tickets.category = deliveries.category and tickets.status in ('routing', 'routed', 'undeliverable')
    from tickets where tickets.ticket_id = deliveries.ticket_id)"""
# The first sendable delivery of each destination, so that few rows are read, however many are pending.
NEXT_DUE = f"""select min((select due_at from deliveries where state = 'pending' and destination = names.destination
    and {STANDS} order by due_at limit 1))
    from (select distinct destination from deliveries where state = 'pending'
          and destination not in (select value from json_each(:but))) names"""
OF_THESE = "and ticket_id in (select value from json_each(:ids))"
PENDING_DESTINATIONS = "select distinct destination from deliveries where state = 'pending'"
OWED_OF = f"{PENDING_DESTINATIONS} {OF_THESE}"
NEXT_DUE_OF = f"""select min(due_at) from deliveries where state = 'pending' {OF_THESE} and {STANDS}
    and destination not in (select value from json_each(:but))"""


# A run that still holds the delivery was cut off, and may have delivered it.
TAKE = "run_id = :run, doubtful = case when deliveries.run_id is null then deliveries.doubtful else 1 end"


def _due(of: str = "") -> str:
    return f"""update deliveries set {TAKE} where delivery_id in
    (select delivery_id from deliveries where destination = :destination and state = 'pending'
     and due_at <= :now and (run_id is null or run_id not in {LIVE}) and {STANDS} {of}
     order by due_at limit :limit) returning *"""


DUE, DUE_OF = _due(), _due(OF_THESE)

# `prev` is the hash of the event before; seq has no gaps.
EVENTS = f"""select seq, timestamp, action, ticket_id, actor, run_id, detail,
    coalesce((select p.hash from events p where p.seq = e.seq - 1), '{GENESIS}'), hash
    from events e where {{where}} and seq > :after order by seq limit {{page}}"""


def continued_by(run: Run) -> tuple[str, ...]:
    """Return the values for `CONTINUE`, all but the clock's, by which a run continues dead ones."""
    return now(), run.kind, run.actor, run.command_line, ago(CONTINUABLE_SECONDS)


def escaped(text: str) -> str:
    """Return a text escaped for a LIKE pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
