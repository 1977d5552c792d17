"""Circuit breakers of destinations: pause one that keeps failing or cannot be used, and keep the reason."""

import time
from collections.abc import Callable, Sequence

from triage_cli.domain import DeliveryError, Outcome, Receipt, TriageError
from triage_cli.runtime import Circuit

# After FAILURES failures in a row, a destination is paused for PAUSE seconds; then one delivery is a probe.
FAILURES = 10
PAUSE = 30.0


class DestinationBreakers:
    """The circuit breakers of the destinations.

    A run starts with none; a server's background work and its requests about single tickets share theirs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}
        self._reasons: dict[str, TriageError] = {}

    def paused(self) -> list[str]:
        """Return the destinations that their circuit breakers pause."""
        return [name for name in self._circuits if self.is_open(name)]

    def is_open(self, name: str) -> bool:
        """Return whether the circuit breaker of a destination is open: then it is paused."""
        return name in self._circuits and self._circuits[name].is_open(self._clock())

    def is_failing(self, name: str) -> bool:
        """Return whether a destination has failed so often that only a single delivery is to be attempted."""
        return name in self._circuits and self._circuits[name].is_failing

    def judge(self, name: str, outcomes: Sequence[Outcome[Receipt]]) -> None:
        """Count the successes and failures of a destination's attempts, in order."""
        circuit = self._circuit(name)
        circuit.judge((outcome.error is not None for outcome in outcomes), self._clock())
        self._reasons.pop(name, None)
        if outcomes and circuit.is_failing:
            self._reasons[name] = _paused_error(name, outcomes[-1].error)

    def pause(self, name: str, because: TriageError) -> None:
        """Pause a destination for `PAUSE` seconds, since it cannot be used."""
        self._circuit(name).rest(self._clock())
        self._reasons[name] = because

    def reason(self, name: str) -> TriageError | None:
        """Return why the circuit breaker pauses a destination; None if it does not."""
        return self._reasons.get(name) if self.is_open(name) else None

    def _circuit(self, name: str) -> Circuit:
        return self._circuits.setdefault(name, Circuit(FAILURES, PAUSE))


def _paused_error(name: str, failure: TriageError | None) -> DeliveryError:
    """Return the error of deliveries to a destination that keeps failing.

    It is stored with each of them, so it has nothing of the last failure's message, which may repeat a ticket's text.
    """
    status = getattr(failure, "status", None)
    last = "" if status is None else f" (last status {status})"
    return DeliveryError(
        f"{name} keeps failing{last}, so it is paused for {PAUSE:g} s",
        hint="the next triage route tries it again",
    )
