"""The tables of deliveries and their attempts, of destinations that are off, and of rules that add deliveries."""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import starmap
from typing import Any

from triage_cli import domain as dm
from triage_cli.stores.database import Database, Db, placeholders, upsert, write_one
from triage_cli.stores.dialect import Dialect
from triage_cli.stores.runs import SqlRuns
from triage_cli.stores.tickets import Tickets

# A delivery is written when it is planned and after each attempt; its id, ticket and destination never change. If it
# was superseded while it was being sent, a failure does not revive it; a success is recorded and final.
_UPDATED_FIELDS = (
    "attempts",
    "due_at",
    "last_status",
    "last_error",
    "run_id",
    "done_at",
    "kept",
    "refusal",
    "paced",
    "content_hash",
)
PUT_DELIVERY = (
    f"insert into deliveries values ({placeholders(dm.Delivery._fields)}) on conflict (delivery_id) do update set "
    "state = case when deliveries.state = 'superseded' and excluded.state <> 'accepted' then 'superseded' "
    "else excluded.state end, "
    "doubtful = case when excluded.doubtful = 1 then 1 else deliveries.doubtful end, "
    # Only a result ends what was begun: other writers may have read the row before that.
    "begun_by = case when excluded.attempts > deliveries.attempts then excluded.begun_by else deliveries.begun_by end, "
    + ", ".join(f"{f} = excluded.{f}" for f in _UPDATED_FIELDS)
    + " where deliveries.state <> 'accepted' or excluded.state = 'accepted'"
)
DELIVERIES_OF = """select * from deliveries where ticket_id in (select value from json_each(?))
    order by ticket_id, revision, at, delivery_id"""
DELIVERIES_WITH_IDS = "select * from deliveries where delivery_id in (select value from json_each(?))"
ATTEMPTS_OF = """select a.* from attempts a join deliveries d using (delivery_id) where d.ticket_id = ?
    order by a.at, a.number"""
LAST_ATTEMPTS = """with
    tries as (select d.destination, a.at, a.error from attempts a join deliveries d using (delivery_id)),
    ends as (select destination, max(case when error is null then at else '' end) accepted_at from tries group by 1)
    select destination, sum(case when error is not null and at > accepted_at then 1 else 0 end), accepted_at
    from tries join ends using (destination) group by destination, accepted_at"""
HELD_UP = """select destination, count(*), max(last_error) from deliveries
    where state = 'pending' and last_error is not null group by destination"""
LET_DELIVERIES_GO = """update deliveries set run_id = null, begun_by = null,
    last_error = case when state = 'pending' then coalesce(:why, last_error) else last_error end
    where (run_id = :run or begun_by = :run) and delivery_id in (select value from json_each(:ids))"""
# True while a delivery still matches its ticket; if the category or text changed, it waits for the next decision. What
# was added beside the decision waits for none.
# A scalar subquery, because PostgreSQL turns `exists` into a join that reads all tickets.
DELIVERY_STANDS = """(select (deliveries.addition <> '' and tickets.status not in ('forgotten', 'withdrawn'))
    or (tickets.category = deliveries.category and tickets.status in ('routing', 'routed', 'undeliverable'))
    from tickets where tickets.ticket_id = deliveries.ticket_id)"""
# Begins the attempts that are to be made still: at what the run holds, with the text and the decision that it read.
BEGIN_ATTEMPTS = f"""update deliveries set begun_by = :run
    where run_id = :run and state = 'pending' and {DELIVERY_STANDS}
    and destination not in (select destination from switched_off)
    and delivery_id in (select value from json_each(:ids))
    and (select deliveries.delivery_id || ' ' || tickets.content_hash || ' ' || coalesce(tickets.decision_id, '')
        from tickets where tickets.ticket_id = deliveries.ticket_id) in (select value from json_each(:as_read))
    returning delivery_id"""
# The tickets of which a delivery is owed, or being attempted by a live run.
STILL_SENT = """select distinct ticket_id from deliveries where ticket_id in (select value from json_each(:ids))
    and (state in ('pending', 'dead') or begun_by in (
        select run_id from runs where ended_at is null and lease_until > {now}))"""
# The first sendable delivery of each destination, so that few rows are read, however many are pending.
NEXT_DUE = f"""select min((select due_at from deliveries where state = 'pending' and destination = names.destination
    and {DELIVERY_STANDS} order by due_at limit 1))
    from (select distinct destination from deliveries where state = 'pending'
          and destination not in (select value from json_each(:but))) names"""
