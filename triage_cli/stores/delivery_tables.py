"""The table of deliveries: all that both dialects share; claiming due deliveries is each dialect's own."""

from collections.abc import Mapping, Sequence

from triage_cli.domain.deliveries import Attempt, Delivery
from triage_cli.domain.runs import Lease
from triage_cli.domain.serialization import compact
from triage_cli.domain.times import now
from triage_cli.stores import shared_sql
from triage_cli.stores.database import Tables

LET_GO = """update deliveries set run_id = null, last_error = coalesce(:why, last_error),
    doubtful = case when :attempted = 1 then 1 else doubtful end
    where run_id = :run and state = 'pending' and delivery_id in (select value from json_each(:ids))"""


class DeliveryTables(Tables):
    """Reads deliveries, frees them, and switches destinations off and on."""

    def deliveries(self, ticket_ids: Sequence[str]) -> Mapping[str, tuple[Delivery, ...]]:
        """Return the deliveries of each of these tickets, in the order of its decisions."""
        deliveries_by_ticket: dict[str, list[Delivery]] = {}
        for row in self.database.read(shared_sql.DELIVERIES, (compact(list(ticket_ids)),)):
            delivery = Delivery(*row)
            deliveries_by_ticket.setdefault(delivery.ticket_id, []).append(delivery)
        return {ticket_id: tuple(deliveries) for ticket_id, deliveries in deliveries_by_ticket.items()}

    def attempts(self, ticket_id: str) -> tuple[Attempt, ...]:
        """Return the attempts at a ticket's deliveries, oldest first."""
        return tuple(Attempt(*row) for row in self.database.read(shared_sql.ATTEMPTS_OF, (ticket_id,)))

    def pending_destinations(self, ids: Sequence[str] | None = None) -> list[str]:
        """Return the destinations with pending deliveries, of all tickets or of these."""
        query, values = (
            (shared_sql.PENDING_DESTINATIONS, {}) if ids is None else (shared_sql.OWED_OF, {"ids": compact(list(ids))})
        )
        return [row[0] for row in self.database.read(query, values)]

    def next_due(self, ids: Sequence[str] | None = None, *, but: Sequence[str] = ()) -> float | None:
        """Return when the next delivery that may be sent is due, in seconds since 1970; None if there is none.

        `but` names destinations to leave out.
        """
        query, values = shared_sql.NEXT_DUE, {"but": compact(list(but))}
        if ids is not None:
            query, values = shared_sql.NEXT_DUE_OF, values | {"ids": compact(list(ids))}
        due: float | None = self.database.read(query, values)[0][0]
        return due

    def let_go(
        self, delivery_ids: Sequence[str], lease: Lease, why: str | None = None, *, attempted: bool = False
    ) -> None:
        """Free pending deliveries that a run holds, and keep why; those that it `attempted` may have arrived."""
        values = {"run": lease.run_id, "ids": compact(list(delivery_ids)), "why": why, "attempted": int(attempted)}
        self._write(LET_GO, values)

    def switched_off(self) -> frozenset[str]:
        """Return the destinations that are switched off, because they answered that they are gone for good."""
        return frozenset(row[0] for row in self.database.read("select destination from switched_off"))

    def switch(self, destination: str, *, off: bool) -> None:
        """Switch a destination off, or on again."""
        if off:
            self._write("insert into switched_off values (?, ?) on conflict do nothing", (destination, now()))
        else:
            self._write("delete from switched_off where destination = ?", (destination,))
