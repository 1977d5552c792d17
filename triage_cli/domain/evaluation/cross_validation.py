"""Folds of labelled texts for cross-validation: near duplicates stay together, and labels are spread evenly."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from random import Random
from zlib import crc32

from triage_cli.domain.evaluation.near_duplicates import LONG, distinct_words


class DisjointSets:
    """The indexes from 0 to `number` - 1, each in a set of its own at first."""

    def __init__(self, number: int) -> None:
        self._parent = list(range(number))

    def root(self, index: int) -> int:
        """Return the root of an index: the one that stands for its set."""
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def join(self, index: int, other: int) -> None:
        """Make one set of the sets of two indexes; the root of `other` stands for it."""
        self._parent[self.root(index)] = self.root(other)

    def joined(self, index: int, other: int) -> bool:
        """Return whether two indexes are in one of the disjoint sets."""
        return self.root(index) == self.root(other)


# MinHash bands: texts that share 9 words of 10 agree in a band 4 times in 5, with 1 of 5 almost never.
BANDS, ROWS = 5, 10


def groups_of(texts: Sequence[str]) -> list[int]:
    """Return the group number of each text: equal for the same words, whatever their order, numbers and case.

    Long texts are grouped if they have nearly the same words (MinHash).
    """
    duplicates = DisjointSets(len(texts))
    first_by_key: dict[Hashable, int] = {}
    hashes: dict[str, list[int]] = {}
    for text_index, text in enumerate(texts):
        folded = distinct_words(text)
        duplicate_keys: list[Hashable] = [folded or text]
        if len(folded) >= LONG:
            duplicate_keys += _minhash_bands(folded, hashes)
        for duplicate_key in duplicate_keys:
            duplicates.join(text_index, first_by_key.setdefault(duplicate_key, text_index))
    return [duplicates.root(text_index) for text_index in range(len(texts))]


def _minhash_bands(folded: frozenset[str], hashes: dict[str, list[int]]) -> list[Hashable]:
    for word in folded - hashes.keys():
        bits = Random(crc32(word.encode("utf-8", "surrogatepass"))).getrandbits(32 * BANDS * ROWS)  # noqa: S311 - no secret
        hashes[word] = [bits >> 32 * n & 0xFFFFFFFF for n in range(BANDS * ROWS)]
    min_hashes = [min(column) for column in zip(*(hashes[word] for word in folded), strict=True)]
    return [(band, *min_hashes[band * ROWS : (band + 1) * ROWS]) for band in range(BANDS)]


def folds_of(labels: Sequence[Hashable], groups: Sequence[Hashable], number: int) -> list[int]:
    """Return the fold of each text: groups stay together, and each label is spread as evenly as that allows."""
    group_members: dict[Hashable, list[int]] = defaultdict(list)
    for text_index, group in enumerate(groups):
        group_members[group].append(text_index)
    groups_in_order = sorted(group_members.values(), key=len, reverse=True)
    Random(0).shuffle(groups_in_order)  # noqa: S311 - repeatable on purpose
    groups_in_order.sort(key=len, reverse=True)
    fold_labels: dict[Hashable, list[int]] = defaultdict(lambda: [0] * number)
    fold_sizes = [0] * number
    folds = [0] * len(labels)
    for group_indexes in groups_in_order:
        label = Counter(labels[text_index] for text_index in group_indexes).most_common(1)[0][0]
        fold = min(range(number), key=lambda f: (fold_labels[label][f], fold_sizes[f]))
        for text_index in group_indexes:
            folds[text_index] = fold
            fold_labels[labels[text_index]][fold] += 1
        fold_sizes[fold] += len(group_indexes)
    return folds
