"""Sends deliveries: one queue per destination, so that a slow destination does not delay the others."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from triage_cli.domain.deliveries import OutgoingDelivery, Receipt
from triage_cli.domain.errors import DeliveryError, ExhaustedError, TriageError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.streams import BYTES
from triage_cli.ports.adapters import Destination
from triage_cli.runtime.circuit import Circuit

# So many parcels of one destination are in hand at most, and about so many characters of their tickets.
ROOM = 500
ROOM_BYTES = 2 * BYTES
# A destination that failed so often in a row is left alone for so many seconds; then one parcel tries.
FAILURES = 10
PAUSE = 30.0
# A full line that brought nothing for so many seconds is passed by.
STUCK = 2.0
# But only while fewer than so many of its parcels, and characters, are kept in memory.
KEPT = 5_000
KEPT_BYTES = 8 * BYTES
# Between two looks at lines that have nothing yet.
BREATH = 0.003


class DeliveryBatch(NamedTuple):
    """What came back from a destination; `parked` parcels were not tried.

    It is being left alone, or it cannot be opened as it is configured, or we have no more descriptors or memory
    (`trouble`): that costs no attempt.
    """

    destination: Destination | None
    outcomes: Sequence[Outcome[Receipt]]
    parked: Sequence[OutgoingDelivery] = ()
    trouble: TriageError | None = None


class DestinationBreakers:
    """Which destinations are left alone. Each run finds out for itself, but those that follow each other share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}

    def left_alone(self) -> list[str]:
        """Name the destinations that are left alone just now."""
        return [name for name in self._circuits if self.is_open(name)]

    def is_open(self, name: str) -> bool:
        """Tell whether a destination is left alone just now."""
        return name in self._circuits and self._circuits[name].is_open(self._clock())

    def is_failing(self, name: str) -> bool:
        """Tell whether it has failed so often that one parcel is to try."""
        return name in self._circuits and self._circuits[name].is_failing

    def judge(self, name: str, outcomes: Iterable[Outcome[Receipt]]) -> None:
        """Count how it went."""
        self._circuit(name).judge((outcome.error is not None for outcome in outcomes), self._clock())

    def leave(self, name: str) -> None:
        """Leave a destination alone for a while."""
        self._circuit(name).rest(self._clock())

    def _circuit(self, name: str) -> Circuit:
        return self._circuits.setdefault(name, Circuit(FAILURES, PAUSE))


class Dispatcher:
    """Hands parcels to destinations side by side. Not thread-safe: one a run."""

    def __init__(
        self,
        opener: Callable[[str], Destination],
        off: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
        circuits: DestinationBreakers | None = None,
    ) -> None:
        self._opener = opener
        self._off = off
        self._clock = clock
        self._circuits = circuits or DestinationBreakers(clock)
        self._lines: dict[str, _DestinationQueue] = {}
        self._stopped = False

    @property
    def open(self) -> int:
        """Return how many parcels are in hand."""
        return sum(line.open for line in self._lines.values())

    def room(self, name: str) -> int:
        """Return how many parcels a destination has room for: none while it is left alone."""
        line = self._lines.get(name)
        if self._circuits.is_open(name) or (line is not None and line.closed):
            return 0
        if line is None:
            return ROOM
        return 0 if line.size >= ROOM_BYTES else max(0, ROOM - line.open)

    @property
    def full(self) -> bool:
        """Tell whether some line is full, and moves or has grown so long that it is to be waited for."""
        return any(
            line.open >= KEPT or line.size >= KEPT_BYTES if line.stuck else line.open >= ROOM or line.size >= ROOM_BYTES
            for line in self._lines.values()
        )

    def put(self, parcels: Iterable[OutgoingDelivery]) -> None:
        """Take parcels in hand."""
        for parcel in parcels:
            name = parcel.delivery.destination
            if name not in self._lines:
                opener = _switched_off if name in self._off else self._opener
                self._lines[name] = _DestinationQueue(name, opener, self._clock, self._circuits)
            self._lines[name].add(parcel)

    def collect(self) -> list[DeliveryBatch]:
        """Return what has come back; where nothing has, after a short breath."""
        arrived = [got for line in self._lines.values() if line.open for got in line.collect(parking=self._stopped)]
        if not arrived and self.open:
            time.sleep(BREATH)
        return arrived

    def stop(self) -> None:
        """Begin nothing new: what has not begun comes back as parked."""
        self._stopped = True

    def close(self) -> None:
        """Let go of the destinations."""
        for line in self._lines.values():
            line.close()


