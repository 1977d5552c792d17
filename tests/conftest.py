"""What the tests share: both kinds of store, a command line in a process, a classifier that says what it is told."""

import fcntl
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol  # which plugins that run tests again call, too
from hypothesis import HealthCheck, settings

from tests.support.cli import Cli
from tests.support.fake_destination import FakeDestination
from tests.support.forked_cli import SHARED, started
from tests.support.pg_server import KEPT, PgServer, running_pg_server
from tests.support.sqlite_file import make_database
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.stores import SqliteStore

FOLDERS = ("project", "e2e", "integration", "contract", "unit")  # from the longest tests to the shortest
# The suite tries the same examples each time, `long` others (tests/support/examples.py). A busy machine is no failure.
for profile in ("long", "suite"):
    settings.register_profile(
        profile, deadline=None, derandomize=profile == "suite", suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("suite")
sys.dont_write_bytecode = False  # else each worker compiles all tests anew: half of what collecting them takes
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each worker has a core; its threads would wait for each other
gc.set_threshold(50_000, 50, 100)  # as the program does it; looking for garbage in all modules is a tenth of the tests
# Databases wait for the disk at each commit, and a PostgreSQL server takes 6 s to make and remove its files there, so
# all temporary folders are on a RAM disk that has room and runs programs.
RAM_DISK = Path("/dev/shm")  # noqa: S108 - tempfile makes what others cannot enter
if RAM_DISK.is_dir():
    ram = os.statvfs(RAM_DISK)
    if ram.f_bavail * ram.f_frsize > 4 << 30 and not ram.f_flag & os.ST_NOEXEC:
        tempfile.tempdir = str(RAM_DISK)
# Where the tests run in the background these are ignored, and so they would be in each process that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    """Start the process that runs commands for all workers, while they collect their tests.

    Not for `just fast`, which leaves out all tests that run commands.
    """
    starts_workers = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if starts_workers and "not slow" not in config.getoption("markexpr"):
        os.environ[SHARED] = started()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker is left with it at the end.

    A remote over PostgreSQL is slow: `just fast` has each of the two with the other's alternative.
    """
    for item in items:
        if "remote-postgres" in item.name:
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (FOLDERS.index(item.nodeid.split("/")[1]), item.path not in slow))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is said of the store, or of the use cases over it, on each kind of store."""
    if "store" in metafunc.fixturenames:
        only_sqlite = any(metafunc.definition.iter_markers("sqlite"))
        metafunc.parametrize("store", ["sqlite"] if only_sqlite else ["sqlite", "postgres"], indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Tell the process that started this one of a passed test in one message: five cost more than most tests do."""
    options = item.config.option
    if not hasattr(item.config, "workerinput") or options.durations is not None or options.xmlpath:
        return None
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    passed = all(report.passed for report in reports)
    for report in reports:
        if report.when == "call" or not passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def pytest_collection_finish() -> None:
    """Leave modules and tests out of what is searched for garbage."""
    gc.freeze()


@pytest.fixture(scope="session")
def pg_server() -> Iterator[PgServer]:
    """A PostgreSQL server, started when the first test asks for it."""
    with running_pg_server() as server:
        yield server


@pytest.fixture
def pg_url(pg_server: PgServer) -> str:
    """The address of a PostgreSQL database without tickets."""
    return pg_server.emptied()


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore | PostgresStore]:
    opened: SqliteStore | PostgresStore
    if request.param == "sqlite":
        make_database(tmp_path / "triage.db")
        opened = SqliteStore(str(tmp_path / "triage.db"))
    else:
        opened = PostgresStore(request.getfixturevalue("pg_url"), network=KEPT)
    yield opened
    opened.close()


@pytest.fixture
def world(store: SqliteStore | PostgresStore) -> World:
    return World(store)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with closing(Cli(tmp_path)) as made:
        yield made


@pytest.fixture(scope="session")
def fitted_database(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A database without tickets, made by one of the workers for all."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "fitted"
    folder.mkdir(exist_ok=True)
    made = folder / "model.db"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            cli = Cli(folder)
            assert cli("create", "-q", stdin="description\n").returncode == 0
            assert cli("db", "backup", "model.db").returncode == 0
    return made


@pytest.fixture
def fitted(cli: Cli, fitted_database: Path) -> Cli:
    """The command line over a database that is there already, without tickets."""
    cli.db.parent.mkdir(parents=True)
    shutil.copy(fitted_database, cli.db)
    shutil.copy(f"{fitted_database}.head", f"{cli.db}.head")
    return cli


@pytest.fixture
def three(world: World) -> dict[str, FakeDestination]:
    """A world in which tickets go to one of three destinations, by category."""
    names = {"Billing": "a", "Technical": "b", "General": "c"}
    order = list(names)
    world.classifier = FakeClassifier(lambda ticket: (order[int(ticket.external_id or 0) % 3], 0.9))
    destinations = {name: FakeDestination(name) for name in names.values()}
    world.destinations.update(destinations)
    world.rules = tuple(dm.Rule(f"r.{c}", (name,), {"category": (c,)}) for c, name in names.items())
    return destinations
