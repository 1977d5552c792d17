"""Sends deliveries: one queue per destination, with its own pace and circuit breaker, so that none delays another."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Destination
from triage_cli.runtime import Circuit

# After FAILURES failures in a row, a destination is paused for PAUSE seconds; then one delivery is a probe.
FAILURES = 10
PAUSE = 30.0
# Where somebody has to mend something first, each further pause is twice as long, up to this one: a server may try for
# months.
LONGEST_PAUSE = 86_400.0


class DestinationBreakers:
    """The circuit breakers of the destinations.

    A run starts with none; a server's background work and its requests about single tickets share theirs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}
        self._reasons: dict[str, dm.TriageError] = {}
        self._pauses: dict[str, float] = {}  # the next one of destinations that could not be used the last time

    def paused(self) -> list[str]:
        """Return the destinations that their circuit breakers pause."""
        return [name for name in self._circuits if self.is_open(name)]

    def is_open(self, name: str) -> bool:
        """Return whether the circuit breaker of a destination is open: then it is paused."""
        return name in self._circuits and self._circuits[name].is_open(self._clock())

    def is_failing(self, name: str) -> bool:
        """Return whether a destination has failed so often that only a single delivery is to be attempted."""
        return name in self._circuits and self._circuits[name].is_failing

    def judge(self, name: str, outcomes: Sequence[dm.Outcome[dm.Receipt]]) -> None:
        """Count the successes and failures of a destination's attempts, in order."""
        circuit = self._circuit(name)
        if outcomes:
            self._pauses.pop(name, None)
        circuit.judge((outcome.error is not None for outcome in outcomes), self._clock())
        self._reasons.pop(name, None)
        if outcomes and circuit.is_failing:
            self._reasons[name] = _paused_error(name, outcomes[-1].error)

    def pause(self, name: str, because: dm.TriageError) -> None:
        """Pause a destination that cannot be used: for `PAUSE` seconds, and longer if that is not for now alone."""
        if not self.is_open(name):
            seconds = PAUSE
            if not isinstance(because, dm.UnavailableError):
                seconds = self._pauses.get(name, PAUSE)
                self._pauses[name] = min(2 * seconds, LONGEST_PAUSE)
            self._circuit(name).pause(self._clock() + seconds)
        self._reasons[name] = because

    def reason(self, name: str) -> dm.TriageError | None:
        """Return why the circuit breaker pauses a destination; None if it does not."""
        return self._reasons.get(name) if self.is_open(name) else None

    def _circuit(self, name: str) -> Circuit:
        return self._circuits.setdefault(name, Circuit(FAILURES, PAUSE))


def _paused_error(name: str, failure: dm.TriageError | None) -> dm.DeliveryError:
    """Return the error of deliveries to a destination that keeps failing.

    It is stored with each of them, so it has nothing of the last failure's message, which may repeat a ticket's text.
    """
    status = getattr(failure, "status", None)
    last = "" if status is None else f" (last status {status})"
    return dm.DeliveryError(
        f"{name} keeps failing{last}, so it is paused for {PAUSE:g} s", hint=f"the next {dm.Step.ROUTE} tries it again"
    )


# Seconds for which a rate limit may let nothing pass, before a refusal by it counts as a failure of the destination.
LONGEST_LIMIT = 120.0
# The most seconds that the deliveries behind a refused one wait in the queue: Zendesk and GitHub count by the minute.
LONGEST_WAIT = 60.0
# Seconds to wait if a rate limit names no time.
USUAL_WAIT = 0.25
# Deliveries that are attempted at once in the beginning, and how many more after each acceptance: what is on its way
# when a limit is met is refused, so the steps are small.
AT_ONCE, GROWTH = 4.0, 0.25
# Seconds between two deliveries after the first refusal, and at most: doubled by each further one, up to its pause, and
# shorter after an acceptance. A slower limit is kept by its pauses.
INTERVAL, LONGEST_INTERVAL, SHRINKING = 0.02, 1.0, 0.95


