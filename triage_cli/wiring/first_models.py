"""What `init` needs beside learning: whether texts tell a label, a database that is free, and what to expect."""

from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from triage_cli import domain as dm
from triage_cli.config import Config, load_config
from triage_cli.wiring.learned_models import find_error_bounds
from triage_cli.wiring.stores import open_model_registry, open_store

SAMPLE, HELD_OUT = 1_500, 5  # texts by which it is judged whether they tell a label, and which share is held out
TOLD = 0.25  # of what the commonest label leaves to know, the share that texts must tell


def is_told(pairs: Sequence[tuple[str, str]]) -> bool:
    """Return whether texts tell their labels far better than the commonest label does, by (text, label) pairs."""
    from triage_cli.classifiers import fit_model, likeliest_labels

    pairs = pairs[:: max(len(pairs) // SAMPLE, 1)][:SAMPLE]
    groups = dm.groups_of([text for text, _ in pairs])
    folds = dm.folds_of([label for _, label in pairs], groups, HELD_OUT)
    known = [pair for pair, fold in zip(pairs, folds, strict=True) if fold]
    held_out = [pair for pair, fold in zip(pairs, folds, strict=True) if not fold]
    labels = Counter(label for _, label in known)
    if len(labels) < 2 or not held_out:
        return False
    model = fit_model([dm.Category(label) for label in labels], known)
    answers = likeliest_labels(model, [text for text, _ in held_out], dm.FLAT)
    right = sum(guess == label for (guess, _), (_, label) in zip(answers, held_out, strict=True)) / len(held_out)
    commonest = labels.most_common(1)[0][0]
    by_chance = sum(label == commonest for _, label in held_out) / len(held_out)
    return right >= by_chance + TOLD * (1 - by_chance)


def free_database(config_path: Path, folder: Path, named: str | None) -> str:
    """Return the database for a new configuration: the one that is named, else a free name in a folder.

    It is free if it has no ticket, and no version of other categories. Raises `UsageError` if the named one is not.
    """
    for number in count(1):
        place = named or str(folder / ("triage.db" if number == 1 else f"triage-{number}.db"))
        config = load_config(config=str(config_path), db=place, env={}, cwd=folder)
        store = open_store(config)
        if not store.is_there():
            return place
        version = open_model_registry(store).active()
        names = {category.name for category in config.categories}
        is_others = version is not None and set(dm.from_json(version.categories)) != names
        if not is_others and not any(True for _ in store.find(dm.Selection(limit=1))):
            return place
        if named:
            raise dm.UsageError(
                "the database that is named has tickets, or a model of other categories",
                hint="leave out --db: a new one is made",
            )
    raise AssertionError


def expected(config: Config, shares: Sequence[float]) -> dm.Expectation:
    """Return what labelled texts that prove say of the version in use."""
    from triage_cli.classifiers import embedded_classifier, fitted_model

    store, question = open_store(config), config.asked[0]
    registry = open_model_registry(store)
    version = registry.active()
    if version is None:
        unproven = (dm.ExpectedPromise(share, False, 0.0, 0.0, dm.needed(share)) for share in shares)
        return dm.Expectation(tuple(unproven), None)
    learned = fitted_model.Model.from_bytes(version.weights).learned
    fingerprint = embedded_classifier.question_fingerprint(learned, question)
    graded = registry.graded(fingerprint)
    promises = []
    for share in shares:
        bounds = find_error_bounds(question, store, fingerprint, dm.MaxError(share))
        bound = bounds[dm.OVERALL]
        is_proven = bound.threshold is not None
        sent = bound.labelled / len(graded) if is_proven and graded else 0.0
        wrong = bound.wrong / bound.labelled if is_proven and bound.labelled else 0.0
        promises.append(dm.ExpectedPromise(share, is_proven, sent, wrong, bound.missing))
    levels = question.labels
    contradicted = [
        answer
        for answer in graded
        if answer.label
        and not levels.is_within(answer.label, answer.category)
        and not levels.is_within(answer.category, answer.label)
    ]
    suspects = sum(answer.confidence >= dm.STANDARD_THRESHOLD for answer in contradicted)
    return dm.Expectation(tuple(promises), _most_confused(contradicted, graded), suspects)


def _most_confused(contradicted: Sequence[dm.GradedAnswer], graded: Sequence[dm.GradedAnswer]) -> dm.Confused | None:
    """Return the pair of categories that is confused most among graded answers."""
    if not contradicted:
        return None
    (label, guess), number = Counter((each.label, each.category) for each in contradicted).most_common(1)[0]
    return dm.Confused(label, guess, number, number / sum(each.label == label for each in graded), ("", ""))
