"""The index of words by which similar tickets are found. Whoever looks for some fills in what it lacks.

So an import pays nothing for it. Of 200,000 tickets all numbers are read and weighed, in some tenths of a second: an
inverted index would take several times the space, and slow each import down.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from triage_cli import domain as dm
from triage_cli.stores.database import Database, Db, write_all

if TYPE_CHECKING:
    import numpy as np

DROP_WORDS = "delete from ticket_words where ticket_id in (select value from json_each(?))"
ADD_WORDS = "insert into ticket_words (ticket_id, words) values (?, ?) on conflict (ticket_id) do nothing"
CONTENTS = "select ticket_id, content_hash from tickets where ticket_id in (select value from json_each(?))"
LACKING = """select t.ticket_id, t.content_hash, t.subject, t.description, t.extra from tickets t where {where}
    and t.ticket_id > :after and not exists (select 1 from ticket_words w where w.ticket_id = t.ticket_id)
    order by t.ticket_id limit 1000"""
WORDS = """select t.ticket_id, w.words from tickets t join ticket_words w on w.ticket_id = t.ticket_id
    where {where} order by t.ticket_id desc limit :most"""
# Without the table of tickets, whose rows are long.
RECENT_WORDS = "select ticket_id, words from ticket_words where ticket_id >= :first"
COUNT = "select count(*) from tickets t where {where}"
RECENT, DECIDED, WAITING = "t.ticket_id >= :first", "t.verdict = 1", "t.status = 'needs_review'"
NO_LIMIT = 1 << 40
SAMPLED = 1_000_000  # numbers of words from which their frequencies are known well enough
Row = tuple[str, bytes]


class SqlWordIndex:
    """Implements `ports.WordIndex` on the connections of a store; one that is read only keeps nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.read_only = False

    @staticmethod
    def drop(db: Db, changes: Sequence[dm.Change]) -> None:
        """Drop the words of tickets whose text is rewritten, in the transaction of these changes."""
        if rewritten := [change.ticket.ticket_id for change in changes if change.ticket]:
            db.execute(DROP_WORDS, (dm.compact(rewritten),))

    def similar(self, ticket: dm.Ticket, query: dm.SimilarQuery, most: int | None = None) -> list[tuple[str, float]]:
        rows = [row for row in self._rows(query, most or NO_LIMIT) if row[1] and row[0] != ticket.ticket_id]
        wanted = dm.word_numbers(ticket.subject, ticket.text)
        return _ranked(wanted, rows, query.limit) if rows and wanted else []

    def _rows(self, query: dm.SimilarQuery, most: int) -> list[Row]:
        first = dm.first_id_of(query.since or dm.ago(dm.DAYS * 86_400))
        if query.waiting:
            return self._joined(WAITING, most, first)
        if query.decided:
            return self._joined(f"{DECIDED} and {RECENT}" if query.since else DECIDED, most, first)
        older = [] if query.since else self._joined(f"{DECIDED} and t.ticket_id < :first", most, first)
        values = {"first": first}
        recent = self._database.read(RECENT_WORDS, values)
        if len(recent) < self._database.read(COUNT.format(where=RECENT), values)[0][0]:
            filled = self._fill(RECENT, first)
            recent = [*recent, *filled.items()] if filled else self._database.read(RECENT_WORDS, values)
        return older + recent

    def _joined(self, where: str, most: int, first: str) -> list[Row]:
        filled = self._fill(where, first)
        values = {"most": most} | ({"first": first} if ":first" in where else {})
        return [*self._database.read(WORDS.format(where=where), values), *filled.items()]

    def _fill(self, where: str, first: str) -> Mapping[str, bytes]:
        """Store the words that the index lacks; where nothing can be stored, return them."""
        kept: dict[str, bytes] = {}
        for page in self._lacking(where, first):
            words = {i: dm.word_numbers(subject, dm.text_of(subject, *texts)) for i, _, subject, *texts in page}
            if self.read_only:
                kept |= words
            else:
                self._database.write(partial(_keep, words, {row[0]: row[1] for row in page}))
        return kept

    def _lacking(self, where: str, first: str) -> Iterator[list[Any]]:
        values = {"after": ""} | ({"first": first} if ":first" in where else {})
        while page := self._database.read(LACKING.format(where=where), values):
            yield page
            values["after"] = page[-1][0]


def _keep(words: Mapping[str, bytes], contents: Mapping[str, str], db: Db) -> None:
    """Store words, but of tickets whose text has changed since it was read: the next one fills these in."""
    now = dict(db.execute(CONTENTS, (dm.compact(list(words)),)).fetchall())
    write_all(db, ADD_WORDS, [(i, numbers) for i, numbers in words.items() if now.get(i) == contents[i]])


def _ranked(wanted: bytes, rows: Sequence[Row], limit: int) -> list[tuple[str, float]]:
    """Return the ids of the rows with the highest cosine of weighed words, and the cosines.

    Words are weighed by how rare they are among the rows. Common ones count too: those of an alarm that comes all day.
    """
    import numpy as np

    numbers = np.frombuffer(b"".join([row[1] for row in rows]), np.uint16)
    ends = np.cumsum(np.fromiter((len(row[1]) for row in rows), np.int64, len(rows)) // 2)
    starts = np.concatenate(([0], ends[:-1]))
    step = max(1, len(numbers) // SAMPLED)
    counts = np.bincount(numbers[::step], minlength=2 * dm.IN_SUBJECT) * step
    weights = np.tile(_weights(counts[: dm.IN_SUBJECT] + counts[dm.IN_SUBJECT :], len(rows)), 2)
    weights[dm.IN_SUBJECT :] *= 2  # those in a subject
    query_numbers = np.frombuffer(wanted, np.uint16)
    of_query = np.zeros(dm.IN_SUBJECT, np.float32)
    of_query[query_numbers & (dm.IN_SUBJECT - 1)] = weights[query_numbers]
    lengths = np.sqrt(np.add.reduceat((weights * weights)[numbers], starts))
    products = np.add.reduceat((weights * np.tile(of_query, 2))[numbers], starts)
    cosines = products / np.maximum(lengths * np.sqrt(np.square(of_query).sum()), np.float32(1e-9))
    best = np.argpartition(-cosines, min(limit, len(rows) - 1))[:limit]
    best = best[np.lexsort((-best, -cosines[best]))]
    return [(rows[n][0], min(1.0, float(cosines[n]))) for n in best if cosines[n] > 0]


def _weights(counts: "np.ndarray[Any, Any]", number: int) -> "np.ndarray[Any, Any]":
    import numpy as np

    scale = max(number, dm.FEWEST)
    weights: np.ndarray[Any, Any] = np.log1p(scale / (counts + 1)).astype(np.float32)
    return weights
