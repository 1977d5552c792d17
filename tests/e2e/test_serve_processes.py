"""`triage serve`: several processes behind one port; two servers behind a gateway, restarted one after the other."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.cli import Cli
from tests.support.commands import rows, until
from tests.support.http_stub import HttpStub, Reply
from tests.support.serve_command import all_serve, children_of, is_serving, key_of, serve_command
from tests.support.token_server import ENV, token_server
from triage_cli.extensions.server import WorkerProcesses, open_socket, worker_processes

TICKET = {"subject": "Refund?", "description": "I was charged twice in May"}


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def total_memory(client: httpx.Client) -> float:
    found = re.search(r"^process_resident_memory_bytes (\S+)", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or ") Z" in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds child processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_several_processes_share_a_port_and_end_together(fitted: Cli, how: signal.Signals) -> None:
    key = key_of(fitted)
    with serve_command(fitted, "--workers", "2") as (process, url, log):
        with httpx.Client(base_url=url, headers={"X-API-Key": key}, trust_env=False, timeout=60) as client:
            ids = [client.post("/tickets?do=classify,route", json=TICKET).json()["ticket_id"] for _ in range(4)]
            numbers = client.get("/metrics").text
            until(lambda: total_memory(client) > 1.2 * max(map(resident, children_of(process))), "both are counted")
        assert 'triage_http_responses_total{status="201"} 4.0' in numbers  # whichever process answered them
        assert rows(fitted.db, "select count(*) from deliveries where state = 'accepted'") == [(len(ids),)]
        children = children_of(process)
        assert len(children) == 2
        until(lambda: all(map(is_serving, children)), "both serve")
        process.send_signal(how)
        assert process.wait(60) == (143 if how == signal.SIGTERM else -how)
        until(lambda: all(map(is_gone, children)), "they end with their parent")
    assert "Traceback" not in log()


def series(metrics_text: str) -> set[tuple[str, str]]:
    """Return the series of a page, which a strict reader takes: each metric is described once, each series there once.

    `prometheus_client` itself would take a second description.
    """
    described = [line.split()[2] for line in metrics_text.splitlines() if line.startswith("# HELP ")]
    assert len(described) == len(set(described))
    samples = [sample for family in text_string_to_metric_families(metrics_text) for sample in family.samples]
    found = [(sample.name, json.dumps(sample.labels, sort_keys=True)) for sample in samples]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds child processes in /proc")
def test_metrics_of_several_processes_are_read_strictly_and_one_that_is_killed_leaves_none(fitted: Cli) -> None:
    with serve_command(fitted, "--workers", "2") as (process, url, log):
        headers = {"X-API-Key": key_of(fitted)}

        def scraped() -> str:
            return httpx.get(f"{url}/metrics", headers=headers, trust_env=False, timeout=60).text

        def in_flight() -> float:
            return float(re.findall(r"^triage_http_requests_in_flight (\S+)", scraped(), re.MULTILINE)[0])

        until(lambda: all_serve(process, 2), "both serve")
        first = series(scraped())
        builds = [labels for name, labels in first if name == "triage_build_info"]
        assert len(builds) == 1
        assert not [name for name, labels in first if "pid" in json.loads(labels)]
        with closing(socket.create_connection((httpx.URL(url).host, httpx.URL(url).port))) as raw:
            raw.sendall(f"POST /tickets HTTP/1.1\r\nHost: x\r\nX-API-Key: {headers['X-API-Key']}\r\n".encode())
            raw.sendall(b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n")
            until(lambda: in_flight() == 2, "it waits for its body while another one asks")
            for child in children_of(process):  # whichever has it
                os.kill(child, signal.SIGKILL)
            until(lambda: log().count("is started again") == 2, "others take their places")
        until(lambda: in_flight() == 1, "what died with them is in flight no more")
        assert {s for s in series(scraped()) if s[0].startswith("triage_build")} == {("triage_build_info", builds[0])}


def test_several_processes_accept_no_connection_while_they_complete_what_is_in_flight(fitted: Cli) -> None:
    """It would be reset when the last of them ends; a gateway would have found another server."""
    key = key_of(fitted)
    with serve_command(fitted, "--workers", "2") as (process, url, _), closing(socket.socket()) as raw:
        address = httpx.URL(url).host, httpx.URL(url).port

        def is_refused() -> bool:
            try:
                socket.create_connection(address).close()
            except ConnectionRefusedError:
                return True
            return False

        raw.connect(address)
        body = json.dumps(TICKET).encode()
        head = f"POST /tickets HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
        raw.sendall(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 100")  # it reads the body
        process.send_signal(signal.SIGTERM)
        until(is_refused, "no process accepts connections")
        raw.sendall(body)
        assert raw.recv(10_000).startswith(b"HTTP/1.1 201")
        assert process.wait(60) == 143


def test_processes_that_cannot_serve_end_with_their_reason(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(
        "webhooks: {desk: {type: token, secret_env: NO_SUCH, header: X-T, fields: {subject: s}}}\n"
    )
    failed = fitted("serve", "--port", "0", "--workers", "2")
    assert failed.returncode == 2
    assert 'webhook "desk" needs the secret in NO_SUCH' in failed.stderr


def test_processes_that_end_before_they_serve_are_not_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_processes, "SHORTEST_LIFE", 0.0)  # a busy machine takes longer than that to refuse
    assert WorkerProcesses(open_socket("127.0.0.1", 0), ["no-such-command"], 2).serve_until_stopped() == 2
    assert caplog.messages == ["a worker process ended with 2 before it had served for 0 s, so the server ends"]


def test_a_process_that_is_killed_before_it_serves_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    processes = WorkerProcesses(open_socket("127.0.0.1", 0), ["serve"], 1)
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(processes.serve_until_stopped)
        until(lambda: processes._processes, "the process")
        (first,) = processes._processes
        first.kill()
        until(lambda: first not in processes._processes and processes._processes, "another one")
        processes.stop()
        assert serving.result(60) == 0
    assert caplog.messages == ["a worker process ended with -9 and is started again"]


def test_processes_run_no_module_that_lies_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can have put one there, and `triage` itself does not look there."""
    (tmp_path / "typer.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert WorkerProcesses(open_socket("127.0.0.1", 0), ["no-such-command"], 1).serve_until_stopped() == 2


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_a_rolling_restart_behind_a_gateway_loses_and_doubles_nothing(fitted: Cli) -> None:
    key = key_of(fitted)
    options = ("--drain", "1")
    with ExitStack() as running:
        servers = [running.enter_context(serve_command(fitted, *options)) for _ in range(2)]
        ports = [int(url.rpartition(":")[2]) for _, url, _ in servers]
        callers = Callers(running.enter_context(gateway(fitted.folder, ports)), key, 8)
        running.callback(callers.stop)
        callers.until_answered(100)
        for (process, _, _), port in zip(servers, ports, strict=True):
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 143
            callers.until_answered(100)  # by the other one
            running.enter_context(serve_command(fitted, *options, port=port))
            callers.until_answered(100)
        callers.stop()
    statuses = callers.statuses
    assert set(statuses) == {201}
    assert rows(fitted.db, "select count(*), count(distinct customer_id) from tickets") == [(len(statuses),) * 2]


class Callers:
    """Threads that post tickets, each its own, until they are stopped; `statuses` are those of the answers."""

    def __init__(self, url: str, key: str, number: int) -> None:
        self.statuses: list[int] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(url, key, n)) for n in range(number)]
        for thread in self._threads:
            thread.start()

    def _post(self, url: str, key: str, caller: int) -> None:
        with httpx.Client(base_url=url, headers={"X-API-Key": key}, trust_env=False, timeout=60) as client:
            for number in range(100_000):
                if self._stopping.is_set():
                    return
                answer = client.post("/tickets", json=TICKET | {"customer_id": f"{caller}-{number}"})
                self.statuses.append(answer.status_code)

    def until_answered(self, number: int) -> None:
        """Wait for so many further answers."""
        before = len(self.statuses)
        until(lambda: len(self.statuses) > before + number, "tickets are posted")

    def stop(self) -> None:
        """Stop after the requests that are on their way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def gateway(folder: Path, ports: list[int]) -> Iterator[str]:
    """Run nginx in front of two servers, and yield its URL."""
    with closing(open_socket("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    servers = "\n".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{ worker_connections 256; }}
        http {{
            access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
            uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
            upstream triage {{ {servers} keepalive 16; }}
            server {{
                listen {address};
                location / {{ proxy_pass http://triage; proxy_http_version 1.1; proxy_set_header Connection ""; }}
            }}
        }}
        """
    )
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        until((folder / "nginx.pid").exists, "the gateway listens")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def test_a_key_of_the_environment_opens_every_process_and_no_log_or_file_has_it_or_a_token(fitted: Cli) -> None:
    key = "canary-server-key-0123456789abcdef"
    with token_server() as tokens, closing(HttpStub()) as stub:
        stub.answer = lambda got: Reply(
            201 if tokens.accepts(got.headers["authorization"]) else 401, got.headers["authorization"]
        )
        destination = f"{{type: http, url: '{stub.root}', auth: {tokens.oauth2()}, allow_private: true}}"
        (fitted.folder / "config.yaml").write_text(f"destinations: {{desk: {destination}}}\nroutes: [{{to: desk}}]\n")
        fitted.env |= {**ENV, "TRIAGE_SERVER_KEY": key}
        with serve_command(fitted, "--workers", "2") as (_, url, log):
            assert "there is no key yet" not in log()
            for number in range(12):  # each over a connection of its own: either process may take it
                if number % 4 == 0:
                    tokens.expire()
                body = {"subject": f"I was charged twice, {number}"}
                made = httpx.post(f"{url}/tickets?do=classify,route", headers={"X-API-Key": key}, json=body, timeout=60)
                assert (made.status_code, made.json()["deliveries"][0]["state"]) == (201, "accepted"), made.text
            tokens.replies = [Reply(401, '{"error": "invalid_client"}')] * 9
            tokens.expire()
            held = httpx.post(
                f"{url}/tickets?do=classify,route", headers={"X-API-Key": key}, json={"subject": "I was charged twice"}
            )
            assert held.json()["problem"]["code"] == "refused"
            assert httpx.get(f"{url}/keys", headers={"Authorization": f"Bearer {key}"}).json() == []
        texts = [log(), held.text, *(path.read_bytes().decode("latin-1") for path in files_of(fitted))]
        assert [canary for canary in (key, *tokens.canaries) if any(canary in text for text in texts)] == []


def files_of(cli: Cli) -> list[Path]:
    return [path for path in cli.folder.rglob("*") if path.is_file()]
