"""Keys that are found without waiting: what the event loop may take from either store, and what it must not."""

import sqlite3
from collections.abc import MutableMapping
from contextlib import closing

import pytest

from tests.support.api_server import make_key
from tests.support.records import replace
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.extensions.server import Authenticator
from triage_cli.stores import SqlApiAccess, SqliteStore
from triage_cli.wiring import open_api_access


def used(keys: Authenticator, key: str) -> MutableMapping[str, str]:
    """Use a key once, so that its use is noted and this process has permits; return the headers."""
    headers: MutableMapping[str, str] = {}
    keys.admit(key, headers)
    return headers


def test_a_key_is_found_at_once_or_left_to_the_lookup_that_waits(world: World) -> None:
    gate = open_api_access(world.store)
    key = make_key(gate, "ada", "agent")
    keys = Authenticator(gate, per_minute=600)
    assert keys.admit_at_once(key, {}) is None  # its first use is to be noted
    used(keys, key)
    headers: MutableMapping[str, str] = {}
    caller = keys.admit_at_once(key, headers)
    if isinstance(world.store, SqliteStore):
        assert caller == keys.admit(key, {})
        assert headers["ratelimit"].startswith('"minute";r=28;')  # of a block of 30
    else:
        assert (caller, headers) == (None, {})


def test_what_is_no_good_key_is_never_let_in_at_once(world: World) -> None:
    gate = open_api_access(world.store)
    keys = Authenticator(gate, per_minute=None)
    revoked, expired = make_key(gate, "revoked", "agent"), make_key(gate, "expired", "agent")
    used(keys, revoked)
    used(keys, expired)
    gate.revoke("revoked")
    known = next(filter(lambda each: each.name == "expired", gate.keys()))
    new = replace(known, key_id=dm.api_keys.new_key().key_id, expires_at=dm.times.ago(1))
    gate.rotate(new, dm.times.ago(1))
    forged = f"{revoked[:20]}{'0' if revoked[20] != '0' else '1'}{revoked[21:]}"
    for credential in ("", "x", "a.b.c", forged, revoked, expired, dm.api_keys.new_key().text):
        assert keys.admit_at_once(credential, {}) is None
        with pytest.raises(dm.UnauthenticatedError):
            keys.admit(credential, {})


def test_a_key_without_permits_waits_its_turn(world: World) -> None:
    gate = open_api_access(world.store)
    key = make_key(gate, "ada", "agent")
    keys = Authenticator(gate, per_minute=2)
    used(keys, key)
    assert keys.admit_at_once(key, {}) is None  # the block of one permit is used
    used(keys, key)
    assert keys.admit_at_once(key, {}) is None
    with pytest.raises(dm.RateLimitedError):
        keys.admit(key, {})


@pytest.mark.sqlite
def test_a_writer_is_no_obstacle(world: World) -> None:
    gate = open_api_access(world.store)
    assert isinstance(gate, SqlApiAccess)
    key_id = dm.api_keys.key_id_of(make_key(gate, "ada", "agent"))
    assert key_id
    assert gate.key_at_once(key_id) == gate.key(key_id)
    with closing(sqlite3.connect(world.store.path, isolation_level=None)) as writer:
        writer.execute("begin immediate")
        found = gate.key_at_once(key_id)
        writer.execute("rollback")
    assert found == gate.key(key_id)
