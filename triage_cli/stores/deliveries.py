"""The tables of deliveries and their attempts, and of destinations that are switched off."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from triage_cli.domain import Attempt, Delivery, Lease, OutgoingDelivery, Ticket, compact, now
from triage_cli.stores.bulk_insert import placeholders
from triage_cli.stores.database import Database, Db, write_one
from triage_cli.stores.dialect import Dialect
from triage_cli.stores.runs import SqlRuns
from triage_cli.stores.tickets import Tickets

# A delivery is written when it is planned and after each attempt; its id, ticket and destination never change. If it
# was superseded while it was being sent, a failure does not revive it; a success is recorded and final.
_UPDATED_FIELDS = (
    "attempts", "due_at", "last_status", "last_error", "run_id", "done_at", "kept", "refusal", "paced", "content_hash",
)  # fmt: skip
PUT_DELIVERY = (
    f"insert into deliveries values ({placeholders(Delivery._fields)}) on conflict (delivery_id) do update set "
    "state = case when deliveries.state = 'superseded' and excluded.state <> 'accepted' then 'superseded' "
    "else excluded.state end, "
    "doubtful = case when excluded.doubtful = 1 then 1 else deliveries.doubtful end, "
    + ", ".join(f"{f} = excluded.{f}" for f in _UPDATED_FIELDS)
    + " where deliveries.state <> 'accepted' or excluded.state = 'accepted'"
)
DELIVERIES_OF = """select * from deliveries where ticket_id in (select value from json_each(?))
    order by ticket_id, revision, at, delivery_id"""
DELIVERIES_WITH_IDS = "select * from deliveries where delivery_id in (select value from json_each(?))"
ATTEMPTS_OF = """select a.* from attempts a join deliveries d using (delivery_id) where d.ticket_id = ?
    order by a.at, a.number"""
LET_DELIVERIES_GO = """update deliveries set run_id = null, last_error = coalesce(:why, last_error),
    doubtful = case when :attempted = 1 then 1 else doubtful end
    where run_id = :run and state = 'pending' and delivery_id in (select value from json_each(:ids))"""
# True while a delivery still matches its ticket; if the category or text changed, it waits for the next decision. What
# was added beside the decision waits for none.
# A scalar subquery, because PostgreSQL turns `exists` into a join that reads all tickets.
DELIVERY_STANDS = """(select (deliveries.addition <> '' and tickets.status not in ('forgotten', 'withdrawn'))
    or (tickets.category = deliveries.category and tickets.status in ('routing', 'routed', 'undeliverable'))
    from tickets where tickets.ticket_id = deliveries.ticket_id)"""
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


# A run that still holds the delivery was cut off, and may have delivered it.
TAKE_DELIVERY = "run_id = :run, doubtful = case when deliveries.run_id is null then deliveries.doubtful else 1 end"


class SqlDeliveries:
    """Implements `ports.Deliveries` on the connections of a store."""

    def __init__(self, database: Database, dialect: Dialect, runs: SqlRuns) -> None:
        self._database = database
        self._dialect = dialect
        self._runs = runs

    def due(
        self, destination: str, lease: Lease, limit: int, *, ids: Sequence[str] | None = None
    ) -> list[OutgoingDelivery]:
        """Claim due deliveries that no live run holds, the oldest first."""
        values: dict[str, Any] = {"destination": destination, "run": lease.run_id, "limit": limit}
        if ids is not None:
            values["ids"] = compact(list(ids))
        query = self._dialect.due_deliveries if ids is None else self._dialect.due_deliveries_of

        def take(db: Db) -> tuple[list[Delivery], list[Ticket]]:
            self._runs.checked(db, lease)
            rows = db.execute(query, values | {"now": time.time()}).fetchall()
            taken = sorted((Delivery(*row) for row in rows), key=lambda d: (d.due_at, d.delivery_id))
            return taken, Tickets.by_ids(db, [d.ticket_id for d in taken])

        deliveries, tickets = self._database.write(take)
        tickets_by_id = {ticket.ticket_id: ticket for ticket in tickets}
        return [OutgoingDelivery(d, tickets_by_id[d.ticket_id]) for d in deliveries]

    def of(self, ticket_ids: Sequence[str]) -> Mapping[str, tuple[Delivery, ...]]:
        """Return the deliveries of each of these tickets, in the order of its decisions."""
        deliveries_by_ticket: dict[str, list[Delivery]] = {}
        for row in self._database.read(DELIVERIES_OF, (compact(list(ticket_ids)),)):
            delivery = Delivery(*row)
            deliveries_by_ticket.setdefault(delivery.ticket_id, []).append(delivery)
        return {ticket_id: tuple(deliveries) for ticket_id, deliveries in deliveries_by_ticket.items()}

    def with_ids(self, delivery_ids: Sequence[str]) -> Mapping[str, Delivery]:
        """Return those of these deliveries that are stored, by their ids."""
        rows = self._database.read(DELIVERIES_WITH_IDS, (compact(list(delivery_ids)),))
        return {delivery.delivery_id: delivery for delivery in (Delivery(*row) for row in rows)}

    def attempts(self, ticket_id: str) -> tuple[Attempt, ...]:
        """Return the attempts at a ticket's deliveries, oldest first."""
        return tuple(Attempt(*row) for row in self._database.read(ATTEMPTS_OF, (ticket_id,)))

    def pending_destinations(self, ids: Sequence[str] | None = None) -> list[str]:
        """Return the destinations with pending deliveries, of all tickets or of these."""
        if ids is None:
            return [row[0] for row in self._database.read(PENDING_DESTINATIONS)]
        return [row[0] for row in self._database.read(PENDING_DESTINATIONS_OF, {"ids": compact(list(ids))})]

    def next_due(self, ids: Sequence[str] | None = None, *, but: Sequence[str] = ()) -> float | None:
        """Return when the next delivery that may be sent is due, in seconds since 1970; None if there is none.

        `but` names destinations to leave out.
        """
        query, values = NEXT_DUE, {"but": compact(list(but))}
        if ids is not None:
            query, values = NEXT_DUE_OF, values | {"ids": compact(list(ids))}
        due_at: float | None = self._database.read(query, values)[0][0]
        return due_at

    def let_go(
        self, delivery_ids: Sequence[str], lease: Lease, why: str | None = None, *, attempted: bool = False
    ) -> None:
        """Free pending deliveries that a run holds, and keep why; those that it `attempted` may have arrived."""
        values = {"run": lease.run_id, "ids": compact(list(delivery_ids)), "why": why, "attempted": int(attempted)}
        write_one(self._database, LET_DELIVERIES_GO, values)

    def switched_off(self) -> frozenset[str]:
        """Return the destinations that are switched off, because they answered that they are gone for good."""
        return frozenset(row[0] for row in self._database.read("select destination from switched_off"))

    def switch(self, destination: str, *, off: bool) -> None:
        """Switch a destination off, or on again."""
        if off:
            write_one(
                self._database, "insert into switched_off values (?, ?) on conflict do nothing", (destination, now())
            )
        else:
            write_one(self._database, "delete from switched_off where destination = ?", (destination,))
