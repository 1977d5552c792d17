"""Operating a server: metrics, logs without ticket text, deliveries that fall due, a clean end."""

import json
import os
import re
import resource
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api_server import running_server
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows, until
from tests.support.pg_server import PgServer, sql
from triage_cli import __version__
from triage_cli.runtime import build_commit
from triage_cli.stores import WRITE_ROOM

LINE = re.compile(r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\.)*",?)+\})? [0-9.eE+-]+')


class Receiver(BaseHTTPRequestHandler):
    """Answers 500 until it is told to be well."""

    status = 500
    came: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).came.append(self.headers["webhook-id"])
        self.send_response(type(self).status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    class OwnReceiver(Receiver):
        came: list[str] = []  # noqa: RUF012 - one list a test

    server = ThreadingHTTPServer(("127.0.0.1", 0), OwnReceiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", OwnReceiver
    server.shutdown()
    server.server_close()


def test_numbers_are_in_prometheus_format(fitted: Cli) -> None:
    with running_server(fitted.folder, db=fitted.db) as server, server.client() as client:
        ticket_id = client.post("/tickets", json={"subject": "Refund, I was charged twice"}).json()["ticket_id"]
        client.post("/tickets", json={"subject": "waits"})
        client.post(f"/tickets/{ticket_id}/classify")
        client.post(f"/tickets/{ticket_id}/route")
        answer = client.get("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = answer.text.splitlines()
        assert all(line.startswith("# ") or LINE.fullmatch(line) for line in lines)
        for metrics in (
            'triage_database_tickets{status="new"} 1.0', 'triage_database_tickets{status="routed"} 1.0',
            'triage_database_deliveries{destination="Billing",state="accepted"} 1.0',
            'triage_database_answers{classifier="local"} 1.0', 'triage_database_cost_usd{classifier="local"} 0.0',
            'triage_database_answer_failures{classifier="local"} 0.0', "triage_http_requests_in_flight 1.0",
            'triage_classify_seconds_count{classifier="local"} 1.0', 'triage_http_responses_total{status="201"} 2.0',
            'triage_http_request_duration_seconds_count{method="POST",route="/tickets/{ticket_id}/route"} 1.0',
            f'triage_build_info{{commit="{build_commit() or ""}",version="{__version__}"}} 1.0',
        ):  # fmt: skip
            assert metrics in lines
        waited = next(line for line in lines if line.startswith("triage_database_oldest_new_seconds "))
        assert 0 < float(waited.split()[1]) < 60
        assert "triage_database_oldest_pending_delivery_seconds 0.0" in lines
        assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
        shown, alerted = (
            set(re.findall(r"(?:triage|process)_\w+", Path("deploy", name).read_text()))
            for name in ("grafana/triage.json", "triage.rules.yml")
        )
        assert alerted >= {f"triage_database_oldest_{what}_seconds" for what in ("to_review", "pending_delivery")}
        assert [name for name in alerted | shown if not any(line.startswith(name) for line in lines)] == []
        helps = [line for line in lines if line.startswith("# HELP triage_database_")]
        assert len(helps) == 8
        assert all(line.endswith("take max without(instance).") for line in helps)
        assert httpx.get(f"{server.url}/metrics").status_code == 401
    with running_server(fitted.folder, db=fitted.db, roles="-2") as server, server.client("metrics") as scraper:
        assert scraper.get("/metrics").status_code == 200
        assert scraper.get("/tickets").status_code == 403


def test_a_private_address_is_not_reached_unless_the_destination_allows_it(
    fitted: Cli, receiver: tuple[str, type[Receiver]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, came = receiver
    came.status = 200
    monkeypatch.setenv("HOOK", url)
    fitted.env["HOOK"] = url
    config = "destinations:\n  hook: {type: http, url_env: HOOK}\nroutes:\n  - {to: hook}\n"
    refused = "the address of hook leads to a private or special address, so serve sends nothing there"
    with running_server(fitted.folder, db=fitted.db, config=config) as server, server.client() as client:
        made = [
            client.post("/tickets?do=classify,route", json={"subject": f"Refund, I was charged twice: {n}"}).json()
            for n in range(3)
        ]
        assert (made[0]["problem"]["detail"], made[0]["ticket"]["status"]) == (refused, "routing")
        assert "allow_private: true" in made[0]["problem"]["hint"]
        sent = client.post(f"/tickets/{made[0]['ticket_id']}/route").json()
        explained = client.get(f"/tickets/{made[2]['ticket_id']}/why").json()["why"][-1]
        parked = next(
            float(line.split()[1])
            for line in client.get("/metrics").text.splitlines()
            if line.startswith("triage_database_oldest_pending_delivery_seconds ")
        )
        assert 0 < parked < PATIENCE
    assert explained.endswith(
        f". hook was not tried: {refused}; triage route on the command line sends it; or set allow_private: true under"
        " destinations."
    ), explained
    assert (sent["status"], came.came) == ("routing", [])
    assert rows(fitted.db, "select state, attempts, run_id from deliveries") == [("pending", 0, None)] * 3
    assert fitted("route", "-q").returncode == 0
    assert len(came.came) == 3
    assert "not tried" not in fitted("why", made[2]["ticket_id"]).stdout


def test_a_delivery_that_falls_due_is_sent(fitted: Cli, receiver: tuple[str, type[Receiver]]) -> None:
    url, came = receiver
    config = (
        f"destinations:\n  hook: {{type: webhook, url: {url}, allow_private: true, retry_schedule: [0.1]}}\n"
        "routes:\n  - {to: hook}\n"
    )
    with running_server(fitted.folder, db=fitted.db, config=config) as server, server.client() as client:
        made = client.post("/tickets", json={"subject": "Refund, I was charged twice"}).json()["ticket_id"]
        client.post(f"/tickets/{made}/classify")
        sent = client.post(f"/tickets/{made}/route").json()
        assert (sent["status"], sent["deliveries"][0]["last_status"]) == ("routing", 500)
        came.status = 200
        until(lambda: client.get(f"/tickets/{made}").json()["status"] == "routed", "it is delivered")
        assert client.get("/logs?actor=serve").json()[-1]["action"] == "delivered"
    assert len(set(came.came)) == 1


class Started:
    """`triage serve` in a process of its own: where it is, and the lines of its log once it has ended."""

    def __init__(self, cli: Cli, *options: str) -> None:
        self._log = cli.folder / "serve.log"
        with self._log.open("wb") as log:
            self.process = cli.start("serve", "--port", "0", *options, stdin=None, stdout=log, stderr=log)
        until(lambda: re.search(r"serving (\S+),", self._log.read_text()), "it serves")
        found = re.search(r"serving (\S+),", self._log.read_text())
        assert found
        self.url = found[1]

    @property
    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_when_what_is_in_flight_has_ended(fitted: Cli, number: int, code: int) -> None:
    key = json.loads(fitted("keys", "create", "ada", "--role", "agent").stdout)["key"]
    started = Started(fitted)
    process, url = started.process, started.url
    words = "an unmistakable sentence"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
        given = {"X-Request-Id": "my-id"}
        made = client.post("/tickets", json={"subject": words}, headers=given)
        assert (made.status_code, made.headers["x-request-id"]) == (201, "my-id")
        client.get("/tickets", params={"search": words})
        client.get("/tickets/%C2%9B31m%E2%80%AEgnp")  # codes that a terminal obeys, in UTF-8
        slow = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE)
        answers: list[int] = []

        def body() -> Iterator[bytes]:
            yield b'{"subject": '
            for _ in range(5):  # each is a turn of the server's loop; to accept a connection and read takes three
                client.get("/health")
            process.send_signal(number)
            until(lambda: refused(url), "it accepts nothing new")
            yield b'"late"}'

        json_type = {"content-type": "application/json"}
        answers.append(slow.post("/tickets", content=body(), headers=json_type).status_code)
        slow.close()
    assert process.wait(PATIENCE) == code
    assert answers == [201]
    assert rows(fitted.db, "select count(*) from tickets") == [(2,)]
    logged = [line for line in map(json.loads, started.lines) if "path" in line and line["path"] != "/health"]
    assert [(x["method"], x["path"], x["status"], x["actor"]) for x in logged] == [
        ("POST", "/tickets", 201, "ada"), ("GET", "/tickets", 200, "ada"),
        ("GET", "/tickets/\x9b31m\u202egnp", 404, "ada"), ("POST", "/tickets", 201, "ada"),
    ]  # fmt: skip
    assert all(line.isascii() for line in started.lines)
    assert logged[0]["request_id"] == "my-id"
    assert not any(words in line or key in line for line in started.lines)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_at_its_start_it_tells_what_it_does_not_send_and_that_nobody_has_a_key(cli: Cli, workers: str) -> None:
    (cli.folder / "config.yaml").write_text(
        "destinations: {hook: {type: webhook, url: 'http://127.0.0.1:9/hook'}}\nroutes: [{to: hook}]\n"
    )
    note = "note: there is no key yet; triage keys create NAME --role agent makes one"
    started = Started(cli, "--workers", workers)
    started.process.terminate()
    started.process.wait(PATIENCE)
    lines = [json.loads(line) for line in started.lines]
    assert [line["message"] for line in lines if line["message"].startswith("note: ")] == [note]
    assert [line["message"].partition(" is private, ")[0] for line in lines if line["level"] == "warning"] == [
        "destinations.hook: its address"
    ]
    assert cli("keys", "create", "ada", "--role", "agent").returncode == 0
    started = Started(cli, "--workers", workers)
    started.process.terminate()
    started.process.wait(PATIENCE)
    assert not any(note in line for line in started.lines)


def refused(url: str) -> bool:
    try:
        httpx.get(f"{url}/health", timeout=5)
    except httpx.TransportError:
        return True
    return False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--host", "0.0.0.0"), "--behind-proxy"),  # noqa: S104 - what must be refused
        (("--host", "::"), "--behind-proxy"),
        (("--host", "triage.example.com"), "--behind-proxy"),
        (("--ssl-keyfile", "k.pem"), "--ssl-certfile"),
        (("--ssl-certfile", "nothing.pem", "--ssl-keyfile", "k.pem"), "certificate"),
        (("--remote", "http://127.0.0.1:1"), "--remote"),
    ],
)
def test_it_does_not_serve_where_that_is_not_safe(cli: Cli, options: tuple[str, ...], message: str) -> None:
    done = cli("serve", "--port", "0", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_webhook_without_its_secret_stops_the_start(cli: Cli) -> None:
    hook = "webhooks:\n  desk: {type: standard, secret_env: DESK_SECRET, fields: {subject: title}}\n"
    (cli.folder / "config.yaml").write_text(hook)
    done = cli("serve", "--port", "0")
    assert (done.returncode, "export DESK_SECRET" in done.stderr) == (2, True)
    nothing_in_it = {"DESK_SECRET": "whsec_"}
    cut = cli("serve", "--port", "0", **nothing_in_it)
    assert (cut.returncode, 'webhook "desk": DESK_SECRET has nothing after whsec_' in cut.stderr) == (2, True)


def test_a_port_that_is_taken_is_told_so(cli: Cli) -> None:
    with running_server(cli.folder) as server:
        done = cli("serve", "--port", str(server.port))
    assert (done.returncode, "cannot listen" in done.stderr) == (2, True)


def test_it_speaks_https_with_a_certificate(fitted: Cli, tmp_path: Path) -> None:
    made = fitted.folder / "made.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made), "-out", str(tmp_path / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    started = Started(fitted, "--ssl-certfile", str(tmp_path / "cert.pem"), "--ssl-keyfile", str(made))
    try:
        assert started.url.startswith("https://127.0.0.1:")
        assert httpx.get(
            f"{started.url}/health", verify=ssl.create_default_context(cafile=tmp_path / "cert.pem")
        ).json() == {"status": "ok"}
    finally:
        started.process.terminate()
        assert started.process.wait(PATIENCE) == 143


def test_a_disk_that_refuses_writes_is_not_ready_until_there_is_room(fitted: Cli) -> None:
    """The limit on the size of the server's files stands in for the disk."""
    key = json.loads(fitted("keys", "create", "ada", "--role", "agent").stdout)["key"]
    started = Started(fitted)
    limit, none = (
        max(path.stat().st_size for path in fitted.db.parent.glob(f"{fitted.db.name}*")) + 100_000,
        resource.RLIM_INFINITY,
    )
    assert limit < WRITE_ROOM

    def stored(client: httpx.Client) -> int:
        return client.post("/tickets", json={"subject": "refund", "description": "charged twice " * 300}).status_code

    try:
        with httpx.Client(base_url=started.url, headers={"X-API-Key": key}, timeout=PATIENCE) as client:
            resource.prlimit(started.process.pid, resource.RLIMIT_FSIZE, (limit, none))
            assert client.get("/ready").status_code == 200, "nothing was refused yet"
            until(lambda: stored(client) == 503, "the disk is full")
            assert [client.get("/ready").status_code for _ in range(3)] == [503] * 3
            assert client.get("/health").status_code == 200
            assert "cannot write" not in client.get("/ready").text, "the path is in the log alone"
            resource.prlimit(started.process.pid, resource.RLIMIT_FSIZE, (none, none))
            assert (client.get("/ready").status_code, stored(client)) == (200, 201)
    finally:
        started.process.terminate()
        assert started.process.wait(PATIENCE) == 143
    assert "the log is whole" in fitted("audit", "verify").stderr


def test_a_database_that_hangs_or_is_down_is_told_before_a_probe_gives_up(
    tmp_path: Path, pg_server: PgServer, pg_url: str
) -> None:
    with running_server(tmp_path, db=pg_url) as running, running.client(timeout=10) as client:
        assert client.get("/ready").status_code == 200
        pids = [pid for (pid,) in sql(pg_url, "select pid from pg_stat_activity where application_name = 'triage'")]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            assert client.get("/ready").status_code == 503
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        pg_server.crash()
        try:
            assert client.get("/ready").status_code == 503
        finally:
            pg_server.start()
        until(lambda: client.get("/ready").status_code == 200, "the database")
