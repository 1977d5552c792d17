"""Which identities one input has shown before, in flat memory."""

import sqlite3
from collections.abc import Sequence

from triage_cli.domain.serialization import compact

# So many are kept in memory; more go to the disk.
IN_MEMORY = 120_000


class OccurrenceCounter:
    """Counts identities; past the first ones in a private temporary file, since a set of a million would not be flat.

    It keeps 64-bit hashes: two of a million identities are taken for one with a probability of 3 in 100 million.
    """

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._db: sqlite3.Connection | None = None

    def count(self, identities: Sequence[str]) -> list[int]:
        """Return how often each was seen before, here and earlier in this list, and remember them."""
        keys = [hash(identity) for identity in identities]
        numbers = self._first if self._db is None else self._stored(self._db, keys)
        before = []
        for key in keys:
            number = numbers.get(key, 0)
            before.append(number)
            numbers[key] = number + 1
        if self._db is not None:
            self._keep(self._db, numbers)
        elif len(numbers) > IN_MEMORY:
            self._db = self._opened()
            self._keep(self._db, numbers)
            self._first = {}
        return before

    @staticmethod
    def _opened() -> sqlite3.Connection:
        db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        db.execute("pragma synchronous = off")
        db.execute("create table seen (key integer primary key, number integer)")
        return db

    @staticmethod
    def _stored(db: sqlite3.Connection, keys: list[int]) -> dict[int, int]:
        query = "select key, number from seen where key in (select value from json_each(?))"
        return dict(db.execute(query, (compact(keys),)).fetchall())

    @staticmethod
    def _keep(db: sqlite3.Connection, numbers: dict[int, int]) -> None:
        db.execute("begin")
        db.executemany("insert or replace into seen values (?, ?)", numbers.items())
        db.execute("commit")

    def close(self) -> None:
        """Remove the temporary file."""
        if self._db is not None:
            self._db.close()
