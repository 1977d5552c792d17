"""Similar tickets: those with the same rare words, those of the subject counted twice.

Of each ticket a store keeps numbers of its words, from which nothing can be read back with certainty: several words
share a number.
"""

import re
from array import array
from binascii import crc32
from functools import lru_cache
from typing import Any, NamedTuple

from triage_cli.domain.insight.similar_texts import words_of
from triage_cli.domain.serialization import ticket_record
from triage_cli.domain.tickets import Ticket

IN_SUBJECT = 1 << 15  # is added to the number of a word that the subject has
DAYS = 90  # within which a ticket without a verdict was stored to be compared
MOST_SIMILAR = 500  # tickets that are returned at once
NEARLY_SAME = 0.9  # the similarity from which on two texts are nearly the same
_BLANKLESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{2,}")


class SimilarQuery(NamedTuple):
    """Which tickets are compared: with a verdict (`decided`), that wait for a person (`waiting`), or all.

    All are those with a verdict and those of the last `DAYS`; with `since`, those that were stored since then.
    """

    decided: bool = False
    waiting: bool = False
    since: str | None = None
    limit: int = 5


class SimilarTicket(NamedTuple):
    """A ticket, and how similar its text is: up to 1, the cosine of both texts' weighed words."""

    ticket: Ticket
    similarity: float


def similar_record(similar: SimilarTicket) -> dict[str, Any]:
    """Return the JSON record of a similar ticket."""
    return {**ticket_record(similar.ticket), "similarity": round(similar.similarity, 4)}


@lru_cache(1 << 15)
def _word_number(word: str) -> int:
    return crc32(word.encode("utf-8", "surrogatepass")) & (IN_SUBJECT - 1)


def word_numbers(subject: str | None, text: str) -> bytes:
    """Return the numbers of the words of a ticket, two bytes each; `text` is all that classifiers read of it."""
    in_subject = {_word_number(word) for word in _words(subject or "")}
    others = {_word_number(word) for word in _words(text)} - in_subject
    return array("H", [*(number | IN_SUBJECT for number in in_subject), *others]).tobytes()


def _words(text: str) -> set[str]:
    """Return the words of a text; in scripts without blanks, pairs of characters."""
    words = set(words_of(text))
    if not text.isascii():
        for word in list(words):
            for run in _BLANKLESS.findall(word):
                words |= {run[start : start + 2] for start in range(len(run) - 1)}
    return words
