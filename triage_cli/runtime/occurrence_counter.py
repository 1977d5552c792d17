"""Counting how often each identity occurs in an input of any length, in bounded memory."""

import sqlite3
from collections.abc import Sequence

from triage_cli.domain.serialization import compact

# Identities that are counted in memory; from there on they are counted on disk.
IN_MEMORY = 120_000


class OccurrenceCounter:
    """Counts identities, many of them in a temporary file.

    It stores 64-bit hashes: with a million identities, two are confused with a probability of 3 in 100 million.
    """

    def __init__(self) -> None:
        self._in_memory: dict[int, int] = {}
        self._db: sqlite3.Connection | None = None

    def count(self, identities: Sequence[str]) -> list[int]:
        """Return how often each identity was counted before, including earlier in this list, and count them."""
        keys = [hash(identity) for identity in identities]
        numbers = self._numbers(keys)
        before = []
        for key in keys:
            number = numbers.get(key, 0)
            before.append(number)
            numbers[key] = number + 1
        if self._db is None and len(numbers) > IN_MEMORY:
            self._db, self._in_memory = self._open_file(), {}
        if self._db is not None:
            self._db.execute("begin")
            self._db.executemany("insert or replace into seen values (?, ?)", numbers.items())
            self._db.execute("commit")
        return before

    def counted(self, identities: Sequence[str]) -> list[int]:
        """Return how often each identity was counted before, without counting it."""
        keys = [hash(identity) for identity in identities]
        numbers = self._numbers(keys)
        return [numbers.get(key, 0) for key in keys]

    def _numbers(self, keys: list[int]) -> dict[int, int]:
        """Return the counts of these keys at least."""
        if self._db is None:
            return self._in_memory
        query = "select key, number from seen where key in (select value from json_each(?))"
        return dict(self._db.execute(query, (compact(keys),)).fetchall())

    @staticmethod
    def _open_file() -> sqlite3.Connection:
        db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        db.execute("pragma synchronous = off")
        db.execute("create table seen (key integer primary key, number integer)")
        return db

    def close(self) -> None:
        """Remove the temporary file."""
        if self._db is not None:
            self._db.close()
