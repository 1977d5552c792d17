"""Money under faults: whatever is killed, cut, sent again or lost, the bill stays below the limit, and in the books.

The provider bills a token for each byte of a request and all that an answer may have, also where its answer is lost.
"""

import json
import random
import re
import select
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import llm_server
from tests.support.api_server import running_server
from tests.support.batch_kinds import KINDS
from tests.support.batch_server import running_batch_server
from tests.support.billing_server import Till, configuration
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, is_whole, rows, until
from tests.support.online import ONLINE
from tests.support.remotes import RemoteCli
from triage_cli import domain as dm
from triage_cli.extensions.remote import RemoteTriage, checked_address, upload
from triage_cli.runtime import TOLERANCE

CALL = 0.0095  # USD: about what one question of these tests costs


def table(number: int, first: int = 0) -> str:
    return "id,subject\n" + "".join(f"{n},Where is the parcel {n} of mine?\n" for n in range(first, first + number))


def cost(cli: Cli) -> float:
    return float(json.loads(cli("stats", "-o", "json").stdout)["cost_usd"])


def killed(cli: Cli, till: Till, calls: int, *words: str, stdin: str = "") -> None:
    """Kill a command once it has made so many calls, unless it ends before."""
    (cli.folder / "stdin").write_text(stdin)
    before = till.calls
    with (cli.folder / "stdin").open("rb") as given, cli.start(*words, stdin=given) as process:
        until(lambda: till.calls >= before + calls or process.poll() is not None, "some calls")
        process.kill()


class CutConnections:
    """Passes connections on to a port, and cuts them whenever `when` says so, so many times."""

    def __init__(self, to: int, when: Callable[[], bool], cuts: int) -> None:
        self.made = 0
        self._to, self._when, self._cuts = to, when, cuts
        self._listening_socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening_socket.getsockname()[1]
        self._ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._listening_socket.shutdown(socket.SHUT_RDWR)
        self._listening_socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening_socket.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        with near, far, suppress(OSError):
            while not self._ended.is_set() and not self._cut():
                for one in select.select([near, far], [], [], 0.02)[0]:
                    if not (piece := one.recv(1 << 16)):
                        return
                    (far if one is near else near).sendall(piece)

    def _cut(self) -> bool:
        cut = self.made < self._cuts and self._when()
        self.made += cut
        return cut


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[RemoteCli]:
    with closing(RemoteCli(tmp_path)) as made:
        yield made


def test_a_limit_holds_however_often_a_parcel_is_sent_again_and_the_figure_is_true(remote: RemoteCli) -> None:
    limit = 40 * CALL
    with llm_server.running_llm_server(till := Till(delay=0.02)) as provider:
        (remote.server.folder / "config.yaml").write_text(configuration(provider.url))
        remote.serve()
        marks = iter((8, 16))
        mark = [next(marks)]

        def reached() -> bool:
            if till.calls < mark[0]:
                return False
            mark[0] = next(marks, 10**9)
            return True

        with closing(CutConnections(remote.port, reached, 2)) as between:
            remote.env["TRIAGE_REMOTE"] = f"http://127.0.0.1:{between.port}"
            done = remote("run", "-", "-q", "--max-cost", f"{limit:g}", stdin=table(120))
    assert between.made == 2
    assert done.returncode == 7, done.stderr
    assert till.usd - TOLERANCE <= limit
    amounts = re.search(r"limit of \$([0-9.]+) \(\$([0-9.]+) spent\)", done.stderr)
    assert amounts is not None, done.stderr
    assert float(amounts[1]) == pytest.approx(limit, rel=1e-3)
    assert float(amounts[2]) == pytest.approx(till.usd, rel=1e-3)
    assert till.calls > 25


def test_a_server_that_is_killed_knows_what_a_request_had_spent_when_it_comes_again(remote: RemoteCli) -> None:
    limit = 30 * CALL
    with llm_server.running_llm_server(till := Till(delay=0.05)) as provider:
        (remote.server.folder / "config.yaml").write_text(configuration(provider.url))
        headers = {"x-api-key": remote.env["TRIAGE_API_KEY"], "content-type": "text/csv", "idempotency-key": "the-same"}

        def send() -> list[dict[str, Any]]:
            url = f"http://127.0.0.1:{remote.port}/tickets/batch"
            query = {"do": "classify,route", "max_cost": f"{limit:g}"}
            answer = httpx.post(
                url, params=query, content=table(120), headers=headers, timeout=PATIENCE, trust_env=False
            )
            return [json.loads(line) for line in answer.text.splitlines()]

        for calls in (6, 14):
            remote.serve()
            with ThreadPoolExecutor(1) as pool:
                sent = pool.submit(send)
                until(lambda: till.calls >= calls, "some calls")  # noqa: B023 - waited for here
                remote.end(signal.SIGKILL)
                assert sent.exception(60) is not None
            rows_changed(remote, "update idempotency set lease_until = 0")  # half a minute later
        remote.serve()
        last = send()[-1]
    assert last["problem"]["code"] == "budget"
    assert till.usd - TOLERANCE <= last["cost_usd"] <= limit
    assert till.calls > 14
    assert is_whole(remote.db)


