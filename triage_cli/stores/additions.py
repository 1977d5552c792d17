"""The tables of rules that add deliveries, and which tickets they have yet to look at."""

from collections.abc import Iterator, Mapping
from typing import Any

from triage_cli.domain import AdditionQuery, FirstSeen, Ticket, compact, first_id_of, now
from triage_cli.stores.database import Database, Db

SEE_RULE = "insert into added_rules values (?, ?, ?) on conflict (addition) do nothing"
FIRST_SEEN = "select addition, first_at from added_rules where addition in (select value from json_each(?))"
CHANGED_TICKET = """insert into changed_tickets values (?, ?) on conflict (ticket_id)
    do update set at = excluded.at"""
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

    def first_seen(self, rules: Mapping[str, str]) -> Mapping[str, FirstSeen]:
        """Return when rules were first seen, by their keys; `rules` are their names."""
        keys, at = compact(list(rules)), now()
        known = {row[0]: FirstSeen(row[1], is_new=False) for row in self._database.read(FIRST_SEEN, (keys,))}
        unknown = {key: name for key, name in rules.items() if key not in known}
        if not unknown:
            return known

        def see(db: Db) -> list[Any]:
            for key, name in unknown.items():
                db.execute(SEE_RULE, (key, name, at))
            return db.execute(FIRST_SEEN, (keys,)).fetchall()

        seen = {row[0]: row[1] for row in self._database.write(see)}
        return known | {key: FirstSeen(seen[key], is_new=seen[key] == at) for key in unknown}

    def candidates(self, query: AdditionQuery) -> Iterator[Ticket]:
        """Yield the tickets that a rule has yet to look at, by status."""
        for status in query.statuses:
            yield from self._tickets(query, FOUND_BY_INDEX[status], SINCE)
            if query.changed:
                yield from self._tickets(query, FOUND_BY_INDEX[status], f"not ({SINCE}) and {CHANGED_SINCE}")

    def _tickets(self, query: AdditionQuery, status: str, since: str) -> Iterator[Ticket]:
        statement = TICKETS_TO_ADD_FOR.format(status=status, since=since)
        values = {
            "key": query.key,
            "until": query.until,
            "since": query.since,
            "first_id": first_id_of(query.since),
            "limit": TICKETS_PER_PAGE,
        }
        after = ""
        while rows := self._database.read(statement, values | {"after": after}):
            tickets = [Ticket(*row) for row in rows]
            after = tickets[-1].ticket_id
            yield from tickets
