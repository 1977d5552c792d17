"""Fits the embedded model to categories and labelled texts, in each language and beside an encoder."""

from collections.abc import Callable, Sequence
from hashlib import sha256

from triage_cli.classifiers.embedded.encoder import Encoder
from triage_cli.classifiers.embedded.fitted_model import (
    Model,
)
from triage_cli.classifiers.embedded.language_guard import share_foreign
from triage_cli.classifiers.embedded.tokens import words_of
from triage_cli.classifiers.embedded.training_set import Choice, TrainingSet
from triage_cli.classifiers.embedded.training_texts import Example, labelled_lessons
from triage_cli.classifiers.examples import ENGLISH, EXAMPLE_LANGUAGES, are_built_in
from triage_cli.domain.errors import ConfigError
from triage_cli.domain.tickets import Category

FOREIGN_SHARE = 0.1  # share of labelled texts in other languages from which on the language guard is off

Prepare = Callable[[Sequence[Category], Sequence[str], Sequence[Example]], "TrainingSet"]


def fit(
    categories: Sequence[Category],
    labelled: Sequence[tuple[str, str]] = (),
    encoder: Encoder | None = None,
    prepare: Prepare | None = None,
    choices: Sequence[Choice] = (),
) -> Model:
    """Return a model fitted to the wording and examples of categories, and to (text, category name) pairs.

    With an encoder there is also a model that is asked where this one is unsure. `choices` are the hyperparameters of
    the one and the other (`chosen`), which else are chosen on held-out labelled texts. `prepare` makes the training
    set, if it is of another kind. Raises `ConfigError`.
    """
    training_set, examples, english = _prepared(categories, labelled, prepare)
    several = are_built_in(categories)
    choice = choices[0] if choices else training_set.choose()
    material = repr((list(labelled), choice, *training_set.others)).encode("utf-8", "replace")
    learned = sha256(material).hexdigest() if labelled else ""
    model = training_set.model(choice, learned)._replace(english=english)
    if several and english:  # one model of all languages would be worse in English
        model = model._replace(other=TrainingSet(categories, EXAMPLE_LANGUAGES, examples).model(choice, learned))
    if encoder is not None:
        training_set.add(encoder)
        choice = choices[1] if choices else training_set.choose()
        beside = training_set.model(choice, learned)._replace(english=english)
        model = model._replace(beside=beside._replace(encoder=encoder.fingerprint))
    return model


def chosen(
    categories: Sequence[Category],
    labelled: Sequence[tuple[str, str]],
    encoder: Encoder | None = None,
    prepare: Prepare | None = None,
) -> list[Choice]:
    """Return the hyperparameters that `fit` would choose. Raises `ConfigError`."""
    training_set, _, _ = _prepared(categories, labelled, prepare)
    choices = [training_set.choose()]
    if encoder is not None:
        training_set.add(encoder)
        choices.append(training_set.choose())
    return choices


def _prepared(
    categories: Sequence[Category], labelled: Sequence[tuple[str, str]], prepare: Prepare | None
) -> "tuple[TrainingSet, list[Example], bool]":
    """Return the training set, the labelled texts in it, and whether these are in English."""
    if not categories:
        raise ConfigError("there are no categories", hint="name at least one under `categories`")
    examples = labelled_lessons(categories, labelled)
    english = share_foreign([words_of(example.text)[0] for example in examples]) < FOREIGN_SHARE
    languages = EXAMPLE_LANGUAGES if are_built_in(categories) and not english else ENGLISH
    return (prepare or TrainingSet)(categories, languages, examples), examples, english