def rows_changed(cli: Cli, statement: str) -> None:
    with closing(sqlite3.connect(cli.db, timeout=30, isolation_level=None)) as db:
        db.execute(statement)


def test_all_parcels_of_a_command_share_its_limit_and_the_error_tells_of_all(
    tmp_path: Path, fitted_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "ROWS", 6)
    limit = 20 * CALL
    db = tmp_path / "t.db"
    db.write_bytes(fitted_database.read_bytes())
    with (
        llm_server.running_llm_server(till := Till()) as provider,
        running_server(tmp_path, config=configuration(provider.url), db=db) as server,
    ):
        triage = RemoteTriage(checked_address(server.url, server.keys["agent"], insecure=False), ONLINE)
        drafts = (dm.TicketDraft(n, n, f"Where is the parcel {n}?", external_id=str(n)) for n in range(60))
        with pytest.raises(dm.BudgetError) as caught:
            list(triage.run(drafts, dm.ClassifyPlan(max_cost=limit)))
        triage.close()
    assert till.calls > 12, "it went beyond two parcels"
    assert till.usd - TOLERANCE <= limit
    assert triage.spent == pytest.approx(till.usd)
    assert f"limit of ${limit:.4g} (${till.usd:.4g} spent)" in caught.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_batches_stay_within_the_budget_and_their_bill_is_booked_when_they_are_collected(
    tmp_path: Path, kind: str
) -> None:
    cli = Cli(tmp_path)
    with running_batch_server() as server:
        till = Till()
        url = server.url if kind == "openai" else server.root
        budget = 10 * CALL
        (cli.folder / "config.yaml").write_text(configuration(url, kind, f"budget: {{per_day: {budget:g}}}\n"))
        assert cli("create", "-q", stdin=table(60)).returncode == 0
        for _ in range(4):
            assert cli("classify", "--batch", "-q").returncode in (0, 7)
            assert cost(cli) == pytest.approx(till.usd), "what waits is set aside, and not spent"
            till.collect(server)
        cli("classify", "--batch", "-q", "--limit", "0")
    assert 0.5 * budget < till.usd - TOLERANCE <= budget
    assert cost(cli) == pytest.approx(till.usd)


# -- all of it, in any order


def history(cli: Cli, till: Till, seed: int, length: int) -> None:
    """Do so many things in an order of chance, some of which are killed on their way."""
    rng, born = random.Random(seed), 0
    (cli.folder / "labelled.csv").write_text(
        "subject,label\n" + "".join(f"An invoice {n},Billing\n" for n in range(30))
    )
    for _ in range(length):
        words, stdin = rng.choice(
            [
                ("classify -q", ""),
                ("classify -q --classifier both", ""),
                ("run - -q", "new"),
                ("run - -q --classifier both --workers 2", "new"),
                ("reclassify -q --classifier other --limit 5", ""),
                ("eval labelled.csv -q --classifier gpt", ""),
                ("doctor", ""),
            ]
        )
        if stdin:
            stdin, born = table(15, born), born + 15
        if rng.random() < 0.4:
            killed(cli, till, rng.randint(1, 6), *words.split(), stdin=stdin)
        else:
            done = cli(*words.split(), stdin=stdin)
            assert done.returncode in (0, 3, 6, 7, 8), (words, done.stderr)


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 12))])
def test_the_bill_never_passes_the_budget_of_a_day_and_is_all_in_the_books(fitted: Cli, seed: int) -> None:
    """Of what a killed command had in flight nobody knows whether it was billed: the books have it at its worst."""
    budget = 60 * CALL
    with llm_server.running_llm_server(till := Till(confidence=0.7, losing=9, delay=0.005)) as provider:
        settings = configuration(provider.url, more=f"budget: {{per_day: {budget:g}}}\n")
        (fitted.folder / "config.yaml").write_text(settings)
        assert fitted("create", "-q", stdin=table(10, 1000)).returncode == 0
        history(fitted, till, seed, 8 if seed == 1 else 30)
        assert till.usd - TOLERANCE <= budget
        assert till.usd - TOLERANCE <= cost(fitted) <= budget + 1e-9
        assert till.usd > 0.2 * budget
        assert rows(fitted.db, "select count(*) from runs where kind = 'doctor' and spent > 1") == [(0,)]
        assert is_whole(fitted.db)
