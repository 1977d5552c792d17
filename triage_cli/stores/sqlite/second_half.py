"""The second half of a long audit log, which a process of its own verifies while its parent verifies the first.

The process reads its task as JSON. It answers if its half holds, and ends without an answer if not, or if anything
fails: then the parent verifies that half, too, so that it alone says what is wrong, in the same words for every log.
"""

import json
import os
import sqlite3
import sys
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from typing import Self

from triage_cli import domain as dm
from triage_cli.runtime import end_command, started_helper

EVENT_ROWS = "select seq, timestamp, action, ticket_id, actor, run_id, detail, '', hash from events {} order by seq"
# From so many events on, a second process saves more than its start takes.
EVENTS_FOR_TWO = 200_000


def saves_time(event_count: int) -> bool:
    """Return whether a second process is worth its start, for so many events and on this machine."""
    return event_count >= EVENTS_FOR_TWO and (os.cpu_count() or 1) > 1


class SecondHalf:
    """Implements `domain.RestOfLog`, for a log that ends at `head`. Raises `OSError` if no process starts."""

    def __init__(self, file_uri: str, head: dm.Head, audit_key: bytes | None, heads: Mapping[str, str]) -> None:
        self.begins = head.events // 2
        self.head = head
        self._process = started_helper(__name__)
        task = (file_uri, self.begins, head.events, audit_key.hex() if audit_key else "", list(heads))
        if self._process.stdin is not None:
            with suppress(OSError), self._process.stdin as task_pipe:  # it has ended
                task_pipe.write(json.dumps(task).encode())

    def __enter__(self) -> Self:
        """Return the same object."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the process, and close the pipes to it."""
        with self._process:
            end_command(self._process)

    def heads_after(self, prev: str) -> Collection[str] | None:
        """Wait for the process; return which heads are in its half, or None unless that is whole and follows `prev`."""
        with suppress(ValueError):  # it was killed
            answered = self._process.stdout.read() if self._process.stdout is not None else b""
            verified_from, verified_head, found_heads = json.loads(answered)
            if verified_from == prev and dm.Head(*verified_head) == self.head:
                return set(found_heads)
        return None


def answer(task: bytes) -> str:
    """Verify half of a log; return the hash before it, its head, and which heads are in it. Raises what is wrong."""
    file_uri, begins, ends, hex_key, heads = json.loads(task)
    audit_key = bytes.fromhex(hex_key) if hex_key else None
    with closing(sqlite3.connect(file_uri, uri=True)) as db:
        # The first row is the last one of the other half, so that none can stand between the halves.
        event_rows = db.execute(EVENT_ROWS.format("where seq between ? and ?"), (begins, ends))
        start = dm.Head(next(event_rows)[-1], begins)
        head, missing_heads = dm.hash_chain.recompute(event_rows, audit_key, dict.fromkeys(heads, ""), start)
    return json.dumps((start.head, head, [each for each in heads if each not in missing_heads]))


if __name__ == "__main__":
    sys.stdout.write(answer(sys.stdin.buffer.read()))
