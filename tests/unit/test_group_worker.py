"""The thread that does the work of concurrent callers in groups."""

import asyncio
import linecache
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest

from triage_cli.domain.errors import ExhaustedError, UnavailableError
from triage_cli.runtime import group_worker
from triage_cli.runtime.group_worker import GroupWorker
from triage_cli.runtime.grouped_questions import GroupedQuestions


class DoublingWork:
    """Doubles numbers; the first group is held until `go` is set, so that others gather."""

    def __init__(self) -> None:
        self.groups: list[Sequence[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, group: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(group)
        self.begun.set()
        assert self.go.wait(60)
        if 13 in group:
            raise ValueError("all of them")
        return [KeyError(number) if number == 7 else 2 * number for number in group]


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def queued(worker: GroupWorker[int, int]) -> int:
    return worker._thread.queue.qsize()


def test_what_comes_while_one_group_is_worked_on_is_the_next_group() -> None:
    work = DoublingWork()
    worker = GroupWorker("doubling", work)
    with ThreadPoolExecutor(4) as callers:
        first = callers.submit(worker, 1)
        assert work.begun.wait(60)
        others = [callers.submit(worker, number) for number in (2, 3, 7)]
        while queued(worker) < len(others):
            assert not any(other.done() for other in others)
        work.go.set()
        assert first.result() == 2
        assert [other.result() for other in others[:2]] == [4, 6]
        with pytest.raises(KeyError):
            others[2].result()
    assert [sorted(group) for group in work.groups] == [[1], [2, 3, 7]]
    worker.close()


def test_what_the_work_raises_comes_to_the_caller_and_the_thread_goes_on() -> None:
    work = DoublingWork()
    work.go.set()
    worker = GroupWorker("doubling", work)
    with pytest.raises(ValueError, match="all of them"):
        worker(13)
    assert worker(4) == 8
    worker.close()


def test_who_gets_no_result_gets_an_error_and_the_thread_goes_on() -> None:
    worker = GroupWorker[int, int]("forgetting", lambda group: [number for number in group if number != 13])
    for number, answer in ((13, ValueError), (4, int)):
        ended = queue.SimpleQueue[int | Exception]()
        worker.put(number, ended.put)
        assert type(ended.get(timeout=30)) is answer
    worker.close()


def test_who_could_not_be_given_a_result_gets_the_error() -> None:
    worker = GroupWorker[int, int]("doubling", lambda group: [2 * number for number in group])
    got: list[int | Exception] = []
    ended = threading.Event()

    def end(result: int | Exception) -> None:
        if not got and not isinstance(result, Exception):
            raise MemoryError
        got.append(result)
        ended.set()

    worker.put(1, end)
    assert ended.wait(30)
    assert [type(result) for result in got] == [MemoryError]
    assert worker(4) == 8
    worker.close()


def test_a_worker_that_nobody_called_has_no_thread_to_end() -> None:
    before = threading.active_count()
    worker = GroupWorker("doubling", DoublingWork())
    assert threading.active_count() == before
    worker.close()


@pytest.mark.parametrize("calls", [0, 1])
def test_after_its_end_a_worker_refuses_what_comes(calls: int) -> None:
    work = DoublingWork()
    work.go.set()
    worker = GroupWorker("doubling", work)
    assert [worker(number) for number in range(calls)] == [0] * calls
    worker.close()
    with pytest.raises(UnavailableError):
        worker(1)
    worker.close()


def test_a_thread_that_cannot_be_started_is_started_for_the_next_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = GroupWorker[int, int]("doubling", lambda group: [2 * number for number in group])
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(ExhaustedError, match="another thread"):
            worker(1)
    ended = queue.SimpleQueue[int | Exception]()
    worker.put(2, ended.put)
    assert ended.get(timeout=60) == 4
    worker.close()


def test_a_question_that_gets_no_answer_gets_an_error() -> None:
    questions = GroupedQuestions[int](lambda asked: [True for number in asked if number != 13])

    async def all_of_them() -> list[bool | BaseException]:
        async with asyncio.timeout(30):
            return await asyncio.gather(*map(questions.ask, (4, 13)), return_exceptions=True)

    answers = asyncio.run(all_of_them())
    assert answers[0] is True
    assert isinstance(answers[1], ValueError)
    assert asyncio.run(questions.ask(4))


LINES = sorted({
    line
    for step in (GroupWorker._work_until_closed, GroupWorker._gather_group, GroupWorker._serve_group)
    for _, _, line in step.__code__.co_lines()
    if line and line > step.__code__.co_firstlineno
    and "error" not in linecache.getline(step.__code__.co_filename, line)  # these lines hand an error out
    and not linecache.getline(step.__code__.co_filename, line).strip().startswith(("while", "try", "return"))
})  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_an_error_in_any_line_comes_to_a_caller_and_the_thread_goes_on(line: int) -> None:
    """As a lack of memory can raise it."""
    left = [1]

    def raising(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and frame.f_lineno == line and left:
            left.pop()
            raise MemoryError
        return raising

    def of_worker(frame: FrameType, _event: str, _: Any) -> Any:
        return raising if frame.f_code.co_filename == group_worker.__file__ else None

    worker = GroupWorker[int, int]("doubling", lambda group: [2 * number for number in group])
    ended = queue.SimpleQueue[int | Exception]()
    before = threading.gettrace()
    threading.settrace(of_worker)
    try:
        worker.put(1, ended.put)  # begins the thread
    finally:
        threading.settrace(before)
    worker.put(2, ended.put)
    worker.put(3, ended.put)
    results = [ended.get(timeout=30) for _ in range(3)]
    assert not left
    assert {type(result) for result in results} <= {int, MemoryError}
    assert worker(4) == 8
    worker.close()
