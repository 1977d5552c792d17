"""Which identities one input has shown before, in flat memory."""

import sqlite3
from collections.abc import Sequence

from triage_cli.codec import compact


class Seen:
    """Counts identities in a private temporary file, since a set of a million of them would not be flat.

    It keeps 64-bit hashes: two of a million identities are taken for one with a probability of 3 in 100 million.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("pragma synchronous = off")
        self._db.execute("create table seen (key integer primary key, number integer)")

    def count(self, identities: Sequence[str]) -> list[int]:
        """Return how often each was seen before, here and earlier in this list, and remember them."""
        keys = [hash(identity) for identity in identities]
        found = self._db.execute(
            "select key, number from seen where key in (select value from json_each(?))", (compact(keys),)
        )
        numbers = dict(found.fetchall())
        before = []
        for key in keys:
            number = numbers.get(key, 0)
            before.append(number)
            numbers[key] = number + 1
        self._db.execute("begin")
        self._db.executemany("insert or replace into seen values (?, ?)", numbers.items())
        self._db.execute("commit")
        return before

    def close(self) -> None:
        """Remove the temporary file."""
        self._db.close()
