"""Fits the embedded model to categories and labelled texts, in each language and beside an encoder."""

from collections.abc import Callable, Sequence
from hashlib import sha256

from triage_cli.classifiers.embedded.encoder import Encoder
from triage_cli.classifiers.embedded.fitted_model import Model, copy_numbers
from triage_cli.classifiers.embedded.language_guard import share_foreign
from triage_cli.classifiers.embedded.tokens import words_of
from triage_cli.classifiers.embedded.training_set import Choice, TrainingSet, TrainingText, labelled_texts_of
from triage_cli.classifiers.examples import ENGLISH, EXAMPLE_LANGUAGES, are_built_in
from triage_cli.domain import Category, ConfigError

FOREIGN_SHARE = 0.1  # of labelled texts in other languages from which on the language guard is off

MakeTrainingSet = Callable[[Sequence[Category], Sequence[str], Sequence[TrainingText]], "TrainingSet"]


def fit(
    categories: Sequence[Category],
    labelled: Sequence[tuple[str, str]] = (),
    encoder: Encoder | None = None,
    make_training_set: MakeTrainingSet | None = None,
    choices: Sequence[Choice] = (),
) -> Model:
    """Return a model fitted to the wording and examples of categories, and to (text, category name) pairs.

    With an encoder there is also a model that is asked where this one is unsure. `choices` are the hyperparameters of
    the one and the other (`chosen_hyperparameters`), which else are chosen on held-out labelled texts.
    `make_training_set` makes the training set, if it is of another kind. Raises `ConfigError`.
    """
    training_set, labelled_texts, english = _training_set(categories, labelled, make_training_set)
    choice = choices[0] if choices else training_set.choose_hyperparameters()
    # The names of these records go into the hash, so that another name would make another model of the same labels.
    fitted_to = repr((list(labelled), choice, *training_set.other_material)).encode("utf-8", "replace")
    learned = sha256(fitted_to).hexdigest() if labelled else ""
    model = training_set.model(choice, learned)._replace(english=english)
    if are_built_in(categories) and english:  # one model of all languages would be worse in English
        model = model._replace(other=TrainingSet(categories, EXAMPLE_LANGUAGES, labelled_texts).model(choice, learned))
    if encoder is not None:
        training_set.add(encoder)
        choice = choices[1] if choices else training_set.choose_hyperparameters()
        beside = training_set.model(choice, learned)._replace(english=english)
        model = model._replace(beside=beside._replace(encoder=encoder.fingerprint))
    if labelled:
        model = model._replace(copies=copy_numbers(labelled_text.text for labelled_text in labelled_texts))
    return model


def chosen_hyperparameters(
    categories: Sequence[Category],
    labelled: Sequence[tuple[str, str]],
    encoder: Encoder | None = None,
    make_training_set: MakeTrainingSet | None = None,
) -> list[Choice]:
    """Return the hyperparameters that `fit` would choose. Raises `ConfigError`."""
    training_set, _, _ = _training_set(categories, labelled, make_training_set)
    choices = [training_set.choose_hyperparameters()]
    if encoder is not None:
        training_set.add(encoder)
        choices.append(training_set.choose_hyperparameters())
    return choices


def _training_set(
    categories: Sequence[Category], labelled: Sequence[tuple[str, str]], make_training_set: MakeTrainingSet | None
) -> "tuple[TrainingSet, list[TrainingText], bool]":
    """Return the training set to fit to, the labelled texts in it, and whether these are in English."""
    if not categories:
        raise ConfigError("there are no categories", hint="name at least one under `categories`")
    labelled_texts = labelled_texts_of(categories, labelled)
    english = share_foreign([words_of(labelled_text.text)[0] for labelled_text in labelled_texts]) < FOREIGN_SHARE
    languages = EXAMPLE_LANGUAGES if are_built_in(categories) and not english else ENGLISH
    return (make_training_set or TrainingSet)(categories, languages, labelled_texts), labelled_texts, english
