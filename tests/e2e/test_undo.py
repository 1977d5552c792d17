"""`triage undo` as a person, a script and a nightly job meet it: what it asks, what it says, and kills at any step."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import USER, Cli
from tests.support.commands import TICKETS, is_whole, on_terminal, rows
from tests.support.helpdesk import Helpdesk
from tests.support.pg_server import PgServer
from tests.support.pg_server import sql as pg_sql
from tests.support.remotes import RemoteCli
from tests.support.typed_terminal import Typist
from triage_cli.extensions.postgres import tables as postgres_tables

KNOWN = "id,subject,description\n" + "".join(f"K-{n},known {n},a question of its own\n" for n in range(20))


def wrong_row(n: int) -> str:
    return f"W-{n},CANARY{n:04}S refund,please refund invoice CANARY{n:04}D,CANARY{n:04}C,CANARY{n:04}E\n"


def wrong_file(number: int) -> str:
    """Return a file that makes so many tickets and changes three that were there before."""
    changed = "".join(f"K-{n},known {n},a question of its own and more,,\n" for n in range(3))
    return "id,subject,description,customer_id,shop\n" + "".join(map(wrong_row, range(number))) + changed


def last_run(cli: Cli, kind: str = "create") -> str:
    return cli("runs", "--kind", kind, "--limit", "1", "-o", "id").stdout.strip()


def test_a_script_names_the_run_and_gets_an_exit_code_for_each_mistake(cli: Cli) -> None:
    assert cli("undo", "last", "--yes").returncode == 2, "there is no database"
    none = cli("undo", "last", "--dry-run")
    assert (none.returncode, f"{USER} has imported nothing here" in none.stderr) == (5, True)
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    assert cli("verdict", "-", "-q", stdin="ticket_id,category\nA-1,Billing\nA-2,Billing\n").returncode == 0
    for words, code, said in (
        ((), 2, "no run is given; triage runs lists them; triage undo last takes back your last import"),
        (("--yes",), 2, "no run is given"),
        (("01a216f8",), 5, 'no run "01a216f8"; triage runs lists them with their ids'),
        ((last_run(cli, "verdict"),), 2, "is no import, but triage verdict"),
        (("last", "--columns", "nope"), 2, "nope"),
    ):
        done = cli("undo", *words, "--yes")
        assert (done.returncode, done.stdout, said in done.stderr) == (code, "", True), done.stderr
    would = cli("undo", "last", "--dry-run")
    assert would.stderr == "1 would be withdrawn, 2 kept (2 decided by a person)\n"
    assert Counter(json.loads(line)["did"] for line in would.stdout.splitlines()) == {"decided": 2, "withdrawn": 1}
    done = cli("undo", last_run(cli)[-8:], "--yes")
    assert (done.returncode, done.stderr) == (0, "1 withdrawn, 2 kept (2 decided by a person)\n")
    assert json.loads(cli("runs", "last", "-o", "json").stdout)["counts"] == {"decided": 2, "withdrawn": 1}
    assert cli("undo", "last", "-q", "--yes").stdout == ""
    assert cli("audit", "verify", "-q").returncode == 0


def test_an_import_that_made_nothing_points_at_the_one_whose_tickets_are_there(cli: Cli) -> None:
    """As after a kill: the run that was begun anew finds all tickets stored."""
    for _ in range(2):
        assert cli("create", "-q", stdin=TICKETS).returncode == 0
    first, second = cli("runs", "-o", "id").stdout.split()[::-1]
    done = cli("undo", "last", "--dry-run")
    assert f"; those of import {first[-8:]} are there: triage undo {first[-8:]} --dry-run shows them\n" in done.stderr
    assert cli("undo", first, "--yes").stderr == "3 withdrawn\n"
    assert cli("undo", second, "--yes").stderr.endswith("it made none, or they are withdrawn already\n")


def test_on_a_terminal_it_offers_the_last_import_and_asks(fitted: Cli) -> None:
    assert fitted("run", "-", "-q", stdin=TICKETS).returncode == 0
    before = rows(fitted.db, "select * from tickets")
    question = "this takes back 3 tickets for good; go on? [y/N] "
    typist = Typist(fitted, "undo", columns=120)
    typist.sees(question)
    shown = typist.shown
    assert f"import {last_run(fitted, 'run')[-8:]}, " in shown
    assert "(local time): run - -q; 3 created" in shown
    assert "3 would be withdrawn" in shown
    typist.types("n\r", see="nothing was taken back")
    assert (typist.ends(), rows(fitted.db, "select * from tickets")) == (0, before)
    typist = Typist(fitted, "undo", columns=120)
    typist.sees(question)
    typist.types("y\r", see="3 withdrawn")
    assert typist.ends() == 0
    assert rows(fitted.db, "select status, count(subject) from tickets group by 1") == [("withdrawn", 0)]
    nothing = on_terminal(fitted.folder, fitted.env, "undo")
    assert (nothing.code, "go on?" in nothing.text) == (0, False)
    assert "note: no ticket of this import is left" in nothing.text


def test_with_yes_it_does_not_ask_and_a_table_has_what_stays(fitted: Cli) -> None:
    assert fitted("create", "-", "-q", stdin=TICKETS).returncode == 0
    assert fitted("verdict", "A-2", "Billing", "-q").returncode == 0
    done = on_terminal(fitted.folder, fitted.env, "undo", "last", "--yes")
    assert (done.code, "go on?" in done.text) == (0, False)
    assert "2 withdrawn, 1 kept (1 decided by a person)" in done.text
    assert ("A-2" in done.text, "A-1" in done.text) == (True, False)


def test_several_files_of_one_command_are_one_import(cli: Cli) -> None:
    for n in range(2):
        (cli.folder / f"{n}.csv").write_text(f"id,subject\n{n},text {n}\n")
    assert cli("create", "-q", "0.csv", "1.csv").returncode == 0
    assert cli("undo", last_run(cli), "-q", "--yes").returncode == 0
    assert rows(cli.db, "select status, count(*) from tickets group by 1") == [("withdrawn", 2)]


def test_what_was_pulled_comes_back_only_with_full(cli: Cli) -> None:
    with closing(Helpdesk(25)) as desk:
        (cli.folder / "config.yaml").write_text(json.dumps({"sources": {"shop": desk.source()}}))
        assert cli("pull", "-q").returncode == 0
        assert cli("undo", "last", "--yes").stderr == "25 withdrawn\n"
        assert cli("pull").stderr == "shop: 1 created, 0 updated, 0 unchanged, 0 rejected\n", "the list overlaps by one"
        assert cli("pull", "--full").stderr == "shop: 24 created, 0 updated, 1 unchanged, 0 rejected\n"


def test_an_upload_of_many_requests_is_one_import(tmp_path: Path, fitted_database: Path) -> None:
    remote = RemoteCli(tmp_path, fitted_database).serve()
    try:
        assert remote("create", "-q", stdin=wrong_file(1200)).returncode == 0
        assert rows(remote.db, "select count(*), count(distinct import_id) from runs where served = 1") == [(3, 1)]
        assert remote("undo", "last", "--yes").stderr == "1,203 withdrawn\n"
        assert remote("list", "-o", "id").stdout == ""
        assert is_whole(remote.db)
    finally:
        remote.close()
    assert b"CANARY" not in b"".join(path.read_bytes() for path in remote.db.parent.glob("*.db*"))


STEPS = ("SqliteStore.save", "sys.modules[SqlStore.__module__].erase_texts", "SqliteStore.scrub")


def test_over_a_remote_an_agent_takes_back_twice(tmp_path: Path, fitted_database: Path) -> None:
    """The list of runs, in which an administrator is shown another import, is not for agents."""
    cli = RemoteCli(tmp_path, fitted_database)
    made = cli.server("keys", "create", "bob", "--role", "agent", "-o", "json")
    cli.env["TRIAGE_API_KEY"] = json.loads(made.stdout)["key"]
    cli.serve()
    try:
        assert cli("create", "-q", stdin="id,subject\n1,refund\n").returncode == 0
        assert cli("undo", "last", "-q", "--yes").returncode == 0
        again = cli("undo", "last", "--yes")
        assert (again.returncode, again.stderr.splitlines()[0]) == (0, "0 withdrawn")
        assert "note: no ticket of this import is left" in again.stderr
    finally:
        cli.close()


def test_killed_at_any_step_it_is_finished_by_the_same_command(cli: Cli) -> None:
    """Before the tickets are written, while they are, and before the file is rewritten."""
    assert cli("create", "-q", stdin=KNOWN).returncode == 0
    known = rows(cli.db, "select * from tickets where external_id > 'K-2' order by 1")
    assert cli("create", "-q", stdin=wrong_file(50)).returncode == 0
    for step in STEPS:
        code = (
            "import os, sys\n"
            "from triage_cli.stores import SqliteStore, SqlStore\n"
            f"{step} = lambda *args, **kwargs: os.kill(os.getpid(), 9)\n"
            "sys.argv = ['triage', 'undo', 'last', '-q', '--yes']\n"
            "from triage_cli.__main__ import main\nmain()\n"
        )
        done = subprocess.run([sys.executable, "-c", code], env=cli.env, cwd=cli.folder, check=False)
        assert done.returncode == -signal.SIGKILL
        assert is_whole(cli.db)
        whole = rows(cli.db, "select status, count(subject), count(*) from tickets where subject is null or "
                             "subject like 'CANARY%' group by 1")  # fmt: skip
        assert whole in ([("new", 50, 50)], [("withdrawn", 0, 50)]), "all of a ticket is there, or nothing"
    assert cli("undo", "last", "--yes").returncode == 0
    assert rows(cli.db, "select status, count(*) from tickets group by 1") == [("new", 20), ("withdrawn", 50)]
    assert rows(cli.db, "select * from tickets where external_id > 'K-2' order by 1") == known
    assert b"CANARY" not in b"".join(path.read_bytes() for path in cli.db.parent.glob("*.db*"))
    assert cli("audit", "verify", "-q").returncode == 0


# -- the campaign: kills at random moments, after a part was routed, decided, and changed by a later import

KILLS = 30
DECIDED, REWRITTEN = range(5), range(5, 10)
KEPT_TABLES = {"tickets": "ticket_id", "classifications": "ticket_id", "deliveries": "ticket_id"}


class Place:
    """A database with a wrong import, here or behind a server, to be copied for each round."""

    def __init__(self, folder: Path, number: int, *, pg_server: PgServer | None, remote: bool) -> None:
        self.number, self._pg_server, self._remote = number, pg_server, remote
        self.cli: Cli = RemoteCli(folder) if remote else Cli(folder)
        self.server = self.cli.server if isinstance(self.cli, RemoteCli) else self.cli
        self._url = ""
        if pg_server is not None:
            self._use(pg_server.database(like=pg_server.template))
            if remote:
                made = self.server("keys", "create", USER, "--role", "admin", "-o", "json")
                self.cli.env["TRIAGE_API_KEY"] = json.loads(made.stdout)["key"]
        with self.served():
            self._prepare()
        self._saved = folder / "saved.db"
        if pg_server is None:
            assert self.server("db", "backup", str(self._saved)).returncode == 0
        self._template = self._url
        self.kept = self._kept_ids()
        self.before = self.kept_rows()

    def _use(self, url: str) -> None:
        self._url = self.server.env["TRIAGE_DB"] = url

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve the database for a while, if it is behind a server."""
        if not isinstance(self.cli, RemoteCli):
            yield
            return
        self.cli.serve()
        yield
        self.cli.end()

    def _prepare(self) -> None:
        def done(*words: str, stdin: str = "") -> str:
            ended = self.cli(*words, stdin=stdin)
            assert ended.returncode == 0, (words, ended.stderr)
            return ended.stdout

        done("create", "-q", stdin=KNOWN)
        done("create", "-q", stdin=wrong_file(self.number))
        self.run = next(
            r["run_id"] for r in map(json.loads, done("runs").splitlines()) if r["counts"].get("created", 0) > 20
        )
        some = "".join(f"W-{n}\n" for n in range(self.number // 3))
        done("classify", "-", "-q", stdin=some)
        done("route", "-", "-q", stdin=some)
        decided = "".join(f"W-{n},Technical\n" for n in DECIDED)
        done("verdict", "-", "-q", stdin=f"ticket_id,category\n{decided}")
        rewritten = "".join(f"W-{n},another text of {n},said later\n" for n in REWRITTEN)
        done("create", "-q", "--same-tickets", stdin=f"id,subject,description\n{rewritten}")

    def read(self, statement: str) -> list[tuple[Any, ...]]:
        if self._url:
            return [tuple(row) for row in pg_sql(self._url, statement)]
        return rows(self.server.db, statement)

    def _kept_ids(self) -> tuple[str, ...]:
        names = [f"'W-{n}'" for n in (*DECIDED, *REWRITTEN)] + [f"'K-{n}'" for n in range(20)]
        return tuple(
            r[0] for r in self.read(f"select ticket_id from tickets where external_id in ({', '.join(names)})")
        )

    def kept_rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows about the tickets that stay."""
        ids = ", ".join(f"'{i}'" for i in self.kept)
        return {
            t: sorted(self.read(f"select * from {t} where {c} in ({ids})"), key=repr) for t, c in KEPT_TABLES.items()
        }

    def renew(self) -> None:
        """Have the database as it was before the first kill."""
        if self._pg_server is not None:
            self._use(self._pg_server.database(like=self._template))
            return
        for path in self.server.db.parent.glob(f"{self.server.db.name}*"):
            path.unlink()
        for path in self._saved.parent.glob(f"{self._saved.name}*"):  # its head too
            shutil.copy(path, f"{self.server.db}{path.name.removeprefix(self._saved.name)}")

    def check_whole(self) -> None:
        """The log is whole, and of each ticket all is there or nothing."""
        assert self.server("audit", "verify", "-q").returncode == 0
        torn = "status = 'withdrawn' and (subject is not null or extra <> '{}' or customer_id is not null)"
        assert self.read(f"select count(*) from tickets where {torn}") == [(0,)]
        torn = "status <> 'withdrawn' and (subject is null or extra = '{}') and external_id like 'W-%'"
        assert self.read(f"select count(*) from tickets where {torn}") == [(0,)]

    def check_done(self) -> None:
        """What was to go is gone, and the rest is as it was."""
        self.check_whole()
        gone = self.number - len(DECIDED) - len(REWRITTEN)
        assert self.read("select count(*) from tickets where status = 'withdrawn'") == [(gone,)]
        assert self.read("select count(*) from events where action = 'withdrawn'") == [(gone,)]
        assert self.kept_rows() == self.before
        if self._url:
            left = "".join(repr(self.read(f"select * from {table}")) for table in postgres_tables())
        else:
            left = "".join(
                p.read_bytes().decode("latin-1") for p in self.server.db.parent.glob(f"{self.server.db.name}*")
            )
        stays = {f"CANARY{n:04}" for n in (*DECIDED, *REWRITTEN)}
        words = {left[at : at + 10] for at in _places_of("CANARY", left)}
        assert words <= stays, sorted(words - stays)[:5]


def _places_of(word: str, text: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


@pytest.mark.long
@pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_thirty_kills_at_random_moments(
    tmp_path: Path, request: pytest.FixtureRequest, dialect: str, *, remote: bool
) -> None:
    pg_server = request.getfixturevalue("pg_server") if dialect == "postgres" else None
    place = Place(tmp_path, 1200 if remote else 300, pg_server=pg_server, remote=remote)
    cut, chance, moments = Counter[str](), random.Random(dialect), list[float]()
    while len(moments) < KILLS:
        place.renew()
        seconds = 2.0 if not moments else min(2.0, sorted(moments)[len(moments) // 2] * 2)
        for _ in range(chance.randrange(1, 4)):
            with place.served():
                process = place.cli.start("undo", place.run, "-q", "--yes")
                moment = chance.uniform(0.02, seconds)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
                victim = chance.choice([process, place.cli.process]) if isinstance(place.cli, RemoteCli) else process
                assert victim is not None
                ended_before = process.poll() is not None
                victim.kill()
                victim.wait()
                process.wait()
                for pipe in (process.stdin, process.stdout, process.stderr):
                    if pipe is not None:
                        pipe.close()
                cut["after its end" if ended_before else "before its end"] += 1
                moments.append(moment)
            place.check_whole()
        with place.served():
            done = place.cli("undo", place.run, "--yes")
            assert done.returncode == 0, done.stderr
        place.check_done()
    print(dialect, "remote" if remote else "local", dict(cut))  # noqa: T201 - the figure of a campaign
    place.cli.close()
