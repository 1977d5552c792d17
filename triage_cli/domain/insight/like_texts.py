"""Finds like texts among many: texts that share rare words, weighed by their inverse document frequency.

The weights come from the texts themselves, so that this works in any language and without a model.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from triage_cli.domain.disjoint_sets import DisjointSets

WORD = re.compile(r"[^\W\d_]{3,}")
LONGEST = 200  # words of a text that are looked at
ALIKE = 0.4  # cosine of the weighed words from which on two texts are alike
COMMON = 0.1  # words in a larger share of the earlier texts say nothing


def words_of(text: str) -> frozenset[str]:
    """Return the distinct words at the beginning of a text."""
    return frozenset(found[0] for found in islice(WORD.finditer(text.casefold()), LONGEST))


class Weights:
    """Weighs words by how rare they are in earlier texts and in the present ones."""

    def __init__(self, present: Sequence[frozenset[str]], earlier: Sequence[frozenset[str]]) -> None:
        self._number = len(present) + len(earlier)
        self._counts = Counter(word for distinct in (*present, *earlier) for word in distinct)
        before = Counter(word for distinct in earlier for word in distinct)
        self._common = {word for word, n in before.items() if n > COMMON * len(earlier)}

    def of(self, word: str) -> float:
        """Return the weight of a word; 0 if it is common."""
        return 0.0 if word in self._common else math.log(1 + self._number / self._counts[word])

    def vector(self, distinct: frozenset[str]) -> dict[str, float]:
        """Return the weighed words of a text, as a vector of length 1; empty if all are common."""
        weighed = {word: weight for word in distinct if (weight := self.of(word))}
        length = math.sqrt(sum(weight * weight for weight in weighed.values()))
        return {word: weight / length for word, weight in weighed.items()}


def groups(vectors: Sequence[Mapping[str, float]]) -> Iterator[list[int]]:
    """Yield the indexes of texts that are alike, directly or by way of others; texts that are alone are left out."""
    sets = DisjointSets(len(vectors))
    places: dict[str, list[int]] = defaultdict(list)
    for index, vector in enumerate(vectors):
        for other in alike(vector, vectors, places):
            sets.join(index, other)
        for word in vector:
            places[word].append(index)
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(vectors)):
        members[sets.root(index)].append(index)
    yield from (found for found in members.values() if len(found) > 1)


def alike(
    vector: Mapping[str, float], vectors: Sequence[Mapping[str, float]], places: Mapping[str, Collection[int]]
) -> Iterator[int]:
    """Yield the indexes of like texts; `places` has for each word the indexes of texts that hold it."""
    cosines: dict[int, float] = defaultdict(float)
    for word, weight in vector.items():
        for other in places.get(word, ()):
            cosines[other] += weight * vectors[other][word]
    yield from (other for other, cosine in cosines.items() if cosine >= ALIKE)


def telling(texts: Iterable[frozenset[str]], others: Sequence[frozenset[str]], weights: Weights) -> list[str]:
    """Return the three words by which texts differ most from others."""
    inside = list(texts)
    counts, elsewhere = (Counter(word for each in some for word in each) for some in (inside, others))
    score = {
        word: (n / len(inside) - elsewhere[word] / max(1, len(others))) * (weights.of(word) or 0.1)
        for word, n in counts.items()
    }
    return sorted(score, key=lambda word: (-score[word], word))[:3]
