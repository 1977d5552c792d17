"""Offline: what waits, what is refused, and what goes on when the network is switched on again."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.caught_connections import VARIABLE
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, until
from tests.support.fake_destination import FakeDestination
from tests.support.online import ONLINE
from tests.support.pg_server import PgServer
from tests.support.webhook_receiver import Receiver, target
from tests.support.world import CATEGORIES, World
from triage_cli import domain as dm
from triage_cli.extensions.http import WebhookDestination
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.runtime import Network, is_local
from triage_cli.service import LocalTriage, RoutingMap

ROOT = Path(__file__).parents[2]
TICKETS = "id,subject,description\n" + "".join(f"T-{n},Refund,I was charged twice on invoice {n}\n" for n in range(3))


def configured(cli: Cli, receiver: Receiver, more: str = "", to: str = "hook") -> None:
    (cli.folder / "config.yaml").write_text(
        f"destinations:\n  hook: {{type: webhook, url: '{receiver.url}', max_attempts: 1}}\n{more}"
        f"routes: [{{to: [{to}]}}]\n"
    )


def records(cli: Cli, *args: str, **env: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cli(*args, **env).stdout.splitlines()]


def test_a_delivery_to_a_webhook_waits_and_is_named_so(fitted: Cli, receiver: Receiver) -> None:
    configured(fitted, receiver)
    done = fitted("run", "-", "-o", "jsonl", "--offline", stdin=TICKETS)
    assert done.returncode == 0
    stderr = done.stderr.splitlines()
    assert "3 created, 0 updated, 0 unchanged, 0 rejected; 0 routed, 0 need review, 0 failed, 3 pending" in stderr
    assert stderr[-1] == "offline: 3 deliveries wait for the network (hook 3)"
    assert any(line.startswith("pending: offline, so hook waits; triage route delivers it") for line in stderr)
    assert {json.loads(line)["triage_error"] for line in done.stdout.splitlines()} == {"offline, so hook waits"}
    again = fitted("route", "--offline")
    assert (again.returncode, again.stdout) == (0, "")
    assert "offline: 3 deliveries wait for the network (hook 3)" in again.stderr
    assert fitted("route", "-q", "--offline").stderr == ""
    shown = json.loads(fitted("show", "T-1").stdout)
    assert (shown["status"], [d["attempts"] for d in shown["deliveries"]]) == ("routing", [0])
    assert receiver.got == []
    assert fitted("route", "-q").returncode == 0
    assert len(receiver.got) == 3
    assert {ticket["status"] for ticket in records(fitted, "list")} == {"routed"}


def test_why_says_that_it_waits(fitted: Cli, receiver: Receiver) -> None:
    configured(fitted, receiver)
    assert fitted("run", "-", "-q", "--offline", stdin=TICKETS).returncode == 0
    now = fitted("why", "T-1", "--offline").stdout
    assert "; offline, so hook waited" in now
    assert "Next: hook waits until the network is on again (offline now); then triage route delivers what is due" in now
    later = fitted("why", "T-1").stdout
    assert "; offline, so hook waited" in later
    assert "Next: triage route delivers what is due (hook, due at" in later


def test_files_and_commands_get_theirs_though_a_webhook_waits(fitted: Cli, receiver: Receiver) -> None:
    more = "  kept: {type: file, path: kept.jsonl}\n  page: {type: command, run: [sh, -c, cat >> paged.jsonl]}\n"
    configured(fitted, receiver, more, "hook, kept, page")
    assert fitted("run", "-", "-q", "--offline", stdin=TICKETS).returncode == 0
    for name in ("kept.jsonl", "paged.jsonl"):
        assert (fitted.folder / name).read_text().count("\n") == 3
    assert {ticket["status"] for ticket in records(fitted, "list")} == {"routing"}
    assert fitted("route", "-q").returncode == 0
    assert len(receiver.got) == 3
    assert (fitted.folder / "kept.jsonl").read_text().count("\n") == 3


def test_what_fails_beside_a_webhook_that_waits_is_what_is_told(fitted: Cli, receiver: Receiver) -> None:
    configured(fitted, receiver, "  page: {type: command, run: ['false'], max_attempts: 1}\n", "hook, page")
    done = fitted("run", "-", "--offline", stdin=TICKETS)
    assert done.returncode == 0, "what waits for the network keeps the ticket on its way"
    assert "pending: false exited with 1" in done.stderr


def standing(world: World, outcome: dm.Outcome[dm.Routed]) -> dict[str, tuple[str, int]]:
    """Return by destination how a ticket's deliveries stand, and after how many attempts."""
    found = world.store.deliveries.of([outcome.ticket.ticket_id])[outcome.ticket.ticket_id]
    return {delivery.destination: (delivery.state, delivery.attempts) for delivery in found}