def _switched_off(name: str) -> Destination:
    raise DeliveryError(
        f"{name} said that it is gone (410) and was switched off",
        hint="triage route --retry-dead tries again",
        final=True,
    )


class _DestinationQueue:
    """The parcels of one destination: those that wait, and those it has."""

    def __init__(
        self, name: str, opener: Callable[[str], Destination], clock: Callable[[], float], circuits: DestinationBreakers
    ) -> None:
        self._name = name
        self._opener = opener
        self._clock = clock
        self._circuits = circuits
        self._waiting: deque[OutgoingDelivery] = deque()
        self._closed = False
        self._moved = clock()
        self._destination: Destination | None = None
        self._trouble: TriageError | None = None
        self._results: Iterator[Sequence[Outcome[Receipt]]] = iter(())
        self._handed = 0  # to the destination, and not yet come back
        self.open = 0
        self.size = 0  # characters of the tickets in hand

    @property
    def closed(self) -> bool:
        return self._trouble is not None or self._circuits.is_open(self._name)

    @property
    def stuck(self) -> bool:
        return self._clock() - self._moved > STUCK

    def add(self, parcel: OutgoingDelivery) -> None:
        if not self.open:
            self._moved = self._clock()
        self._in_hand(parcel, 1)
        self._waiting.append(parcel)

    def collect(self, *, parking: bool) -> Iterator[DeliveryBatch]:
        if self.closed or parking:
            yield from self._park()
        if not self.open:
            return
        try:
            if self._destination is None:
                self._destination = self._opener(self._name)
                self._results = self._destination.deliver(self._source())
        except DeliveryError as error:
            yield DeliveryBatch(None, [Outcome[Receipt](None, Action.FAILED, None, error, p) for p in self._let_go()])
            return
        except TriageError as error:
            self._trouble = error
            self._circuits.leave(self._name)
            yield from self._park()
            return
        outcomes = next(self._results)
        if outcomes:
            for outcome in outcomes:
                if not isinstance(outcome.item, OutgoingDelivery):
                    raise TypeError(outcome)
                self._in_hand(outcome.item, -1)
            self._handed -= len(outcomes)
            self._moved = self._clock()
            tried = [outcome for outcome in outcomes if not isinstance(outcome.error, ExhaustedError)]
            self._circuits.judge(self._name, tried)
            if tried:
                yield DeliveryBatch(self._destination, tried)
            yield from self._untried(outcomes)

    def _untried(self, outcomes: Sequence[Outcome[Receipt]]) -> Iterator[DeliveryBatch]:
        """Yield what came back since we have no more of something ourselves: nothing else is handed over then."""
        lacks = [(o.item, o.error) for o in outcomes if isinstance(o.error, ExhaustedError)]
        if lacks:
            self._trouble = lacks[0][1]
            self._circuits.leave(self._name)
            yield DeliveryBatch(
                self._destination, (), [item for item, _ in lacks if isinstance(item, OutgoingDelivery)], self._trouble
            )

    def _park(self) -> Iterator[DeliveryBatch]:
        if self._waiting:
            yield DeliveryBatch(self._destination, (), self._let_go(), self._trouble)

    def _let_go(self) -> list[OutgoingDelivery]:
        """Return the parcels that wait, which are in hand no more."""
        parcels = list(self._waiting)
        self._waiting.clear()
        for parcel in parcels:
            self._in_hand(parcel, -1)
        return parcels

    def _in_hand(self, parcel: OutgoingDelivery, number: int) -> None:
        self.open += number
        self.size += number * parcel.ticket.size

    def _source(self) -> Iterator[Sequence[OutgoingDelivery]]:
        """Yield what waits, no more than the destination can work on: what it was not handed can still be parked.

        An empty list where that is nothing, so that the destination can tell what it has. One that was left alone is
        handed one parcel, which tries.
        """
        while not self._closed and self._destination is not None:
            most = 1 if self._circuits.is_failing(self._name) else 2 * self._destination.workers
            number = min(len(self._waiting), max(0, most - self._handed))
            self._handed += number
            yield [self._waiting.popleft() for _ in range(number)]

    def close(self) -> None:
        self._closed = True
        close = getattr(self._results, "close", None)
        if close is not None:
            close()
