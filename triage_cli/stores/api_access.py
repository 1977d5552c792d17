"""The tables of the HTTP API: API keys, rate limits, idempotency keys and processed webhook events.

Rate limits and leases of idempotency keys are measured by this machine's clock. Each change of the API's tables is a
short transaction of its own.
"""

import time
from typing import Any

from triage_cli import domain as dm
from triage_cli.stores.database import Database, Db
from triage_cli.stores.events import LOCK_CHAIN
from triage_cli.stores.tickets import ERASE_RESPONSES, Tickets

# For how many seconds responses and the ids of webhook events are kept.
RESPONSE_KEPT_SECONDS = 24 * 3600.0
HOOK_KEPT_SECONDS = 90 * 24 * 3600.0

# Takes an idempotency key that is free, or whose request was never answered and whose lease is over.
TAKE_IDEMPOTENCY_KEY = """insert into idempotency (key_id, key, body_hash, lease_until, at) values (?, ?, ?, ?, ?)
    on conflict (key_id, key) do update set lease_until = excluded.lease_until
    where idempotency.status is null and idempotency.lease_until <= excluded.at
    and idempotency.body_hash = excluded.body_hash returning 1"""
KEEP_RESPONSE = "update idempotency set status = ?, answer = ?, ticket_id = ? where key_id = ? and key = ?"
RECORD_HOOK = """insert into hook_ids (source, hook_id, at, ticket_id) values (?, ?, ?, ?)
    on conflict (source, hook_id) do update set ticket_id = excluded.ticket_id"""
# The rate limit (GCRA) in one statement. `full_at` is the time at which the token bucket is full again; permits are
# granted if it stays within one burst from now. All processes share the row. A `full_at` more than two bursts ahead was
# written before a clock was set back, and is ignored.
TAKE_PERMITS = """insert into rate_limits (key_id, full_at) values (:key_id, :now + :cost)
    on conflict (key_id) do update set full_at =
        (case when rate_limits.full_at between :now and :now + 2 * :burst then rate_limits.full_at else :now end)
        + :cost
    where rate_limits.full_at + :cost <= :now + :burst or rate_limits.full_at not between :now and :now + 2 * :burst
    returning full_at"""


ADD_KEY = """insert into api_keys (key_id, name, hash, role, created_at, expires_at) values (?, ?, ?, ?, ?, ?)
    on conflict (name) do nothing returning 1"""
API_KEYS = """select api_keys.*, (
        select max(expires_at) from rotated_keys
        where rotated_keys.name = api_keys.name and rotated_keys.expires_at > ? and revoked_at is null
    ) from api_keys order by created_at, name"""
API_KEY = "select * from api_keys where key_id = ?"
ROTATED_KEY = """select api_keys.key_id, api_keys.name, rotated_keys.hash, role, created_at, last_used_at, revoked_at,
        rotated_keys.expires_at
    from rotated_keys join api_keys on api_keys.name = rotated_keys.name where rotated_keys.key_id = ?"""


def unknown_api_key(name: str) -> dm.NotFoundError:
    """Return the error for an API key that is not there."""
    return dm.NotFoundError(f'no key "{name}"', hint=f"{dm.Step.KEYS} shows them")


