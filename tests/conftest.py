"""What the tests share: both kinds of store, a command line in a process, a classifier that says what it is told."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.forked import AT_START, forked
from tests.online import ONLINE
from tests.pg_server import PgServer, serving
from triage_cli.domain import ids
from triage_cli.domain.decisions import Answer, Classification, QuestionSpec
from triage_cli.domain.deliveries import Rule
from triage_cli.domain.runs import Outcome
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.ports.adapters import Destination
from triage_cli.runtime.budget import Bounds, Budget, Grant
from triage_cli.runtime.stop import StopControl
from triage_cli.service.delivery.route import RoutingTable
from triage_cli.service.local_triage import LocalTriage, Services
from triage_cli.stores.postgres.store import PostgresStore
from triage_cli.stores.sqlite.store import SqliteStore

# Where the tests run in the background these are ignored, and so they would be in each process that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

CATEGORIES = (Category("Billing"), Category("Technical"), Category("General"))
NAMES = compact([[category.name, ""] for category in CATEGORIES])


def a_budget(
    limit: float | None = None,
    *,
    allowance: StopControl | None = None,
    per_day: float | None = None,
    grant: Grant | None = None,
) -> Budget:
    """Return a budget that no run stands behind."""
    return Budget(allowance or StopControl(), Bounds(limit, per_day, 0.0), grant)


class FakeClassifier:
    """Answers by a function of the ticket: (category, confidence), or an exception; keeps what it was asked."""

    def __init__(
        self, answer: Callable[[Ticket], tuple[str | None, float]] | None = None, fingerprint: str = "fake-1"
    ) -> None:
        self.name = "fake"
        self.fingerprint = fingerprint
        self.appetite = 1000
        self.threshold = 0.6
        self.asked: list[str] = []
        self._answer = answer or (lambda _: ("Billing", 0.9))

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return (self.fingerprint,)

    def askings(self) -> tuple[QuestionSpec, ...]:
        return (QuestionSpec(self.fingerprint, "fake", "m", "", "", NAMES, "{}", ids.now()),)

    def classify(self, chunks: Iterable[Sequence[Ticket]], _budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        for chunk in chunks:
            yield [self._one(n, ticket) for n, ticket in enumerate(chunk)]

    def _one(self, n: int, ticket: Ticket) -> Outcome[Answer]:
        self.asked.append(ticket.ticket_id)
        category, confidence = self._answer(ticket)
        step = Classification(
            ids.new_id(), ticket.ticket_id, None, "fake", category, confidence, "model", "because", "fake", "test",
            self.fingerprint, self.threshold, None, ids.answer_key(self.fingerprint, ticket.text), ids.now(),
        )  # fmt: skip
        return Outcome(n, "answered", Answer(ticket, (step,), confidence >= self.threshold), None, ticket)


class World:
    """A store with use cases on it, a fake classifier and destinations of the test's choice."""

    def __init__(self, store: SqliteStore | PostgresStore) -> None:
        self.store = store
        self.classifier = FakeClassifier()
        self.destinations: dict[str, Destination] = {}
        self.rules: tuple[Rule, ...] = ()
        self.categories: tuple[Category, ...] = CATEGORIES
        self.hysteresis: dict[str, float] = {}

    def triage(self, actor: str = "tester") -> LocalTriage:
        map_ = RoutingTable(self.rules, "map-1", lambda name: self.destinations[name])
        parts = Services(self.store, self.categories, lambda *_: self.classifier, map_, None, self.hysteresis)
        return LocalTriage(parts, actor, "test")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is said of the store, or of the use cases over it, on each kind of store."""
    if "store" in metafunc.fixturenames:
        only_sqlite = any(metafunc.definition.iter_markers("sqlite"))
        metafunc.parametrize("store", ["sqlite"] if only_sqlite else ["sqlite", "postgres"], indirect=True)


@pytest.fixture(scope="session")
def pg_server() -> Iterator[PgServer]:
    """A PostgreSQL server, started when the first test asks for it."""
    with serving() as server:
        yield server


@pytest.fixture
def pg_url(pg_server: PgServer) -> str:
    """The address of a PostgreSQL database without tickets."""
    return pg_server.emptied()


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore | PostgresStore]:
    if request.param == "sqlite":
        yield SqliteStore(str(tmp_path / "triage.db"))
        return
    opened = PostgresStore(request.getfixturevalue("pg_url"), network=ONLINE)
    yield opened
    opened.close()


@pytest.fixture
def world(store: SqliteStore | PostgresStore) -> World:
    return World(store)


class Cli:
    """Runs `triage` in a process of its own, with a home and a database of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fresh = False  # each command in an interpreter of its own
        self.db = folder / "data" / "triage" / "triage.db"
        self.env = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "conf"),
            "PYTHONWARNINGS": "error",
            "COLUMNS": "120",
        }

    def __call__(self, *args: str, stdin: str | bytes | None = "", **env: str) -> "subprocess.CompletedProcess[str]":
        data = stdin.encode() if isinstance(stdin, str) else stdin
        env = self.env | env
        if self.fresh or data is None or any(name.startswith(AT_START) for name in env.keys() - {"PYTHONWARNINGS"}):
            done = subprocess.run(
                [sys.executable, "-m", "triage_cli", *args],
                input=data, capture_output=True, cwd=self.folder, env=env, check=False, timeout=60,
            )  # fmt: skip
        else:
            done = forked().run(args, data, self.folder, env, 60)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="surrogateescape")
        )

    def start(self, *args: str, **kwargs: Any) -> "subprocess.Popen[bytes]":
        piped: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-m", "triage_cli", *args]
        started: subprocess.Popen[bytes] = subprocess.Popen(command, cwd=self.folder, env=self.env, **piped | kwargs)
        return started


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture(scope="session")
def fitted_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without tickets that holds the fitted model: fitting takes a second, copying none."""
    cli = Cli(tmp_path_factory.mktemp("fitted"))
    assert cli("create", "-q", stdin="description\n").returncode == 0
    assert cli("classify", "-q").returncode == 0
    assert cli("db", "backup", "model.db").returncode == 0
    return cli.folder / "model.db"


@pytest.fixture
def fitted(cli: Cli, fitted_database: Path) -> Cli:
    """The command line over a database whose model is fitted already."""
    cli.db.parent.mkdir(parents=True)
    shutil.copy(fitted_database, cli.db)
    return cli
