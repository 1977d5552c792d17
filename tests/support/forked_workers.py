"""Runs tests in forked copies of the process that collected them: `-n 4` in four, `-n auto` in one for each core.

So test modules are imported and their parameters made once, and not once a worker. The tests of a module stay together,
since they share fixtures; the modules are handed out one by one, in the order of the tests.
"""

import atexit
import os
import random
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import pytest
from _pytest.runner import runtestprotocol  # which plugins that run tests again call, too

Module = Sequence[pytest.Item]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which a run says how many workers it has; without it, tests run in this process."""
    parser.getgroup("general")._addoption(
        "-n", "--workers", type=lambda text: (os.cpu_count() or 1) if text == "auto" else int(text), default=0,
        help="run the modules in so many forked workers, or `auto` for one a core",
    )  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in workers, where there are any; else pytest does it."""
    options = session.config.option
    if not options.workers or options.collectonly or options.usepdb or session.testsfailed or not session.items:
        return None
    modules = [list(items) for _, items in groupby(session.items, key=lambda item: item.path)]
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # of which each worker has a part
    workers: list[Worker] = []
    waiting = iter(range(len(modules)))
    try:
        for _ in range(min(options.workers, len(modules))):
            workers.append(Worker(session, modules, workers))
        while running := {worker.connection: worker for worker in workers if worker.pid}:
            for connection in wait(list(running)):
                running[connection].hear(waiting)  # type: ignore[index]  # it is one of them
            if session.shouldfail or session.shouldstop:
                for worker in workers:
                    worker.stop()
    finally:
        for worker in workers:
            worker.stop()
            worker.end()
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    return True


class Worker:
    """A forked process that runs modules, seen from the one that hands them out."""

    def __init__(self, session: pytest.Session, modules: Sequence[Module], others: Sequence["Worker"]) -> None:
        self._number = len(others) + 1
        self.connection, its_own = Pipe()
        self._session = session
        self._modules = modules
        self._to_report: deque[pytest.Item] = deque()
        self._is_stopped = False
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for other in (*others, self):
                other.connection.close()
            _work(session, self._number, modules, its_own)
        its_own.close()

    def hear(self, waiting: Iterator[int]) -> None:
        """Take one message: the reports of a test, the wish for a module, or the end."""
        hook, config = self._session.config.hook, self._session.config
        try:
            reports = self.connection.recv()
        except (EOFError, OSError):
            self._tell_of_lost(self.end())
            return
        if reports is None:
            number = None if self._is_stopped else next(waiting, None)
            self._to_report.extend(() if number is None else self._modules[number])
            with suppress(OSError):
                self.connection.send(number)
            return
        self._to_report.popleft()
        for data in reports:
            report = hook.pytest_report_from_serializable(config=config, data=data)
            hook.pytest_runtest_logreport(report=report)

    def _tell_of_lost(self, code: int) -> None:
        """Let the tests fail that a worker has left when it ended."""
        if self._is_stopped:
            return
        why = f"worker {self._number} ended with {code}"
        if self._to_report:
            why += f" in {self._to_report[0].nodeid}"
        elif code:
            self._session.shouldfail = f"{why} after its last test"
        for item in self._to_report:
            report = pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")
            self._session.config.hook.pytest_runtest_logreport(report=report)

    def stop(self) -> None:
        """Let it end after its present test."""
        if not self._is_stopped:
            self._is_stopped = True
            with suppress(OSError):
                self.connection.send(None)

    def end(self) -> int:
        """Wait for its end, and return its exit code."""
        code = 0
        if self.pid:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.pid = 0
            self.connection.close()
        return code


# -- in a worker


class Reporter:
    """Sends the reports of each test in one message."""

    def __init__(self, connection: "Connection[Any, Any]", config: pytest.Config) -> None:
        self._connection = connection
        self._config = config
        self._wants_all = config.option.durations is not None or config.option.xmlpath

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test. What came before and after it is told only where that says something."""
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not self._wants_all and all(report.passed for report in reports):
            reports = [report for report in reports if report.when == "call"]
        to_data = self._config.hook.pytest_report_to_serializable
        self._connection.send([to_data(config=self._config, report=report) for report in reports])
        return True


def _work(
    session: pytest.Session, number: int, modules: Sequence[Module], connection: "Connection[Any, Any]"
) -> NoReturn:
    """Run modules until there are no more."""
    code = 1
    capturing: Any = session.config.pluginmanager.getplugin("capturemanager")
    try:
        atexit._clear()  # what is registered is the business of the process that began it
        random.seed()
        capturing.stop_global_capturing()  # into a file that all would share
        capturing.start_global_capturing()
        folders = session.config._tmp_path_factory  # type: ignore[attr-defined]
        folders._basetemp = folders.getbasetemp() / f"worker{number}"
        folders._basetemp.mkdir(0o700)
        session.config.pluginmanager.register(Reporter(connection, session.config))
        _run(session, modules, connection)
        atexit._run_exitfuncs()
        code = 0
    except KeyboardInterrupt:
        code = 130
    finally:
        capturing.stop_global_capturing()
        if code == 1:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(session: pytest.Session, modules: Sequence[Module], connection: "Connection[Any, Any]") -> None:
    def module() -> Module:
        connection.send(None)
        number = connection.recv()
        return () if number is None else modules[number]

    try:
        items = deque(module())
        while items and not connection.poll():
            item = items.popleft()
            if not items:
                items.extend(module())  # now, since fixtures of the session end with the last test
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=items[0] if items else None)
    finally:
        session._setupstate.teardown_exact(None)