class DestinationRateLimit:
    """The pace of deliveries to a destination: a few at once, and more with each that it accepts.

    It gets none while it asks to wait, and then one at a time in an interval, which each pause doubles and each
    acceptance shortens. Times are those of the caller's clock.
    """

    def __init__(self) -> None:
        self._at_once = AT_ONCE
        self._interval = 0.0
        self._next_at = -math.inf  # when the next delivery may be attempted
        self._pause_ends = -math.inf
        self._refused_since: float | None = None  # the first refusal since the last acceptance

    def take(self, most: int, being_attempted: int, now: float) -> int:
        """Return how many more deliveries the rate limit lets pass now, at most `most`, and count them."""
        most = min(most, int(self._at_once) - being_attempted)
        if most <= 0 or now < self._next_at:
            return 0
        if self._interval:
            self._next_at = now + self._interval
            return 1
        return most

    def accepted(self, accepted_count: int) -> None:
        """Count accepted deliveries: each lets more deliveries be attempted at once."""
        if accepted_count:
            interval = self._interval * SHRINKING**accepted_count
            self._interval, self._refused_since = (interval if interval > INTERVAL / 2 else 0.0), None
            self._at_once += GROWTH * accepted_count

    def refused(self, retry_after: float | None, now: float) -> bool:
        """Pause for `retry_after` seconds; return False if that is too long, or nothing has passed for too long.

        What is refused during a pause was sent before it, and does not double the interval again.
        """
        refused_since = now if self._refused_since is None else self._refused_since
        pause = USUAL_WAIT if retry_after is None else retry_after
        pause_ends = now + pause
        if pause_ends > min(now + LONGEST_WAIT, refused_since + LONGEST_LIMIT):
            self._interval, self._next_at = 0.0, now  # the deliveries behind it are to fail soon, too
            return False
        if now >= self._pause_ends:
            self._interval = min(LONGEST_INTERVAL, pause, max(INTERVAL, 2 * self._interval))
            self._at_once = AT_ONCE
        self._refused_since, self._pause_ends = refused_since, max(self._pause_ends, pause_ends)
        self._next_at = max(self._next_at, self._pause_ends)
        return True


# The most deliveries that one destination's queue holds, and about the most characters of their tickets.
QUEUE_LIMIT = 500
QUEUE_BYTES = 2 * dm.BYTES
# A queue without an outcome for so many seconds is stuck: a full one no longer delays the other destinations.
STUCK_SECONDS = 2.0
# The most deliveries and characters that a stuck queue holds, since they are kept in memory.
STUCK_QUEUE_LIMIT = 5_000
STUCK_QUEUE_BYTES = 8 * dm.BYTES
# Seconds between two polls of queues that have no outcome yet.
POLL_SECONDS = 0.003
# Outcomes within so many seconds of the first one are saved together, and what follows them begins together.
GATHER = 0.01

# Returns those of the deliveries that may be attempted, which are attempted at once.
Begin = Callable[[Sequence[dm.OutgoingDelivery]], Sequence[dm.OutgoingDelivery]]


class QueueResults(NamedTuple):
    """Outcomes that a destination's queue returned, and its `parked` deliveries, which were not attempted.

    Deliveries are parked once the run is to stop, and while the destination is paused (`parked_because`): it keeps
    failing, cannot be used as it is configured, or this process has no descriptors or memory left. So are those that
    are not to be sent any more. Parking uses up no attempt.
    """

    destination: Destination | None
    outcomes: Sequence[dm.Outcome[dm.Receipt]]
    parked: Sequence[dm.OutgoingDelivery] = ()
    parked_because: dm.TriageError | None = None


class Dispatcher:
    """Hands deliveries to several destinations at the same time. Not thread-safe: each run has its own.

    No delivery that was put while `waits` is False waits for a rate limit to end. `off` are the destinations that are
    switched off. `check` raises an error while results could not be saved: then what waits is parked. `begin` is asked
    right before attempts, which may have become wrong while they waited.
    """

    def __init__(
        self,
        opener: Callable[[str], Destination],
        off: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
        breakers: DestinationBreakers | None = None,
        *,
        check: Callable[[], None] = lambda: None,
        begin: Begin = lambda to_begin: to_begin,
    ) -> None:
        self._check = check
        self._begin = begin
        self.waits = True
        self.off = off
        self._opener = opener
        self._clock = clock
        self._breakers = breakers or DestinationBreakers(clock)
        self._queues: dict[str, _DestinationQueue] = {}
        self._stopped = False

    @property
    def open(self) -> int:
        """Return the number of deliveries that are in queues or being attempted."""
        return sum(queue.open for queue in self._queues.values())

    def paused(self) -> list[str]:
        """Return the destinations that are paused."""
        return self._breakers.paused()

    def room(self, name: str) -> int:
        """Return how many more deliveries a destination's queue takes: none while the destination is paused."""
        queue = self._queues.get(name)
        if self._breakers.is_open(name) or (queue is not None and queue.is_unavailable):
            return 0
        if queue is None:
            return QUEUE_LIMIT
        return 0 if queue.size >= QUEUE_BYTES else max(0, QUEUE_LIMIT - queue.open)

    @property
    def full(self) -> bool:
        """Return whether a queue is so full that the caller must wait for outcomes before it adds more.

        A stuck queue may grow further, up to its own limit, so that it does not delay the other destinations.
        """
        return any(
            queue.open >= STUCK_QUEUE_LIMIT or queue.size >= STUCK_QUEUE_BYTES
            if queue.stuck
            else queue.open >= QUEUE_LIMIT or queue.size >= QUEUE_BYTES
            for queue in self._queues.values()
        )

    def put(self, to_send: Iterable[dm.OutgoingDelivery]) -> None:
        """Add deliveries to the queues of their destinations."""
        for outgoing in to_send:
            self._queue_of(outgoing.delivery.destination).add(outgoing)

    def _queue_of(self, name: str) -> "_DestinationQueue":
        """Return the queue of a destination; a new one if it is switched off or on since, or could not be opened."""
        opener = _switched_off if name in self.off else self._opener
        queue = self._queues.get(name)
        if queue is None or queue.is_outdated(opener):
            if queue is not None:
                queue.close()
            queue = self._queues[name] = _DestinationQueue(
                name, opener, self._clock, self._breakers, waits=self.waits, check=self._check, begin=self._begin
            )
        return queue

    def collect(self) -> list[QueueResults]:
        """Return the outcomes that are ready; if there are none, sleep for a moment and return an empty list."""
        collected = [
            results for queue in self._queues.values() if queue.open for results in queue.collect(park=self._stopped)
        ]
        if not collected and self.open:
            time.sleep(POLL_SECONDS)
        return collected

    def stop(self) -> None:
        """Start no more attempts: `collect` returns the deliveries that still wait as parked."""
        self._stopped = True

    def close(self) -> None:
        """Close the queues and their destinations; attempts in flight are cancelled."""
        for queue in self._queues.values():
            queue.close()


