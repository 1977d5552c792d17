"""Destinations of type `command`: a program gets the ticket as JSON on its stdin, never through a shell."""

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO

from triage_cli.destinations.attempts import attempted
from triage_cli.destinations.payload import payload_line
from triage_cli.domain import Action, DeliveryError, Outcome, OutgoingDelivery, Receipt
from triage_cli.runtime import bridge, children, kill_group, resource_exhaustion

# How many bytes of a command's stderr are kept.
KEPT_STDERR = 500
# Seconds to wait for the last output of a command that has ended.
STDERR_WAIT = 0.5
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

    def deliver(self, chunks: Iterable[Sequence[OutgoingDelivery]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        """Run the command once for each delivery, a few at a time; yield outcomes as they arrive.

        `ExhaustedError` ends the run.
        """
        bridge()
        return self._delivered(chunks)

    def _delivered(self, chunks: Iterable[Sequence[OutgoingDelivery]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        # The loop's own threads are few and resolve host names, so slow commands get other threads.
        command_threads = ThreadPoolExecutor(WORKERS, "command")

        async def run_for(outgoing: OutgoingDelivery) -> Outcome[Receipt]:
            return await asyncio.get_running_loop().run_in_executor(command_threads, self._run_for, outgoing)

        try:
            yield from attempted(
                chunks, run_for, WORKERS, lambda error: DeliveryError(f"cannot run it: {type(error).__name__}")
            )
        finally:
            command_threads.shutdown(wait=False)

    def _run_for(self, outgoing: OutgoingDelivery) -> Outcome[Receipt]:
        run_began = time.perf_counter()
        exit_code: int | None = None
        try:
            exit_code, message = run_command(self._run, payload_line(outgoing), self._timeout, self._env)
        except subprocess.TimeoutExpired:
            message = f"{self._run[0]} took longer than {self._timeout:g} s"
            error = DeliveryError(message, hint="raise its timeout", doubtful=True)
        except OSError as start_failure:
            if lack := resource_exhaustion.lack_of(start_failure):
                return Outcome.failed(outgoing, lack)
            error = DeliveryError(
                f"cannot run {self._run[0]}: {start_failure.strerror}", hint="check its path and its rights"
            )
        else:
            if exit_code == 0:
                return Outcome(0, Action.DELIVERED, Receipt(0, time.perf_counter() - run_began), None, outgoing)
            is_final = exit_code in self._final_exit
            exit_reason = f"{self._run[0]} exited with {exit_code}{', which is final' if is_final else ''}"
            exit_reason = f"{exit_reason}: {message}" if message else exit_reason
            was_killed = exit_code < 0  # maybe after its work
            error = DeliveryError(exit_reason, final=is_final, status=exit_code, doubtful=was_killed)
        return Outcome.failed(outgoing, error, Receipt(exit_code, time.perf_counter() - run_began))


def run_command(command: Sequence[str], stdin_bytes: bytes, timeout: float, env: Mapping[str, str]) -> tuple[int, str]:
    """Run a command without a shell, in a process group of its own; return its status and the start of its stderr.

    Its stdout is discarded, and only a bounded part of its stderr is kept. After `timeout` seconds it is killed, with
    all processes that it has started, and `TimeoutExpired` is raised.
    """
    process = subprocess.Popen(  # noqa: S603 - the config's owner named it; the config check refuses one others can write
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=env,
    )
    children.add(process)
    stderr_start = bytearray()
    # Processes that the command has started may keep its pipes open after it has ended: their end is not waited for.
    threading.Thread(target=_write_stdin, args=(process.stdin, stdin_bytes), daemon=True).start()
    stderr_reader = threading.Thread(target=_keep_stderr, args=(process.stderr, stderr_start), daemon=True)
    stderr_reader.start()
    try:
        exit_code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        kill_group(process)
        process.wait()
        raise
    finally:
        children.discard(process)
    stderr_reader.join(STDERR_WAIT)
    return exit_code, bytes(stderr_start).decode("utf-8", "replace").strip()


def _write_stdin(pipe: IO[bytes], stdin_bytes: bytes) -> None:
    with suppress(OSError), pipe:  # a command may ignore its stdin
        pipe.write(stdin_bytes)


def _keep_stderr(pipe: IO[bytes], stderr_start: bytearray) -> None:
    with pipe:
        while piece := pipe.read1(65_536):  # type: ignore[attr-defined] # a buffered reader has it
            stderr_start += piece[: KEPT_STDERR - len(stderr_start)]
