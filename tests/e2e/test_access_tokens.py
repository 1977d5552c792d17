"""Access tokens by the command line: one that expires loses and doubles nothing, and none is shown or kept."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.http_stub import Got, HttpStub, Reply
from tests.support.token_server import ENV, TokenServer, classified, deliveries, token_server

PAGE = 20  # items of a page of the list


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server() as server:
        yield server


@pytest.fixture
def stub() -> Iterator[HttpStub]:
    stub = HttpStub()
    yield stub
    stub.close()


def configure(cli: Cli, stub: HttpStub, auth: str, more: str = "") -> None:
    """Let every ticket go to a destination with this `auth`, and a source be read with it."""
    (cli.folder / "config.yaml").write_text(f"""
database: {cli.db}
destinations:
  graph: {{type: http, url: "{stub.root}/mail", auth: {auth}, body: {{id: "{{{{ ticket.external_id }}}}"}}{more}}}
sources:
  desk:
    type: http
    url: {stub.root}/list
    auth: {auth}
    items: data
    next: {{page: page, size: {PAGE}, most: 1}}
    query: {{since: "{{{{ cursor }}}}"}}
    cursor: {{field: at, start: 2026-11-01}}
    fields: {{external_id: id, subject: subject}}
routes: [{{to: graph}}]
""")
    (cli.folder / "config.yaml").chmod(0o600)
    cli.env |= ENV


def test_a_token_that_expires_amid_500_deliveries_loses_and_doubles_none_and_is_had_once(
    fitted: Cli, stub: HttpStub, tokens: TokenServer
) -> None:
    number, expires_at, accepted = 500, 200, Counter[str]()
    arrivals = count(1)

    def take(got: Got) -> Reply:
        if next(arrivals) == expires_at:
            tokens.expire()
        if not tokens.accepts(got.headers["authorization"]):
            return Reply(401, f"expired: {got.headers['authorization']}")
        with stub.lock:
            accepted[got.json["id"]] += 1
        return Reply(201)

    stub.answer = take
    configure(fitted, stub, tokens.oauth2())
    classified(fitted, number)
    done = fitted("route", "-v")
    assert done.returncode == 0, done.stderr
    assert (len(accepted), set(accepted.values())) == (number, {1})
    assert tokens.asked == 2, "all workers wait for one new token"
    refused = [got for got in stub.got if got.headers["authorization"].endswith("-1")]
    assert len(stub.got) - number <= 16, "each worker is refused once at most"
    assert refused
    assert deliveries(fitted) == {("accepted", 1): number}
    assert_nothing_shows(fitted, tokens, [done.stdout, done.stderr])


def test_a_token_that_expires_amid_a_pull_loses_and_doubles_no_ticket(
    fitted: Cli, stub: HttpStub, tokens: TokenServer
) -> None:
    items = [{"id": n, "subject": f"Refund {n}", "at": f"2026-11-02T{n // 60:02}:{n % 60:02}:00Z"} for n in range(100)]
    arrivals = count(1)

    def listed(got: Got) -> Reply:
        if next(arrivals) == 4:
            tokens.expire()
        if not tokens.accepts(got.headers["authorization"]):
            return Reply(401)
        since = got.path.partition("since=")[2].replace("%3A", ":")[:19]
        page = [item for item in items if str(item["at"])[:19] >= since][:PAGE]
        return Reply(200, json.dumps({"data": page}))

    stub.answer = listed
    configure(fitted, stub, tokens.oauth2("send: basic"))
    done = fitted("pull")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "desk: 100 created, 0 updated, 0 unchanged, 0 rejected"
    assert tokens.asked == 2
    assert_nothing_shows(fitted, tokens, [done.stdout, done.stderr])


NO_TOKEN = [
    # what the token server answers, the exit code, and what is said
    (Reply(429, headers={"retry-after": "1"}), 6, "answered 429; try later"),
    (Reply(503), 6, "answered 503; try later"),
    (Reply(cut=-1), 6, "cannot be reached: it gave no HTTP answer; try later"),
    (Reply(401, '{"error": "invalid_client"}'), 4,
     ("refuses the client (401, invalid_client); check what CLIENT_ID and CLIENT_SECRET hold, token_url, scope, and "
     "send: basic or body")),
    (Reply(400, '{"error": "unauthorized_client", "error_description": "needs consent"}'), 4,
     ("refuses the client (400, unauthorized_client: needs consent); where it wants a refresh token or a person's "
     "consent, bearer_command runs a program of yours that has it and prints a token")),
    (Reply(400, '{"error": "invalid_request", "error_description": "refresh_token is missing"}'), 4, "bearer_command"),
    (Reply(403, "<html>no</html>"), 4, "refuses the client (403); check what CLIENT_ID"),
    (Reply(404, "<html>no</html>"), 4, "gives no tokens at this address (404); check token_url"),
    (Reply(302, headers={"location": "https://elsewhere.example/t?canary-token"}), 4,
     "redirects to https://elsewhere.example/t, which is not followed; name in token_url where it leads"),
    (Reply(200, "<html>Log in</html>"), 4, "answered 200 without a bearer token; check token_url"),
    (Reply(200, '{"access_token": "canary-token with blanks"}'), 4, "answered 200 without a bearer token"),
    (Reply(200, '{"access_token": "canary-token-x", "token_type": "mac"}'), 4, "answered 200 without a bearer token"),
    (Reply(200, '{"access_token": "' + "x" * 20_000 + '"}'), 4, "answered 200 without a bearer token"),
    (Reply(200, "[" * 60_000), 4, "answered 200 without a bearer token"),
    (Reply(200, '{"access_token": "canary-token-x"' + " " * 200_000), 4, "answered 200 without a bearer token"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "code", "said"), NO_TOKEN)
def test_a_token_that_cannot_be_had_costs_no_attempt_and_the_next_route_delivers(
    fitted: Cli, stub: HttpStub, tokens: TokenServer, reply: Reply, code: int, said: str
) -> None:
    tokens.replies = [reply] * 3
    stub.answer = lambda got: Reply(201 if tokens.accepts(got.headers["authorization"]) else 401)
    configure(fitted, stub, tokens.oauth2())
    classified(fitted, 40)
    done = fitted("route")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert stub.got == []
    assert tokens.asked == 1, "what could not be had is not asked for again at once"
    assert deliveries(fitted) == {("pending", 0): 40}
    assert_nothing_shows(fitted, tokens, [done.stdout, done.stderr])
    tokens.replies = []
    assert fitted("route").returncode == 0
    assert deliveries(fitted) == {("accepted", 1): 40}


def test_a_new_token_that_is_refused_too_ends_with_4_and_costs_no_attempt(
    fitted: Cli, stub: HttpStub, tokens: TokenServer
) -> None:
    stub.answer = lambda got: Reply(401, f"audience? {got.headers['authorization']}")
    configure(fitted, stub, tokens.oauth2("scope: mail"))
    classified(fitted, 60)
    done = fitted("route")
    assert done.returncode == 4, done.stderr
    assert "graph refuses a new token of the token server 127.0.0.1" in done.stderr
    assert "check what the token is for (scope, audience), and what CLIENT_ID and CLIENT_SECRET hold" in done.stderr
    assert deliveries(fitted) == {("pending", 0): 60}
    assert len(stub.got) <= 64, "the rest waits"
    assert tokens.asked <= 4
    pulled = fitted("pull")
    assert pulled.returncode == 4
    assert 'source "desk" refuses a new token' in pulled.stderr
    assert_nothing_shows(fitted, tokens, [done.stderr, pulled.stderr])


def test_a_pull_waits_for_a_token_server_that_is_busy(fitted: Cli, stub: HttpStub, tokens: TokenServer) -> None:
    tokens.replies = [Reply(429, headers={"retry-after": "0.05"})]
    stub.answer = lambda _: Reply(200, '{"data": []}')
    configure(fitted, stub, tokens.oauth2())
    done = fitted("pull", "--deadline", "60s")
    assert done.returncode == 0, done.stderr
    assert tokens.asked == 2


def test_the_doctor_gets_a_token_and_sends_nothing(fitted: Cli, stub: HttpStub, tokens: TokenServer) -> None:
    stub.answer = lambda got: Reply(200 if tokens.accepts(got.headers["authorization"]) else 401, '{"data": []}')
    configure(fitted, stub, tokens.oauth2())
    said = {record["what"]: record["said"] for record in map(json.loads, fitted("doctor").stdout.splitlines())}
    assert f"with a token of the token server {tokens.url.split('/')[2]}" in said["destination graph"]
    assert "answers with a list of 0 items" in said["source desk"]
    assert [got.method for got in stub.got] == ["GET"]
    stub.answer = lambda got: Reply(401 if got.path == "/mail" else 200, '{"data": []}')
    classified(fitted, 1)
    assert fitted("route").returncode == 4
    done = fitted("doctor")
    graph = next(check for check in map(json.loads, done.stdout.splitlines()) if check["what"] == "destination graph")
    assert (done.returncode, graph["works"], graph["next"]) == (0, None, "triage doctor --send graph")
    assert "; not asked; 1 pending delivery: graph refuses a new token" in graph["said"]
    tokens.replies = [Reply(401, '{"error": "invalid_client"}')] * 2
    done = fitted("doctor")
    assert done.returncode == 8
    assert done.stdout.count("refuses the client (401, invalid_client)") == 2


def test_what_a_receiver_repeats_of_a_token_is_hidden(fitted: Cli, stub: HttpStub, tokens: TokenServer) -> None:
    stub.answer = lambda got: Reply(422, f"bad header: {got.headers['authorization']}")
    configure(fitted, stub, tokens.oauth2("send: basic"), ", keep: {token: token}")
    classified(fitted, 1)
    outputs = [fitted("route", "-v").stderr]
    outputs += [fitted(*line.split()).stdout for line in ("why T-0", "show T-0 -o json", "route --dry-run", "logs")]
    assert "bad header: Bearer ***" in outputs[1]
    stub.answer = lambda got: Reply(200, json.dumps({"token": got.headers["authorization"]}))
    outputs += [fitted("route", "T-0", "--retry-dead").stderr, fitted("why", "T-0").stdout]
    assert '"token":"Bearer ***"' in outputs[-1]
    dry = fitted("route", "T-0", "--again", "--dry-run").stdout
    assert "authorization: Bearer ***" in dry
    assert_nothing_shows(fitted, tokens, [*outputs, dry])


def assert_nothing_shows(cli: Cli, tokens: TokenServer, outputs: list[str]) -> None:
    """Scan outputs, records, the database and every file of the folder for secrets and tokens."""
    outputs = [*outputs, *(cli(*line.split()).stdout for line in ("logs -o json", "runs -o json", "config show"))]
    with closing(sqlite3.connect(cli.db)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    files = [path.read_bytes() for path in Path(cli.folder).rglob("*") if path.is_file()]
    canaries = tokens.canaries
    assert [canary for canary in canaries if any(canary in text for text in outputs)] == []
    assert [canary for canary in canaries if any(canary.encode() in data for data in files)] == []


COMMAND = """#!/bin/sh
echo run >> runs
test "$VAULT" = canary-vault || exit 3
test -z "$TRIAGE_API_KEY" || exit 4
head -1 token
echo more than one line; echo canary-token-on-stderr >&2
"""


@pytest.fixture
def program(fitted: Cli) -> Path:
    """A program that prints what stands in the file `token`."""
    path = fitted.folder / "token.sh"
    path.write_text(COMMAND)
    path.chmod(0o700)
    fitted.env |= {"VAULT": "canary-vault", "TRIAGE_API_KEY": "canary-key"}
    return path


BY_COMMAND = "{bearer_command: [./token.sh], env: [VAULT]}"


def test_a_command_prints_a_token_once_and_again_after_it_was_refused(
    fitted: Cli, stub: HttpStub, tokens: TokenServer, program: Path
) -> None:
    arrivals = count(1)

    def take(got: Got) -> Reply:
        if next(arrivals) == 30:
            tokens.expire()
            (fitted.folder / "token").write_text("canary-token-b\n")
            tokens.allow("canary-token-b")
        return Reply(201 if tokens.accepts(got.headers["authorization"]) else 401)

    stub.answer = take
    (fitted.folder / "token").write_text("canary-token-a\n")
    tokens.allow("canary-token-a")
    configure(fitted, stub, BY_COMMAND)
    classified(fitted, 100)
    done = fitted("route")
    assert done.returncode == 0, done.stderr
    assert deliveries(fitted) == {("accepted", 1): 100}
    assert (fitted.folder / "runs").read_text() == "run\n" * 2
    (fitted.folder / "token").unlink()
    program.unlink()
    assert_nothing_shows(fitted, tokens, [done.stdout, done.stderr])


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "token.sh exited with 3 instead of a token; run it by itself"),
        ("true", "token.sh printed no token in its first line; run it by itself; nothing else may be printed first"),
        ("echo; echo canary-token-x", "printed no token in its first line"),
        ("echo 'Your token: canary-token-x'", "printed no token in its first line"),
        ("yes canary-token | tr -d '\\n' | head -c 1000000", "printed no token in its first line"),
    ],
)
def test_a_command_without_a_token_costs_no_attempt(
    fitted: Cli, stub: HttpStub, tokens: TokenServer, program: Path, script: str, said: str
) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    configure(fitted, stub, BY_COMMAND)
    classified(fitted, 2)
    done = fitted("route")
    assert (done.returncode, stub.got) == (4, [])
    assert said in done.stderr
    assert deliveries(fitted) == {("pending", 0): 2}
    assert "canary" not in done.stderr
    program.unlink()
    missing = fitted("route").stderr
    assert "cannot run" in missing
    assert "No such file or directory; check its path and its rights" in missing
    del fitted.env["VAULT"]
    unset = fitted("route")
    assert unset.returncode == 2
    assert 'destination "graph" needs the secret in VAULT, which is not set; export VAULT' in unset.stderr
    assert tokens.asked == 0


def test_a_command_runs_only_from_a_file_that_others_cannot_write(fitted: Cli, stub: HttpStub, program: Path) -> None:
    configure(fitted, stub, BY_COMMAND)
    (fitted.folder / "config.yaml").chmod(0o666)
    done = fitted("--config", "config.yaml", "route")
    assert done.returncode == 2
    said = "destinations.graph.auth.bearer_command: commands run only from a file that others cannot write"
    assert said in done.stderr
    assert "sources.desk.auth.bearer_command: commands run only" in done.stderr
    assert not (program.parent / "runs").exists()
