"""The bridge between plain callers and the event loop."""

import asyncio
from collections.abc import Generator, Iterator, Sequence
from typing import cast

import pytest

from triage_cli import domain as dm
from triage_cli.runtime import async_bridge, bridge


async def twice(number: int) -> int:
    return 2 * number


def test_an_empty_chunk_with_nothing_under_way_waits_for_nothing() -> None:
    """A tick of an hour: whoever waited for an answer here would be ended by the test's own limit."""
    chunks = [[1, 2], [], [], [3]]
    found = bridge().map(chunks, twice, workers=2, stopping=lambda: False, tick=3600)
    assert sorted(pair for some in found for pair in some) == [(1, 2), (2, 4), (3, 6)]


def test_what_is_under_way_and_not_yet_saved_is_at_most_twice_the_workers() -> None:
    """A caller that takes long to save holds up new calls: a kill would lose all of these."""
    begun: list[int] = []

    async def call(number: int) -> int:
        begun.append(number)
        for _ in range(number * 7 % 5):  # they do not end together
            await asyncio.sleep(0)
        return number

    saved = 0
    for answers in bridge().map([list(range(50))], call, workers=3, stopping=lambda: False):
        for _ in range(20):  # the caller saves, and the loop goes on meanwhile as far as it may
            bridge().run(asyncio.sleep(0))
        assert len(begun) - saved <= 6
        saved += len(answers)
    assert saved == 50


@pytest.mark.parametrize("at_once", [True, False])
def test_a_caller_that_polls_gets_answers_together_unless_it_wants_each_at_once(
    at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_bridge, "GATHER", 3600)
    first, second = asyncio.Event(), asyncio.Event()

    async def call(number: int) -> int:
        await (first if number == 1 else second).wait()
        return number

    def source() -> Iterator[Sequence[int]]:
        yield [1, 2]
        while True:
            bridge().run(asyncio.sleep(0.001))
            yield dm.FlushNow() if at_once else []

    arriving = bridge().map(source(), call, workers=2, stopping=lambda: False, tick=0.0)
    try:
        bridge().loop.call_soon_threadsafe(first.set)
        came = [next(arriving) for _ in range(50)]
        bridge().loop.call_soon_threadsafe(second.set)
        came = [*filter(None, came), next(answers for answers in arriving if answers)]
    finally:
        cast("Generator[object, None, None]", arriving).close()
    assert came == ([[(1, 1)], [(2, 2)]] if at_once else [[(1, 1), (2, 2)]])


def test_a_source_that_fails_loses_nothing_that_is_in_flight() -> None:
    begun = asyncio.Event()

    async def call(number: int) -> int:
        begun.set()
        await asyncio.sleep(0.05)
        return number

    def source() -> Iterator[list[int]]:
        yield [1, 2]
        bridge().run(begun.wait())
        raise ValueError("the input ends here")

    answers: list[tuple[int, int | Exception]] = []
    arriving = bridge().map(source(), call, workers=2, stopping=lambda: False)
    with pytest.raises(ValueError, match="ends here"):
        answers.extend(answer for some in arriving for answer in some)
    assert sorted(answers) == [(1, 1), (2, 2)]


def test_a_call_that_something_inside_cancels_is_answered_with_an_error() -> None:
    async def call(number: int) -> int:
        if number == 2:
            raise asyncio.CancelledError
        return number

    found = bridge().map([[1, 2, 3]], call, workers=3, stopping=lambda: False)
    answers = {number: answer for some in found for number, answer in some}
    assert isinstance(answers.pop(2), RuntimeError)
    assert answers == {1: 1, 3: 3}
