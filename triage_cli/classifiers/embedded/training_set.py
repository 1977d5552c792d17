"""The training set of the embedded model: its texts, vocabulary and matrices, its folds, and its hyperparameters."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.fitted_model import (
    Floats,
    Integers,
    Model,
    fingerprint,
    text_number,
    word_number,
    word_numbers,
)
from triage_cli.classifiers.embedded.logistic_regression import (
    TOLERANCE,
    Design,
    fit_weights,
    rotated_design,
    unrotated_weights,
)
from triage_cli.classifiers.embedded.score_calibration import (
    DESCRIPTIONS_CALIBRATION,
    NEAR,
    Distance,
    ScoreCalibration,
    best_temperature,
    fitted_calibration,
    softmax,
)
from triage_cli.classifiers.embedded.tokens import (
    LENGTH_DIMENSIONS,
    bare_word,
    count_weights,
    length_scales,
    ngrams_of,
    read_number,
    words_of,
)
from triage_cli.classifiers.embedded.word_vectors import word_vectors
from triage_cli.classifiers.examples import are_built_in, examples_of

LEAST_CHANCE = 1e-6  # bounds the log loss of a single labelled text
COMMON_WORD_TEXTS = 2  # training texts with a word from which on it is a term; rarer ones count by their n-grams
BLOCK = 500  # texts whose design is made at once
MAX_NGRAMS = 30_000  # of a vocabulary; the rarest are left out
# The sign of a mail address, as it is and as links, mails, pages and careful people write it, a link, a long number.
_PERSONAL = re.compile(
    r"@|[%=](?:25)*40|&(?:amp;)*(?:#0*64|#x0*40|commat)\b|[(\[{<]\W*at\W*[)\]}>]|://|^(?:www\.|mailto:|tel:)|(?:\d\D*){6}"
)


class TrainingText(NamedTuple):
    """One training text, the index of its label, and its weight.

    `is_typical` if it has the label of a topic that it is typical of, which proves nothing: it is never held out.
    """

    text: str
    label: int
    weight: float = 1.0
    is_typical: bool = False


class Vocabulary(NamedTuple):
    """The terms of training texts: n-grams (ascending), then whole words.

    `rarity` is the inverse document frequency of each term.
    """

    ngrams: NDArray[np.int32]
    whole_words: tuple[str, ...]
    rarity: Floats


def wording_texts_of(categories: Sequence[dm.Category]) -> list[TrainingText]:
    """Return the training texts of the categories: names, descriptions whole and by phrase, and examples.

    The texts of each category have the same total weight, so that many
    examples do not draw tickets to a category.
    """
    category_groups = []
    for label, (category, examples) in enumerate(zip(categories, examples_of(categories), strict=True)):
        category_name = re.sub(r"[\W_]+", " ", category.name)
        phrases = re.split(r"[,:;.]\s|\s(?:and|or)\s", category.description)
        whole_texts = (f"{category_name}. {category.description}", category_name, *examples)
        category_texts = [TrainingText(text, label) for text in whole_texts]
        category_texts += [TrainingText(text, label, 0.5) for text in phrases if text.casefold() != "everything else"]
        category_groups.append([wording for wording in category_texts if words_of(wording.text)[0]])
    total_weights = [sum(wording.weight for wording in category_texts) for category_texts in category_groups]
    mean_weight = sum(total_weights) / len(total_weights)
    return [
        wording._replace(weight=wording.weight * mean_weight / total_weight)
        for category_texts, total_weight in zip(category_groups, total_weights, strict=True)
        for wording in category_texts
    ]


def labelled_texts_of(
    categories: Sequence[dm.Category], labelled: Sequence[tuple[str, str]], typical: Sequence[tuple[str, str]] = ()
) -> list[TrainingText]:
    """Return the texts, `typical` ones of topics first, that have words and a category of this list."""
    labels = {category.name: label for label, category in enumerate(categories)}
    return [
        TrainingText(text, labels[name], weight, is_typical)
        for pairs, weight, is_typical in ((typical, TYPICAL_WEIGHT, True), (labelled, 1.0, False))
        for text, name in pairs
        if name in labels and words_of(text)[0]
    ]


def is_personal(word: str) -> bool:
    """Return whether a lower-case word looks like an address, a link or a long number, in whatever spelling.

    A model keeps none of these, not even as a hash: who knows a person's address could test for it.
    """
    return bool(_PERSONAL.search(word if word.isascii() else normalize("NFKC", word)))


def taught_words_of(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the hashes of all words of training texts that are not personal, ascending."""
    distinct = {bare_word(word) for text in texts for word in words_of(text)[0]}
    return np.array(sorted({word_number(word) for word in distinct if word and not is_personal(word)}), np.uint32)