def test_route_stays_for_other_destinations_than_those_that_wait(world: World, receiver: Receiver) -> None:
    """A file that fails once is tried again while `route` stays, however long a webhook has been due."""
    world.destinations["hook"] = WebhookDestination(target(receiver.url), Network(offline=True))

    page = FakeDestination("page", lambda _: dm.DeliveryError("not now") if len(page.got) == 1 else None)
    page.schedule = (0.05,)
    world.destinations["page"] = page
    rules = (dm.Rule("r", ("hook", "page"), {}),)
    routing_map = RoutingMap(rules, "m", lambda name: world.destinations[name], offline=frozenset({"hook"}))
    services = world.services()._replace(categories=CATEGORIES, routing_map=routing_map)
    triage = LocalTriage(services, "tester", "test")
    list(triage.create([dm.TicketDraft(0, 2, "refund", external_id="1")]))
    list(triage.classify(dm.Selection(), dm.ClassifyPlan()))
    (outcome,) = triage.route(dm.Selection(), dm.RoutePlan(stay=15.0))
    assert isinstance(outcome.error, dm.OfflineError)
    assert len(page.got) == 2
    states = {
        d.destination: (d.state, d.attempts)
        for d in next(iter(world.store.deliveries.of([outcome.ticket.ticket_id]).values()))
    }
    assert states == {"hook": ("pending", 0), "page": ("accepted", 2)}
    named = triage.route(dm.Selection(ids=(outcome.ticket.ticket_id,)), dm.RoutePlan(stay=15.0))
    assert [type(o.error) for o in named] == [dm.OfflineError]
    assert receiver.got == []


def test_a_refusal_by_the_network_module_costs_no_attempt(world: World, receiver: Receiver) -> None:
    """Should a map not say that a destination waits, the connection is refused all the same, and nothing is counted."""
    world.destinations["hook"] = WebhookDestination(target(receiver.url), Network(offline=True))
    world.rules = (dm.Rule("r", ("hook",), {}),)
    triage = world.triage()
    list(triage.create([dm.TicketDraft(0, 2, "refund", external_id="1")]))
    list(triage.classify(dm.Selection(), dm.ClassifyPlan()))
    (outcome,) = triage.route(dm.Selection(), dm.RoutePlan())
    assert isinstance(outcome.error, dm.UsageError)
    assert [
        (d.state, d.attempts) for d in world.store.deliveries.of([outcome.ticket.ticket_id])[outcome.ticket.ticket_id]
    ] == [("pending", 0)]
    assert receiver.got == []


