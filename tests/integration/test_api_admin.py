"""What an administrator does over HTTP: keys, erasure, the record of runs, proof of the audit log."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.extensions.server import RequestLimits
from triage_cli.ports import operations
from triage_cli.service import KeyRing, time_after
from triage_cli.wiring import open_api_access

ADMIN = [
    ("GET", "/keys"), ("POST", "/keys"), ("POST", "/keys/bot/rotate"), ("DELETE", "/keys/bot"),
    ("POST", "/forget"), ("GET", "/runs"), ("POST", "/audit/verify"),
    *(("POST", operations.PATH + name) for name, role in operations.ROLES.items() if role == "admin"),
]  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def admin(server: ApiServer) -> Iterator[httpx.Client]:
    with server.client("admin") as client:
        yield client


def opens(server: ApiServer, key: str) -> int:
    """Return the status of a request with this key."""
    return httpx.get(f"{server.url}/stats", headers={"X-API-Key": key}).status_code


def test_only_an_admin_may(server: ApiServer) -> None:
    bodies = {"/keys": {"name": "bot", "role": "admin"}, "/forget": {"customer_id": "C-9"}}
    for role in dm.ROLES[:-1]:
        with server.client(role) as client:
            for method, path in ADMIN:
                answer = client.request(method, path, json=bodies.get(path))
                assert (answer.status_code, answer.json()["code"]) == (403, "refused"), (role, path)
    assert len(rows(Path(server.config.database), "select * from api_keys")) == len(dm.ROLES)


def test_the_role_metrics_reads_the_metrics_alone(server: ApiServer) -> None:
    with server.client("metrics") as client:
        assert client.get("/metrics").status_code == 200
        assert [client.get(path).status_code for path in ("/stats", "/tickets", "/logs")] == [403] * 3


def test_a_key_is_made_listed_rotated_and_revoked_and_the_log_says_by_whom(
    server: ApiServer, admin: httpx.Client
) -> None:
    made = admin.post("/keys", json={"name": "bot", "role": "reader", "expires_in": 3600})
    assert (made.status_code, made.json()["role"]) == (201, "reader")
    first = made.json()["key"]
    assert opens(server, first) == 200
    assert admin.post("/keys", json={"name": "bot", "role": "reader"}).status_code == 422
    assert admin.post("/keys", json={"name": "bot\u001b", "role": "reader"}).status_code == 422
    listed = {key["name"]: key for key in admin.get("/keys").json()}
    assert listed["bot"]["expires_at"] > listed["bot"]["created_at"]
    assert first not in json.dumps(listed)
    second = admin.post("/keys/bot/rotate", json={"overlap": 3600}).json()["key"]
    assert [opens(server, key) for key in (first, second)] == [200, 200]
    third = admin.post("/keys/bot/rotate").json()["key"]
    assert [opens(server, key) for key in (first, second, third)] == [200, 401, 200]
    assert admin.delete("/keys/bot").json()["revoked_at"]
    assert [opens(server, key) for key in (first, second, third)] == [401, 401, 401]
    assert admin.post("/keys/bot/rotate").status_code == 422
    assert admin.post("/keys/nobody/rotate").status_code == 404
    events = [(e["action"], e["actor"]) for e in admin.get("/logs").json()]
    assert events == [
        ("key_created", "admin"), ("key_rotated", "admin"), ("key_rotated", "admin"), ("key_revoked", "admin"),
    ]  # fmt: skip


def test_a_key_that_has_expired_opens_nothing(server: ApiServer) -> None:
    ring = KeyRing(server.served.services.store, server.served.api_access, "tester")
    made = dm.api_keys.new_key()
    gone, hashed = made.text, dm.api_keys.digest(made.text)
    server.served.api_access.add_key(
        dm.ApiKey(made.key_id, "short", hashed, "reader", dm.times.now(), expires_at=dm.times.ago(1))
    )
    answer = httpx.get(f"{server.url}/stats", headers={"X-API-Key": gone})
    assert (answer.status_code, "expired" in answer.json()["detail"]) == (401, True)
    assert opens(server, ring.rotate("short", seconds=60.0).key) == 200


def test_no_key_is_made_that_has_expired_already(admin: httpx.Client) -> None:
    for seconds in (0, 0.001):
        assert admin.post("/keys", json={"name": "bot", "role": "reader", "expires_in": seconds}).status_code == 422
    assert admin.post("/keys", json={"name": "bot", "role": "reader"}).status_code == 201
    assert admin.post("/keys/bot/rotate", json={"expires_in": 0}).status_code == 422


def test_the_text_of_a_key_is_in_no_idempotency_record(server: ApiServer, admin: httpx.Client) -> None:
    made = admin.post("/keys", json={"name": "bot", "role": "reader"}, headers={"Idempotency-Key": "k-1"}).json()
    held = b"".join(path.read_bytes() for path in server.served_files())
    assert made["key"].encode() not in held


def test_a_request_is_repeated_after_its_key_was_rotated(server: ApiServer, admin: httpx.Client) -> None:
    """By a client that still has the old key, and by one that has the new one."""
    once = {"Idempotency-Key": "order-1"}
    with server.client("agent") as old:
        first = old.post("/tickets", json={"subject": "Refund?"}, headers=once)
        new = admin.post("/keys/agent/rotate", json={"overlap": 3600}).json()["key"]
        again = old.post("/tickets", json={"subject": "Refund?"}, headers=once)
        later = old.post("/tickets", json={"subject": "Refund?"}, headers=once | {"X-API-Key": new})
    assert [(each.status_code, each.text) for each in (again, later)] == [(201, first.text)] * 2
    assert len(admin.get("/tickets").json()) == 1


def test_a_person_is_forgotten_and_the_log_stays_whole(admin: httpx.Client) -> None:
    for number in range(3):
        admin.post("/tickets", json={"subject": f"My secret {number}", "customer_id": "C-9" if number else "C-1"})
    head = admin.get("/audit/head").json()
    lines = [json.loads(line) for line in admin.post("/forget", json={"customer_id": "C-9"}).text.splitlines()]
    assert [line.get("did") for line in lines] == ["forgotten", "forgotten", None]
    assert lines[-1]["end"] == {"forgotten": 2}
    assert [t["subject"] for t in admin.get("/tickets").json()] == [None, None, "My secret 0"]
    proof = admin.post("/audit/verify", json={"heads": [head["head"]]})
    assert (proof.status_code, proof.json()) == (200, admin.get("/audit/head").json())
    absent = admin.post("/audit/verify", json={"heads": ["0" * 63 + "1"]})
    assert (absent.status_code, absent.json()["code"]) == (409, "check_failed")
    runs = admin.get("/runs", params={"limit": 1}).json()
    assert [(run["kind"], run["actor"], run["counts"]) for run in runs] == [("forget", "admin", {"forgotten": 2})]


def test_any_store_keeps_a_rotated_key_until_its_time(world: World) -> None:
    gate = open_api_access(world.store)
    ring = KeyRing(world.store, gate, "tester")
    ring.create("bot", "agent", 3600.0)
    before = gate.keys()[0]
    ring.rotate("bot", overlap=7200.0)
    now, old = gate.keys()[0], gate.key(before.key_id)
    assert old is not None
    assert (old.key_id, old.hash, old.expires_at) == (now.key_id, before.hash, before.expires_at)
    assert (now.role, now.expires_at, now.hash != before.hash) == ("agent", before.expires_at, True)
    assert now.old_key_until == before.expires_at, "operators see how long a former key is still taken"
    ring.revoke("bot")
    assert gate.keys()[0].old_key_until is None
    revoked = gate.key(before.key_id)
    assert revoked is not None
    assert revoked.revoked_at
    with pytest.raises(dm.UsageError, match="revoked"):
        ring.rotate("bot")
    with pytest.raises(dm.NotFoundError):
        ring.rotate("nobody")
    with pytest.raises(dm.UsageError):
        time_after(1e18)


def test_rotations_at_the_same_time_come_one_after_another(world: World) -> None:
    gate = open_api_access(world.store)
    ring = KeyRing(world.store, gate, "tester")
    first = ring.create("bot", "agent").key
    with ThreadPoolExecutor(8) as pool:
        made = [first, *(key.key for key in pool.map(lambda _: ring.rotate("bot", 60.0), range(16)))]
    key_ids = [dm.api_keys.key_id_of(text) for text in made]
    assert len([key for key_id in key_ids if key_id and (key := gate.key(key_id))]) == 17


@pytest.mark.parametrize("name", ["", "a/b", " a", "a" * 81, "a\n", "oidc"])
def test_what_is_no_name_of_a_key_is_refused_in_the_same_words_there(server: ApiServer, cli: Cli, name: str) -> None:
    create = ("keys", "create", name, "--role", "reader")
    refused = cli(*create)
    assert (refused.returncode, refused.stdout) == (2, "")
    remote = cli("--remote", server.url, *create, TRIAGE_API_KEY=server.keys["admin"])
    assert (remote.returncode, remote.stdout, remote.stderr) == (2, "", refused.stderr)


SERVER_KEY = "canary-server-key-of-32-characters-or-more"


def test_a_server_key_is_an_admin_s_and_is_stored_nowhere(tmp_path: Path) -> None:
    env = {"TRIAGE_SERVER_KEY": f" {SERVER_KEY}\n"}
    with running_server(tmp_path, env=env, limits=RequestLimits(600, failed_keys=100_000)) as server:
        own = {"X-API-Key": SERVER_KEY}
        for _ in range(40):  # the event loop lets it in too, once this process has permits
            answer = httpx.get(f"{server.url}/stats", headers=own)
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"].startswith('"minute";q=600')
        made = httpx.post(f"{server.url}/keys", headers=own, json={"name": "ada", "role": "agent"})
        assert made.status_code == 201
        assert opens(server, made.json()["key"]) == 200
        names = [key["name"] for key in httpx.get(f"{server.url}/keys", headers=own).json()]
        assert sorted(names) == sorted([*dm.ROLES, "ada"])
        bearer = {"authorization": f"Bearer {SERVER_KEY}"}
        (event,) = httpx.get(f"{server.url}/logs?limit=1", headers=bearer).json()
        assert (event["action"], event["actor"]) == ("key_created", "TRIAGE_SERVER_KEY")
        for wrong in (SERVER_KEY[:-1], f"{SERVER_KEY}x", SERVER_KEY.upper(), ""):
            assert opens(server, wrong) == 401
        taken = {"name": "TRIAGE_SERVER_KEY", "role": "reader"}
        assert httpx.post(f"{server.url}/keys", headers=own, json=taken).status_code == 422
        key = {**own, "idempotency-key": "k"}
        first, again = (httpx.post(f"{server.url}/tickets", headers=key, json={"subject": "a"}) for _ in range(2))
        assert first.json() == again.json()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and b"canary" in path.read_bytes()] == []


@pytest.mark.parametrize("key", ["x" * 31, "ä" * 32, "two words, thirty-two characters"])
def test_a_server_key_that_could_be_guessed_or_not_sent_starts_no_server(cli: Cli, key: str) -> None:
    done = cli("serve", "--port", "0", "--workers", "2", TRIAGE_SERVER_KEY=key)
    assert done.returncode == 2
    assert "TRIAGE_SERVER_KEY opens everything, so it must have 32 characters or more, of ASCII" in done.stderr
    assert "take what openssl rand -hex 32 prints, or unset it" in done.stderr
    assert key not in done.stderr
