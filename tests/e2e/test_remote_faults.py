"""Faults between client and server of `--remote`: nothing finished is lost, and each failure is one sentence."""

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support import llm_server
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, is_whole, many, rows, until
from tests.support.llm_server import Asked, Step
from tests.support.remotes import RemoteCli

KEY = "trg_0000" + "x" * 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n\r\n"
LINES = HEAD % b"application/x-ndjson"
PROBLEM = b"HTTP/1.1 %d No\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n"
CREATED = (
    b'{"value":{"row":0,"action":"created","value":{"ticket_id":"x","identity":"i","external_id":null,"source":"s",'
    b'"content_hash":"h","subject":"a","description":null,"customer_id":null,"priority":null,"urgency":1,'
    b'"created_at":null,"stored_at":"2026-12-03T08:00:00.000Z","cost_usd":0.5,"verdict":0}}}\n'
)
END = b'{"end":{"created":1},"cost_usd":0,"met":[0,0]}\n'


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Answer every request with these bytes, and then close the connection."""
    listening_socket = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening_socket.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                _take(connection)
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening_socket.getsockname()[1]}"
    finally:
        listening_socket.shutdown(socket.SHUT_RDWR)
        listening_socket.close()
        thread.join(PATIENCE)


def _take(connection: socket.socket) -> None:
    """Read one request to its end."""
    came = b""
    while b"\r\n\r\n" not in came:
        piece = connection.recv(1 << 16)
        if not piece:
            return
        came += piece
    head, _, body = came.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            left = int(line.split(b":")[1]) - len(body)
            while left > 0 and (piece := connection.recv(1 << 16)):
                left -= len(piece)


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (LINES + CREATED + END, 0, ""),  # so that the rest is known to fail for its own reason
        (HEAD % b"text/html" + b"<html>log in</html>", 6, "does not understand: a page, not lines"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>", 6, "answered 502 Bad Gateway"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html>", 4, "answered 403 Forbidden"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", 2, "answered 404 Not Found, as no triage server does"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\nThe plain HTTP request was sent to HTTPS port", 2, "give --remote https://"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/in?to=/x\r\n\r\n", 2, "at http://evil.example/in;"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /triage/tickets\r\n\r\n", 2, "/triage/tickets; give --remote that"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[/\r\n\r\n", 2, "it is elsewhere, at no address"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 6, "broke off"),
        (b"", 6, "broke off"),
        (LINES, 6, "broke off its answer"),
        (LINES + CREATED, 6, "broke off its answer"),
        (LINES + CREATED[:100], 6, "broke off its answer"),
        (LINES + END, 6, "1 rows without an outcome"),
        (LINES + CREATED + b'{"end":{}}\n', 6, "an end without its numbers"),
        (LINES + b"nonsense\n", 6, "does not understand: no JSON"),
        (LINES + b"[1, 2]\n", 6, "a line that is no object"),
        (LINES + b'{"row":NaN}\n', 6, "the number NaN"),
        (LINES + b"[" * 100_000 + b"\n", 6, "no JSON"),
        (LINES + CREATED.replace(b'"x"', b"5"), 6, "Ticket without a proper ticket_id"),
        (LINES + b'{"value":{"row":"0","action":"created"}}\n', 6, "Outcome without a proper row"),
        (LINES + CREATED.replace(b'"a"', b"7"), 6, "Ticket without a proper subject"),
        (LINES + CREATED.replace(b'"verdict":0', b'"verdict":"yes"'), 6, "Ticket without a proper verdict"),
        (
            LINES + CREATED.replace(b'"cost_usd":0.5', b'"cost_usd":1' + b"0" * 400),
            6,
            "Ticket without a proper cost_usd",
        ),
        (LINES + b"x" * (17 << 20), 6, "a line without an end"),
        (LINES + b'{"problem":{"detail":"the money is gone","code":"budget","status":402}}\n', 7, "the money is gone"),
        (LINES + b'{"problem":{"detail":"new kind","code":"unheard-of","status":503}}\n', 6, "new kind"),
        (LINES + b'{"problem":{"detail":5}}\n', 6, "does not understand: no problem"),
        (PROBLEM % 401 + b'{"detail":"no such key","code":"unauthenticated"}', 4, "no such key"),
        (PROBLEM % 403 + b'{"detail":"a reader","code":"refused"}', 4, "a reader"),
        (PROBLEM % 422 + b'{"detail":"no table","code":"input","hint":"map it"}', 2, "no table; map it"),
        (PROBLEM % 500 + b'{"detail":"went wrong","code":"unexpected","status":500}', 1, "went wrong"),
        (PROBLEM % 500 + b'{"detail":"damaged","code":"database","hint":"restore it"}', 2, "damaged; restore it"),
        (PROBLEM % 500 + b"<html>", 6, "answered 500 No"),
        (PROBLEM % 422 + b'{"detail":"\\u001b[2Jcleared","code":"input"}', 2, "\\x1b[2Jcleared"),
    ],
)
def test_a_strange_answer_is_one_sentence(cli: Cli, answer: bytes, code: int, message: str) -> None:
    with answering(answer) as url:
        done = cli("--remote", url, "create", "-", stdin="subject\na\n", TRIAGE_API_KEY=KEY)
    stderr = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert message in stderr[-1]
    assert "\x1b" not in done.stderr
    assert len(stderr) == (2 if code == 0 else 3), "what was taken, the summary, and one sentence"


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (HEAD % b"text/html" + b"<html>log in</html>", 6, "no JSON"),
        (HEAD % b"application/json" + b'{"result": {"tickets": 1}}', 6, "Stats without all its fields"),
        (HEAD % b"application/json" + b'{"result": {"tickets": "many"}}', 6, "Stats without a proper tickets"),
        (HEAD % b"application/json" + b"[]", 6, "no object"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", 6, "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde", 6, "no JSON"),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 99999\r\nContent-Type: text/plain\r\n\r\n", 6, "answered 429"),
        (PROBLEM % 404 + b'{"detail":"no ticket \\"x\\"","code":"not_found"}', 5, 'no ticket "x"'),
        (
            PROBLEM % 404 + b'{"detail":"this server has no such path","code":"no_endpoint"}',
            2,
            "does not know /operations/stats",
        ),
        (
            PROBLEM % 401 + b'{"status":401,"detail":"no key %b","hint":"check %b"}' % (KEY.encode(), KEY.encode()),
            4,
            "no key ***",
        ),
        (b"HTTP/1.1 403 No %b\r\n\r\n" % KEY.encode(), 4, "answered 403 No ***"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", 6, "502 Bad Gateway; nothing was changed; try again in a moment"),
        (b"HTTP/1.1 302 No\r\nLocation: http://a:%b@x/%b\r\n\r\n" % (KEY.encode(), KEY.encode()), 2, "at http://x/***"),
    ],
)
def test_a_strange_page_is_one_sentence(cli: Cli, answer: bytes, code: int, message: str) -> None:
    with answering(answer) as url:
        done = cli("--remote", url, "stats", TRIAGE_API_KEY=KEY)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert message in done.stderr
    assert KEY not in done.stderr


def test_a_list_with_another_thing_in_it_is_one_sentence(cli: Cli) -> None:
    topic = b'{"name":"a","parent":"","words":["b",0],"tickets":1,"customers":1,"nearest":null,"examples":[]}'
    body = b'{"result":{"topics":[%b],"groups":[],"tickets":1,"vague":0,"far":0}}' % topic
    with answering(HEAD % b"application/json" + body) as url:
        done = cli("--remote", url, "discover", "-o", "table", TRIAGE_API_KEY=KEY)
    assert (done.returncode, done.stdout) == (6, ""), done.stderr
    assert "Topic without a proper words" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "env", "code", "message"),
    [
        ("--remote http://127.0.0.1:9 stats", {}, 6, "cannot reach 127.0.0.1:9: it refuses connections"),
        (
            "--remote https://no-such-host.invalid stats",
            {},
            6,
            "no-such-host.invalid: its name leads to no address",
        ),
        ("--remote http://127.0.0.1:9 stats", {"TRIAGE_API_KEY": ""}, 4, "takes a key; export TRIAGE_API_KEY"),
        ("--remote http://127.0.0.1:9 stats", {"TRIAGE_API_KEY": "tr\ng"}, 4, "holds no valid key"),
        ("--remote http://127.0.0.1:9 stats", {"TRIAGE_API_KEY": '{"key": "trg"}'}, 4, "the value of key alone"),
        ("--remote http://127.0.0.1:9 stats", {"TRIAGE_API_KEY": "schlüssel"}, 4, "holds no valid key"),
        ("--remote http://192.0.2.1 stats", {}, 2, "use https://, or --insecure"),
        ("--remote http://localhost.evil.example stats", {}, 2, "use https://, or --insecure"),
        ("--remote http://127.0.0.1.evil.example stats", {}, 2, "use https://, or --insecure"),
        ("--remote http://[::ffff:192.0.2.1]/ stats", {}, 2, "use https://, or --insecure"),
        ("--remote ftp://127.0.0.1 stats", {}, 2, ""),
        ("--remote https://a..b stats", {}, 2, "--remote: is not a valid URL"),
        (f"--remote https://{64 * 'a'}.example stats", {}, 2, "--remote: is not a valid URL"),
        ("--remote https://xn--0.example stats", {}, 2, "--remote: is not a valid URL"),
        ("--remote https://256.1.1.1 stats", {}, 2, "--remote: is not a valid URL"),
        ("--remote https://☃.example stats", {}, 2, "☃.example is no address"),
        ("--remote http://127.0.0.1:9/?x=1 stats", {}, 2, "an address with a query"),
        ("--remote http://127.0.0.1:9 --offline stats", {}, 2, "leave one of them out"),
        ("stats", {"TRIAGE_REMOTE": "http://127.0.0.1:9", "TRIAGE_OFFLINE": "1"}, 2, "leave one of them out"),
        ("--remote http://127.0.0.1:9 --db x.db stats", {}, 2, "both a database and a remote"),
        ("--remote http://127.0.0.1:9 classify --dry-run", {}, 2, "works on a database here only"),
        ("--remote http://127.0.0.1:9 route --dry-run", {}, 2, "works on a database here only"),
        ("--remote http://127.0.0.1:9 classify --batch", {}, 2, "works on a database here only"),
        ("--remote http://127.0.0.1:9 reclassify --batch", {}, 2, "works on a database here only"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(
    cli: Cli, args: str, env: dict[str, str], code: int, message: str
) -> None:
    done = cli(*args.split(), **{"TRIAGE_API_KEY": KEY, **env})
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert not cli.db.exists()


@pytest.mark.parametrize(
    "command",
    ["doctor", "db path", "db backup x.db", "config show", "config check", "serve"],
)
def test_a_command_that_no_remote_does_is_refused(cli: Cli, command: str) -> None:
    done = cli("--remote", "http://127.0.0.1:9", *command.split())
    assert done.returncode == 2
    assert "works on a database here" in done.stderr
    assert not cli.db.exists()


def test_a_remote_in_the_config_leaves_the_config_to_be_looked_at(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text("remote: http://127.0.0.1:9\n")
    assert cli("config", "check").returncode == 0
    assert cli("db", "path").returncode == 2  # of the database here, which no command uses now
    assert cli("doctor").returncode == 2
    assert cli("stats", TRIAGE_API_KEY=KEY).returncode == 6


def test_the_network_in_the_clear_must_be_meant(cli: Cli) -> None:
    refused = cli("--remote", "http://no-such-host.invalid", "stats", TRIAGE_API_KEY=KEY)
    meant = cli("--remote", "http://no-such-host.invalid", "stats", "--insecure", TRIAGE_API_KEY=KEY)
    assert (refused.returncode, meant.returncode) == (2, 6)
    assert "cannot reach" in meant.stderr


@contextmanager
def answering_once(answer: Callable[[str], bytes]) -> Iterator[str]:
    """Answer one request with what is made of our address, and take no connection from then on."""
    listening_socket = socket.create_server(("127.0.0.1", 0))  # keeps its port while it refuses connections
    url = f"http://127.0.0.1:{listening_socket.getsockname()[1]}"

    def serve() -> None:
        connection, _ = listening_socket.accept()
        listening_socket.shutdown(socket.SHUT_RDWR)  # before the answer, so that whoever has read it finds nobody
        with connection:
            _take(connection)
            connection.sendall(answer(url))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listening_socket:
        yield url
        thread.join(PATIENCE)


@pytest.mark.parametrize("at", ["{}/tickets?after=x", "https://[?after=x"])  # whose host is not looked at
def test_a_server_that_goes_between_two_requests_is_no_wrong_address(cli: Cli, at: str) -> None:
    """The moment of a server's end must not decide what the user is advised to do."""

    def page(url: str) -> bytes:
        head = f'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLink: <{at.format(url)}>; rel="next"\r\n'
        return head.encode() + b"Content-Length: 2\r\nConnection: close\r\n\r\n[]"

    with answering_once(page) as url:
        done = cli("--remote", url, "list", "--limit", "5", TRIAGE_API_KEY=KEY)
    assert done.returncode == 6
    assert "cannot reach" in done.stderr
    assert done.stderr.strip().endswith("nothing was changed; try again in a moment")


