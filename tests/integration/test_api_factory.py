"""The application without our server: for a test client, or a server of one's own."""

from pathlib import Path

from starlette.testclient import TestClient

from triage_cli import api
from triage_cli.cli import user
from triage_cli.config import load_config
from triage_cli.service import KeyRing
from triage_cli.wiring import open_api_access, open_store


def test_the_application_works_in_a_test_client_over_a_database_of_its_own(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    made = api.app(db="own.db", env=env, cwd=tmp_path)
    store = open_store(load_config(db="own.db", env=env, cwd=tmp_path))
    key = KeyRing(store, open_api_access(store), user()).create("tester", "agent").key
    with TestClient(made, headers={"X-API-Key": key}) as client:
        assert client.get("/ready").json() == {"status": "ready"}
        created = client.post("/tickets", json={"subject": "Refund?", "description": "I was charged twice"})
        assert created.status_code == 201
        path = f"/tickets/{created.json()['ticket_id']}"
        assert client.post(f"{path}/classify").json()["classification"] == "Billing"
        assert client.get(path, headers={"X-API-Key": "changeme"}).status_code == 401
    again = api.app(db="own.db", env=env, cwd=tmp_path)  # a second one: `app` is a function still
    with TestClient(again, headers={"X-API-Key": key}) as client:
        assert client.get(path).json()["status"] == "classified"
