"""The table of tickets: finding them, the conflicts of a write, and erasing texts."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from triage_cli import domain as dm
from triage_cli.stores import where_clauses
from triage_cli.stores.database import Database, Db
from triage_cli.stores.dialect import Dialect

TICKETS_PER_PAGE = 500
# What a ticket's id can end with.
ID_ENDING = re.compile("[0-9A-Fa-f-]{6,36}")
# Without `run_id`, which is in `claims`, and what it asks.
COLUMN_COUNT = dm.Ticket._fields.index("run_id")
TICKET_COLUMNS = dm.Ticket._fields[:COLUMN_COUNT]
# The schema has the defaults of a new ticket, so that an import binds only half the values.
GIVEN_COLUMNS = dm.Ticket._fields.index("status")
NEW_TICKET_DEFAULTS = ("new", *(dm.Ticket._field_defaults[field] for field in TICKET_COLUMNS[GIVEN_COLUMNS + 1 :]))
# The columns that a decision changes: a third less to write than the whole row, and no index on identities to update.
DECISION_COLUMNS = (TICKET_COLUMNS[0], *TICKET_COLUMNS[GIVEN_COLUMNS:])


TICKETS_BY_ID = "select * from tickets where ticket_id in (select value from json_each(?))"
TICKETS_BY_IDENTITY = "select * from tickets where identity in (select value from json_each(?))"
# An identity consists of the external id, a tab and the source.
TICKETS_BY_EXTERNAL_ID = """select * from tickets where identity between :low and :high
    order by ticket_id desc limit :limit"""
# The identity of a forgotten ticket begins with "!", and so may an external id: the query is a cheap pre-check.
MAYBE_FORGOTTEN = "select 1 from tickets where identity >= '!' and identity < '\"' limit 1"
# That of a withdrawn one begins with "@".
MAYBE_ERASED = f"{MAYBE_FORGOTTEN.removesuffix(' limit 1')} or identity >= '@' and identity < 'A' limit 1"
ERASED_TICKETS = f"""select ticket_id from tickets where status in ({", ".join(map(repr, dm.ERASED))})
    and ticket_id in (select value from json_each(?))"""


class Tickets:
    """Reads tickets, and finds the conflicts of those that are to be written."""

    def __init__(self, database: Database, dialect: Dialect) -> None:
        self._database = database
        self._dialect = dialect

    def known(self, identities: Sequence[str]) -> Mapping[str, dm.Ticket]:
        """Return the stored tickets among these identities."""
        rows = self._database.read(TICKETS_BY_IDENTITY, (dm.compact(list(identities)),))
        tickets = {ticket.identity: ticket for ticket in (dm.Ticket(*row) for row in rows)}
        return {i: tickets[stored] for i in identities if (stored := self._dialect.storable(i)) in tickets}

    def find(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        """Yield tickets in the order of the selection, or of its ids if it has some.

        No transaction stays open between two tickets.
        """
        if selection.ids is not None:
            yield from islice(self._tickets_in_order_of(selection.ids, selection), selection.limit)
            return
        if selection.sort:
            yield from self._find_sorted(selection)
            return
        urgent_first = selection.order == "urgent"
        if selection.search is not None and not urgent_first and (ids := self._ids_of_rare(selection)) is not None:
            yield from self._tickets_in_order_of(ids, selection)
            if len(ids) < where_clauses.SORTED_IDS_PER_PAGE:
                return
            left = None if selection.limit is None else selection.limit - len(ids)
            selection = selection._replace(after=ids[-1], limit=left)
        left = selection.limit
        order = "urgency, ticket_id" if urgent_first else "ticket_id desc"
        where = where_clauses.where_claimable if urgent_first else where_clauses.where_after
        while left is None or left > 0:
            conditions, values = where(selection)
            size = TICKETS_PER_PAGE if left is None else min(left, TICKETS_PER_PAGE)
            tickets, more = self._database.page(" and ".join(conditions) or "true", order, size, values)
            yield from tickets
            if not more:
                return
            left = None if left is None else left - len(tickets)
            last = tickets[-1]
            selection = selection._replace(after=f"{last.urgency if urgent_first else ''}{last.ticket_id}")

    def _ids_of_rare(self, selection: dm.Selection) -> list[str] | None:
        """Return the first ids of a selection if few of the next tickets are in it, else None.

        They are found in the order in which SQLite stores tickets: two thirds of the time that the index of ids takes,
        but all tickets are read.
        """
        is_rare, ids_as_stored, values = where_clauses.rare(selection)
        if not self._database.read(is_rare, values)[0][0]:
            return None
        return [row[0] for row in self._database.read(ids_as_stored, values)]

    def _find_sorted(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        left = selection.limit
        while left is None or left > 0:
            size = where_clauses.SORTED_IDS_PER_PAGE if left is None else min(left, where_clauses.SORTED_IDS_PER_PAGE)
            query, values = where_clauses.sorted_ids(selection)
            ids = [row[0] for row in self._database.read(query, values | {"page": size})]
            yield from self._tickets_in_order_of(ids, dm.Selection())
            if len(ids) < size:
                return
            left = None if left is None else left - size
            selection = selection._replace(after=ids[-1])

    def _tickets_in_order_of(self, ids: Sequence[str], selection: dm.Selection) -> Iterator[dm.Ticket]:
        for chunk in dm.chunked(ids, dm.NAMED):
            conditions, values = where_clauses.where(selection._replace(ids=tuple(chunk)))
            rows = self._database.read(f"select * from tickets where {' and '.join(conditions)}", values)
            tickets = {row[0]: dm.Ticket(*row) for row in rows}
            yield from (tickets[i] for i in chunk if i in tickets)

    def named(self, name: str, limit: int) -> list[dm.Ticket]:
        """Return the tickets with this id, ending (6 or more characters) or external id, newest first."""
        rows = self._database.read("select * from tickets where ticket_id = ?", (name,))
        if not rows:
            values = {"low": f"{name}\t", "high": f"{name}\n", "limit": limit}
            rows = self._database.read(TICKETS_BY_EXTERNAL_ID, values)
            if ID_ENDING.fullmatch(name):  # else a search through all tickets would find none
                ending_values = {"ending": name.lower(), "limit": limit}
                by_ending = self._database.read(self._dialect.tickets_by_ending, ending_values)
                rows += [row for row in by_ending if row not in rows]
        return [dm.Ticket(*row) for row in rows]

    @staticmethod
    def by_ids(db: Db, ids: Sequence[str]) -> list[dm.Ticket]:
        """Return tickets by their ids, in an open transaction."""
        return [dm.Ticket(*row) for row in db.execute(TICKETS_BY_ID, (dm.compact(list(ids)),))]

    @staticmethod
    def erased(db: Db, ids: Collection[str]) -> list[str]:
        """Return which of these tickets are forgotten or withdrawn, in an open transaction."""
        if not ids or not db.execute(MAYBE_ERASED).fetchone():
            return []
        return [row[0] for row in db.execute(ERASED_TICKETS, (dm.compact(sorted(ids)),)).fetchall()]

    # -- the conflicts of a write, in its transaction, by ticket id

    def moved_on(self, db: Db, ticket_ids: Sequence[str]) -> dict[str, dm.Conflict]:
        """Return conflicts for these tickets, which no longer have their expected revision."""
        current_tickets = {t.ticket_id: t for t in self.by_ids(db, ticket_ids)} if ticket_ids else {}
        return {ticket_id: dm.Conflict(current_tickets.get(ticket_id)) for ticket_id in ticket_ids}

    def forgotten_before(self, db: Db, new_tickets: Sequence[dm.Ticket]) -> dict[str, dm.Conflict]:
        """Return conflicts for new tickets that were forgotten before they could be stored."""
        if not new_tickets or not db.execute(MAYBE_FORGOTTEN).fetchone():
            return {}
        new_ids = {dm.forgotten(t.identity): t.ticket_id for t in new_tickets}
        return {new_ids[t.identity]: dm.Conflict(t) for t in self._by_identity(db, list(new_ids))}

    def identity_taken(self, db: Db, tickets: Sequence[dm.Ticket]) -> dict[str, dm.Conflict]:
        """Return conflicts for new tickets whose identity another ticket has."""
        stored = {t.identity: t for t in self._by_identity(db, [t.identity for t in tickets])}
        return {
            t.ticket_id: dm.Conflict(stored[t.identity]) for t in tickets if stored[t.identity].ticket_id != t.ticket_id
        }

    @staticmethod
    def _by_identity(db: Db, identities: Sequence[str]) -> list[dm.Ticket]:
        return [dm.Ticket(*row) for row in db.execute(TICKETS_BY_IDENTITY, (dm.compact(list(identities)),))]


# Erases words of a ticket, and hashes of them, from all tables but `tickets`. A new table that may hold them must be
# added here, and needs nothing else: `SqlStore._write` carries this out on what is stored later, too.
ERASE_TEXTS = (
    # First, while `classifications` still has the keys: trials and graded answers refer to no ticket.
    """delete from trials where answer_key in (select answer_key from classifications
        where ticket_id in (select value from json_each(:ids)))""",
    """delete from being_asked where answer_key in (select answer_key from classifications
        where ticket_id in (select value from json_each(:ids)))""",
    # After the key of an answer they have that of the text's copies.
    """delete from graded_answers where (fingerprint, answer_key) in (select g.fingerprint, g.answer_key
        from classifications c join graded_answers g
        on g.fingerprint = c.fingerprint and g.answer_key >= c.answer_key and g.answer_key < c.answer_key || '!'
        where c.ticket_id in (select value from json_each(:ids)))""",
    # The request stays with the provider, who bills it: its item waits for the cost alone.
    "update batch_items set answer_key = '' where ticket_id in (select value from json_each(:ids))",
    "delete from ticket_words where ticket_id in (select value from json_each(:ids))",
    "delete from precedents where ticket_id in (select value from json_each(:ids))",
    """update classifications set reason = null, answer_key = '',
        error = case when error is null then null else '(forgotten)' end
        where ticket_id in (select value from json_each(:ids))""",
    """update attempts set error = '(forgotten)', answer = null where error is not null and delivery_id in
        (select delivery_id from deliveries where ticket_id in (select value from json_each(:ids)))""",
    """update deliveries set last_error = null, refusal = null, kept = null, content_hash = null, run_id = null
        where ticket_id in (select value from json_each(:ids))""",
)
# Stored responses of the HTTP API have no text, but a hash of that which came with the request. What is left of one
# tells its repetition that the ticket was erased.
ERASE_RESPONSES = """update idempotency set answer = null, body_hash = ''
    where ticket_id in (select value from json_each(:ids))"""
# Command lines may name tickets by their ids, and files may be called after persons. Runs of requests name none.
NAMES = "select ticket_id, external_id, customer_id from tickets where ticket_id in (select value from json_each(?))"
SHORTEST_PART = 5  # characters of a name for which parts of arguments are looked at; shorter ones are in many
COMMAND_LINES = "select distinct words from runs where served = 0"


def names_of(db: Db, ticket_ids: Sequence[str]) -> Mapping[str, set[str]]:
    """Return the external ids and the customers of tickets, and mail addresses in them, by their ids."""
    return {
        ticket_id: {name for name in names if name}.union(*(dm.addresses_in(name) for name in names if name))
        for ticket_id, *names in db.execute(NAMES, (dm.compact(list(ticket_ids)),)).fetchall()
    }


def _erase_names(db: Db, names: Collection[str]) -> None:
    """Put an ellipsis in the place of each argument of a command line that is a name, or has a longer one in it."""
    lines = {line: shlex.split(line) for (line,) in db.execute(COMMAND_LINES).fetchall()}
    typed = {argument: dm.folded_id(argument) for arguments in lines.values() for argument in arguments}
    all_typed = "\n".join(typed.values())
    parts = [part for part in map(dm.folded_id, names) if len(part) >= SHORTEST_PART and part in all_typed]
    named = {a for a, folded in typed.items() if a in names or any(part in folded for part in parts)}
    for line, arguments in lines.items():
        if not named.isdisjoint(arguments):
            erased = " ".join("…" if argument in {*named, "…"} else shlex.quote(argument) for argument in arguments)
            db.execute("update runs set words = ? where words = ?", (erased, line))


def erase_texts(db: Db, ticket_ids: Sequence[str], names: Collection[str] = ()) -> None:
    """Erase the text of tickets from all tables but `tickets`, in an open transaction.

    `names` are those that `names_of` returned before.
    """
    values = {"ids": dm.compact(list(ticket_ids))}
    for statement in (*ERASE_TEXTS, ERASE_RESPONSES):
        db.execute(statement, values)
    if names:
        _erase_names(db, names)
