"""Labels of topics: they teach, are outweighed by what people say, and nothing is measured on them."""

import numpy as np
import pytest

from tests.support.three_subjects import three_subjects
from triage_cli import domain as dm
from triage_cli.classifiers import LocalTrainer, Model, TrainingSet, fit_model, labelled_texts_of, likeliest_labels
from triage_cli.service import CategoryNames, gather_training_data, has_proof, splits

CATEGORIES = [dm.Category(name) for name in ("parcel", "password", "invoice")]
NAMES = CategoryNames(CATEGORIES)
TYPICAL = [dm.Labelled(text, label, is_typical=True) for text, label in three_subjects(60)]
OTHERS = [dm.Labelled(text, label) for text, label in three_subjects(30, seed=1)]


def test_any_other_label_of_a_text_overrules_that_of_its_topic() -> None:
    text, label = TYPICAL[0].text, TYPICAL[0].category
    other = next(each.name for each in CATEGORIES if each.name != label)
    by_file, by_verdict = dm.Labelled(text, other), dm.Labelled(text.upper().replace(" MY", " my,"), other, "V-1")
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


@pytest.mark.slow
def test_a_model_of_topics_alone_has_the_calibration_that_was_found_for_such_models() -> None:
    pairs = [(row.text, row.category) for row in TYPICAL]
    of_topics, of_people = fit_model(CATEGORIES, typical=pairs), fit_model(CATEGORIES, pairs)
    texts = [text for text, _ in three_subjects(30, seed=2)]
    both = zip(likeliest_labels(of_topics, texts), likeliest_labels(of_people, texts), strict=True)
    assert all(guess == other and (sure or 0) < (surer or 0) for (guess, sure), (other, surer) in both)
    assert of_topics.learned != of_people.learned != fit_model(CATEGORIES).learned


@pytest.mark.slow
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


def test_a_text_is_not_answered_by_the_name_of_its_own_topic() -> None:
    """A topic has a ticket of another one, as a topic has: the model has learned a wrong label of this."""
    text, subject = TYPICAL[0].text, TYPICAL[0].category
    wrong = [row._replace(category="invoice") if row.text == text else row for row in TYPICAL]
    pairs = [(row.text, row.category) for row in wrong]
    repeating = fit_model(CATEGORIES, typical=pairs)
    model = fit_model(CATEGORIES, typical=pairs, to_use=True)
    without = fit_model(CATEGORIES, typical=[pair for pair in pairs if pair[0] != text])
    [(guess, sure)] = likeliest_labels(Model.from_bytes(model.to_bytes()), [text])
    [(repeated, surer)], [(other, as_sure)] = likeliest_labels(repeating, [text]), likeliest_labels(without, [text])
    assert (guess, other) == (subject, subject)
    assert abs((sure or 0) - (as_sure or 0)) < 0.1
    assert repeated == "invoice" or (surer or 0) < (sure or 0) - 0.1, "else this test shows nothing"
    new = [text for text, _ in three_subjects(30, seed=2)]
    assert likeliest_labels(model, new) == likeliest_labels(repeating, new), "others are answered as ever"


@pytest.mark.slow
def test_a_text_that_was_guessed_is_answered_as_a_new_one() -> None:
    trainer = LocalTrainer(CATEGORIES, lambda: b"")
    guessed = dm.Unlabelled(tuple(f"{word} {word}s {word}ly" for word in ("lantern", "violin", "cloud", "pepper")), 1.0)
    believed, new = (
        [sure or 0 for _, sure in trainer.answers(trainer.fit(OTHERS, guessed, to_use=to_use), guessed.texts)]
        for to_use in (False, True)
    )
    assert all(sure < surer - 0.05 for sure, surer in zip(new, believed, strict=True)), (new, believed)


@pytest.mark.parametrize(("cell", "typical"), [("topic", True), (" Topic ", True), ("verdict", False), (None, False)])
def test_a_label_of_a_topic_is_known_as_people_leave_it_in_spreadsheets(cell: str | None, typical: bool) -> None:
    assert dm.is_typical({"label_source": cell}) is typical