OF_THESE_TICKETS = "and ticket_id in (select value from json_each(:ids))"
PENDING_DESTINATIONS = "select distinct destination from deliveries where state = 'pending'"
PENDING_DESTINATIONS_OF = f"{PENDING_DESTINATIONS} {OF_THESE_TICKETS}"
NEXT_DUE_OF = f"""select min(due_at) from deliveries where state = 'pending' {OF_THESE_TICKETS} and {DELIVERY_STANDS}
    and destination not in (select value from json_each(:but))"""


# A run that has begun an attempt and never said how it ended was cut off, and may have delivered it.
TAKE_DELIVERY = """run_id = :run, begun_by = null,
    doubtful = case when deliveries.begun_by is null then deliveries.doubtful else 1 end"""


class SqlDeliveries:
    """Implements `ports.Deliveries` on the connections of a store."""

    def __init__(self, database: Database, dialect: Dialect, runs: SqlRuns) -> None:
        self._database = database
        self._dialect = dialect
        self._runs = runs
        self._still_sent = STILL_SENT.format(now=dialect.clock)

    def begin(self, lease: dm.Lease, to_begin: Sequence[dm.OutgoingDelivery]) -> frozenset[str]:
        as_read = [f"{d.delivery_id} {t.content_hash} {t.decision_id or ''}" for d, t, *_ in to_begin]
        attempts = {
            "run": lease.run_id,
            "ids": dm.compact([outgoing.delivery.delivery_id for outgoing in to_begin]),
            "as_read": dm.compact(as_read),
        }

        def begin(db: Db) -> frozenset[str]:
            self._runs.checked(db, lease)
            return frozenset(row[0] for row in db.execute(BEGIN_ATTEMPTS, attempts).fetchall())

        return self._database.write(begin)

    def still_sent(self, db: Db, ticket_ids: Sequence[str]) -> list[str]:
        """Return which of these tickets are owed to a destination, or being sent now, in an open transaction."""
        values = {"ids": dm.compact(list(ticket_ids)), "now": time.time()}
        return [row[0] for row in db.execute(self._still_sent, values).fetchall()]

    def due(
        self, destination: str, lease: dm.Lease, limit: int, *, ids: Sequence[str] | None = None
    ) -> list[dm.OutgoingDelivery]:
        values: dict[str, Any] = {"destination": destination, "run": lease.run_id, "limit": limit}
        if ids is not None:
            values["ids"] = dm.compact(list(ids))
        query = self._dialect.due_deliveries if ids is None else self._dialect.due_deliveries_of

        def take(db: Db) -> tuple[list[dm.Delivery], list[dm.Ticket]]:
            self._runs.checked(db, lease)
            rows = db.execute(query, values | {"now": time.time()}).fetchall()
            taken = sorted((dm.Delivery(*row) for row in rows), key=lambda d: (d.due_at, d.delivery_id))
            return taken, Tickets.by_ids(db, [d.ticket_id for d in taken])

        deliveries, tickets = self._database.write(take)
        tickets_by_id = {ticket.ticket_id: ticket for ticket in tickets}
        return [dm.OutgoingDelivery(d, tickets_by_id[d.ticket_id]) for d in deliveries]

    def of(self, ticket_ids: Sequence[str]) -> Mapping[str, tuple[dm.Delivery, ...]]:
        rows = self._database.read(DELIVERIES_OF, (dm.compact(list(ticket_ids)),))
        by_ticket = dm.grouped(starmap(dm.Delivery, rows), lambda delivery: delivery.ticket_id)
        return {ticket_id: tuple(deliveries) for ticket_id, deliveries in by_ticket.items()}

    def with_ids(self, delivery_ids: Sequence[str]) -> Mapping[str, dm.Delivery]:
        rows = self._database.read(DELIVERIES_WITH_IDS, (dm.compact(list(delivery_ids)),))
        return {delivery.delivery_id: delivery for delivery in (dm.Delivery(*row) for row in rows)}

    def attempts(self, ticket_id: str) -> tuple[dm.Attempt, ...]:
        return tuple(dm.Attempt(*row) for row in self._database.read(ATTEMPTS_OF, (ticket_id,)))

    def lately(self) -> Mapping[str, dm.Lately]:
        lately = {row[0]: dm.Lately(int(row[1]), row[2]) for row in self._database.read(LAST_ATTEMPTS)}
        for destination, held_up, error in self._database.read(HELD_UP):
            lately[destination] = lately.get(destination, dm.Lately())._replace(held_up=held_up, error=error)
        return lately

    def pending_destinations(self, ids: Sequence[str] | None = None) -> list[str]:
        if ids is None:
            return [row[0] for row in self._database.read(PENDING_DESTINATIONS)]
        return [row[0] for row in self._database.read(PENDING_DESTINATIONS_OF, {"ids": dm.compact(list(ids))})]

    def next_due(self, ids: Sequence[str] | None = None, *, but: Sequence[str] = ()) -> float | None:
        query, values = NEXT_DUE, {"but": dm.compact(list(but))}
        if ids is not None:
            query, values = NEXT_DUE_OF, values | {"ids": dm.compact(list(ids))}
        due_at: float | None = self._database.read(query, values)[0][0]
        return due_at

    def let_go(self, delivery_ids: Sequence[str], lease: dm.Lease, why: str | None = None) -> None:
        values = {"run": lease.run_id, "ids": dm.compact(list(delivery_ids)), "why": why}
        write_one(self._database, LET_DELIVERIES_GO, values)

    def switched_off(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._database.read("select destination from switched_off"))

    def switch(self, destination: str, *, off: bool) -> None:
        if off:
            write_one(
                self._database, "insert into switched_off values (?, ?) on conflict do nothing", (destination, dm.now())
            )
        else:
            write_one(self._database, "delete from switched_off where destination = ?", (destination,))


