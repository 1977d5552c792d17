"""The bridge between plain callers and the event loop."""

from triage_cli.concurrency import bridge


async def twice(number: int) -> int:
    return 2 * number


def test_an_empty_chunk_with_nothing_under_way_waits_for_nothing() -> None:
    """A tick of an hour: whoever waited for an answer here would be ended by the test's own limit."""
    chunks = [[1, 2], [], [], [3]]
    found = bridge().map(chunks, twice, workers=2, stopping=lambda: False, tick=3600)
    assert sorted(pair for some in found for pair in some) == [(1, 2), (2, 4), (3, 6)]
