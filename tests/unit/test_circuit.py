"""The circuit breaker that endpoints and destinations share."""

from hypothesis import given
from hypothesis import strategies as st

from triage_cli.runtime import Circuit

TRIES = st.lists(st.tuples(st.lists(st.booleans(), max_size=5), st.floats(0, 100)), max_size=30)


def test_it_opens_after_so_many_failures_and_after_each_one_more() -> None:
    circuit = Circuit(3, 30.0)
    circuit.judge([True, True], 0.0)
    assert not circuit.is_failing
    assert not circuit.is_open(0.0)
    circuit.judge([True], 1.0)
    assert circuit.is_failing
    assert [circuit.is_open(now) for now in (1.0, 30.9, 31.0)] == [True, True, False]
    circuit.judge([True], 31.0)
    assert circuit.is_open(60.9)


def test_a_success_has_failures_counted_anew_and_ends_no_pause() -> None:
    circuit = Circuit(2, 30.0)
    circuit.judge([True, True], 0.0)
    circuit.judge([False], 1.0)
    assert circuit.is_open(29.0), "what others asked for holds"
    circuit.judge([True], 40.0)
    assert not circuit.is_open(40.0)


def test_failures_that_end_with_a_success_pause_nothing() -> None:
    circuit = Circuit(2, 30.0)
    circuit.judge([True] * 9 + [False], 0.0)
    assert (circuit.failures, circuit.is_open(0.0)) == (0, False)


@given(TRIES)
def test_a_pause_never_shrinks(tries: list[tuple[list[bool], float]]) -> None:
    circuit, before, now = Circuit(3, 30.0), float("-inf"), 0.0
    for failed, passed in tries:
        now += passed
        circuit.judge(failed, now)
        assert circuit.paused_until >= before
        assert circuit.paused_until <= now + 30.0
        before = circuit.paused_until