SEE_RULE = "insert into added_rules values (?, ?, ?) on conflict (addition) do nothing"
FIRST_SEEN = "select addition, first_at from added_rules where addition in (select value from json_each(?))"
CHANGED_TICKET = upsert("changed_tickets", ("ticket_id", "at"), "ticket_id")
# The conditions by which an index finds the tickets of a status.
FOUND_BY_INDEX = {
    "new": "t.status in ('failed', 'new') and t.status = 'new'",
    "failed": "t.status in ('failed', 'new') and t.status = 'failed'",
    "classified": "t.status in ('classified', 'unroutable') and t.status = 'classified'",
    "unroutable": "t.status in ('classified', 'unroutable') and t.status = 'unroutable'",
    "needs_review": "t.status = 'needs_review'",
    "waiting": "t.status = 'waiting' and t.ticket_id in (select ticket_id from batch_items where state = 'waiting')",
    "routing": "t.status = 'routing' and t.ticket_id in (select ticket_id from deliveries where state = 'pending')",
    "undeliverable": "t.status = 'undeliverable' "
    "and t.ticket_id in (select ticket_id from deliveries where state = 'dead')",
}
TICKETS_TO_ADD_FOR = """select t.* from tickets t where {status} and t.ticket_id > :after and t.stored_at <= :until
    and {since} and not exists (
        select 1 from deliveries d where d.addition = :key and d.addition <> '' and d.ticket_id = t.ticket_id)
    order by t.ticket_id limit :limit"""
SINCE = "t.ticket_id >= :first_id and t.stored_at >= :since"
CHANGED_SINCE = "t.ticket_id in (select ticket_id from changed_tickets where at >= :since)"
TICKETS_PER_PAGE = 100


class SqlAdditions:
    """Implements `ports.Additions` on the connections of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def first_seen(self, rules: Mapping[str, str]) -> Mapping[str, dm.FirstSeen]:
        keys, at = dm.compact(list(rules)), dm.now()
        known = {row[0]: dm.FirstSeen(row[1], is_new=False) for row in self._database.read(FIRST_SEEN, (keys,))}
        unknown = {key: name for key, name in rules.items() if key not in known}
        if not unknown:
            return known

        def see(db: Db) -> list[Any]:
            for key, name in unknown.items():
                db.execute(SEE_RULE, (key, name, at))
            return db.execute(FIRST_SEEN, (keys,)).fetchall()

        seen = {row[0]: row[1] for row in self._database.write(see)}
        return known | {key: dm.FirstSeen(seen[key], is_new=seen[key] == at) for key in unknown}

    def candidates(self, query: dm.AdditionQuery) -> Iterator[dm.Ticket]:
        for status in query.statuses:
            yield from self._tickets(query, FOUND_BY_INDEX[status], SINCE)
            if query.changed:
                yield from self._tickets(query, FOUND_BY_INDEX[status], f"not ({SINCE}) and {CHANGED_SINCE}")

    def _tickets(self, query: dm.AdditionQuery, status: str, since: str) -> Iterator[dm.Ticket]:
        statement = TICKETS_TO_ADD_FOR.format(status=status, since=since)
        values = {
            "key": query.key,
            "until": query.until,
            "since": query.since,
            "first_id": dm.first_id_of(query.since),
            "limit": TICKETS_PER_PAGE,
        }
        after = ""
        while rows := self._database.read(statement, values | {"after": after}):
            tickets = [dm.Ticket(*row) for row in rows]
            after = tickets[-1].ticket_id
            yield from tickets