# -- kills


@pytest.fixture
def remote(tmp_path: Path, fitted_database: Path) -> Iterator[RemoteCli]:
    made = RemoteCli(tmp_path, fitted_database)
    try:
        yield made
    finally:
        made.close()


def test_a_server_that_is_killed_is_code_6_and_the_same_command_finishes_the_job(remote: RemoteCli) -> None:
    remote.serve()
    source = remote.folder / "in.csv"
    number = 6000
    # Rows without ids: they are known again by their content and their how-manieth occurrence, over all parcels.
    source.write_text("subject,description\n" + "refund,please refund my invoice\n" * number)
    with remote.start("run", "-o", "id", str(source)) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        printed_ids = {running.stdout.readline() for _ in range(100)}
        remote.end(signal.SIGKILL)
        printed_ids |= set(running.stdout)
        stderr = running.stderr.read().decode().splitlines()
    assert running.returncode == 6
    assert stderr[-1].startswith("error: ")
    assert stderr[-1].endswith("run the same command again")
    stored = {row[0] for row in rows(remote.db, "select ticket_id from tickets")}
    assert 100 <= len(printed_ids) < number
    assert {line.decode().strip() for line in printed_ids} <= stored
    remote.serve()
    done = remote("run", "-o", "id", str(source))
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.splitlines())) == number
    assert rows(remote.db, "select count(*), count(distinct identity) from tickets") == [(number, number)]
    remote("route", "-q")
    assert rows(remote.db, "select status, count(*) from tickets group by 1") == [("routed", number)]
    assert is_whole(remote.db)


