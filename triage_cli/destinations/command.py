"""Destinations of type `command`: a program gets the ticket as JSON on its stdin, never through a shell."""

import asyncio
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from triage_cli import domain as dm
from triage_cli.destinations.payload import attempted, payload_line
from triage_cli.runtime import bridge, resource_exhaustion, run_command

# How many processes of one command run at once.
WORKERS = 4


class CommandDestination:
    """Runs one command for each delivery, in the environment `env`.

    Exit code 0 means accepted, one in `final_exit` a final refusal; after any other the delivery is tried again.
    """

    def __init__(
        self,
        name: str,
        run: tuple[str, ...],
        timeout: float,
        max_attempts: int,
        schedule: tuple[float, ...],
        *,
        env: Mapping[str, str],
        final_exit: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self.workers = WORKERS
        self.max_attempts = max_attempts
        self.schedule = schedule
        self._run = run
        self._timeout = timeout
        self._env = env
        self._final_exit = final_exit

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        bridge()
        return self._delivered(chunks)

    def _delivered(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        # The loop's own threads are few and resolve host names, so slow commands get other threads.
        command_threads = ThreadPoolExecutor(WORKERS, "command")

        async def run_for(outgoing: dm.OutgoingDelivery) -> dm.Outcome[dm.Receipt]:
            return await asyncio.get_running_loop().run_in_executor(command_threads, self._run_for, outgoing)

        try:
            yield from attempted(
                chunks, run_for, WORKERS, lambda error: dm.DeliveryError(f"cannot run it: {type(error).__name__}")
            )
        finally:
            command_threads.shutdown(wait=False)

    def _run_for(self, outgoing: dm.OutgoingDelivery) -> dm.Outcome[dm.Receipt]:
        run_began = time.perf_counter()
        exit_code: int | None = None
        try:
            outgoing.check_held()
            exit_code, stderr = run_command(self._run, payload_line(outgoing), self._timeout, self._env)
        except dm.NOT_ATTEMPTED as problem:
            return dm.Outcome.failed(outgoing, problem)
        except subprocess.TimeoutExpired:
            message = f"{self._run[0]} took longer than {self._timeout:g} s"
            error = dm.DeliveryError(message, hint="raise its timeout", doubtful=True)
        except OSError as start_failure:
            if lack := resource_exhaustion.lack_of(start_failure):
                return dm.Outcome.failed(outgoing, lack)
            error = dm.DeliveryError(
                f"cannot run {self._run[0]}: {start_failure.strerror}", hint="check its path and its rights"
            )
        else:
            if exit_code == 0:
                return dm.Outcome(
                    0, dm.Action.DELIVERED, dm.Receipt(0, time.perf_counter() - run_began), None, outgoing
                )
            is_final = exit_code in self._final_exit
            exit_reason = f"{self._run[0]} exited with {exit_code}{', which is final' if is_final else ''}"
            message = stderr.decode("utf-8", "replace").strip()
            exit_reason = f"{exit_reason}: {message}" if message else exit_reason
            was_killed = exit_code < 0  # maybe after its work
            error = dm.DeliveryError(exit_reason, final=is_final, status=exit_code, doubtful=was_killed)
        return dm.Outcome.failed(outgoing, error, dm.Receipt(exit_code, time.perf_counter() - run_began))
