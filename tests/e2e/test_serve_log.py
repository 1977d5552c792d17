"""The log of `triage serve`: JSON to the last line, a reader that has stopped, and too few file descriptors."""

import fcntl
import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, until
from tests.support.serve_command import all_serve, children_of
from triage_cli.extensions.server import server_log

TICKET = {"subject": "Refund?", "description": "I was charged twice in May"}


@contextmanager
def served(cli: Cli, *options: str, **process_options: Any) -> Iterator[tuple["subprocess.Popen[bytes]", str, Path]]:
    """Yield the process of a server, its URL, and the file of its log."""
    cli.fresh = True
    log = cli.folder / "serve.log"
    with log.open("wb") as out:
        process = cli.start("serve", "--port", "0", *options, stdin=None, stdout=out, stderr=out, **process_options)
    try:
        until(lambda: re.search(r"serving \S+,", log.read_text()) or process.poll(), "it serves")
        yield process, re.findall(r"serving (\S+),", log.read_text())[0], log
    finally:
        process.terminate()
        process.wait(PATIENCE)


def connected(url: str) -> socket.socket:
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=PATIENCE)


def parsed(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, each of which must be an object with its time."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all("time" in line and ("message" in line or "path" in line) for line in lines)
    return lines


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_line_is_json_and_probes_that_succeed_have_none(cli: Cli, workers: str) -> None:
    (cli.folder / "config.yaml").write_text(
        "destinations: {hook: {type: webhook, url: 'http://127.0.0.1:9/hook'}}\nroutes: [{to: hook}]\n"
    )
    with served(cli, "--workers", workers) as (process, url, log):
        key = json.loads(cli("keys", "create", "ada", "--role", "agent").stdout)["key"]
        with httpx.Client(base_url=url, headers={"X-API-Key": key}, trust_env=False, timeout=PATIENCE) as client:
            answers = [client.get(path).status_code for path in ("/health", "/ready", "/metrics", "/tickets")]
        assert answers == [200] * 4
        assert httpx.get(f"{url}/metrics", trust_env=False, timeout=PATIENCE).status_code == 401
        with closing(connected(url)) as raw:
            raw.sendall(b"NO HTTP AT ALL\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 400")
        until(lambda: "Invalid HTTP" in log.read_text(), "its line is written")
        if workers == "2":
            os.kill(children_of(process)[0], signal.SIGKILL)
            until(lambda: "is started again" in log.read_text(), "another one takes its place")
            until(lambda: all_serve(process, 2), "it serves, too")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    lines = parsed(log)
    assert [(line["path"], line["status"]) for line in lines if "path" in line] == [
        ("/tickets", 200),
        ("/metrics", 401),
    ]
    said = {line["message"]: line for line in lines if "message" in line}
    assert said["Invalid HTTP request received."]["client"] == "127.0.0.1"
    assert said[next(message for message in said if "destinations.hook" in message)]["level"] == "warning"
    assert said[next(message for message in said if message.startswith("serving "))]["level"] == "info"
    assert any("there is no key yet" in message for message in said)


def test_a_reader_of_the_log_that_has_stopped_stops_neither_requests_nor_the_end(fitted: Cli) -> None:
    key = json.loads(fitted("keys", "create", "ada", "--role", "agent").stdout)["key"]
    fitted.fresh = True
    process = fitted.start("serve", "--port", "0", stdin=subprocess.DEVNULL)
    assert process.stderr is not None
    url = re.findall(r"serving (\S+),", process.stderr.readline().decode())[0]
    number = 600  # with 319 lines, a pipe of 64 KB was full
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, trust_env=False, timeout=PATIENCE) as client:
        assert {client.get("/stats").status_code for _ in range(number)} == {200}
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143
    process.communicate()


def test_it_takes_all_file_descriptors_that_it_may_have(cli: Cli) -> None:
    limits = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (120, 3000))  # noqa: E731
    with served(cli, preexec_fn=limits) as (process, _, _):
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (3000, 3000)


def test_idle_connections_leave_file_descriptors_to_others(cli: Cli) -> None:
    """Each had a descriptor; without one, no connection was accepted, and 4 MB of tracebacks a second were written."""
    limits = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))  # noqa: E731
    with served(cli, preexec_fn=limits) as (_, url, log), ExitStack() as idle:
        for _ in range(150):
            idle.enter_context(closing(connected(url)))
        for _ in range(3):
            assert httpx.get(f"{url}/ready", trust_env=False, timeout=PATIENCE).status_code == 200
        assert len(parsed(log)) < 20


def test_lines_that_nobody_reads_are_counted_and_told_once_somebody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_log, "MOST_WAITING", 100)
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "wb") as pipe:  # noqa: PTH123
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        writer = server_log.LogWriter(pipe, "{} left out".format)  # type: ignore[arg-type]
        monkeypatch.setattr(server_log, "FLUSH_SECONDS", 0.0)
        for number in range(1000):
            writer.handle(logging.makeLogRecord({"msg": f"line {number:090}"}))
        writer.flush()
        read, left_out = b"", 0
        while left_out + len(re.findall(rb"line \d{90}\n", read)) < 1000:
            read += os.read(reader.fileno(), 4096)
            left_out = sum(map(int, re.findall(rb"(\d+) left out\n", read)))
        assert left_out > 500
        monkeypatch.setattr(server_log, "FLUSH_SECONDS", PATIENCE)
        writer.handle(logging.makeLogRecord({"msg": "the last"}))
        writer.flush()
        assert os.read(reader.fileno(), 4096) == b"the last\n", "nothing is told twice"