def test_a_server_that_is_offline_answers_and_its_webhooks_wait(fitted: Cli, receiver: Receiver) -> None:
    configured(fitted, receiver)
    key = json.loads(fitted("keys", "create", "ada", "--role", "agent", "-o", "json").stdout)["key"]
    caught, site = fitted.folder / "caught.txt", fitted.folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "from tests.support import caught_connections\n\ncaught_connections.at_start()\n"
    )
    fitted.env |= {VARIABLE: str(caught), "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    log = fitted.folder / "serve.log"
    with log.open("wb") as log_file:
        process = fitted.start(
            "serve", "--offline", "--port", "0", stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file
        )
    try:
        until(lambda: b"serving " in log.read_bytes() or process.poll(), "the server")
        root = log.read_text().partition("serving ")[2].partition(",")[0]
        with httpx.Client(base_url=root, headers={"X-API-Key": key}, trust_env=False, timeout=PATIENCE) as client:
            made = client.post("/tickets", json={"subject": "Refund", "description": "I was charged twice"}).json()
            ticket = f"/tickets/{made['ticket_id']}"
            client.post(f"{ticket}/classify", json={}).raise_for_status()
            routed = client.post(f"{ticket}/route", json={})
            assert (routed.status_code, routed.json()["status"]) == (200, "routing")
            assert "hook waits until the network is on again" in client.get(f"{ticket}/why").text
            lines = client.post(
                "/route", json={"selection": {"ids": [made["ticket_id"]]}, "plan": {}}
            ).text.splitlines()
            assert json.loads(lines[0])["error"]["code"] == "offline"
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 143
    assert not caught.exists(), caught.read_text()
    assert receiver.got == []


def test_a_postgresql_server_is_used_by_a_socket_of_this_machine_and_refused_over_tcp(cli: Cli, pg_url: str) -> None:
    assert cli("--offline", "--db", pg_url, "create", "-q", "--subject", "x").returncode == 0
    assert json.loads(cli("--offline", "--db", pg_url, "stats", "-o", "json").stdout)["tickets"] == 1
    for args in ("list", "stats", "create --subject x", "audit verify", "db path", "doctor"):
        done = cli("--offline", "--db", "postgresql://u:secret@127.0.0.1:9/d", *args.split())
        assert done.returncode in (2, 8), done.stderr
        assert "needs the network, and --offline switches it off" in done.stderr + done.stdout or args == "db path"
        assert "secret" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("url", "env", "local"),
    [
        ("postgresql:///d", {}, True),
        ("postgresql:///d?host=/run/pg", {}, True),
        ("postgresql://%2Frun%2Fpg/d", {}, True),
        ("postgresql:///d", {"PGHOST": "/run/pg"}, True),
        ("postgresql://127.0.0.1/d", {}, False),
        ("postgresql://localhost/d", {}, False),
        ("postgresql:///d?host=/run/pg,db.example", {}, False),
        ("postgresql:///d?host=/run/pg&hostaddr=192.0.2.1", {}, False),
        ("postgresql:///d", {"PGHOST": "db.example"}, False),
        ("postgresql:///d?host=/run/pg", {"PGHOSTADDR": "192.0.2.1"}, False),
        ("postgresql:///d", {"PGSERVICE": "shop"}, False),
        ("postgresql:///d?service=shop", {}, False),
    ],
)
def test_what_is_over_the_network_is_known(
    monkeypatch: pytest.MonkeyPatch, url: str, env: dict[str, str], local: bool
) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert is_local(url) == local
    if not local:
        with pytest.raises(dm.UsageError, match="--offline"):
            PostgresStore(url, network=Network(offline=True))


def test_a_move_to_a_server_is_refused_before_anything_is_read(fitted: Cli, pg_server: PgServer) -> None:
    assert fitted("create", "-q", "--subject", "x").returncode == 0
    assert fitted("db", "copy", "postgresql://u@127.0.0.1:9/d", "--offline").returncode == 2
    assert fitted("db", "copy", pg_server.database(), "--offline", "-q").returncode == 0


def test_online_a_webhook_is_sent(receiver: Receiver) -> None:
    with ONLINE.http_client("a server", "http://a.example", proxies=False) as client:
        assert client.post(receiver.url, content=b"{}").status_code == 200
    ONLINE.check("anything")
    ONLINE.check_postgres("postgresql://u@db.example/d", "a database")
    assert ONLINE.resolve("127.0.0.1", 80) == ["127.0.0.1"]
