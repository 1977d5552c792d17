"""Topics: what many unlabelled texts are about, found by how alike they are.

Texts are vectors of length 1, near each other if the texts are alike. Two views count alike: the sum of the vectors of
a text's words, in which rare ones count more and what all texts have in common is taken out (Arora et al. 2017), and
its terms by rarity in fewer dimensions (latent semantic analysis, by the randomised decomposition of Halko et al.
2011). The first is better on short texts, the second on long letters. Where many texts are not in English, the
multilingual encoder takes the place of both, so that topics are subjects and not languages. It is slow: of many texts
it reads some, and what it would say of the others is told from their words (ridge regression), which costs a point or
two of the texts whose label is that of their topic.

Topics are groups of texts around centres (spherical k-means, begun as in Arthur & Vassilvitskii 2007). Nothing depends
on chance: the same texts in the same order make the same topics.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.encoder import MAX_CHARACTERS, encoded
from triage_cli.classifiers.embedded.fitted_model import Floats, Integers
from triage_cli.classifiers.embedded.language_guard import are_plainly_english, leaning_of
from triage_cli.classifiers.embedded.tokens import bare_word, count_weights, word_lists, words_of
from triage_cli.classifiers.embedded.training_set import is_personal
from triage_cli.classifiers.embedded.word_table import SILENT, is_content, showable_word
from triage_cli.classifiers.embedded.word_vectors import word_vectors

LEAST_TEXTS = 2  # with a word of the space: one that occurs in a single text makes no texts alike
RARE_SHARE = np.float32(1e-3)  # of all words; the weight of a word with this share is halved
SILENT_WEIGHT = np.float32(0.3)
COMMON_SHARE = 0.3  # of the texts; a word in more of them is no term
FOREIGN_SHARE = 0.1  # of the texts that are not plainly English, above which the encoder is used
DIMENSIONS, SPARE_DIMENSIONS, PASSES = 64, 10, 3  # of the terms; the spare ones make the others exact
MOST_ENCODED = 1_200_000  # characters that the encoder reads, in some fifteen seconds of a core
ENCODER_DIMENSIONS = 128  # principal components of its vectors: as good as all
PENALTY, STEPS = np.float32(0.3), 10  # of the regression, which conjugate gradients solve
TINY = np.float32(1e-12)  # in place of zero below a fraction


class TextSpace:
    """A space that is fitted to texts; `words` are those that occur in several of them.

    It is multilingual where many of them are not in English.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        bags = [_bag(text) for text in texts]
        text_counts = Counter(chain.from_iterable(bags))
        self.words = [word for word, count in text_counts.items() if count >= LEAST_TEXTS]
        self._word_numbers = {word: number for number, word in enumerate(self.words)}
        self.counts = np.fromiter((text_counts[word] for word in self.words), np.int64, len(self.words))
        self.is_content = np.fromiter(map(is_content, self.words), np.bool_, len(self.words))
        is_silent = np.fromiter((word in SILENT for word in self.words), np.bool_, len(self.words))
        self.bags = self._matrix(bags)
        del bags, text_counts  # some 70 MB, which the encoder may need
        self.is_multilingual = self._foreign_share() > FOREIGN_SHARE
        rarities = np.log((len(texts) + 1) / (self.counts + 1)).astype(np.float32)
        self._rarities = np.where(is_silent | (self.counts > COMMON_SHARE * len(texts)), np.float32(0), rarities)
        if self.is_multilingual:  # terms would part the languages, and sentences have no axis in common
            self.vectors = self._fit_encoded(texts)  # of the texts that the space is fitted to
        else:
            self._fit_words(is_silent)
            self._fit_terms()
            self.vectors = self._vectors(self.bags)

    def _foreign_share(self) -> float:
        """Return the share of texts that are not plainly English."""
        has_word = self.bags > 0
        leanings = has_word @ np.fromiter(map(leaning_of, self.words), np.int64, len(self.words))
        is_plain = are_plainly_english(leanings, has_word @ np.ones(len(self.words), np.int64))
        return 1 - float(is_plain.mean()) if len(is_plain) else 0.0

    def _fit_words(self, is_silent: NDArray[np.bool_]) -> None:
        shares = (self.counts / max(1, int(self.counts.sum()))).astype(np.float32)
        weights = RARE_SHARE / (RARE_SHARE + shares) * np.where(is_silent, SILENT_WEIGHT, np.float32(1))
        self._word_vectors = word_vectors().of(self.words) * weights[:, None]
        sums = unit(self.bags @ self._word_vectors)
        self._mean = sums.mean(axis=0) if len(sums) else np.zeros(sums.shape[1], np.float32)
        sums -= self._mean
        _, axes = np.linalg.eigh(sums.T @ sums)
        self._first_axis = axes[:, -1:].astype(np.float32)

    def _fit_terms(self) -> None:
        terms = self._terms(self.bags)
        random = np.random.default_rng(0).standard_normal((len(self.words), DIMENSIONS + SPARE_DIMENSIONS))
        basis = random.astype(np.float32)
        for _ in range(PASSES):
            basis, _ = np.linalg.qr(terms @ basis)
            basis, _ = np.linalg.qr(terms.T @ basis)
        projected = terms @ basis
        _, axes = np.linalg.eigh(projected.T @ projected)
        self._term_axes = (basis @ axes[:, ::-1][:, :DIMENSIONS]).astype(np.float32)

    def _fit_encoded(self, texts: Sequence[str]) -> Floats:
        characters = sum(min(len(text), MAX_CHARACTERS) for text in texts)
        self._read = _spread(len(texts), max(LEAST_TEXTS, len(texts) * MOST_ENCODED // max(characters, MOST_ENCODED)))
        vectors = encoded([texts[row] for row in self._read])
        self._mean = vectors.mean(axis=0)
        vectors = vectors - self._mean
        _, axes = np.linalg.eigh(vectors.T @ vectors)
        self._axes = axes[:, ::-1][:, :ENCODER_DIMENSIONS]
        self._read_vectors = unit(vectors @ self._axes)
        if len(self._read) == len(texts):
            return self._read_vectors
        all_vectors = self._vectors(self.bags)
        all_vectors[self._read] = self._read_vectors
        return all_vectors

    @cached_property
    def _by_terms(self) -> Floats:
        """What each term adds to the vector that the encoder would make of a text."""
        return regressed(self._terms(self.bags)[self._read], self._read_vectors)

    def vectors_of(self, texts: Sequence[str]) -> Floats:
        """Return the vectors of a few other texts."""
        if self.is_multilingual:
            return unit((encoded(texts) - self._mean) @ self._axes)
        return self._vectors(self._matrix([_bag(text) for text in texts]))

    def vectors_of_many(self, texts: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the vectors of other texts by their words, and which of them say something."""
        bags = self._matrix([_bag(text) for text in texts])
        return self._vectors(bags), self.says_something(bags)

    def says_something(self, bags: csr_matrix) -> NDArray[np.bool_]:
        """Return which texts have a word that means something, and that another text has, too."""
        has_content: NDArray[np.bool_] = bags @ self.is_content.astype(np.float32) > 0
        return has_content

    def _vectors(self, bags: csr_matrix) -> Floats:
        if self.is_multilingual:
            return unit(self._terms(bags) @ self._by_terms)
        sums = unit(bags @ self._word_vectors) - self._mean
        sums -= (sums @ self._first_axis) @ self._first_axis.T
        return unit(np.hstack([unit(sums), unit(self._terms(bags) @ self._term_axes)]))

    def _terms(self, bags: csr_matrix) -> csr_matrix:
        terms = csr_matrix(bags.multiply(self._rarities[None, :]), dtype=np.float32)
        lengths = np.sqrt(np.asarray(terms.multiply(terms).sum(axis=1), np.float32).ravel())
        return csr_matrix(terms.multiply(1 / np.maximum(lengths, np.float32(1e-6))[:, None]), dtype=np.float32)

    def _matrix(self, bags: Sequence[dict[str, float]]) -> csr_matrix:
        numbers, weights, ends = [], [], [0]
        for bag in bags:
            for word, weight in bag.items():
                number = self._word_numbers.get(word)
                if number is not None:
                    numbers.append(number)
                    weights.append(weight)
            ends.append(len(numbers))
        return csr_matrix((np.array(weights, np.float32), numbers, ends), shape=(len(bags), len(self.words)))


def regressed(terms: csr_matrix, vectors: Floats) -> Floats:
    """Return the weights by which the terms of texts come near to their vectors (ridge regression)."""
    left: Floats = terms.T @ vectors
    weights, direction, length = np.zeros_like(left), left, np.square(left).sum(axis=0)
    for _ in range(STEPS):
        moved = terms.T @ (terms @ direction) + PENALTY * direction
        step = length / np.maximum((direction * moved).sum(axis=0), TINY)
        weights, left = weights + step * direction, left - step * moved
        length_before, length = length, np.square(left).sum(axis=0)
        direction = left + length / np.maximum(length_before, TINY) * direction
    return weights


def _spread(count: int, most: int) -> Integers:
    """Return at most so many of the numbers below `count`, evenly spread."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, most)).astype(int))


def unit(vectors: Floats) -> Floats:
    """Return vectors scaled to length 1; those without a direction stay zero."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    scaled: Floats = (vectors / np.maximum(lengths, np.float32(1e-6))).astype(np.float32)
    return scaled


def _bag(text: str) -> dict[str, float]:
    """Return the words of a text, each with its weight."""
    distinct, counts = words_of(text[: dm.TOPIC_CHARACTERS])
    bag: dict[str, float] = {}
    for word, weight in zip(map(bare_word, distinct), count_weights(len(distinct), counts).tolist(), strict=True):
        if word:
            bag[word] = max(bag.get(word, 0.0), weight)
    return bag


MOST_FITTED = 20_000  # texts that topics are fitted to, evenly spread; the others are put to them
SLICE = 5_000  # texts that are put to topics at once
TOPIC_TEXTS = 5  # for each topic at least, on average
RESTARTS, ROUNDS, DRAWS = 3, 25, 4  # of the draws the best one begins a topic
NEAR = 0.25  # the least cosine of a text and its topic; with less it is near none
LARGEST, DIVISIONS = 0.25, 5  # the share of texts above which a topic is divided, in the place of the smallest
LEAST_DIVIDED = 8  # topics from which on that is done
CORE_PART, LEAST_CORE, MOST_CORE = 0.3, 3, 15  # of a topic's texts, the nearest to its centre
MOST_WORDS, CANDIDATES = 8, 40  # that a topic shows, that are looked at
SAME_BEGINNING, LONGEST_ENDING = 4, 3  # letters of words that differ in their endings alone
WORD_WRITERS = 3  # who use a word that is shown: what fewer write may name one of them
ALIKE, MOST_ALIKE = 0.4, 6  # the least mean cosine of topics under one parent, and their number
_VAGUE, _FAR = -1, -2  # in place of a topic


class FoundTopic(NamedTuple):
    """A topic: the indexes of its texts, and of its core, the nearest to its centre first; its typical words.

    `group` is the number of the group of topics that it is in, `nearest` the index of the nearest of the other texts.
    """

    members: Integers
    core: tuple[int, ...]
    words: tuple[str, ...]
    group: int | None
    nearest: int | None


class FoundTopics(NamedTuple):
    """Topics, the largest first; the words of each group of them; how many texts say too little, or are near none."""

    topics: tuple[FoundTopic, ...]
    group_words: tuple[tuple[str, ...], ...]
    vague: int
    far: int


def find_topics(texts: Sequence[str], writers: Sequence[str], most: int, others: Sequence[str] = ()) -> FoundTopics:
    """Return at most so many topics of texts by these writers, and of `others` the nearest to each topic."""
    fitted = _spread(len(texts), MOST_FITTED)
    space = TextSpace([texts[index] for index in fitted])
    says_something = space.says_something(space.bags)
    vectors = space.vectors[says_something]
    topic_count = min(most, len(vectors) // TOPIC_TEXTS)
    if topic_count < 2:
        vague = sum(int((~space.vectors_of_many(texts[start : start + SLICE])[1]).sum()) for start in _starts(texts))
        return FoundTopics((), (), vague, len(texts) - vague)
    centres = _divided(vectors, _centres(vectors, topic_count))
    places, closeness = _placed(space, texts, fitted, centres)
    sizes = np.bincount(places[places >= 0], minlength=len(centres))
    order = [int(topic) for topic in np.argsort(-sizes, kind="stable") if sizes[topic]]
    centres = centres[order]
    groups = _groups(centres)
    group_of = {topic: number for number, group in enumerate(groups) for topic in group}
    typical = _TypicalWords(space, [writers[index] for index in fitted], places[fitted])
    nearest = _nearest(space, others, centres)
    topics = []
    for place, topic in enumerate(order):
        members = np.flatnonzero(places == topic)
        members = members[np.argsort(-closeness[members], kind="stable")]
        words = typical.of([topic])
        topics.append(FoundTopic(members, _core(texts, members), words, group_of.get(place), nearest[place]))
    group_words = tuple(typical.of([order[place] for place in group]) for group in groups)
    return FoundTopics(tuple(topics), group_words, int((places == _VAGUE).sum()), int((places == _FAR).sum()))


FARTHEST = 0.01  # the share of labelled texts that are as far from each category as one that is near none
MIXTURE_TEXTS, LEAST_PART = 20, 0.15  # texts of a category that may be a mixture, share of its smaller topic


def find_mixtures(texts: Sequence[str], labels: Sequence[str], others: Sequence[str]) -> tuple[list[dm.Mixture], int]:
    """Return the categories of two topics that are no more alike than two categories usually are, the worst first.

    Also returns how many of the `others` are near no category.
    """
    space = TextSpace(texts)
    says_something = space.says_something(space.bags)
    by_label: dict[str, list[int]] = {}
    for number in np.flatnonzero(says_something).tolist():
        by_label.setdefault(labels[number], []).append(number)
    if not by_label:
        return [], 0
    centres = unit(np.array([space.vectors[numbers].mean(axis=0) for numbers in by_label.values()], np.float32))
    vectors, say_something = space.vectors_of_many(others)
    nearest = (space.vectors[says_something] @ centres.T).max(axis=1, initial=-1)
    least = float(np.quantile(nearest, FARTHEST)) if len(nearest) else -1.0
    far = int((say_something & ((vectors @ centres.T).max(axis=1, initial=-1) < least)).sum())
    usual = float(np.median((centres @ centres.T)[np.triu_indices(len(centres), 1)])) if len(centres) > 1 else -1.0
    mixtures = []
    for label, numbers in by_label.items():
        if len(numbers) < MIXTURE_TEXTS:
            continue
        own = space.vectors[numbers]
        halves = _centres(own, 2)
        places, likeness = (own @ halves.T).argmax(axis=1), float(halves[0] @ halves[1])
        if likeness <= usual and np.bincount(places, minlength=2).min() >= LEAST_PART * len(numbers):
            own_space = TextSpace([texts[number] for number in numbers])
            typical = _TypicalWords(own_space, [str(number) for number in numbers], places)
            first, second = ([numbers[at] for at in np.flatnonzero(places == part)] for part in (0, 1))
            words = typical.of([0]), typical.of([1])
            mixtures.append(dm.Mixture(label, usual - likeness, (first, second), words))
    return sorted(mixtures, key=lambda mixture: -mixture.excess), far


def _starts(texts: Sequence[object] | Integers) -> range:
    return range(0, len(texts), SLICE)


def _centres(vectors: Floats, count: int) -> Floats:
    """Return the centres of so many groups: of several beginnings, those to which the vectors are nearest."""
    found = [
        _settled(vectors, _beginning(vectors, count, np.random.default_rng(seed)), ROUNDS) for seed in range(RESTARTS)
    ]
    return max(found, key=lambda centres: float((vectors @ centres.T).max(axis=1).sum()))


def _beginning(vectors: Floats, count: int, random: np.random.Generator) -> Floats:
    """Return vectors that are far from each other, as first centres."""
    chosen = [int(random.integers(len(vectors)))]
    distances = 1 - vectors @ vectors[chosen[0]]
    while len(chosen) < count:
        chances = np.maximum(distances, 0).astype(np.float64) + 1e-9  # texts that are all alike have no distance
        draws = random.choice(len(vectors), size=DRAWS, p=chances / chances.sum())
        left = [np.minimum(distances, 1 - vectors @ vectors[draw]) for draw in draws]
        best = min(range(DRAWS), key=lambda draw: float(left[draw].sum()))
        chosen.append(int(draws[best]))
        distances = left[best]
    return vectors[chosen]


def _settled(vectors: Floats, centres: Floats, rounds: int) -> Floats:
    """Return the centres after so many rounds in which each moves to the middle of the vectors nearest to it."""
    places = np.full(len(vectors), -1)
    for _ in range(rounds):
        places_before, places = places, (vectors @ centres.T).argmax(axis=1)
        if np.array_equal(places, places_before):
            break
        ones = np.ones(len(vectors), np.float32)
        members = csr_matrix((ones, (places, np.arange(len(vectors)))), shape=(len(centres), len(vectors)))
        is_empty = (np.bincount(places, minlength=len(centres)) == 0)[:, None]
        centres = np.where(is_empty, centres, unit(members @ vectors))
    return centres


def _divided(vectors: Floats, centres: Floats) -> Floats:
    """Return centres of which none has most of the vectors, as far as these can be told apart."""
    for _ in range(DIVISIONS if len(centres) >= LEAST_DIVIDED else 0):
        places = (vectors @ centres.T).argmax(axis=1)
        sizes = np.bincount(places, minlength=len(centres))
        largest, smallest = int(sizes.argmax()), int(sizes.argmin())
        if sizes[largest] <= LARGEST * len(vectors):
            break
        centres = centres.copy()
        centres[[largest, smallest]] = _centres(vectors[places == largest], 2)
        centres = _settled(vectors, centres, rounds=2)  # more of them would join the halves again
    return centres


def _placed(space: TextSpace, texts: Sequence[str], fitted: Integers, centres: Floats) -> tuple[Integers, Floats]:
    """Return the topic of each text, or why it has none, and how near the text is to it."""
    places, closeness = np.full(len(texts), _VAGUE), np.zeros(len(texts), np.float32)

    def put(rows: Integers, vectors: Floats, says_something: NDArray[np.bool_]) -> None:
        likeness = vectors @ centres.T
        closeness[rows] = closest = likeness.max(axis=1)
        near = np.where(closest >= NEAR, likeness.argmax(axis=1), _FAR)
        places[rows] = np.where(says_something, near, _VAGUE)

    put(fitted, space.vectors, space.says_something(space.bags))
    others = np.setdiff1d(np.arange(len(texts)), fitted)
    for start in _starts(others):
        rows = others[start : start + SLICE]
        put(rows, *space.vectors_of_many([texts[row] for row in rows]))
    return places, closeness


def _nearest(space: TextSpace, others: Sequence[str], centres: Floats) -> list[int | None]:
    if not others:
        return [None] * len(centres)
    likeness = centres @ space.vectors_of(others).T
    return [int(row.argmax()) if row.max() >= NEAR else None for row in likeness]


def _core(texts: Sequence[str], members: Integers) -> tuple[int, ...]:
    """Return the nearest of a topic's texts, each text once."""
    most = max(LEAST_CORE, min(MOST_CORE, int(CORE_PART * len(members))))
    core: dict[str, int] = {}
    for index in members.tolist():
        core.setdefault(" ".join(texts[index].casefold().split()), index)
        if len(core) == most:
            break
    return tuple(core.values())


def _groups(centres: Floats) -> list[list[int]]:
    """Return the groups of several topics that are alike (agglomerative, by their mean likeness)."""
    likeness = centres @ centres.T
    groups = [[place] for place in range(len(centres))]
    while True:
        best, pair = ALIKE, None
        for number, group in enumerate(groups):
            for other in range(number):
                if len(group) + len(groups[other]) <= MOST_ALIKE:
                    mean = float(likeness[np.ix_(group, groups[other])].mean())
                    if mean > best:
                        best, pair = mean, (other, number)
        if pair is None:
            return [sorted(group) for group in groups if len(group) > 1]
        groups[pair[0]] += groups.pop(pair[1])


class _TypicalWords:
    """Finds the words that are more frequent in some topics than elsewhere; none of them is of a personal kind."""

    def __init__(self, space: TextSpace, writers: Sequence[str], places: Integers) -> None:
        self._words = space.words
        self._bags = (space.bags > 0).astype(np.float32)
        self._writers = np.unique(np.array(writers), return_inverse=True)[1]
        self._places = places
        self._shares = space.counts / len(places)
        lists = word_lists("function_words.txt")
        left_out = frozenset(chain.from_iterable(lists.values()) if space.is_multilingual else lists["English"])
        may_show = (word not in left_out and _may_show(word) for word in space.words)
        self._may_show = np.fromiter(may_show, np.bool_, len(space.words)) & space.is_content

    def of(self, topics: Sequence[int]) -> tuple[str, ...]:
        """Return the typical words of these topics, the most typical first."""
        rows = np.flatnonzero(np.isin(self._places, topics))
        bags = self._bags[rows]
        shares = np.asarray(bags.sum(axis=0)).ravel() / max(1, len(rows))
        lift = np.log(np.maximum(shares, 1e-9) / self._shares)
        score = np.where(self._may_show & (lift > 0), shares * lift, 0)
        columns = bags.tocsc()
        typical: list[str] = []
        for number in np.argsort(-score, kind="stable")[:CANDIDATES]:
            users = columns.indices[columns.indptr[number] : columns.indptr[number + 1]]
            if score[number] > 0 and len(np.unique(self._writers[rows[users]])) >= WORD_WRITERS:
                typical.append(self._words[number])
        return tuple(_without_endings(typical))[:MOST_WORDS]


def _without_endings(words: Sequence[str]) -> Iterator[str]:
    """Yield words but for those that are an earlier one with another ending, as far as the letters tell."""
    kept: list[str] = []
    for word in words:
        if not any(_differ_in_ending(word, other) for other in kept):
            kept.append(word)
            yield word


def _differ_in_ending(word: str, other: str) -> bool:
    same = max(SAME_BEGINNING, len(word) - LONGEST_ENDING, len(other) - LONGEST_ENDING)
    return len(word) >= same and word[:same] == other[:same]


def _may_show(word: str) -> bool:
    return showable_word(word) == word and not is_personal(word) and not dm.first_hidden(word)