def with_model(remote: RemoteCli, url: str, workers: int = 4) -> None:
    (remote.server.folder / "config.yaml").write_text(
        f"classifiers:\n  gpt: {{type: openai, model: m, base_url: {url}, api_key_env: TEST_KEY, workers: {workers},\n"
        "        max_retries: 0, price: {input: 1000, output: 1000}}\nclassifier: gpt\n"
    )
    remote.server.env["TEST_KEY"] = "sk-test"


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (("classify",), signal.SIGKILL),
        (("run", "-"), signal.SIGINT),
        pytest.param(("classify",), signal.SIGINT, marks=pytest.mark.long),
        pytest.param(("run", "-"), signal.SIGKILL, marks=pytest.mark.long),
    ],
)
def test_a_client_that_leaves_loses_nothing_that_the_server_finished(
    remote: RemoteCli, command: tuple[str, ...], number: signal.Signals
) -> None:
    """Every call that was made is paid for, so every answer is kept; and no new calls are made."""
    table = "id,subject\n" + "".join(f"{n},Where is invoice {n}?\n" for n in range(400))

    left = threading.Event()

    def slow(_n: int, _asked: Asked) -> Step:
        return Step(llm_server.chat(llm_server.verdict()), delay=0.0 if left.is_set() else 0.2)

    with llm_server.running_llm_server(slow) as model:
        with_model(remote, model.url)
        remote.serve()
        if command == ("classify",):
            assert remote("create", "-q", "-", stdin=table).returncode == 0
        with remote.start(*command, "-o", "jsonl") as running:
            assert running.stdin is not None
            assert running.stdout is not None
            if command != ("classify",):
                running.stdin.write(table.encode())
            running.stdin.close()
            running.stdin = None
            assert running.stdout.readline()
            running.send_signal(number)
        assert running.returncode == (130 if number == signal.SIGINT else -number)
        until(lambda: rows(remote.db, "select count(*) from runs where ended_at is null") == [(0,)], "the run's end")
        left.set()
        made = len(model.asked)
        assert made < 400, "no new work was taken"
        assert rows(remote.db, "select count(*) from classifications where category = 'Billing'") == [(made,)]
        assert is_whole(remote.db)
        again = remote(*command, "-q", stdin=table)
        assert again.returncode == 0, again.stderr
        assert len(model.asked) == 400, "nothing was asked twice"


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_row_is_printed_when_its_answer_has_come(remote: RemoteCli, where: str) -> None:
    printed = threading.Event()
    waited: list[bool] = []

    def held(n: int, _asked: Asked) -> Step:
        if n > 1:
            waited.append(printed.wait(PATIENCE))
        return Step(llm_server.chat(llm_server.verdict()), delay=0.1)

    with llm_server.running_llm_server(held) as model:
        with_model(remote, model.url, workers=1)
        remote.serve()
        cli = remote if where == "there" else remote.server
        with cli.start("run", "-", "-o", "csv") as running:
            assert running.stdin is not None
            assert running.stdout is not None
            running.stdin.write(many(4).encode())
            running.stdin.close()
            running.stdin = None
            assert running.stdout.readline().startswith(b"id,")
            assert running.stdout.readline().startswith(b"B-0,")
            printed.set()
            assert len(running.stdout.readlines()) == 3
        assert all(waited), "the others were answered only after it was seen"


