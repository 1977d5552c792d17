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
        if self._db is not None:
            self._store_counts(self._db, numbers)
        elif len(numbers) > IN_MEMORY:
            self._db = self._open_file()
            self._store_counts(self._db, numbers)
            self._in_memory = {}
        return before

    def counted(self, identities: Sequence[str]) -> list[int]:
        """Return how often each identity was counted before, without counting it."""
        keys = [hash(identity) for identity in identities]
        numbers = self._numbers(keys)
        return [numbers.get(key, 0) for key in keys]

    def _numbers(self, keys: list[int]) -> dict[int, int]:
        """Return the counts of these keys at least."""
        return self._in_memory if self._db is None else self._stored_counts(self._db, keys)

    @staticmethod
    def _open_file() -> sqlite3.Connection:
        db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        db.execute("pragma synchronous = off")
        db.execute("create table seen (key integer primary key, number integer)")
        return db

    @staticmethod
    def _stored_counts(db: sqlite3.Connection, keys: list[int]) -> dict[int, int]:
        query = "select key, number from seen where key in (select value from json_each(?))"
        return dict(db.execute(query, (compact(keys),)).fetchall())

    @staticmethod
    def _store_counts(db: sqlite3.Connection, numbers: dict[int, int]) -> None:
        db.execute("begin")
        db.executemany("insert or replace into seen values (?, ?)", numbers.items())
        db.execute("commit")

    def close(self) -> None:
        """Remove the temporary file."""
        if self._db is not None:
            self._db.close()
