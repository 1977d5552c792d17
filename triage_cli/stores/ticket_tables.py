"""The table of tickets: writing many of them, and finding them by selection, identity, name or id."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from sqlite3 import Connection
from typing import Any

from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.chunks import NAMED, chunked
from triage_cli.domain.ids import forgotten
from triage_cli.domain.serialization import compact, storable_text
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.stores import where_clauses
from triage_cli.stores.bulk_insert import placeholders, write_all
from triage_cli.stores.database import Db, Tables

TICKETS_PER_PAGE = 500
# What a ticket's id can end with.
ID_ENDING = re.compile("[0-9A-Fa-f-]{6,36}")
# An identity that was taken in the meantime is no error; the count of inserted rows shows it.
TICKET_COLUMNS = Ticket._fields[:-1]  # without `run_id`, which is in `claims`
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
        rows = self.database.read(TICKETS_BY_IDENTITY, (compact(list(identities)),))
        return {ticket.identity: ticket for ticket in (Ticket(*row) for row in rows)}

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Yield tickets in the order of the selection, or of its ids if it has some.

        No transaction stays open between two tickets.
        """
        if selection.ids is not None:
            yield from islice(self._in_order_of(selection.ids, selection), selection.limit)
            return
        if selection.sort:
            yield from self._sorted(selection)
            return
        remaining = selection.limit
        urgent = selection.order == "urgent"
        order = "urgency, ticket_id" if urgent else "ticket_id desc"
        while remaining is None or remaining > 0:
            where, values = where_clauses.position(selection) if urgent else where_clauses.where(selection)
            if selection.after and not urgent:
                where.append("ticket_id < :after_id")
                values |= {"after_id": storable_text(selection.after)}
            page = TICKETS_PER_PAGE if remaining is None else min(remaining, TICKETS_PER_PAGE)
            condition = " and ".join(where) or "true"
            tickets, more = self.database.page(condition, order, page, values)
            yield from tickets
            if not more:
                return
            remaining = None if remaining is None else remaining - len(tickets)
            last = tickets[-1]
            selection = selection._replace(after=f"{last.urgency}{last.ticket_id}" if urgent else last.ticket_id)

    def _sorted(self, selection: Selection) -> Iterator[Ticket]:
        left = selection.limit
        while left is None or left > 0:
            page = where_clauses.SORTED if left is None else min(left, where_clauses.SORTED)
            query, values = where_clauses.sorted_ids(selection)
            sorted_ids = [row[0] for row in self.database.read(query, values | {"page": page})]
            yield from self._in_order_of(sorted_ids, Selection())
            if len(sorted_ids) < page:
                return
            left = None if left is None else left - page
            selection = selection._replace(after=sorted_ids[-1])

    def _in_order_of(self, ids: Sequence[str], conditions: Selection) -> Iterator[Ticket]:
        for chunk in chunked(ids, NAMED):
            where, values = where_clauses.where(conditions._replace(ids=tuple(chunk)))
            rows = self.database.read(f"select * from tickets where {' and '.join(where)}", values)
            tickets_by_id = {row[0]: Ticket(*row) for row in rows}
            yield from (tickets_by_id[i] for i in chunk if i in tickets_by_id)

    def named(self, name: str, limit: int) -> list[Ticket]:
        """Return the tickets with this id, ending (6 or more characters) or external id, newest first."""
        rows = self.database.read("select * from tickets where ticket_id = ?", (name,))
        if not rows:
            values = {"low": f"{name}\t", "high": f"{name}\n", "limit": limit}
            rows = self.database.read(TICKETS_BY_EXTERNAL_ID, values)
            if ID_ENDING.fullmatch(name):  # else a search through all tickets would find none
                rows += [row for row in self._ending(name, limit) if row not in rows]
        return [Ticket(*row) for row in rows]

    def _ending(self, ending: str, limit: int) -> list[Any]:
        return self.database.read(TICKETS_BY_ENDING, {"ending": f"%{ending}", "limit": limit})

    def _new_tickets(self, db: Db, changes: Sequence[Change], conflicts: dict[str, Conflict]) -> list[Ticket]:
        """Return the new tickets; adds a conflict for each that was forgotten before, which is left out."""
        new_tickets = [c.ticket for c in changes if c.ticket and not c.expected_revision]
        gone = self._forgotten(db, new_tickets)
        conflicts |= gone
        return [ticket for ticket in new_tickets if ticket.ticket_id not in gone] if gone else new_tickets

    def _tickets(self, db: Db, ids: Sequence[str]) -> list[Ticket]:
        return [Ticket(*row) for row in db.execute(TICKETS_BY_ID, (compact(list(ids)),))]

    def _identified(self, db: Db, identities: Sequence[str]) -> list[Ticket]:
        return [Ticket(*row) for row in db.execute(TICKETS_BY_IDENTITY, (compact(list(identities)),))]

    def _forgotten(self, db: Db, new_tickets: Sequence[Ticket]) -> dict[str, Conflict]:
        """Return conflicts for new tickets that were forgotten before they could be stored, by id."""
        if not new_tickets or not db.execute(MAYBE_FORGOTTEN).fetchone():
            return {}
        new_ids = {forgotten(t.identity): t.ticket_id for t in new_tickets}
        return {new_ids[t.identity]: Conflict(t) for t in self._identified(db, list(new_ids))}

    def _taken(self, db: Db, new_tickets: Sequence[Ticket]) -> dict[str, Conflict]:
        """Return conflicts for new tickets whose identity another ticket has, by their id."""
        owners = {t.identity: t for t in self._identified(db, [t.identity for t in new_tickets])}
        return {
            t.ticket_id: Conflict(owners[t.identity])
            for t in new_tickets
            if owners[t.identity].ticket_id != t.ticket_id
        }
