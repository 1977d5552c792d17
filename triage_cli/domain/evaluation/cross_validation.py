"""Labelled texts into folds: texts that say the same stand in one fold, each fold has its share of every label."""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from random import Random
from zlib import crc32

NUMBER = re.compile(r"\d+")
WORD = re.compile(r"[^\W_]{2,}|0+")
LONG = 12  # distinct words from which on two texts may be near duplicates without having the same ones
# Long texts that share 9 words of 10 agree in one of these bands in 4 cases of 5, those that share 1 of 5 hardly ever.
BANDS, ROWS = 5, 10


def groups_of(texts: Sequence[str]) -> list[int]:
    """Return each text's group: the same for texts with the same words whatever their order, numbers and case.

    Long texts are grouped where they have nearly the same words (MinHash).
    """
    parent = list(range(len(texts)))

    def root(of: int) -> int:
        while parent[of] != of:
            parent[of] = parent[parent[of]]
            of = parent[of]
        return of

    first: dict[Hashable, int] = {}
    hashes: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        distinct = set(WORD.findall(NUMBER.sub("00", text.casefold())))
        keys: list[Hashable] = [frozenset(distinct) if distinct else text]
        if len(distinct) >= LONG:
            keys += _bands(distinct, hashes)
        for key in keys:
            parent[root(number)] = root(first.setdefault(key, number))
    return [root(number) for number in range(len(texts))]


def _bands(distinct: set[str], hashes: dict[str, list[int]]) -> list[Hashable]:
    for word in distinct - hashes.keys():
        bits = Random(crc32(word.encode("utf-8", "surrogatepass"))).getrandbits(32 * BANDS * ROWS)  # noqa: S311 - no secret
        hashes[word] = [bits >> 32 * n & 0xFFFFFFFF for n in range(BANDS * ROWS)]
    least = [min(column) for column in zip(*(hashes[word] for word in distinct), strict=True)]
    return [(band, *least[band * ROWS : (band + 1) * ROWS]) for band in range(BANDS)]


def folds_of(labels: Sequence[Hashable], groups: Sequence[Hashable], number: int, seed: int = 0) -> list[int]:
    """Return each text's fold: groups stay whole, and each label is spread as evenly as that allows."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        members[group].append(place)
    order = sorted(members.values(), key=len, reverse=True)
    Random(seed).shuffle(order)  # noqa: S311 - repeatable on purpose
    order.sort(key=len, reverse=True)
    filled: dict[Hashable, list[int]] = defaultdict(lambda: [0] * number)
    sizes = [0] * number
    folds = [0] * len(labels)
    for places in order:
        label = Counter(labels[place] for place in places).most_common(1)[0][0]
        fold = min(range(number), key=lambda f: (filled[label][f], sizes[f]))
        for place in places:
            folds[place] = fold
            filled[labels[place]][fold] += 1
        sizes[fold] += len(places)
    return folds
