"""A command: the ticket as JSON on its stdin, never through a shell."""

import asyncio
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence

from triage_cli.concurrency import bridge
from triage_cli.destinations.payload import line
from triage_cli.errors import DeliveryError
from triage_cli.models import Outcome, Parcel, Receipt

# Of what a command says on stderr, this much is kept.
KEPT = 500
# So many run at once.
WORKERS = 4


class CommandDestination:
    """Runs one command a delivery; exit 0 is accepted, anything else is tried again."""

    def __init__(
        self, name: str, run: tuple[str, ...], timeout: float, max_attempts: int, schedule: tuple[float, ...]
    ) -> None:
        self.name = name
        self.max_attempts = max_attempts
        self.schedule = schedule
        self._run = run
        self._timeout = timeout

    def deliver(self, chunks: Iterable[Sequence[Parcel]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        """Run the command once a parcel, a few side by side; outcomes come as they arrive."""

        async def run(parcel: Parcel) -> Outcome[Receipt]:
            return await asyncio.to_thread(self._one, parcel)

        for arrived in bridge().map(chunks, run, workers=WORKERS, stopping=lambda: False, tick=0.0):
            yield [self._came(parcel, result) for parcel, result in arrived]

    @staticmethod
    def _came(parcel: Parcel, result: Outcome[Receipt] | Exception) -> Outcome[Receipt]:
        if isinstance(result, Outcome):
            return result
        return Outcome(0, "failed", None, DeliveryError(f"cannot run it: {type(result).__name__}"), parcel)

    def _one(self, parcel: Parcel) -> Outcome[Receipt]:
        began = time.perf_counter()
        status: int | None = None
        try:
            done = subprocess.run(  # noqa: S603 - the config's owner named it; the config check refuses one others can write
                self._run, input=line(parcel), capture_output=True, timeout=self._timeout, check=False
            )
        except subprocess.TimeoutExpired:
            error = DeliveryError(f"{self._run[0]} took longer than {self._timeout:g} s", hint="raise its timeout")
        except OSError as failure:
            error = DeliveryError(
                f"cannot run {self._run[0]}: {failure.strerror}", hint="check its path and its rights"
            )
        else:
            status = done.returncode
            if status == 0:
                return Outcome(0, "delivered", Receipt(0, time.perf_counter() - began), None, parcel)
            said = done.stderr[:KEPT].decode("utf-8", "replace").strip()
            error = DeliveryError(f"{self._run[0]} exited with {status}" + (f": {said}" if said else ""), status=status)
        return Outcome(0, "failed", Receipt(status, time.perf_counter() - began), error, parcel)
