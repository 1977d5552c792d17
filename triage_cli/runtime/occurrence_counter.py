"""Counting how often each identity occurs in an input of any length, in bounded memory."""

import sqlite3
from collections.abc import Sequence

from triage_cli import domain as dm

# So many identities are counted in memory; if there are more, all are counted on disk.
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
        identity_hashes = [hash(identity) for identity in identities]
        occurrences = self._occurrences(identity_hashes)
        counted_before = []
        for identity_hash in identity_hashes:
            number = occurrences.get(identity_hash, 0)
            counted_before.append(number)
            occurrences[identity_hash] = number + 1
        if self._db is None and len(occurrences) > IN_MEMORY:
            self._db, self._in_memory = self._open_file(), {}
        if self._db is not None:
            self._db.execute("begin")
            self._db.executemany("insert or replace into seen values (?, ?)", occurrences.items())
            self._db.execute("commit")
        return counted_before

    def counted(self, identities: Sequence[str]) -> list[int]:
        """Return how often each identity was counted before, without counting it."""
        identity_hashes = [hash(identity) for identity in identities]
        occurrences = self._occurrences(identity_hashes)
        return [occurrences.get(identity_hash, 0) for identity_hash in identity_hashes]

    def _occurrences(self, identity_hashes: list[int]) -> dict[int, int]:
        """Return how often each of these hashes was counted; maybe of others, too."""
        if self._db is None:
            return self._in_memory
        query = "select key, number from seen where key in (select value from json_each(?))"
        return dict(self._db.execute(query, (dm.compact(identity_hashes),)).fetchall())

    @staticmethod
    def _open_file() -> sqlite3.Connection:
        db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        db.execute("pragma synchronous = off")
        db.execute("create table seen (key integer primary key, number integer)")
        return db

    def close(self) -> None:
        """Remove the temporary file of the counter."""
        if self._db is not None:
            self._db.close()