class Corpus:
    """Training texts as arrays of word numbers, with the weight of each word in its text."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted_words = [words_of(text) for text in texts]
        all_words = list(dict.fromkeys(word for distinct, _ in counted_words for word in distinct))
        word_numbers = {word: number for number, word in enumerate(all_words)}
        self.texts = [np.array([word_numbers[word] for word in distinct]) for distinct, _ in counted_words]
        self.weights = [count_weights(len(distinct), counts) for distinct, counts in counted_words]
        ngrams, starts = ngrams_of(all_words)
        self._ngrams, places = np.unique(ngrams, return_inverse=True)
        self._word_ngrams = np.split(places, starts[1:])
        self._bare_words = [bare_word(word) for word in all_words]
        self._word_vectors = word_vectors().of(all_words)

    def vocabulary(self) -> Vocabulary:
        """Return the terms of the training texts: n-grams, and words of several texts that are not personal."""
        ngrams, ngram_counts = self._ngrams, np.zeros(len(self._ngrams), np.int64)
        for distinct in self.texts:
            # An n-gram counts once a text, since numpy adds to an index once, however often it is named.
            ngram_counts[np.concatenate([self._word_ngrams[w] for w in distinct])] += 1
        if len(ngrams) > MAX_NGRAMS:
            kept_ngrams = np.sort(np.argsort(-ngram_counts, kind="stable")[:MAX_NGRAMS])
            ngrams, ngram_counts = ngrams[kept_ngrams], ngram_counts[kept_ngrams]
        texts_of_word: dict[str, int] = {}
        for distinct in self.texts:
            for word in dict.fromkeys(self._bare_words[w] for w in distinct):  # in an order that no hash decides
                texts_of_word[word] = texts_of_word.get(word, 0) + 1
        word_counts = {
            word: count
            for word, count in texts_of_word.items()
            if count >= COMMON_WORD_TEXTS and word and not is_personal(word)
        }
        term_counts = np.concatenate([ngram_counts, np.fromiter(word_counts.values(), np.int64, len(word_counts))])
        rarity = np.log((1 + len(self.texts)) / (1 + term_counts)) + 1
        return Vocabulary(ngrams.astype(np.int32), tuple(word_counts), rarity.astype(np.float32))

    def design(self, vocabulary: Vocabulary, term_weight: np.float32) -> Design:
        """Return the vectors and weighted terms of the training texts, scaled as for answering; one row per text."""
        word_terms = {word: term for term, word in enumerate(vocabulary.whole_words, len(vocabulary.ngrams))}
        terms_of_word = []  # their indexes in the vocabulary
        is_kept = np.isin(self._ngrams, vocabulary.ngrams)
        term_of_ngram = np.cumsum(is_kept) - 1
        for ngrams, word in zip(self._word_ngrams, self._bare_words, strict=True):
            terms = term_of_ngram[ngrams[is_kept[ngrams]]]
            terms_of_word.append(np.append(terms, word_terms[word]) if word in word_terms else terms)
        blocks = [
            self._block(slice(start, start + BLOCK), terms_of_word, vocabulary.rarity, term_weight)
            for start in range(0, len(self.texts), BLOCK)
        ]
        term_matrix = csr_matrix(vstack([block.terms for block in blocks]))
        return Design(np.concatenate([block.vectors for block in blocks]), term_matrix)

    def _block(self, part: slice, terms_of_word: Sequence[Integers], rarity: Floats, term_weight: np.float32) -> Design:
        """Return the design of some of the texts: all at once would take gigabytes for long ones."""
        texts = self.texts[part]
        word_indexes = np.concatenate(texts)
        text_indexes = np.repeat(np.arange(len(texts)), [len(distinct) for distinct in texts])
        word_weights = np.concatenate(self.weights[part])
        text_starts = np.searchsorted(text_indexes, np.unique(text_indexes))
        sums = np.add.reduceat(self._word_vectors[word_indexes] * word_weights[:, None], text_starts)
        term_counts = np.array([len(terms_of_word[w]) for w in word_indexes])
        rows, columns = np.repeat(text_indexes, term_counts), np.concatenate([terms_of_word[w] for w in word_indexes])
        entries = rarity[columns] * np.repeat(word_weights, term_counts)
        rarities = np.bincount(rows, entries**2, len(texts)).astype(np.float32)
        per_vector, per_term = length_scales(sums[:, :LENGTH_DIMENSIONS], rarities)
        term_matrix = csr_matrix(
            (entries * per_term[rows] * term_weight, (rows, columns)),
            shape=(len(texts), len(rarity)),
            dtype=np.float32,
        )
        return Design((sums * per_vector[:, None]).astype(np.float32), term_matrix)


# Weight of the terms beside the vector: they are less reliable with few texts.
FULL_TERMS_TEXTS = 15  # training texts per label from which on terms have their full weight
FULL_TERM_WEIGHT, REDUCED_TERM_WEIGHT = np.float32(1.0), np.float32(0.6)
STRENGTHS = (10.0, 3.0, 1.0)  # inverse penalties to choose from; the first is the default
WORDING_SHARES = (1.0, 0.2)  # weights to choose from for the categories' own wording beside labelled texts
# Without labelled texts the calibration cannot be fitted: descriptions are farther from tickets, and invented examples
# easier. That of a person's own was fitted to six public sets and parts of them, with descriptions alone, with three
# tickets a category as examples, and with three sentences that a person made up, of which too much confidence counts
# more than too little. Those of the built-in examples were fitted to short shop queries, alone and amid other
# sentences; `length` was lowered once after a look at long letters. A stored model keeps the calibration that it has,
# so that no promise ends with a release.
BUILT_IN_CALIBRATION, BUILT_IN_DISTANCE = ScoreCalibration(1.1, 1.0, 0.12), Distance(length=0.45)
EXAMPLES_CALIBRATION = ScoreCalibration(0.5, 0.85)
OWN_DISTANCE = Distance(code=0.06)
LABELLED_TEMPERATURE = 0.65  # with labelled texts 0.3 (easy) to 0.9 was right; an easy set loses little by one too high
# Of a text with the label of its topic, beside 1 of another labelled text; 0.5 teaches as much, and gives way later.
TYPICAL_WEIGHT = 0.3
# Nothing held out says how right a model of such texts is: they are easy, and some have a wrong label. This was fitted
# to 14 draws of five sets, each set weighing the same; fitted to four of them it was as near on the fifth.
TYPICAL_CALIBRATION = ScoreCalibration(LABELLED_TEMPERATURE, 0.55, -0.15)
_FOLDS = 5  # of the labelled texts
# Labelled texts up to which the calibration is fitted to more and smaller folds: a model that lacks a fifth of few
# texts has lower scores than the one that answers.
FINE_FOLDS_TEXTS, FINE_FOLDS = 300, 20
# With few texts of a label, the model gives it too rarely: its scores are raised against those of labels with many
# texts, by this much of the logarithm of their numbers. Measured: 0.3 to 0.5 is best, from 144 labels to all.
LABEL_EVENNESS = 0.3
ROUGH_TOLERANCE = 1e-4  # of the solver, while hyperparameters are chosen
NEAR_TOLERANCE = 1e-5  # of the solver that begins near its end: of 50,000 texts, a tenth of what a wrong answer costs
TEXTS_TO_CHOOSE = 15  # labelled texts from which on the hyperparameters strength and share are chosen
ROTATED_TEXTS = 1_500  # texts up to which their design is rotated, which takes their number to the power of three
ONE_FOLD_SIZE = 10_000  # labelled texts times labels from which on only one fold is held out
# Parts of the scores that labelled texts may have beside the wording alone. Few labels, or noisy ones, are worse than
# the descriptions: a mixture of both then is better than either.
MIXTURES = (1.0, 0.75, 0.5, 0.25, 0.0)
PLENTY_PER_LABEL = 50  # labelled texts from which on the categories' own wording has the share `OUTNUMBERED_SHARE`
OUTNUMBERED_SHARE = 0.05


class Choice(NamedTuple):
    """The hyperparameters: strength, weight of the categories' own wording, and calibration of the answers.

    `taught` is the part of the scores that labelled texts have taught; the rest are those of the wording alone.
    """

    strength: float = STRENGTHS[0]
    share: float = WORDING_SHARES[0]
    calibration: ScoreCalibration = EXAMPLES_CALIBRATION
    taught: float = 1.0


class TrainingSet:
    """All training texts as matrices: first the categories' wording, then the labelled texts. Raises `ConfigError`."""

    strengths: Sequence[float] = STRENGTHS
    wording_shares: Sequence[float] = WORDING_SHARES

    def __init__(self, categories: Sequence[dm.Category], labelled_texts: Sequence[TrainingText]) -> None:
        wording_texts = wording_texts_of(categories)
        training_texts = [*wording_texts, *labelled_texts]
        if not training_texts:
            names = ", ".join(category.name for category in categories)
            message = f"no category or value has a word to learn from among {names}"
            raise dm.ConfigError(message, hint="give them descriptions and examples")
        self.texts = [training_text.text for training_text in training_texts]
        corpus = Corpus(self.texts)
        self.categories = categories
        self.label_count = len(categories)
        has_examples, has_built_in = any(examples_of(categories)), are_built_in(categories)
        self.wording_calibration = self._wording_calibration(built_in=has_built_in, examples=has_examples)
        self.wording_distance = BUILT_IN_DISTANCE if has_built_in else OWN_DISTANCE
        self.vocabulary = corpus.vocabulary()
        self.term_weight = self._term_weight()
        design = corpus.design(self.vocabulary, self.term_weight)
        self.full_design = self.design = design._replace(vectors=self._vectors(design.vectors))
        self.rotation: Floats | None = None
        if len(self.texts) <= ROTATED_TEXTS:
            self.design, self.rotation = rotated_design(self.full_design)
        self.labels = np.array([training_text.label for training_text in training_texts])
        self.text_weights = np.array([training_text.weight for training_text in training_texts])
        self.wording_count = len(wording_texts)
        self.other_material: tuple[object, ...] = ()  # what else the model learns from
        self.labelled_texts = labelled_texts
        self.taught_words = taught_words_of(self.texts)

    def _term_weight(self) -> np.float32:
        """Return the weight of the terms beside the vectors."""
        has_full_terms = len(self.texts) >= FULL_TERMS_TEXTS * self.label_count
        return FULL_TERM_WEIGHT if has_full_terms else REDUCED_TERM_WEIGHT

    def _vectors(self, word_vectors: Floats) -> Floats:
        """Return the vectors of the training texts; `word_vectors` are the means of those of their words."""
        return word_vectors

    def _wording_calibration(self, *, built_in: bool, examples: bool) -> ScoreCalibration:
        """Return the calibration where there are no labelled texts."""
        own_calibration = EXAMPLES_CALIBRATION if examples else DESCRIPTIONS_CALIBRATION
        return BUILT_IN_CALIBRATION if built_in else own_calibration

    def model(self, choice: Choice, learned: str, *, to_use: bool = False, start: Model | None = None) -> Model:
        """Return the model that is fitted with these hyperparameters; `learned` is the name of the labelled texts.

        With `to_use`, it answers as for new ones about texts with a label that nobody gave to them. The solver begins
        with the weights of `start`, a model of the same categories.
        """
        started = start and self._weights_of(start)
        taught_weights = self.weights(choice, self.rows, started, TOLERANCE if started is None else NEAR_TOLERANCE)
        fitted_weights = self._mixed(choice, taught_weights)
        own_texts, own_scores = self._own_scores(choice, taught_weights) if to_use else ((), None)
        if self.rotation is not None:
            fitted_weights = unrotated_weights(fitted_weights, self.full_design, self.rotation)
        dimensions = self.full_design.vectors.shape[1]
        seen = np.array(sorted({text_number(labelled.text) for labelled in self.labelled_texts}), np.uint64)
        return Model(
            labels=tuple(category.name for category in self.categories),
            fingerprint=fingerprint(self.categories),
            learned=learned,
            vectors=fitted_weights[:dimensions],
            ngrams=self.vocabulary.ngrams,
            whole_words=word_numbers(self.vocabulary.whole_words),
            rarity=self.vocabulary.rarity,
            terms=fitted_weights[dimensions:-1] * self.term_weight,
            bias=fitted_weights[-1],
            calibration=choice.calibration,
            seen=seen,
            taught=self.taught_words,
            distance=NEAR if self.labelled_texts else self.wording_distance,
            own=np.array([read_number(text) for text in own_texts], np.uint64) if self.labelled_texts else None,
            own_scores=own_scores,
            fitted=np.array((choice.strength, choice.share, choice.taught)) if learned else None,
        )

    def _weights_of(self, model: Model) -> Floats | None:
        """Return the weights of a model for the terms of these texts, 0 where it has none; None if they are rotated."""
        if self.rotation is not None or len(model.vectors) != self.design.vectors.shape[1]:
            return None
        labels = [model.labels.index(category.name) for category in self.categories]
        numbers = (self.vocabulary.ngrams, word_numbers(self.vocabulary.whole_words))
        weights = [model.vectors]
        for terms, known, theirs in zip(
            numbers, (model.ngrams, model.whole_words), np.split(model.terms, [len(model.ngrams)]), strict=True
        ):
            of_term = dict(zip(known.tolist(), range(len(known)), strict=True))
            places = np.array([of_term.get(term, -1) for term in terms.tolist()], np.int64)
            weights.append(np.where(places[:, None] >= 0, theirs[places] / self.term_weight, np.float32(0)))
        return np.concatenate([*weights, model.bias[None]])[:, labels]

    @property
    def rows(self) -> Integers:
        """The indexes of all texts beside the categories' wording."""
        return np.arange(len(self.texts) - self.wording_count)

    def _own_scores(self, choice: Choice, start: Floats) -> tuple[Sequence[str], Floats | None]:
        """Return the texts with a label that nobody gave to them, and their scores by models that lack them.

        A model that has learned such a label, that of a topic or its own guess, repeats it, and is surer than it is
        right. Near duplicates are left out together.
        """
        own_rows = np.setdiff1d(self.rows, self.provers)
        if not len(own_rows):
            return (), None
        texts = [self.texts[self.wording_count + row] for row in own_rows]
        folds = np.array(dm.folds_of(self.labels[self.wording_count + own_rows].tolist(), dm.groups_of(texts), _FOLDS))
        own_scores = np.zeros((len(texts), self.label_count), np.float32)
        for fold in np.unique(folds):
            scores, _ = self._held_out_scores(choice, own_rows[folds == fold], start)
            own_scores[folds == fold] = scores
        return texts, own_scores

    def weights(
        self, choice: Choice, rows: Integers, start: Floats | None = None, tolerance: float = TOLERANCE
    ) -> Floats:
        """Return the weights of `design`, fitted to the wording and these labelled texts; the last row is the bias."""
        fitted_rows = np.concatenate([np.arange(self.wording_count), self.wording_count + rows])
        text_weights, labels = self.text_weights[fitted_rows], self.labels[fitted_rows]
        text_weights[: self.wording_count] *= choice.share
        design, penalty = self.design.take(fitted_rows), 1 / choice.strength
        weights = fit_weights(design, labels, text_weights, self.label_count, penalty, start, tolerance)
        texts_of_label = np.bincount(labels[self.wording_count :], text_weights[self.wording_count :], self.label_count)
        weights[-1] -= (LABEL_EVENNESS * np.log1p(texts_of_label)).astype(np.float32)
        return weights

    def choose_hyperparameters(self) -> Choice:
        """Return the hyperparameters with the lowest loss on held-out texts. Near duplicates are held out together."""
        choice, labelled_count = self.cross_validated_choice(), len(self.provers)
        if not TEXTS_TO_CHOOSE <= labelled_count <= FINE_FOLDS_TEXTS:
            return choice
        every = FINE_FOLDS if labelled_count * self.label_count <= ONE_FOLD_SIZE else _FOLDS
        held_out_scores = self.held_out(choice, every)
        return choice._replace(calibration=fitted_calibration(held_out_scores, self.prior))

    @property
    def provers(self) -> Integers:
        """The indexes of the labelled texts that prove something when they are held out."""
        return np.flatnonzero([not each.is_typical for each in self.labelled_texts])

    @property
    def prior(self) -> ScoreCalibration:
        """The calibration to which a fitted one is drawn."""
        if len(self.provers) < len(self.labelled_texts):
            return TYPICAL_CALIBRATION
        has_enough = len(self.provers) >= TEXTS_TO_CHOOSE
        return ScoreCalibration(LABELLED_TEMPERATURE if has_enough else self.wording_calibration.temperature)

    def cross_validated_choice(self) -> Choice:
        """Return the hyperparameters with the lowest loss on texts that are held out fold by fold."""
        labelled_count = len(self.provers)
        shares = self.wording_shares
        if not self.wording_count or labelled_count * self.label_count > ONE_FOLD_SIZE:
            has_plenty = labelled_count >= PLENTY_PER_LABEL * self.label_count
            shares = (OUTNUMBERED_SHARE,) if has_plenty else shares[:1]
        tried: dict[Choice, list[tuple[Floats, Integers]]] = {}
        for held_out in self.folds() if labelled_count > 1 else ():
            held_out_labels = self.labels[self.wording_count + held_out]
            for share in shares if labelled_count >= TEXTS_TO_CHOOSE else shares[:1]:
                start_weights = None
                for strength in sorted(self.strengths) if labelled_count >= TEXTS_TO_CHOOSE else STRENGTHS[:1]:
                    scores, start_weights = self._held_out_scores(Choice(strength, share), held_out, start_weights)
                    tried.setdefault(Choice(strength, share), []).append((scores, held_out_labels))
        losses = [
            (*best_temperature(held_out_scores, self.prior.temperature), choice)
            for choice, held_out_scores in tried.items()
        ]
        if not losses:
            return Choice(calibration=TYPICAL_CALIBRATION if self.labelled_texts else self.wording_calibration)
        choice = min(losses)[-1]
        return self._mixture(choice, tried[choice])

    def _mixture(self, choice: Choice, held_out_scores: Sequence[tuple[Floats, Integers]]) -> Choice:
        """Return the choice with the part of the labelled texts that is best on held-out ones, and its calibration.

        Each counts by how sure the wording alone is of it: the order of review takes up what that does not know, of
        which there are fewer among the tickets that come. Texts that are nearly the same tell what one of them tells.
        """
        scores, labels = (np.concatenate(each) for each in zip(*held_out_scores, strict=True))
        if (
            len(set(self._groups)) < TEXTS_TO_CHOOSE
            or len(np.unique(self.labels[: self.wording_count])) < self.label_count
        ):
            return choice._replace(calibration=fitted_calibration(held_out_scores, self.prior))
        held_out = self.wording_count + np.concatenate([*self.folds()])
        wording_scores = self.design.take(held_out).scores(self._wording_weights)
        confidences = softmax(wording_scores, LABELLED_TEMPERATURE).max(axis=1)
        losses: dict[Choice, float] = {}
        for taught in MIXTURES:
            mixed_scores = taught * scores + (1 - taught) * wording_scores
            calibration = fitted_calibration([(mixed_scores, labels)], self.prior)
            chances = calibration.chances(mixed_scores)[np.arange(len(labels)), labels]
            loss = -float(confidences @ np.log(np.maximum(chances, LEAST_CHANCE)))
            losses[choice._replace(calibration=calibration, taught=taught)] = loss
        return min(losses, key=lambda each: losses[each])

    @cached_property
    def _groups(self) -> Sequence[int]:
        """The group of nearly equal texts of each labelled text by which the model is judged."""
        return dm.groups_of([self.labelled_texts[row].text for row in self.provers])

    @cached_property
    def _wording_weights(self) -> Floats:
        """The weights that are fitted to the wording alone, on the scale of those of labelled texts."""
        weights = TrainingSet.weights(self, Choice(), self.rows[:0])
        return weights * np.float32(LABELLED_TEMPERATURE / self.wording_calibration.temperature)

    def _mixed(self, choice: Choice, taught_weights: Floats) -> Floats:
        """Return the weights of a choice, of those that were fitted to labelled texts and those of the wording."""
        if choice.taught == 1:
            return taught_weights
        return choice.taught * taught_weights + (1 - choice.taught) * self._wording_weights

    def held_out(self, choice: Choice, every: int = 0) -> list[tuple[Floats, Integers]]:
        """Return the scores and the labels of held-out labelled texts, fold by fold."""
        held_out_scores = []
        for held_out in self.folds(every):
            scores, _ = self._held_out_scores(choice, held_out, None)
            held_out_scores.append((scores, self.labels[self.wording_count + held_out]))
        return held_out_scores

    def folds(self, every: int = 0) -> Iterator[Integers]:
        """Yield the indexes of the labelled texts to hold out, fold by fold; with many texts, only one fold.

        `every` is a number of folds, all of which are yielded.
        """
        labels = [self.labelled_texts[row].label for row in self.provers]
        folds = np.array(dm.folds_of(labels, self._groups, every or _FOLDS))
        for fold in range(every or (1 if len(folds) * self.label_count > ONE_FOLD_SIZE else _FOLDS)):
            held_out = self.provers[folds == fold]
            if 0 < len(held_out) < len(self.labelled_texts):
                yield held_out

    def _held_out_scores(self, choice: Choice, held_out: Integers, start: Floats | None) -> tuple[Floats, Floats]:
        """Fit without the held-out texts; return their scores, (texts, labels), and the weights."""
        weights = self.weights(choice, np.setdiff1d(self.rows, held_out), start, ROUGH_TOLERANCE)
        return self.design.take(self.wording_count + held_out).scores(self._mixed(choice, weights)), weights
