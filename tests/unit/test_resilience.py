"""The retry loop and what callers of one endpoint share, on a clock that only moves when somebody sleeps."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.examples import examples
from triage_cli import domain as dm
from triage_cli.runtime import (
    COOLDOWN,
    FOREVER,
    SECONDARY,
    CircuitBreaker,
    RateLimiter,
    Retries,
    StoppingError,
    TimeSource,
    TokenBucket,
    limit_wait,
    persist,
    retry_after,
)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self, chance: float = 0.5) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._chance = chance

    @property
    def time_source(self) -> TimeSource:
        return TimeSource(lambda: self.now, self.sleep, lambda: self._chance)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


class Server:
    """Fails as it is told, one entry a call, then answers; keeps when it was called."""

    def __init__(self, clock: Clock, *failures: Exception) -> None:
        self.clock = clock
        self.failures = list(failures)
        self.calls: list[float] = []

    async def __call__(self) -> str:
        self.calls.append(self.clock.now)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


def broken(retry: float | None = None, *, limited: bool = False, reached: bool = True) -> dm.TemporaryError:
    return dm.TemporaryError("down", retry_after=retry, limited=limited, reached=reached)


async def asked(server: Callable[[], Awaitable[str]], endpoint: CircuitBreaker, retries: int = 5, **kwargs: Any) -> str:
    return await persist(server, endpoint, Retries(retries), timeout=kwargs.pop("timeout", 5.0), **kwargs)


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_as_many_calls_as_retries_and_one(retries: int) -> None:
    clock = Clock()
    server = Server(clock, *[broken()] * 99)
    with pytest.raises(dm.TemporaryError, match="down"):
        run(asked(server, CircuitBreaker("e", time_source=clock.time_source), retries))
    assert len(server.calls) == retries + 1


def test_delays_double_up_to_eight_seconds() -> None:
    clock = Clock(chance=1.0)
    server = Server(clock, *[broken()] * 7)
    assert run(asked(server, CircuitBreaker("e", time_source=clock.time_source), 7)) == "answer"
    waits = [b - a for a, b in zip(server.calls, server.calls[1:], strict=False)]
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]


def test_delays_are_drawn_from_nothing_to_the_whole() -> None:
    clock = Clock(chance=0.0)
    server = Server(clock, *[broken()] * 5)
    assert run(asked(server, CircuitBreaker("e", time_source=clock.time_source))) == "answer"
    assert clock.slept == []


def test_only_what_may_pass_is_tried_again() -> None:
    clock = Clock()
    server = Server(clock, dm.AnswerError("refused"))
    with pytest.raises(dm.AnswerError):
        run(asked(server, CircuitBreaker("e", time_source=clock.time_source)))
    assert len(server.calls) == 1


def test_a_call_that_never_ends_is_ended() -> None:
    endpoint = CircuitBreaker("e", time_source=Clock().time_source)
    with pytest.raises(dm.TemporaryError, match=r"within 0\.01 s"):
        run(asked(lambda: asyncio.sleep(30, "late"), endpoint, 0, timeout=0.01))


def test_an_endpoint_that_nobody_ever_reached_ends_the_run() -> None:
    clock = Clock()
    server = Server(clock, *[broken(reached=False)] * 9)
    with pytest.raises(dm.UnavailableError, match="down"):
        run(asked(server, CircuitBreaker("e", time_source=clock.time_source), 2))
    assert len(server.calls) == 3


def test_a_pause_that_is_asked_for_is_kept_by_all() -> None:
    clock = Clock(chance=0.0)
    endpoint = CircuitBreaker("e", time_source=clock.time_source)
    server, other = Server(clock, broken(20, limited=True)), Server(clock)

    async def both() -> None:
        await asyncio.gather(asked(server, endpoint), asyncio.sleep(0.01))
        await asked(other, endpoint)

    run(both())
    assert server.calls[1] >= 1020
    assert other.calls[0] >= 1020


def test_other_endpoints_go_on_while_one_is_parked() -> None:
    clock = Clock()
    parked, free = (
        CircuitBreaker("a", time_source=clock.time_source),
        CircuitBreaker("b", time_source=clock.time_source),
    )
    parked.failed(broken(50, limited=True), clock.now)
    server = Server(clock)
    assert run(asked(server, free)) == "answer"
    assert server.calls == [1000.0]


def test_the_latest_end_of_a_pause_holds() -> None:
    clock = Clock()
    endpoint = CircuitBreaker("e", time_source=clock.time_source)
    endpoint.failed(broken(60, limited=True), clock.now)
    endpoint.failed(broken(1, limited=True), clock.now)
    assert endpoint.paused_until == 1060


@pytest.mark.parametrize(("asked_for", "max_wait"), [(3600.0, 120.0), (5.0, 1.0), (FOREVER, 86400.0), (0.5, 0.0)])
def test_a_pause_longer_than_patience_ends_the_run_at_once(asked_for: float, max_wait: float) -> None:
    clock = Clock()
    server = Server(clock, *[broken(asked_for, limited=True)] * 9)
    with pytest.raises(dm.UnavailableError, match="max-wait"):
        run(asked(server, CircuitBreaker("e", max_wait=max_wait, time_source=clock.time_source)))
    assert len(server.calls) == 1
    assert clock.now == 1000


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (
            dm.TemporaryError("x", brief="a answered 503", retry_after=3600.0),
            "a answered 503 and asks to wait for 3,600 s",
        ),
        (dm.TemporaryError("x", brief="a answered 429", limited=True), "a answered 429"),
        (dm.TemporaryError("no complete answer within 5 s"), "no complete answer within 5 s"),
    ],
)
def test_who_gives_up_says_what_failed_last_and_not_in_the_words_of_the_other_side(
    failure: dm.TemporaryError, why: str
) -> None:
    clock = Clock()
    with pytest.raises(dm.UnavailableError) as raised:
        run(asked(Server(clock, *[failure] * 99), CircuitBreaker("e", max_wait=2, time_source=clock.time_source), 50))
    assert raised.value.message == f"e is not available ({why}): the next try would be later than --max-wait of 2 s"


def test_the_circuit_opens_tries_one_and_gives_up_in_time() -> None:
    clock = Clock(chance=0.0)
    endpoint = CircuitBreaker("e", time_source=clock.time_source)
    server = Server(clock, *[broken()] * 999)
    with pytest.raises(dm.UnavailableError):
        run(asked(server, endpoint, 100))
    burst = [at for at in server.calls if at == 1000]
    assert len(burst) == 10
    assert server.calls[10:] == [1030, 1060, 1090, 1120]
    assert clock.now <= 1000 + 120


def test_one_good_answer_closes_the_circuit() -> None:
    clock = Clock(chance=0.0)
    endpoint = CircuitBreaker("e", time_source=clock.time_source)
    server = Server(clock, *[broken()] * 10)
    assert run(asked(server, endpoint, 100)) == "answer"
    assert server.calls[-1] == 1000 + COOLDOWN
    assert endpoint.failures == 0


def test_only_one_tries_while_the_circuit_is_half_open() -> None:
    clock = Clock(chance=0.0)
    endpoint = CircuitBreaker("e", time_source=clock.time_source)
    for _ in range(10):
        endpoint.failed(broken(), clock.now)
    running = 0
    most: list[int] = []

    async def slow() -> str:
        nonlocal running
        running += 1
        if not endpoint.reached or len(most) < 1:
            most.append(running)
        await asyncio.sleep(0.02)
        running -= 1
        return "answer"

    async def crowd() -> list[str]:
        return await asyncio.gather(*(asked(slow, endpoint) for _ in range(20)))

    endpoint.reached = False
    assert len(run(crowd())) == 20
    assert most[0] == 1


def test_a_probe_that_is_cancelled_leaves_the_way_to_the_next() -> None:
    clock = Clock(chance=0.0)
    endpoint = CircuitBreaker("e", time_source=clock.time_source)
    for _ in range(10):
        endpoint.failed(broken(), clock.now)

    async def cancelled() -> str:
        probe = asyncio.ensure_future(asked(lambda: asyncio.sleep(30, "late"), endpoint))
        await asyncio.sleep(0.05)
        probe.cancel()
        return await asked(Server(clock), endpoint)

    assert run(cancelled()) == "answer"


def test_who_is_told_to_stop_waits_no_longer() -> None:
    clock = Clock()
    endpoint = CircuitBreaker("e", time_source=clock.time_source)
    endpoint.failed(broken(100, limited=True), clock.now)
    with pytest.raises(StoppingError):
        run(asked(Server(clock), endpoint, stopping=lambda: clock.now > 1005))
    assert clock.now < 1006


def test_requests_a_minute_are_kept() -> None:
    clock = Clock()
    endpoint = CircuitBreaker("e", shared=RateLimiter(60), time_source=clock.time_source)
    server = Server(clock)

    async def many() -> None:
        await asyncio.gather(*(asked(server, endpoint) for _ in range(150)))

    run(many())
    for start in (1000, 1030, 1060):
        assert sum(start <= at < start + 60 for at in server.calls) <= 62
    assert clock.now <= 1000 + 150


def test_runs_that_share_a_pace_keep_it_together_and_an_outage_to_themselves() -> None:
    clock, together = Clock(), RateLimiter(60)
    first, second = (CircuitBreaker(name, shared=together, time_source=clock.time_source) for name in "ab")
    server = Server(clock)

    async def many() -> None:
        await asyncio.gather(*(asked(server, endpoint) for endpoint in (first, second) for _ in range(75)))

    run(many())
    for start in (1000, 1030, 1060):
        assert sum(start <= at < start + 60 for at in server.calls) <= 62
    first.failed(broken(5.0), clock.now)
    assert first.paused_until > clock.now > second.paused_until


def test_tokens_a_minute_are_kept() -> None:
    clock = Clock()
    endpoint = CircuitBreaker("e", shared=RateLimiter(None, 6000), time_source=clock.time_source)
    server = Server(clock)

    async def many() -> None:
        await asyncio.gather(*(asked(server, endpoint, tokens=100) for _ in range(60)))

    run(many())
    assert 57 <= server.calls[-1] - 1000 <= 61


def test_too_many_requests_halve_the_rate_and_it_comes_back() -> None:
    limiter = TokenBucket(600)
    limiter.slow(10, 0)
    assert limiter.rate(0) == 5
    assert 5 < limiter.rate(10) < 10
    assert limiter.rate(30) == 10


def test_a_burst_of_too_many_counts_once() -> None:
    clock = Clock()
    endpoint = CircuitBreaker("e", shared=RateLimiter(600), time_source=clock.time_source)
    for _ in range(20):
        endpoint.failed(broken(limited=True), 999.0)
    assert endpoint._rate_limiter.requests.rate(clock.now) >= 0.5
    assert endpoint.failures == 0, "being too fast is no sign of being broken"


def test_a_burst_of_too_many_counts_once_over_all_runs_that_share_a_pace() -> None:
    clock, together = Clock(), RateLimiter()
    for _ in range(100):
        together.take(1, clock.now)
    for run_of_one in range(20):
        CircuitBreaker(str(run_of_one), shared=together, time_source=clock.time_source).failed(
            broken(limited=True), 999.0
        )
    assert together.requests.rate(clock.now) >= 30


def test_too_many_requests_without_end_end_the_run() -> None:
    clock = Clock(chance=0.0)
    server = Server(clock, *[broken(limited=True)] * 999)
    with pytest.raises(dm.UnavailableError):
        run(asked(server, CircuitBreaker("e", time_source=clock.time_source), 999))
    assert 1120 <= clock.now <= 1135
    assert len(server.calls) < 40


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, FOREVER),
        ({"retry-after": "1e400"}, FOREVER),
        ({"retry-after": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:02:00 -0000"}, 20.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Thu, 99 Foo 9999 99:99:99 GMT"}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, 100.0) == seconds


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"x-ratelimit-reset": "1700000060"}, b"", 60.0),
        ({"x-ratelimit-reset": "1700000060", "x-ratelimit-remaining": "0"}, b"", 60.0),
        ({"x-ratelimit-reset": "1700000060", "x-ratelimit-remaining": "-1"}, b"", 60.0),
        ({"x-ratelimit-reset": "1700000060", "x-ratelimit-remaining": "40"}, b"", None),
        ({"ratelimit-reset": "30", "ratelimit-remaining": "0"}, b"", 30.0),
        ({"x-ratelimit-reset": "1600000000"}, b"", 0.0),
        ({"x-ratelimit-reset": "1700000060", "x-ratelimit-remaining": "40"}, b"a Secondary Rate Limit", SECONDARY),
        ({"x-ratelimit-reset": "soon"}, b"", None),
    ],
)
def test_a_limit_is_waited_for_until_its_end(headers: dict[str, str], body: bytes, seconds: float | None) -> None:
    assert limit_wait(headers, body, 1_700_000_000.0) == seconds


def test_a_wait_is_bounded() -> None:
    assert retry_after({"retry-after": "9" * 400}, 0.0, most=60.0) == 60.0


@given(st.text() | st.floats().map(str) | st.integers().map(str), st.sampled_from(["retry-after", "retry-after-ms"]))
def test_retry_after_never_crashes_and_is_bounded(header: str, name: str) -> None:
    seconds = retry_after({name: header}, 1e9)
    assert seconds is None or 0 < seconds <= FOREVER


class Circuit(RuleBasedStateMachine):
    """Any sequence of answers and failures: pauses never shrink, patience is bounded, a success heals."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.endpoint = CircuitBreaker("e", workers=4, time_source=self.clock.time_source)
        self.paused_until = 0.0
        self.down_since: float | None = None
        self.over = False

    @rule(seconds=st.floats(0, 200))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: not self.over)
    @rule(retry=st.none() | st.floats(0.1, 200), limited=st.booleans(), stale=st.booleans())
    def fails(self, retry: float | None, limited: bool, stale: bool) -> None:
        began = self.clock.now - (50 if stale else 0)
        try:
            self.endpoint.failed(broken(retry, limited=limited), began)
        except dm.UnavailableError:
            self.over = True
        if retry:
            assert self.endpoint.paused_until >= self.clock.now + retry
        if self.endpoint.paused_until > self.clock.now and self.down_since is None:
            self.down_since = self.clock.now

    @precondition(lambda self: not self.over)
    @rule()
    def answers(self) -> None:
        self.endpoint.answered()
        self.down_since = None
        assert self.endpoint.failures == 0

    @precondition(lambda self: not self.over)
    @rule()
    def somebody_enters(self) -> None:
        before = self.clock.now
        pause = self.endpoint.paused_until
        if self.endpoint._has_probe:
            self.endpoint.abandoned()
        run(self.endpoint.enter(1, lambda: False))  # a pause that is too long has ended the run when it began
        assert self.clock.now >= max(pause, before)
        self.endpoint.abandoned()

    @invariant()
    def a_pause_never_shrinks(self) -> None:
        assert self.endpoint.paused_until >= self.paused_until or self.endpoint.paused_until == float("-inf")
        self.paused_until = max(self.paused_until, self.endpoint.paused_until)

    @invariant()
    def nobody_waits_longer_than_patience(self) -> None:
        if not self.over and self.down_since is not None:
            assert self.endpoint.paused_until <= self.down_since + 120 + 1e-6


TestCircuit = Circuit.TestCase
TestCircuit.settings = settings(examples(20, 60), stateful_step_count=30, derandomize=True)


def test_a_call_that_is_cancelled_may_have_been_worked_off_all_the_same() -> None:
    lost: list[str] = []

    async def leaving() -> None:
        begun = asyncio.Event()

        async def call() -> None:
            begun.set()
            await asyncio.sleep(3600)

        endpoint = CircuitBreaker("the model", time_source=Clock().time_source)
        question_spec = asyncio.ensure_future(
            persist(call, endpoint, Retries(0), timeout=3600, lost=lambda: lost.append("a call"))
        )
        await begun.wait()
        question_spec.cancel()
        await asyncio.wait([question_spec])

    run(leaving())
    assert lost == ["a call"]