def _switched_off(name: str) -> Destination:
    raise dm.DeliveryError(
        f"{name} said that it is gone (410) and was switched off",
        hint=f"{dm.Step.RETRY_DEAD} tries again",
        final=True,
    )


class _DestinationQueue:
    """The deliveries of one destination: those that wait, and those that it is attempting."""

    def __init__(
        self,
        name: str,
        opener: Callable[[str], Destination],
        clock: Callable[[], float],
        breakers: DestinationBreakers,
        *,
        waits: bool,
        check: Callable[[], None],
        begin: Begin,
    ) -> None:
        self._check = check
        self._begin = begin
        self._name = name
        self._opener = opener
        self._clock = clock
        self._breakers = breakers
        self._queue: deque[dm.OutgoingDelivery] = deque()
        self._is_closed = False
        self._last_outcome_at = clock()
        self._destination: Destination | None = None
        self._destination_error: dm.TriageError | None = None
        self._results: Iterator[Sequence[dm.Outcome[dm.Receipt]]] = iter(())
        self._being_attempted = 0  # deliveries that the destination is attempting
        self._cancelled: list[dm.OutgoingDelivery] = []  # those that are not to be sent any more
        self._ended: list[dm.Outcome[dm.Receipt]] = []  # of attempts, until they are saved
        self._first_ended_at = -math.inf
        self._rate_limit = DestinationRateLimit() if waits else None
        self.open = 0
        self.size = 0  # characters of these deliveries' tickets

    @property
    def is_unavailable(self) -> bool:
        return self._destination_error is not None or self._breakers.is_open(self._name)

    @property
    def stuck(self) -> bool:
        return self._clock() - self._last_outcome_at > STUCK_SECONDS

    def is_outdated(self, opener: Callable[[str], Destination]) -> bool:
        """Return whether the queue is empty, and its destination is to be opened in another way, or anew."""
        return not self.open and (self._opener != opener or self._destination_error is not None)

    def add(self, outgoing: dm.OutgoingDelivery) -> None:
        if not self.open:
            self._last_outcome_at = self._clock()
        self._count_delivery(outgoing, 1)
        self._queue.append(outgoing)

    def collect(self, *, park: bool) -> Iterator[QueueResults]:
        if self.is_unavailable or park:
            yield from self._park_queue()
        if not self.open:
            return
        try:
            self._prepare()
        except dm.DeliveryError as error:
            yield QueueResults(None, [dm.Outcome[dm.Receipt].failed(p, error) for p in self._emptied(self._queue)])
            return
        except dm.TriageError as error:
            self._destination_error = error
            self._breakers.pause(self._name, error)
            yield from self._park_queue()
            return
        outcomes = self._ended_attempts()
        if self._cancelled:
            yield QueueResults(self._destination, (), self._emptied(self._cancelled))
        if outcomes:
            for outcome in outcomes:
                self._count_delivery(outcome.outgoing, -1)
            attempted = [outcome for outcome in outcomes if not isinstance(outcome.error, dm.NOT_ATTEMPTED)]
            self._breakers.judge(self._name, self._without_limited(attempted))
            self._last_outcome_at = self._clock()
            if attempted:
                yield QueueResults(self._destination, attempted)
            yield from self._park_not_attempted(outcomes)

    def _ended_attempts(self) -> Sequence[dm.Outcome[dm.Receipt]]:
        """Let attempts begin; return the outcomes of earlier ones if there are enough to save, or none is to come."""
        self._step()
        if not self._ended or self._is_gathering:
            return ()
        if self._being_attempted:
            self._step()  # others are attempted while these are saved
        outcomes, self._ended = self._ended, []
        return outcomes

    @property
    def _is_gathering(self) -> bool:
        """Return whether outcomes wait for others: to save them is a write, and so is to begin what follows them."""
        if not self._ended or not self._being_attempted or self._destination is None:
            return False
        is_enough = len(self._ended) >= self._destination.workers // 2
        return not is_enough and self._clock() < self._first_ended_at + GATHER

    def _step(self) -> None:
        """Hand the destination what it can attempt now, and keep what has ended."""
        ended = next(self._results)
        self._being_attempted -= len(ended)
        if ended and not self._ended:
            self._first_ended_at = self._clock()
        self._ended += ended

    def _prepare(self) -> None:
        """Check that results can be saved, and open the destination of the queue if it is not open yet."""
        if self._queue:
            self._check()
        if self._destination is None:
            self._destination = self._opener(self._name)
            self._results = self._destination.deliver(self._chunks_to_attempt())

    def _without_limited(self, outcomes: Sequence[dm.Outcome[dm.Receipt]]) -> Sequence[dm.Outcome[dm.Receipt]]:
        """Slow the queue down after refusals by a rate limit; return the other outcomes, which the breaker judges."""
        if self._rate_limit is None:
            return outcomes
        self._rate_limit.accepted(sum(outcome.error is None for outcome in outcomes))
        return [outcome for outcome in outcomes if not self._slows_down(self._rate_limit, outcome.error)]

    def _slows_down(self, rate_limit: DestinationRateLimit, error: dm.TriageError | None) -> bool:
        """Slow the queue down if that is what an error asks for; return whether it is."""
        is_limited = isinstance(error, dm.DeliveryError) and error.limited
        return is_limited and rate_limit.refused(getattr(error, "retry_after", None), self._clock())

    def _park_not_attempted(self, outcomes: Sequence[dm.Outcome[dm.Receipt]]) -> Iterator[QueueResults]:
        """Park the deliveries that were not attempted because of an error, and pause their destination."""
        not_attempted = [(o.outgoing, o.error) for o in outcomes if isinstance(o.error, dm.NOT_ATTEMPTED)]
        if not_attempted:
            self._destination_error = not_attempted[0][1]
            self._breakers.pause(self._name, self._destination_error)
            parked = [outgoing for outgoing, _ in not_attempted]
            yield QueueResults(self._destination, (), parked, self._destination_error)

    def _park_queue(self) -> Iterator[QueueResults]:
        if self._queue:
            because = self._destination_error or self._breakers.reason(self._name)
            yield QueueResults(self._destination, (), self._emptied(self._queue), because)

    def _emptied(self, waiting: deque[dm.OutgoingDelivery] | list[dm.OutgoingDelivery]) -> list[dm.OutgoingDelivery]:
        """Empty the queue, or what was cancelled, and return the deliveries that were in it."""
        left = list(waiting)
        waiting.clear()
        for outgoing in left:
            self._count_delivery(outgoing, -1)
        return left

    def _count_delivery(self, outgoing: dm.OutgoingDelivery, number: int) -> None:
        self.open += number
        self.size += number * outgoing.ticket.size

    def _chunks_to_attempt(self) -> Iterator[Sequence[dm.OutgoingDelivery]]:
        """Yield the deliveries that are attempted at once: the destination has a worker for each of them.

        An empty chunk asks the destination for its outcomes. A failing destination gets one delivery, as a probe.
        """
        while not self._is_closed and self._destination is not None:
            limit = 1 if self._breakers.is_failing(self._name) else self._destination.workers
            number = 0 if self._is_gathering else min(len(self._queue), max(0, limit - self._being_attempted))
            if self._rate_limit is not None:
                number = self._rate_limit.take(number, self._being_attempted, self._clock())
            chunk = [self._queue.popleft() for _ in range(number)]
            begun = self._begin(chunk) if chunk else chunk
            if len(begun) < len(chunk):
                begun_ids = {outgoing.delivery.delivery_id for outgoing in begun}
                self._cancelled += [each for each in chunk if each.delivery.delivery_id not in begun_ids]
            self._being_attempted += len(begun)
            yield dm.FlushNow(begun)

    def close(self) -> None:
        self._is_closed = True
        close_results = getattr(self._results, "close", None)
        if close_results is not None:
            close_results()
