"""Similar texts and similar tickets: those with the same rare words; of a ticket, those of the subject counted twice.

Of each ticket a store keeps numbers of its words, from which nothing can be read back with certainty: several words
share a number.
"""

import math
import re
from array import array
from binascii import crc32
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain, islice
from operator import itemgetter
from typing import Annotated, Any, NamedTuple

from triage_cli.domain.evaluation.cross_validation import DisjointSets
from triage_cli.domain.languages import WORD_WITHOUT_BLANKS, with_blanks
from triage_cli.domain.serialization import ticket_record
from triage_cli.domain.tickets import Ticket
from triage_cli.domain.wire_values import Limits

_WORD = rf"{WORD_WITHOUT_BLANKS}|[^\W\d_]{{3,}}"  # compiled when needed: most commands compare nothing
_LONGEST = 200  # words at the beginning of a text by which it is compared
_LONGEST_READ = 24_000  # characters of a text that are compared whole, as many as a language model gets
ALIKE = 0.4  # the least cosine of the weighed words of two similar texts
ROUNDING = 1e-9  # more than the errors of lengths and cosines
COMMON = 0.1  # texts are not compared by words in a larger share of the earlier texts
FEWEST = 50  # earlier texts are taken to be so many at least: a word in one of three is not known to be common


def distinct_words(text: str) -> frozenset[str]:
    """Return the distinct words at the beginning of a text."""
    return frozenset(map(itemgetter(0), islice(re.finditer(_WORD, with_blanks(text.casefold())), _LONGEST)))


class WordWeights:
    """Weighs the words of texts by how rare they are in earlier texts.

    The texts that are weighed count nowhere: if most of them are about one new thing, its words would seem common.
    `counts` are the numbers of earlier texts with each word, and `number` is the number of earlier texts.
    """

    def __init__(self, earlier: Sequence[frozenset[str]]) -> None:
        self.number = len(earlier)
        self.counts = Counter(chain.from_iterable(earlier))
        self._scale = max(self.number, FEWEST)

    def of(self, word: str) -> float:
        """Return the weight of a word; 0 if it is common."""
        count = self.counts[word]
        return math.log1p(self._scale / (count + 1)) if count <= COMMON * self._scale else 0.0

    def vector(self, distinct: frozenset[str]) -> dict[str, float]:
        """Return the weighed words of a text, rarest first, as a vector of length 1; empty if all are common."""
        weights = {word: weight for word in distinct if (weight := self.of(word))}
        length = math.sqrt(sum(weight * weight for weight in weights.values()))
        rarest_first = sorted(weights, key=lambda word: (-weights[word], word))
        return {word: weights[word] / length for word in rarest_first}


class SimilarTexts:
    """Finds texts with similar vectors by the rarest words of both.

    What follows a word in a vector can add to a cosine no more than the product of both lengths from that word on. So
    only texts whose rarest common word stands near the beginnings of both vectors are compared (prefix filtering,
    Bayardo et al. 2007).
    """

    def __init__(self, vectors: Iterable[Mapping[str, float]] = ()) -> None:
        self._vectors: list[Mapping[str, float]] = []
        # For each word the texts with it, and the lengths of their vectors from the word on, ascending.
        self._places: dict[str, tuple[list[float], list[int]]] = defaultdict(lambda: ([], []))
        for vector in vectors:
            self.add(vector)

    def add(self, vector: Mapping[str, float]) -> None:
        """Add a text, which gets the next index."""
        for word, length in _lengths_from(vector):
            lengths, indexes = self._places[word]
            place = bisect_left(lengths, length)
            lengths.insert(place, length)
            indexes.insert(place, len(self._vectors))
        self._vectors.append(vector)

    def alike(self, vector: Mapping[str, float], passed_over: Callable[[int], bool]) -> Iterator[int]:
        """Yield the indexes of similar texts, but of those that are not `passed_over`."""
        candidate_texts: set[int] = set()
        for word, length in _lengths_from(vector):
            if word in self._places:
                lengths, indexes = self._places[word]
                candidate_texts.update(indexes[bisect_left(lengths, ALIKE / length - ROUNDING) :])
        for text_index in candidate_texts:
            if not passed_over(text_index):
                other_vector = self._vectors[text_index]
                if sum([vector[word] * other_vector[word] for word in vector.keys() & other_vector.keys()]) >= ALIKE:
                    yield text_index


def _lengths_from(vector: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield the first words of a vector, each with the length of the vector from there on, as long as it matters."""
    square = 1.0
    for word, weight in vector.items():
        if square < ALIKE * ALIKE - ROUNDING:
            return
        yield word, math.sqrt(square)
        square -= weight * weight


def groups(vectors: Sequence[Mapping[str, float]]) -> Iterator[list[int]]:
    """Yield groups of indexes of texts that are similar, directly or through others; single texts are left out."""
    similar_sets, earlier_texts = DisjointSets(len(vectors)), SimilarTexts()
    for text_index, vector in enumerate(vectors):
        for other in earlier_texts.alike(vector, partial(similar_sets.joined, text_index)):
            similar_sets.join(text_index, other)
        earlier_texts.add(vector)
    similar_texts: dict[int, list[int]] = defaultdict(list)
    for text_index in range(len(vectors)):
        similar_texts[similar_sets.root(text_index)].append(text_index)
    yield from (group for group in similar_texts.values() if len(group) > 1)


IN_SUBJECT = 1 << 15  # is added to the number of a word that the subject has
DAYS = 90  # within which a ticket without a verdict was stored to be compared
MOST_SIMILAR = 500  # tickets that are returned at once
NEARLY_SAME = 0.9  # the similarity from which on two texts are nearly the same
_BLANKLESS = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{2,}"


class SimilarQuery(NamedTuple):
    """Which tickets are compared: with a verdict (`decided`), that wait for a person (`waiting`), or all.

    All are those with a verdict and those of the last `DAYS`; with `since`, those that were stored since then.
    """

    decided: bool = False
    waiting: bool = False
    since: str | None = None
    limit: Annotated[int, Limits(1, MOST_SIMILAR)] = 5


class SimilarTicket(NamedTuple):
    """A ticket, and how similar its text is: up to 1, the cosine of both texts' weighed words."""

    ticket: Ticket
    similarity: float


def over_whole_texts(similarity: float, text: str, other: str) -> float:
    """Return the similarity of two texts, of which the beginnings were compared: no more than that of all their words.

    So nobody is told of the same text where two that begin alike go on differently.
    """
    words, others = (re.findall(_WORD, with_blanks(each[:_LONGEST_READ].casefold())) for each in (text, other))
    if similarity < NEARLY_SAME or max(len(words), len(others)) <= _LONGEST:
        return similarity
    distinct, other_distinct = set(words), set(others)
    return min(similarity, len(distinct & other_distinct) / math.sqrt(len(distinct) * len(other_distinct)))


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
    words = set(distinct_words(text))
    if not text.isascii():
        for word in list(words):
            for run in re.findall(_BLANKLESS, word):
                words |= {run[start : start + 2] for start in range(len(run) - 1)}
    return words
