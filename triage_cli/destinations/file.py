"""Destinations of type `file`: JSON lines, each appended whole or not at all, by any number of processes."""

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from triage_cli import domain as dm
from triage_cli.destinations.payload import payload_line
from triage_cli.runtime import FOLDER, private, resource_exhaustion

# Deliveries of one write to the file: many, since each write waits for the disk once.
WORKERS = 500


@contextmanager
def locked(file: IO[bytes]) -> Iterator[None]:
    """Wait for the lock on a file and hold it for the block."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


class FileDestination:
    """Appends deliveries to one file. A delivery counts as accepted only once it is on the disk."""

    def __init__(self, name: str, path: Path, max_attempts: int, schedule: tuple[float, ...]) -> None:
        self.name = name
        self.workers = WORKERS
        self.max_attempts = max_attempts
        self.schedule = schedule
        self._path = path

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        """Append the payloads of each chunk to the file in one write."""
        for chunk in chunks:
            if not chunk:
                yield []
                continue
            append_began = time.perf_counter()
            try:
                for outgoing in chunk:
                    outgoing.check_held()
                self._append(b"".join(payload_line(outgoing) for outgoing in chunk))
            except dm.NOT_ATTEMPTED as problem:
                yield [dm.Outcome.failed(outgoing, problem) for outgoing in chunk]
            except OSError as error:
                failure = resource_exhaustion.lack_of(error) or dm.DeliveryError(
                    f"cannot append to {self._path}: {error.strerror}", hint="check the folder and the disk"
                )
                yield [dm.Outcome.failed(outgoing, failure) for outgoing in chunk]
            else:
                receipt = dm.Receipt(None, time.perf_counter() - append_began)
                yield [dm.Outcome(None, dm.Action.DELIVERED, receipt, None, outgoing) for outgoing in chunk]

    def _append(self, queue_lines: bytes) -> None:
        self._path.parent.mkdir(FOLDER, parents=True, exist_ok=True)
        if self._path.is_fifo():  # to open it would wait until somebody reads it
            raise OSError(errno.ESPIPE, "it is a named pipe")
        with open(self._path, "ab", buffering=0, opener=private) as file, locked(file):
            file_end = file.seek(0, os.SEEK_END)
            if file_end and self._is_torn(file_end):
                queue_lines = b"\n" + queue_lines
            try:
                bytes_written = 0
                while bytes_written < len(queue_lines):
                    bytes_written += file.write(queue_lines[bytes_written:])
                os.fsync(file.fileno())
            except OSError:
                file.truncate(file_end)  # a full disk leaves no half line behind
                raise

    def _is_torn(self, file_end: int) -> bool:
        """Return whether the file's last line has no line end (after a power cut): the next would become part of it."""
        try:
            with self._path.open("rb") as file:
                file.seek(file_end - 1)
                return file.read(1) != b"\n"
        except PermissionError:  # a file that may only be written to
            return False
