"""Fits the embedded model to categories and labelled texts: for texts in English, and for those in other languages."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import islice

import numpy as np

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.encoder import kept_encoded
from triage_cli.classifiers.embedded.fitted_model import Floats, Model, copy_numbers
from triage_cli.classifiers.embedded.language_guard import Told, told
from triage_cli.classifiers.embedded.score_calibration import NEAR, Distance, ScoreCalibration
from triage_cli.classifiers.embedded.tokens import words_of
from triage_cli.classifiers.embedded.training_set import Choice, TrainingSet, TrainingText, labelled_texts_of
from triage_cli.classifiers.examples import are_built_in

# Share of the labelled texts: of those in other languages from which on English is read as these are, and of those in
# a language that the encoder does not know from which on this language is read all the same.
MOSTLY_FOREIGN, TAUGHT_SHARE = 0.5, 0.1
# Categories up to which a model without labelled texts is fitted for other languages by whoever reads the first text in
# one: that takes about the time of loading the encoder, which most runs never need. More take seconds or minutes.
MOST_FITTED_LATER = 50

# Labelled texts that are encoded, which takes a millisecond each: the last ones of each label.
MOST_ENCODED = 2_000
# Weight of the terms beside the vectors. The words of English texts say little about other languages, where too much
# of them hides what the vectors say; those of the labelled texts in these languages say a lot.
TERM_WEIGHT, FOREIGN_TERM_WEIGHT = np.float32(0.3), np.float32(0.6)
# What is taken from the log-odds of answers where most labelled texts are English: these are what the calibration is
# fitted to, and a text in another language is farther from them.
ANOTHER_LANGUAGE = 0.6
BUILT_IN_CALIBRATION = ScoreCalibration(1.0)
WORDING_CALIBRATION = ScoreCalibration(0.6)
# The built-in examples are short. Of e-mails in four languages a quarter of what was sure was wrong, at whatever
# confidence: so letters wait for a person, and short texts answer as before.
FOREIGN_LETTERS = Distance(length=3.0)

MakeTrainingSet = Callable[[Sequence[dm.Category], Sequence[TrainingText]], "TrainingSet"]


def fit(
    categories: Sequence[dm.Category],
    labelled: Sequence[tuple[str, str]] = (),
    make_training_set: MakeTrainingSet = TrainingSet,
    choices: Sequence[Choice] = (),
    typical: Sequence[tuple[str, str]] = (),
    *,
    to_use: bool = False,
    start: Model | None = None,
) -> Model:
    """Return a model fitted to the wording and examples of categories, and to (text, category name) pairs.

    `choices` are the hyperparameters for English and for other languages (`chosen_hyperparameters`), which else are
    chosen on held-out labelled texts. `make_training_set` makes the training set, if it is of another kind. `typical`
    pairs have the label of a topic, and never prove anything. A model that is `to_use` answers about texts whose label
    nobody gave to them as if it had not learned them, which takes some more fits. From the model `start`, of the same
    categories and nearly the same texts, the solver has a short way. Raises `ConfigError`.
    """
    labelled_texts = _labelled_texts(categories, labelled, typical)
    training_set = make_training_set(categories, labelled_texts)
    choice = choices[0] if choices else training_set.choose_hyperparameters()
    # The names of these records go into the hash, so that another name would make another model of the same labels.
    of_topics = (list(typical),) if typical else ()
    unproven = (*of_topics, *training_set.other_material)
    # The last one is there since models answer about these texts as if they had not learned them.
    fitted_to = repr((list(labelled), choice, *unproven, *(["own"] if unproven else ()))).encode("utf-8", "replace")
    learned = sha256(fitted_to).hexdigest() if labelled or typical else ""
    model = training_set.model(choice, learned, to_use=to_use, start=start)
    if not learned and len(categories) <= MOST_FITTED_LATER:
        model = model._replace(wording=tuple(categories))
    elif len(categories) > 1:
        told_texts = _told(labelled_texts)
        multilingual_set = _multilingual_set(categories, labelled_texts, told_texts)
        choice = choices[1] if choices[1:] else multilingual_set.choose_hyperparameters()
        model = model._replace(
            english=not multilingual_set.mostly_foreign,
            languages=_taught_languages(told_texts),
            multilingual=multilingual_set.model(choice, learned, to_use=to_use, start=start and start.multilingual),
        )
    if learned:
        model = model._replace(copies=copy_numbers(labelled_text.text for labelled_text in labelled_texts))
    if typical:
        model = model._replace(typical=copy_numbers(each.text for each in labelled_texts if each.is_typical))
    return model


@lru_cache(4)
def fitted_to_wording(categories: tuple[dm.Category, ...]) -> Model:
    """Return the model that answers for texts in other languages than English, where no labelled texts teach it."""
    multilingual_set = _multilingual_set(categories, (), ())
    return multilingual_set.model(multilingual_set.choose_hyperparameters(), "")


def chosen_hyperparameters(
    categories: Sequence[dm.Category],
    labelled: Sequence[tuple[str, str]],
    make_training_set: MakeTrainingSet = TrainingSet,
    typical: Sequence[tuple[str, str]] = (),
) -> list[Choice]:
    """Return the hyperparameters that `fit` would choose. Raises `ConfigError`."""
    labelled_texts = _labelled_texts(categories, labelled, typical)
    choices = [make_training_set(categories, labelled_texts).choose_hyperparameters()]
    if len(categories) > 1:
        multilingual_set = _multilingual_set(categories, labelled_texts, _told(labelled_texts))
        choices.append(multilingual_set.choose_hyperparameters())
    return choices


def _labelled_texts(
    categories: Sequence[dm.Category], labelled: Sequence[tuple[str, str]], typical: Sequence[tuple[str, str]]
) -> list[TrainingText]:
    if not categories:
        raise dm.ConfigError("there are no categories", hint="name at least one under `categories`")
    return labelled_texts_of(categories, labelled, typical)


def _told(labelled_texts: Sequence[TrainingText]) -> list[Told]:
    """Return what is told of the language of each labelled text."""
    return [told(labelled_text.text, words_of(labelled_text.text)[0]) for labelled_text in labelled_texts]


def _multilingual_set(
    categories: Sequence[dm.Category], labelled_texts: Sequence[TrainingText], told_texts: Sequence[Told]
) -> "MultilingualSet":
    foreign = sum(each.foreign for each in told_texts)
    mostly_foreign = foreign > 0 and foreign >= MOSTLY_FOREIGN * len(told_texts)
    return MultilingualSet(categories, labelled_texts, mostly_foreign=mostly_foreign)


def _taught_languages(told_texts: Sequence[Told]) -> tuple[str, ...]:
    """Return the languages that the encoder does not know and the labelled texts teach, ascending."""
    counts = Counter(each.language for each in told_texts if each.foreign and each.language)
    return tuple(
        sorted(
            language
            for language, count in counts.items()
            if count >= TAUGHT_SHARE * len(told_texts) and language not in dm.READ_LANGUAGES
        )
    )


class MultilingualSet(TrainingSet):
    """All training texts by their encoded vectors. `mostly_foreign` if most labelled texts are not in English."""

    strengths = TrainingSet.strengths[:1]
    wording_shares = TrainingSet.wording_shares[:1]

    def __init__(
        self, categories: Sequence[dm.Category], labelled_texts: Sequence[TrainingText], *, mostly_foreign: bool
    ) -> None:
        self.mostly_foreign = mostly_foreign
        super().__init__(categories, _last_of_each_label(labelled_texts, len(categories)))
        self.wording_distance = FOREIGN_LETTERS if are_built_in(categories) else NEAR

    def choose_hyperparameters(self) -> Choice:
        """Return the hyperparameters, calibrated for texts in other languages than the labelled ones are mostly in."""
        choice = super().choose_hyperparameters()
        if self.mostly_foreign or not self.labelled_texts:
            return choice
        calibration = choice.calibration
        return choice._replace(calibration=calibration._replace(offset=calibration.offset - ANOTHER_LANGUAGE))

    def _term_weight(self) -> np.float32:
        return FOREIGN_TERM_WEIGHT if self.mostly_foreign else TERM_WEIGHT

    def _vectors(self, _word_vectors: Floats) -> Floats:
        return kept_encoded(self.texts)

    def _wording_calibration(self, *, built_in: bool, examples: bool) -> ScoreCalibration:
        del examples
        return BUILT_IN_CALIBRATION if built_in else WORDING_CALIBRATION


def _last_of_each_label(labelled_texts: Sequence[TrainingText], label_count: int) -> list[TrainingText]:
    if len(labelled_texts) <= MOST_ENCODED:
        return list(labelled_texts)
    taken: list[int] = []
    for label in range(label_count):
        rows = (row for row in range(len(labelled_texts) - 1, -1, -1) if labelled_texts[row].label == label)
        taken += islice(rows, max(MOST_ENCODED // label_count, 1))
    return [labelled_texts[row] for row in sorted(taken)]
