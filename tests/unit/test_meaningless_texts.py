"""Texts without meaning get no confidence: greetings, tests, filler, random keys, one known word."""

import pytest

from tests.support.embedded import answers, classifier
from triage_cli.classifiers import Model
from triage_cli.classifiers import fit_model as fit
from triage_cli.config import DEFAULT_CATEGORIES

EMPTY = (
    "x", "X!", "hi", "Hello there", "Good morning, dear team, kind regards", "test", "Test ticket, please ignore",
    "testing testing 1 2 3", "test test test", "this is a test", "asdf", "asdfasdf qwer", "qwertz", "qwerty uiop",
    "sdfjklsdf", "aaaaaaaa", "hahahaha", "xxxx xxxx", "foo bar baz", "lorem ipsum dolor sit amet consectetur",
    "help", "please help asap!!!", "urgent", "thank you", "ok", "yes", "bla bla", "...???", "N/A", "see attached",
    "refund", "invoice", "password!", "hello invoice", "zzkqj refund wvvbl", "login 12345",
    "Здравствуйте, помогите", "谢谢", "مرحبا", "テスト", "비밀번호",
    "Γεια σας, πού είναι το πακέτο μου;", "मेरा ऑर्डर कहाँ है", "שלום, איפה ההזמנה שלי",
)  # fmt: skip
CONTENT = (
    "where is my package", "I was charged twice", "the app crashes", "password reset", "please send the invoice",
    "how can I talk to an agent", "my refund is late", "Test environment is down, the server does not answer",
)  # fmt: skip


@pytest.fixture(scope="module")
def default() -> Model:
    return fit(DEFAULT_CATEGORIES)


def test_what_says_nothing_is_never_sure(default: Model) -> None:
    asked = classifier(default, min_confidence=0.0)
    assert len(EMPTY) >= 40
    assert [text for text, answer in zip(EMPTY, answers(asked, *EMPTY), strict=True) if answer.sure] == []


def test_a_guess_without_a_confidence_says_why(default: Model) -> None:
    (answer,) = answers(classifier(default), "hello refund")
    (step,) = answer.steps
    assert (step.category, step.confidence, step.probabilities) == ("Billing", None, None)
    assert (step.reason or "").startswith("too few words that say something; next: ")


def test_short_texts_that_say_something_have_a_confidence(default: Model) -> None:
    asked = classifier(default)
    assert [
        text for text, a in zip(CONTENT, answers(asked, *CONTENT), strict=True) if a.steps[0].confidence is None
    ] == []


@pytest.mark.slow
def test_a_single_word_that_labels_taught_may_stand_alone() -> None:
    taught = [(f"zorbix {word}", "Technical") for word in ("broken", "late", "loud", "here")]
    (answer,) = answers(classifier(fit(DEFAULT_CATEGORIES, taught)), "Zorbix")
    assert answer.steps[0].category == "Technical"
    assert answer.steps[0].confidence is not None
