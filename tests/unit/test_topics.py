"""Topics: found by what texts say, the same each time, in words that name nobody; their names; the configuration."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.three_subjects import three_subjects
from triage_cli import domain as dm
from triage_cli.classifiers import find_topics
from triage_cli.classifiers import topics as topics_module
from triage_cli.cli import TopicEditor
from triage_cli.config import load_config, proposed_configuration
from triage_cli.wiring import discover

LABELLED = three_subjects(240)
TEXTS, LABELS = [text for text, _ in LABELLED], [label for _, label in LABELLED]
WRITERS = [f"C-{number}" for number in range(len(TEXTS))]


def test_topics_are_subjects_and_the_same_each_time() -> None:
    found = find_topics(TEXTS, WRITERS, 6, ["invoice payment refund", "zebra"])
    for topic in found.topics:
        labels = Counter(LABELS[index] for index in topic.members)
        assert labels.most_common(1)[0][1] > 0.95 * len(topic.members)
        assert (topic.nearest == 0) == (labels.most_common(1)[0][0] == "invoice")
    assert sum(len(topic.members) for topic in found.topics) + found.vague + found.far == len(TEXTS)
    again = find_topics(TEXTS, WRITERS, 6, ["invoice payment refund", "zebra"])
    assert [topic.words for topic in found.topics] == [topic.words for topic in again.topics]
    assert [list(topic.members) for topic in found.topics] == [list(topic.members) for topic in again.topics]


def test_texts_of_which_only_a_part_is_fitted_are_put_to_the_same_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_module, "MOST_FITTED", 90)
    monkeypatch.setattr(topics_module, "SLICE", 50)
    found = find_topics(TEXTS, WRITERS, 3)
    assert sum(len(topic.members) for topic in found.topics) > 0.9 * len(TEXTS)
    for topic in found.topics:
        assert Counter(LABELS[i] for i in topic.members).most_common(1)[0][1] > 0.9 * len(topic.members)


@pytest.mark.slow  # the encoder is loaded
@pytest.mark.parametrize(("encoded", "fitted"), [(10**6, 10**6), (1_500, 10**6), (1_500, 60)])
def test_topics_of_several_languages_are_subjects_and_not_languages(
    encoded: int, fitted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the encoder reads some of the texts, and where the space is fitted to some of them."""
    monkeypatch.setattr(topics_module, "MOST_ENCODED", encoded)
    monkeypatch.setattr(topics_module, "MOST_FITTED", fitted)
    wordings = {
        "parcel": ("my parcel is late, {}", "mein Paket ist verspätet, {}", "mi paquete llega tarde, {}"),
        "password": ("I forgot my password, {}", "ich habe mein Passwort vergessen, {}", "olvidé mi contraseña, {}"),
        "invoice": ("the invoice is wrong, {}", "die Rechnung ist falsch, {}", "la factura es incorrecta, {}"),
    }
    ends = (("please help", "today", "again"), ("bitte helfen", "heute", "wieder"), ("por favor", "hoy", "otra vez"))
    labelled = [
        (wording.format(end), subject, language)
        for subject, in_languages in wordings.items()
        for language, wording in enumerate(in_languages)
        for end in ends[language] * 3
    ]
    found = find_topics([text for text, _, _ in labelled], [str(n) for n in range(len(labelled))], 3)
    own, languages = (
        sum(Counter(labelled[index][key] for index in topic.members).most_common(1)[0][1] for topic in found.topics)
        for key in (1, 2)
    )
    assert own > 0.8 * len(labelled) > 0.6 * len(labelled) > languages
    shown = {word for topic in found.topics for word in topic.words}
    assert shown & {"paket", "passwort", "rechnung", "contraseña", "factura"}
    assert not shown & {"habe", "ist", "mein", "die", "bitte", "heute", "mi", "es", "hoy", "otra"}


def test_what_says_too_little_or_is_near_no_topic_is_counted_apart() -> None:
    others = ["hello", "thanks", "", "qwertz", "xylophone marmalade"]
    found = find_topics([*TEXTS, *others], [*WRITERS, *"abcde"], 3)
    assert (found.vague, found.far) == (5, 0), "words of one text alone say nothing about its company"
    members = {int(index) for topic in found.topics for index in topic.members}
    assert not members & set(range(len(TEXTS), len(TEXTS) + 5))


def test_one_topic_does_not_have_most_of_the_texts() -> None:
    many = [text for text, label in three_subjects(1_500) if label == "parcel"] + TEXTS[:60]
    found = find_topics(many, [str(n) for n in range(len(many))], 10)
    assert max(len(topic.members) for topic in found.topics) < 0.5 * len(many)


@pytest.mark.parametrize("texts", [[], ["one ticket about a parcel"] * 3, ["same parcel late"] * 200, ["", " "] * 20])
def test_too_few_or_equal_texts_are_no_error(texts: list[str]) -> None:
    found = find_topics(texts, [str(n) for n in range(len(texts))], 20)
    assert sum(len(topic.members) for topic in found.topics) + found.vague + found.far == len(texts)


def test_shown_words_are_of_several_people_and_of_no_personal_kind() -> None:
    texts = [f"{text} jane@example.com 0151-2345678 Quimby" for text in TEXTS]
    by_one = find_topics(texts, ["C-1"] * len(texts), 3)
    assert {topic.words for topic in by_one.topics} == {()}
    shown = {word for topic in find_topics(texts, WRITERS, 3).topics for word in topic.words}
    assert shown
    assert all(word.isalpha() for word in shown)


def test_examples_are_masked_and_names_differ() -> None:
    tickets = [dm.TopicText(f"{text} \0 mail me: jane@example.com", f"C-{n}") for n, text in enumerate(TEXTS)]
    proposal = discover([dm.Category("Invoices", "invoice, payment, refund")], tickets, dm.Discovery(12))
    assert "jane@example.com" not in str(proposal)
    assert "[email]" in proposal.topics[0].examples[0]
    assert "\0" not in proposal.topics[0].examples[0]
    names = [category.name.casefold() for category in TopicEditor.of_proposal(proposal).categories()]
    assert len(set(names)) == len(names) > 3
    assert {topic.nearest for topic in proposal.topics} == {"Invoices", None}


def test_a_topic_without_words_has_a_name_of_its_own() -> None:
    proposal = discover([], [dm.TopicText(text, "C-1") for text in TEXTS], dm.Discovery(3))
    names = [group.name for group in proposal.groups] + [topic.name for topic in proposal.topics]
    assert names[0] == "Topic"
    assert len(set(names)) == len(names) >= 3


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60)


@given(st.lists(st.tuples(TEXT, TEXT.filter(str.strip)), min_size=2, max_size=4))
@examples(20, 500)
def test_any_text_stands_in_the_configuration_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]
) -> None:
    categories = [
        dm.Category(f"C{number}", description.strip(), (example,))
        for number, (description, example) in enumerate(texts)
    ]
    file = tmp_path_factory.mktemp("proposed") / "proposal.yaml"
    file.write_text(proposed_configuration(categories), encoding="utf-8")
    config = load_config(config=str(file), env={}, cwd=Path(file.parent))
    assert [(each.name, each.description, each.examples) for each in config.categories] == [
        (each.name, each.description, each.examples) for each in categories
    ]
