"""The table of tickets: writing many of them, and finding them by selection, identity, name or id."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from sqlite3 import Connection
from typing import Any

from triage_cli.domain import NAMED, Change, Conflict, Selection, Ticket, chunked, compact, forgotten, storable_text
from triage_cli.stores import where_clauses
from triage_cli.stores.bulk_insert import placeholders, write_all
from triage_cli.stores.database import Db, Tables

TICKETS_PER_PAGE = 500
# What a ticket's id can end with.
ID_ENDING = re.compile("[0-9A-Fa-f-]{6,36}")
TICKET_COLUMNS = Ticket._fields[:-1]  # without `run_id`, which is in `claims`
# An identity that was taken in the meantime is no error; the count of inserted rows shows it.
INSERT_TICKET = f"insert into tickets values ({placeholders(TICKET_COLUMNS)}) on conflict (identity) do nothing"
# The schema has the defaults of a new ticket, so that an import binds only half the values.
GIVEN_COLUMNS = Ticket._fields.index("status")
NEW_TICKET_DEFAULTS = ("new", *(Ticket._field_defaults[field] for field in TICKET_COLUMNS[GIVEN_COLUMNS + 1 :]))
_INSERT_NEW_TICKET = (
    f"insert into tickets ({', '.join(TICKET_COLUMNS[:GIVEN_COLUMNS])}) "
    f"values ({placeholders(TICKET_COLUMNS[:GIVEN_COLUMNS])}) "
    "on conflict (identity) do nothing"
)
# The columns that a decision changes: a third less to write than the whole row, and no index on identities to update.
DECISION_COLUMNS = (TICKET_COLUMNS[0], *TICKET_COLUMNS[GIVEN_COLUMNS:])


def _update_statement(columns: tuple[str, ...]) -> str:
    return (
        f"with new ({', '.join(columns)}) as (values ({placeholders(columns)})) update tickets set "
        f"{', '.join(f'{f} = new.{f}' for f in columns[1:])} from new where tickets.ticket_id = new.ticket_id"
    )


UPDATE_TICKETS = _update_statement(TICKET_COLUMNS)
DECIDE_TICKETS = _update_statement(DECISION_COLUMNS)
SET_DECISION = "update tickets set decision_id = ? where ticket_id = ?"
TICKETS_BY_ID = "select * from tickets where ticket_id in (select value from json_each(?))"
TICKETS_BY_IDENTITY = "select * from tickets where identity in (select value from json_each(?))"
MOVED_ON = """select key from json_each(?) left join tickets on ticket_id = key where revision is not value"""
# An identity consists of the external id, a tab and the source.
TICKETS_BY_EXTERNAL_ID = """select * from tickets where identity between :low and :high
    order by ticket_id desc limit :limit"""
TICKETS_BY_ENDING = (
    "select * from tickets where ticket_id like :ending escape '\\' order by ticket_id desc limit :limit"
)
# The identity of a forgotten ticket begins with "!", and so may an external id: the query is a cheap pre-check.
MAYBE_FORGOTTEN = "select 1 from tickets where identity >= '!' and identity < '\"' limit 1"


def insert_tickets(db: Connection, tickets: Sequence[Ticket]) -> int:
    """Insert tickets whose identity is free; return how many there were."""
    if all(ticket[GIVEN_COLUMNS:-1] == NEW_TICKET_DEFAULTS for ticket in tickets):
        return write_all(db, _INSERT_NEW_TICKET, [ticket[:GIVEN_COLUMNS] for ticket in tickets])
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
            decided.append(ticket[:1] + ticket[GIVEN_COLUMNS:-1])
    write_all(db, UPDATE_TICKETS, rewritten)
    write_all(db, DECIDE_TICKETS, decided)


class TicketTables(Tables):
    """Reads tickets, and finds the conflicts of new ones."""

    def known(self, identities: Sequence[str]) -> Mapping[str, Ticket]:
        """Return the stored tickets among these identities."""
        ticket_rows = self.database.read(TICKETS_BY_IDENTITY, (compact(list(identities)),))
        return {ticket.identity: ticket for ticket in (Ticket(*row) for row in ticket_rows)}

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Yield tickets in the order of the selection, or of its ids if it has some.

        No transaction stays open between two tickets.
        """
        if selection.ids is not None:
            yield from islice(self._tickets_in_order_of(selection.ids, selection), selection.limit)
            return
        if selection.sort:
            yield from self._find_sorted(selection)
            return
        tickets_left = selection.limit
        urgent_first = selection.order == "urgent"
        order = "urgency, ticket_id" if urgent_first else "ticket_id desc"
        while tickets_left is None or tickets_left > 0:
            ticket_conditions, ticket_values = (
                where_clauses.where_claimable(selection) if urgent_first else where_clauses.where(selection)
            )
            if selection.after and not urgent_first:
                ticket_conditions.append("ticket_id < :after_id")
                ticket_values |= {"after_id": storable_text(selection.after)}
            page_size = TICKETS_PER_PAGE if tickets_left is None else min(tickets_left, TICKETS_PER_PAGE)
            condition = " and ".join(ticket_conditions) or "true"
            tickets, more = self.database.page(condition, order, page_size, ticket_values)
            yield from tickets
            if not more:
                return
            tickets_left = None if tickets_left is None else tickets_left - len(tickets)
            last_ticket = tickets[-1]
            urgency = last_ticket.urgency if urgent_first else ""
            selection = selection._replace(after=f"{urgency}{last_ticket.ticket_id}")

    def _find_sorted(self, selection: Selection) -> Iterator[Ticket]:
        tickets_left = selection.limit
        while tickets_left is None or tickets_left > 0:
            page_size = where_clauses.SORTED_IDS_PER_PAGE
            page_size = page_size if tickets_left is None else min(tickets_left, page_size)
            ids_query, ticket_values = where_clauses.sorted_ids(selection)
            sorted_ids = [row[0] for row in self.database.read(ids_query, ticket_values | {"page": page_size})]
            yield from self._tickets_in_order_of(sorted_ids, Selection())
            if len(sorted_ids) < page_size:
                return
            tickets_left = None if tickets_left is None else tickets_left - page_size
            selection = selection._replace(after=sorted_ids[-1])

    def _tickets_in_order_of(self, ids: Sequence[str], conditions: Selection) -> Iterator[Ticket]:
        for chunk in chunked(ids, NAMED):
            ticket_conditions, ticket_values = where_clauses.where(conditions._replace(ids=tuple(chunk)))
            ticket_rows = self.database.read(
                f"select * from tickets where {' and '.join(ticket_conditions)}", ticket_values
            )
            tickets_by_id = {row[0]: Ticket(*row) for row in ticket_rows}
            yield from (tickets_by_id[i] for i in chunk if i in tickets_by_id)

    def named(self, name: str, limit: int) -> list[Ticket]:
        """Return the tickets with this id, ending (6 or more characters) or external id, newest first."""
        ticket_rows = self.database.read("select * from tickets where ticket_id = ?", (name,))
        if not ticket_rows:
            ticket_values = {"low": f"{name}\t", "high": f"{name}\n", "limit": limit}
            ticket_rows = self.database.read(TICKETS_BY_EXTERNAL_ID, ticket_values)
            if ID_ENDING.fullmatch(name):  # else a search through all tickets would find none
                ticket_rows += [row for row in self._tickets_by_ending(name, limit) if row not in ticket_rows]
        return [Ticket(*row) for row in ticket_rows]

    def _tickets_by_ending(self, ending: str, limit: int) -> list[Any]:
        return self.database.read(TICKETS_BY_ENDING, {"ending": f"%{ending}", "limit": limit})

    def _new_tickets(self, db: Db, changes: Sequence[Change], conflicts: dict[str, Conflict]) -> list[Ticket]:
        """Return the new tickets; adds a conflict for each that was forgotten before, which is left out."""
        new_tickets = [c.ticket for c in changes if c.ticket and not c.expected_revision]
        forgotten_before = self._forgotten_conflicts(db, new_tickets)
        conflicts |= forgotten_before
        return [ticket for ticket in new_tickets if ticket.ticket_id not in forgotten_before]

    def _tickets_by_id(self, db: Db, ids: Sequence[str]) -> list[Ticket]:
        return [Ticket(*row) for row in db.execute(TICKETS_BY_ID, (compact(list(ids)),))]

    def _tickets_by_identity(self, db: Db, identities: Sequence[str]) -> list[Ticket]:
        return [Ticket(*row) for row in db.execute(TICKETS_BY_IDENTITY, (compact(list(identities)),))]

    def _forgotten_conflicts(self, db: Db, new_tickets: Sequence[Ticket]) -> dict[str, Conflict]:
        """Return conflicts for new tickets that were forgotten before they could be stored, by id."""
        if not new_tickets or not db.execute(MAYBE_FORGOTTEN).fetchone():
            return {}
        new_ids_by_identity = {forgotten(t.identity): t.ticket_id for t in new_tickets}
        return {
            new_ids_by_identity[t.identity]: Conflict(t)
            for t in self._tickets_by_identity(db, list(new_ids_by_identity))
        }

    def _moved_on_conflicts(self, db: Db, ticket_ids: Sequence[str]) -> dict[str, Conflict]:
        """Return conflicts for these tickets, which no longer have their expected revision, by id."""
        current_tickets = {t.ticket_id: t for t in self._tickets_by_id(db, ticket_ids)}
        return {ticket_id: Conflict(current_tickets.get(ticket_id)) for ticket_id in ticket_ids}

    def _identity_conflicts(self, db: Db, new_tickets: Sequence[Ticket]) -> dict[str, Conflict]:
        """Return conflicts for new tickets whose identity another ticket has, by their id."""
        tickets_by_identity = {t.identity: t for t in self._tickets_by_identity(db, [t.identity for t in new_tickets])}
        return {
            t.ticket_id: Conflict(tickets_by_identity[t.identity])
            for t in new_tickets
            if tickets_by_identity[t.identity].ticket_id != t.ticket_id
        }
