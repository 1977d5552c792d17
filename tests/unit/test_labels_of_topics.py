"""Labels of topics: they teach, are outweighed by what people say, and nothing is measured on them."""

import numpy as np

from tests.support.three_subjects import three_subjects
from triage_cli.classifiers import TrainingSet, fit_model, labelled_texts_of, likeliest_labels
from triage_cli.domain import Category, Labelled
from triage_cli.service import CategoryNames, gather_training_data, has_proof, splits

CATEGORIES = [Category(name) for name in ("parcel", "password", "invoice")]
NAMES = CategoryNames(CATEGORIES)
TYPICAL = [Labelled(text, label, is_typical=True) for text, label in three_subjects(60)]
OTHERS = [Labelled(text, label) for text, label in three_subjects(30, seed=1)]


def test_any_other_label_of_a_text_overrules_that_of_its_topic() -> None:
    text, label = TYPICAL[0].text, TYPICAL[0].category
    other = next(each.name for each in CATEGORIES if each.name != label)
    by_file, by_verdict = Labelled(text, other), Labelled(text.upper().replace(" MY", " my,"), other, "V-1")
    for rows, stored in (((by_file, *TYPICAL), ()), (TYPICAL, (by_verdict,))):
        data = gather_training_data(rows, stored, NAMES)
        assert [row for row in data.rows if row.text.casefold()[:9] == text[:9] and row.category == other]
        assert TYPICAL[0] not in data.rows
        assert len(data.rows) == len(TYPICAL)
        assert data.counts.overruled == 0, "nobody has contradicted himself"


def test_no_label_of_a_topic_is_held_out() -> None:
    rows = [*TYPICAL[:30], *OTHERS, *TYPICAL[30:]]
    held_out = [row for _, fold in splits(rows) for row in fold]
    assert sorted(held_out) == list(range(30, 60))
    assert all(len(rest) + len(fold) == len(rows) for rest, fold in splits(rows))
    assert has_proof(rows)
    assert not has_proof(TYPICAL)


def test_a_model_of_topics_alone_has_the_calibration_that_was_found_for_such_models() -> None:
    pairs = [(row.text, row.category) for row in TYPICAL]
    of_topics, of_people = fit_model(CATEGORIES, typical=pairs), fit_model(CATEGORIES, pairs)
    texts = [text for text, _ in three_subjects(30, seed=2)]
    both = zip(likeliest_labels(of_topics, texts), likeliest_labels(of_people, texts), strict=True)
    assert all(guess == other and (sure or 0) < (surer or 0) for (guess, sure), (other, surer) in both)
    assert of_topics.learned != of_people.learned != fit_model(CATEGORIES).learned


def test_verdicts_outweigh_topics() -> None:
    """A topic was named wrongly: as many verdicts about such texts are believed."""
    typical = [(text, "parcel" if label == "invoice" else label) for text, label in three_subjects(60)]
    verdicts = three_subjects(60, seed=1)
    texts, labels = zip(*three_subjects(60, seed=2), strict=True)
    guesses = likeliest_labels(fit_model(CATEGORIES, verdicts, typical=typical), texts)
    assert [guess for guess, _ in guesses] == list(labels)


def test_folds_of_a_training_set_are_of_what_proves_something() -> None:
    pairs = [(row.text, row.category) for row in OTHERS]
    typical = [(row.text, row.category) for row in TYPICAL]
    training_set = TrainingSet(CATEGORIES, labelled_texts_of(CATEGORIES, pairs, typical))
    held_out = np.sort(np.concatenate(list(training_set.folds())))
    assert [training_set.labelled_texts[row].text for row in held_out] == [text for text, _ in pairs]