class SqlApiAccess:
    """Implements `ports.ApiAccessStore` on the connections of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- keys

    def add_key(self, key: dm.ApiKey) -> None:
        if not self._write(ADD_KEY, (*key[:5], key.expires_at)):
            name_hint = "the audit log names its actors by it, so take another one, also after a key was revoked"
            raise dm.UsageError(f'there is a key "{key.name}" already', hint=name_hint)

    def keys(self) -> list[dm.ApiKey]:
        return [dm.ApiKey(*row) for row in self._database.read(API_KEYS, (dm.now(),))]

    def revoke(self, name: str) -> dm.ApiKey:
        revoke_statement = "update api_keys set revoked_at = coalesce(revoked_at, ?) where name = ? returning *"
        key_rows = self._write(revoke_statement, (dm.now(), name))
        if not key_rows:
            raise unknown_api_key(name)
        return dm.ApiKey(*key_rows[0])

    def rotate(self, new: dm.ApiKey, old_until: str) -> dm.ApiKey:
        def rotate_key(db: Db) -> dm.ApiKey:
            # An update locks the row, so that another rotation waits, and then finds the new key.
            key_rows = db.execute("update api_keys set name = name where name = ? returning *", (new.name,)).fetchall()
            if not key_rows:
                raise unknown_api_key(new.name)
            old = dm.ApiKey(*key_rows[0])
            if old.revoked_at:
                raise dm.UsageError(f'the key "{old.name}" was revoked', hint="make one of another name")
            db.execute("delete from rotated_keys where expires_at < ?", (dm.now(),))
            until, expires_at = min(old_until, old.expires_at or old_until), new.expires_at or old.expires_at
            db.execute("insert into rotated_keys values (?, ?, ?, ?)", (old.key_id, old.name, old.hash, until))
            replace = "update api_keys set key_id = ?, hash = ?, created_at = ?, expires_at = ? where name = ?"
            db.execute(replace, (new.key_id, new.hash, new.created_at, expires_at, new.name))
            return old._replace(key_id=new.key_id, hash=new.hash, created_at=new.created_at, expires_at=expires_at)

        return self._database.write(rotate_key)

    def key(self, key_id: str) -> dm.ApiKey | None:
        key_rows = self._database.read(API_KEY, (key_id,)) or self._database.read(ROTATED_KEY, (key_id,))
        return dm.ApiKey(*key_rows[0]) if key_rows else None

    def key_at_once(self, key_id: str) -> dm.ApiKey | None:
        key_rows = self._database.read_at_once(API_KEY, (key_id,))
        return dm.ApiKey(*key_rows[0]) if key_rows else None

    def touch(self, key_id: str) -> None:
        self._write("update api_keys set last_used_at = ? where key_id = ? returning 1", (dm.now(), key_id))

    # -- rate limits

    def permits(self, caller_id: str, tokens: int, per_minute: int, burst: int) -> float:
        asked_at, cost_seconds, burst_seconds = time.time(), tokens * 60.0 / per_minute, burst * 60.0 / per_minute
        permit_values = {"key_id": caller_id, "now": asked_at, "cost": cost_seconds, "burst": burst_seconds}
        if self._write(TAKE_PERMITS, permit_values):
            return 0.0
        full_at = self._database.read("select full_at from rate_limits where key_id = ?", (caller_id,))[0][0]
        return max(0.001, float(full_at) + cost_seconds - burst_seconds - asked_at)

    # -- repeated requests

    def open(self, caller_id: str, key: str, body_hash: str, seconds: float) -> dm.StoredResponse | None:
        stored_response = self._stored_response(caller_id, key)
        if stored_response is None or stored_response.status is None:
            began_at = time.time()

            def take_idempotency_key(db: Db) -> bool:
                db.execute("delete from idempotency where at < ?", (began_at - RESPONSE_KEPT_SECONDS,))
                key_values = (caller_id, key, body_hash, began_at + seconds, began_at)
                return db.execute(TAKE_IDEMPOTENCY_KEY, key_values).fetchone() is not None

            if self._database.write(take_idempotency_key):
                return None
            stored_response = self._stored_response(caller_id, key)
        # None if the other request just gave up: the caller retries.
        return stored_response or dm.StoredResponse(body_hash)

    def _stored_response(self, caller_id: str, key: str) -> dm.StoredResponse | None:
        response_query = "select body_hash, status, answer, ticket_id from idempotency where key_id = ? and key = ?"
        response_rows = self._database.read(response_query, (caller_id, key))
        return dm.StoredResponse(*response_rows[0]) if response_rows else None

    def close(self, caller_id: str, key: str, status: int, answer: str, ticket_id: str) -> None:
        def keep(db: Db) -> None:
            db.execute(LOCK_CHAIN)  # as who erases: either it finds the answer, or it is seen here
            db.execute(KEEP_RESPONSE, (status, answer, ticket_id, caller_id, key))
            if Tickets.erased(db, [ticket_id]):
                db.execute(ERASE_RESPONSES, {"ids": dm.compact([ticket_id])})

        self._database.write(keep)

    def renew(self, caller_id: str, key: str, seconds: float) -> None:
        renew = "update idempotency set lease_until = ? where key_id = ? and key = ? and status is null returning 1"
        self._write(renew, (time.time() + seconds, caller_id, key))

    def give_up(self, caller_id: str, key: str) -> None:
        free = "delete from idempotency where key_id = ? and key = ? and status is null returning 1"
        self._write(free, (caller_id, key))

    def hook_ticket(self, source: str, hook_id: str) -> str | None:
        hook_query = "select ticket_id from hook_ids where source = ? and hook_id = ?"
        hook_rows = self._database.read(hook_query, (source, hook_id))
        return hook_rows[0][0] if hook_rows else None

    def note_hook(self, source: str, hook_id: str, ticket_id: str) -> None:
        processed_at = time.time()

        def note_hook_id(db: Db) -> None:
            db.execute("delete from hook_ids where at < ?", (processed_at - HOOK_KEPT_SECONDS,))
            db.execute(RECORD_HOOK, (source, hook_id, processed_at, ticket_id))

        self._database.write(note_hook_id)

    # -- monitoring

    def ping(self) -> None:
        self._database.ping()

    def _write(self, sql: str, values: Any) -> list[Any]:
        return self._database.write(lambda db: db.execute(sql, values).fetchall())
