"""What an administrator does on another instance: the record of runs, keys over its own connection."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.forgotten_tickets import drafts
from tests.support.http_stub import HttpStub, Reply
from tests.support.online import ONLINE
from triage_cli import domain as dm
from triage_cli.extensions.remote import Address, RemoteKeyRing, RemoteTriage, remote_triage


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def remote(server: ApiServer) -> Iterator[RemoteTriage]:
    remote = RemoteTriage(Address(server.url, server.keys["admin"]), ONLINE)
    yield remote
    remote.close()


def test_runs_of_a_server_are_listed_as_its_own(server: ApiServer, remote: RemoteTriage) -> None:
    list(remote.create(drafts(2)))
    list(remote.forget("C-1"))
    store = server.served.services.store
    assert [dm.run_record(run) for run in remote.runs(None)] == [dm.run_record(run) for run in store.runs.latest(None)]
    assert [run.kind for run in remote.runs(1)] == ["forget"]
    assert list(remote.runs(0)) == []


def test_a_key_of_a_server_is_made_rotated_and_revoked(remote: RemoteTriage) -> None:
    ring = RemoteKeyRing(remote)
    first = ring.create("bot 1", "reader", 3600.0)
    assert (first.name, first.role) == ("bot 1", "reader")
    assert ring.rotate("bot 1", 60.0).key != first.key
    assert [key.name for key in ring.list()][-1] == "bot 1"
    assert ring.revoke("bot 1").revoked_at is not None
    with pytest.raises(dm.NotFoundError):
        ring.revoke("no/body")
    with pytest.raises(dm.UsageError, match="name"):
        ring.create("a:b", "reader")


def test_another_role_is_refused(server: ApiServer) -> None:
    remote = RemoteTriage(Address(server.url, server.keys["agent"]), ONLINE)
    try:
        for act in (RemoteKeyRing(remote).list, lambda: list(remote.runs(None)), lambda: list(remote.forget("C"))):
            with pytest.raises(dm.RefusedError, match="role"):
                act()
    finally:
        remote.close()


def test_a_server_verifies_its_log_and_names_what_is_missing(remote: RemoteTriage) -> None:
    list(remote.create(drafts(2)))
    assert remote_triage.verify(remote, {}) == remote.audit_head()
    with pytest.raises(dm.CheckError, match="the head of line 3 of heads is not in the log"):
        remote_triage.verify(remote, {"1" * 64: "of line 3 of heads"})


def test_a_server_is_asked_once_to_verify_its_log_and_waited_for() -> None:
    stub = HttpStub(lambda got: Reply(200, "{}") if got.method == "GET" else Reply(cut=-1))
    remote = RemoteTriage(Address(stub.root, "key"), ONLINE)
    try:
        remote.connection.get("/stats")
        with pytest.raises(dm.UnavailableError, match="broke off"):
            remote_triage.verify(remote, {})
        assert stub.calls == ["GET /stats", "POST /audit/verify"]
    finally:
        remote.close()
        stub.close()