def test_a_bound_on_cost_holds_over_all_parcels(remote: RemoteCli) -> None:
    with llm_server.running_llm_server() as model:
        with_model(remote, model.url)
        remote.serve()
        table = "id,subject\n" + "".join(f"{n},Where is invoice {n}?\n" for n in range(1500))
        done = remote("run", "-", "--max-cost", "60", "-q", stdin=table)
        assert done.returncode == 7, done.stderr
        assert "--max-cost" in done.stderr
        spent = rows(remote.db, "select sum(cost), count(*) from classifications")[0]
        assert len(model.asked) > 500, "it went beyond the first parcel"
        assert spent[0] <= 60
        assert spent[1] == len(model.asked)


def test_a_server_that_is_told_to_end_lets_the_client_know(remote: RemoteCli) -> None:
    remote.serve()
    source = remote.folder / "in.csv"
    source.write_text(many(8000))
    with remote.start("run", "-o", "id", str(source)) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline()
        assert remote.end(signal.SIGTERM) == 143
        printed_ids = set(running.stdout)
        stderr = running.stderr.read().decode()
    assert running.returncode == 6, stderr
    assert len(stderr.splitlines()) == 3
    stored = {row[0] for row in rows(remote.db, "select ticket_id from tickets")}
    assert {line.decode().strip() for line in printed_ids} <= stored
    assert rows(remote.db, "select count(*) from runs where ended_at is null") == [(0,)]


def test_logs_are_followed_over_a_remote(remote: RemoteCli) -> None:
    remote.serve()
    with remote.start("logs", "--follow") as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["action"] == "key_created"
        assert remote("create", "-q", "--subject", "one").returncode == 0
        assert json.loads(following.stdout.readline())["action"] == "created"
        assert remote("classify", "-q").returncode == 0
        assert json.loads(following.stdout.readline())["action"] == "classified"
        following.send_signal(signal.SIGINT)
    assert following.returncode == 130


def test_a_server_stays_as_large_as_it_is(remote: RemoteCli) -> None:
    """What a request leaves behind has cycles, and is not kept until millions of objects are."""

    def most() -> int:
        """Return the most memory that the server has had so far, in MB."""
        assert remote.process is not None
        status = Path(f"/proc/{remote.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) // 1024

    remote.serve()
    table = many(8000)
    peaks = []
    for number in range(4):
        assert remote("create", "-q", "--source", f"shop{number}", stdin=table).returncode == 0
        peaks.append(most())
    assert peaks[-1] - peaks[0] < 40, peaks
