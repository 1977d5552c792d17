"""The gate of the HTTP API beside a store: keys, rate limits, idempotency keys, webhooks that came before.

The SQL is plain enough for SQLite and PostgreSQL; times are seconds of this machine's clock, and each change is one
short transaction of its own.
"""

import time
from collections.abc import Sequence
from typing import Any

from triage_cli.domain.api_access import ApiKey, StoredResponse
from triage_cli.domain.errors import NotFoundError, UsageError
from triage_cli.domain.ids import now
from triage_cli.domain.views import Gauges
from triage_cli.stores.database import Database

# An answer is kept for a day, the id of a webhook for a quarter of a year.
ANSWERS = 24 * 3600.0
HOOKS = 90 * 24 * 3600.0

# A row that is there already is left alone, unless its time is over and it was never answered.
OPEN = """insert into idempotency (key_id, key, body_hash, lease_until, at) values (?, ?, ?, ?, ?)
    on conflict (key_id, key) do update set lease_until = excluded.lease_until
    where idempotency.status is null and idempotency.lease_until <= excluded.at
    and idempotency.body_hash = excluded.body_hash returning 1"""
NOTE_HOOK = """insert into hook_ids (source, hook_id, at, ticket_id) values (?, ?, ?, ?)
    on conflict (source, hook_id) do update set ticket_id = excluded.ticket_id"""
# GCRA in one statement: `full_at` is when the bucket is full again. Permits are had if it would not be later than a
# whole burst from now; all processes share the row. What is later than two bursts comes of a clock that was set back.
PERMITS = """insert into rate_limits (key_id, full_at) values (:key_id, :now + :cost)
    on conflict (key_id) do update set full_at =
        (case when rate_limits.full_at between :now and :now + 2 * :burst then rate_limits.full_at else :now end)
        + :cost
    where rate_limits.full_at + :cost <= :now + :burst or rate_limits.full_at not between :now and :now + 2 * :burst
    returning full_at"""


class StoreGate:
    """Implements `ports.Gate` on the connections of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- keys

    def add_key(self, key: ApiKey) -> None:
        """Record a new key. Raises `UsageError` where the name is taken."""
        added = self._write(
            "insert into api_keys (key_id, name, hash, role, created_at) values (?, ?, ?, ?, ?) "
            "on conflict (name) do nothing returning 1",
            key[:5],
        )
        if not added:
            hint = "the audit log names its actors by it, so take another one, also after a key was revoked"
            raise UsageError(f'there is a key "{key.name}" already', hint=hint)

    def keys(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        return [ApiKey(*row) for row in self._select("select * from api_keys order by created_at, name")]

    def revoke(self, name: str) -> ApiKey:
        """Revoke the key of this name."""
        statement = "update api_keys set revoked_at = coalesce(revoked_at, ?) where name = ? returning *"
        rows = self._write(statement, (now(), name))
        if not rows:
            raise NotFoundError(f'no key "{name}"', hint="triage keys list shows them")
        return ApiKey(*rows[0])

    def key(self, key_id: str) -> ApiKey | None:
        """Return a key."""
        rows = self._select("select * from api_keys where key_id = ?", (key_id,))
        return ApiKey(*rows[0]) if rows else None

    def touch(self, key_id: str) -> None:
        """Note that a key was used just now."""
        self._write("update api_keys set last_used_at = ? where key_id = ? returning 1", (now(), key_id))

    # -- bounds

    def permits(self, key_id: str, tokens: int, per_minute: int, burst: int) -> float:
        """Take permits; return 0, or the seconds until they are to be had."""
        at, cost, whole = time.time(), tokens * 60.0 / per_minute, burst * 60.0 / per_minute
        values = {"key_id": key_id, "now": at, "cost": cost, "burst": whole}
        if self._write(PERMITS, values):
            return 0.0
        full_at = self._select("select full_at from rate_limits where key_id = ?", (key_id,))[0][0]
        return max(0.001, float(full_at) + cost - whole - at)

    # -- requests that may come twice

    def open(self, key_id: str, key: str, body_hash: str, seconds: float) -> StoredResponse | None:
        """Begin a request under an idempotency key."""
        found = self._kept(key_id, key)
        if found is None or found.status is None:
            at = time.time()
            with self._database.transaction() as db:
                db.execute("delete from idempotency where at < ?", (at - ANSWERS,))
                won = db.execute(OPEN, (key_id, key, body_hash, at + seconds, at)).fetchall()
            if won:
                return None
            found = self._kept(key_id, key)
        return found or StoredResponse(body_hash, None, None)  # given up in between: the caller asks again

    def _kept(self, key_id: str, key: str) -> StoredResponse | None:
        query = "select body_hash, status, answer from idempotency where key_id = ? and key = ?"
        rows = self._select(query, (key_id, key))
        return StoredResponse(*rows[0]) if rows else None

    def close(self, key_id: str, key: str, status: int, answer: str) -> None:
        """Keep the answer to a request."""
        statement = "update idempotency set status = ?, answer = ? where key_id = ? and key = ? returning 1"
        self._write(statement, (status, answer, key_id, key))

    def renew(self, key_id: str, key: str, seconds: float) -> None:
        """Say that a request is still at work."""
        statement = "update idempotency set lease_until = ? where key_id = ? and key = ? and status is null returning 1"
        self._write(statement, (time.time() + seconds, key_id, key))

    def give_up(self, key_id: str, key: str) -> None:
        """Forget a request that came to nothing."""
        self._write(
            "delete from idempotency where key_id = ? and key = ? and status is null returning 1", (key_id, key)
        )

    def hook_ticket(self, source: str, hook_id: str) -> str | None:
        """Return the ticket of an event that has come before; None where it has not, or nobody noted its ticket."""
        rows = self._select("select ticket_id from hook_ids where source = ? and hook_id = ?", (source, hook_id))
        return rows[0][0] if rows else None

    def note_hook(self, source: str, hook_id: str, ticket_id: str) -> None:
        """Note that an event has come and is done, and which ticket it made or changed."""
        at = time.time()
        with self._database.transaction() as db:
            db.execute("delete from hook_ids where at < ?", (at - HOOKS,))
            db.execute(NOTE_HOOK, (source, hook_id, at, ticket_id))

    # -- monitoring

    def gauges(self) -> Gauges:
        """Count what a monitor watches."""
        oldest = self._select("select min(stored_at) from tickets where status = 'new'")
        answers = self._select(
            "select classifier, count(*), count(error), sum(cost) from classifications where reused is null "
            "and classifier <> 'verdict' group by 1 order by 1"
        )
        deliveries = self._select("select destination, state, count(*) from deliveries group by 1, 2 order by 1, 2")
        return Gauges(
            dict(self._select("select status, count(*) from tickets group by 1")),
            {(destination, state): number for destination, state, number in deliveries},
            {row[0]: row[1] for row in answers},
            {row[0]: row[2] for row in answers},
            {row[0]: row[3] for row in answers},
            oldest[0][0],
        )

    def ping(self) -> None:
        """Raise where the database does not answer."""
        self._select("select 1 from chain")

    def _select(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._database.read(sql, values)

    def _write(self, sql: str, values: Any) -> list[Any]:
        with self._database.transaction() as db:
            rows: list[Any] = db.execute(sql, values).fetchall()
            return rows
