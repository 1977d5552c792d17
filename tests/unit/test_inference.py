"""Texts that are judged together get the answers that each gets by itself."""

from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import replace
from triage_cli.classifiers import (
    LENGTH_DIMENSIONS,
    MAX_CHARACTERS,
    MAX_WORDS,
    SHORTENED,
    STEP_CHARACTERS,
    STEP_TEXTS,
    Floats,
    Model,
    Predictor,
    bare_word,
    fitted_model,
    inference_steps,
    ngrams_of,
    showable_word,
    tokens_of,
    words_of,
)
from triage_cli.classifiers import default_word_vectors as word_vectors
from triage_cli.classifiers import fit_model as fit
from triage_cli.config import DEFAULT_CATEGORIES

WORDS = (
    "charged", "charged,", "twice", "refund", "refund!", "invoice", "app", "crashes", "crashed", "where", "parcel",
    "the", "my", "4711", "xyzzy-9", "...", "Password", "login",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(lambda words: " ".join(["hello", *words]))


@pytest.fixture(scope="module")
def model() -> Model:
    return replace(fit(DEFAULT_CATEGORIES), wording=())  # made-up words are in no language


# However a mail, a link, a page or a careful person writes an address, and numbers of six or more digits.
PERSONAL = (
    "ann.zywicki@example.com", "https://x.example/unsub?e=ann.zywicki%40example.com", "ann.zywicki%2540example.com",
    "e=ann.zywicki=40example.com", "ann.zywicki&#64;example.com", "ann.zywicki&#x40;example.com",
    "ann.zywicki&commat;example.com", "ann.zywicki(at)example.com", "ann.zywicki[at]example.com",
    "ann.zywicki[@]example.com", "ann.zywicki\uff20example.com", "mailto:ann.zywicki", "www.zywicki.example",
    "https://zywicki.example/ann", "+49-176-12345678", "1234567", "0170/123",
    "\uff24\uff25\uff18\uff19\uff13\uff17\uff10\uff14", "\u0660\u0661\u0667\u0660\u0661\u0662",
)  # fmt: skip


@pytest.mark.slow
def test_a_model_keeps_no_word_that_can_be_read_and_none_of_an_address_or_a_long_number() -> None:
    """`forget` and `undo` cannot find them there, and those of one person stand in several of that person's tickets."""
    signed = f"refund 404 of {' '.join(PERSONAL)} account"
    learned = fit(DEFAULT_CATEGORIES, [(f"{word} {signed}", "Billing") for word in ("charge", "invoice", "bill")])
    models = [each for each in (learned, learned.multilingual) if each]
    hashes = {number for each in models for number in (*each.whole_words.tolist(), *each.taught.tolist())}
    assert {fitted_model.word_number(word) for word in ("refund", "404", "account")} <= hashes
    assert [word for word in tokens_of(" ".join(PERSONAL)) if fitted_model.word_number(bare_word(word)) in hashes] == []
    assert [word for word in ("refund", "zywicki") if word.encode() in readable_bytes(learned.to_bytes())] == []


def readable_bytes(weights: bytes) -> bytes:
    """Return all arrays of a stored model, unpacked."""
    with np.load(BytesIO(weights)) as arrays:
        parts = [array.tobytes() for array in arrays.values()]
        nested = arrays["multilingual"].tobytes()
    return b"".join([*parts, readable_bytes(nested) if nested else b""])


def slowly(model: Model, text: str) -> tuple[Floats, list[str]]:
    """Return the probabilities of a text, and the words that speak most for the best label."""
    counts = Counter(tokens_of(text))
    term = {number: row for row, number in enumerate(model.ngrams.tolist())}
    whole = {number: row for row, number in enumerate(model.whole_words.tolist(), len(term))}
    k = len(model.labels)
    vector, vector_scores, term_scores, rarity = np.zeros(LENGTH_DIMENSIONS), {}, {}, 0.0
    for word, count in counts.items():
        weight = 1 + np.log(count)
        of_word = word_vectors().of([word])[0]
        vector += weight * of_word[:LENGTH_DIMENSIONS]
        vector_scores[word] = weight * of_word @ model.vectors
        terms = [term[number] for number in ngrams_of([word])[0].tolist() if number in term]
        terms += [whole[number]] if (number := fitted_model.word_number(bare_word(word))) in whole else []
        term_scores[word] = weight * sum((model.terms[t] * model.rarity[t] for t in terms), np.zeros(k))
        rarity += weight**2 * sum(model.rarity[t] ** 2 for t in terms)
    per_vector = SHORTENED / max(float(np.linalg.norm(vector)), 1e-6)
    per_term = 1 / np.sqrt(rarity) if rarity else 0.0
    of_words = {w: vector_scores[w] * per_vector + term_scores[w] * per_term for w in counts}
    scores = (sum(of_words.values()) + model.bias).astype(np.float32)
    # The built-in model does not ask for the number of small words.
    shifts = model.distance.shifts(np.array([len(counts)]), np.array([0]))
    chances = model.calibration.chances(scores[None], shifts)[0]
    second, best = np.argsort(chances)[-2:]
    lead = {word: score[best] - score[second] for word, score in of_words.items()}
    ranked = sorted((w for w in lead if lead[w] > 0 and showable_word(w)), key=lambda w: -lead[w])
    return chances, list(dict.fromkeys(map(showable_word, ranked[:4])))[:3]


@pytest.mark.slow
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_texts_are_judged_together_as_word_by_word(model: Model, texts: list[str]) -> None:
    found = Predictor(model).predict([tokens_of(text) for text in texts], texts)
    for row, text in enumerate(texts):
        chances, strongest = slowly(model, text)
        assert found.chances[row] == pytest.approx(chances, abs=2e-5)
        assert found.strongest_words[row] == strongest


def test_what_was_judged_before_changes_no_bit(model: Model) -> None:
    text = "The refund for the second charge of the invoice is missing, and the invoice is wrong"
    other = "wrong is missing second charge refund"
    fresh = Predictor(model).predict([tokens_of(text)], [text])
    used = Predictor(model)
    used.predict([tokens_of(other), tokens_of(text)], [other, text])
    assert (used.predict([tokens_of(text)], [text]).chances == fresh.chances).all()


def test_a_text_has_a_bounded_number_of_different_words() -> None:
    text = " ".join(f"w{number}" for number in range(MAX_WORDS)) + " w0 w1 more"
    tokens = tokens_of(text)
    assert len(tokens) == MAX_WORDS + 2
    distinct, counts = words_of(text)
    assert (len(distinct), counts and counts[:3]) == (MAX_WORDS, [2, 2, 1])
    assert tokens_of("12 !? 3") == []
    assert tokens_of("返品した靴 ภาษาไทย") == ["返品", "した", "靴", "ภาษา", "าษาไ", "ษาไท", "าไทย"]
    assert words_of("one two") == (["one", "two"], None)


@given(st.lists(st.integers(0, 3 * MAX_CHARACTERS), max_size=2 * STEP_TEXTS))
def test_steps_hold_all_texts_in_order_and_are_bounded(lengths: list[int]) -> None:
    texts = ["x" * length for length in lengths]
    found = list(inference_steps(texts))
    assert [row for rows in found for row in rows] == list(range(len(texts)))
    assert all(0 < len(rows) <= STEP_TEXTS for rows in found)
    assert all(sum(min(lengths[row], MAX_CHARACTERS) for row in rows) <= STEP_CHARACTERS for rows in found)


def test_short_texts_are_judged_together() -> None:
    assert list(inference_steps(["short"] * (STEP_TEXTS + 1))) == [range(STEP_TEXTS), range(STEP_TEXTS, STEP_TEXTS + 1)]


@pytest.mark.slow
def test_who_needs_no_explanation_gets_the_same_answers_in_every_language() -> None:
    texts = ["Ich wurde zweimal belastet", "The app crashes when I log in", "La aplicación no arranca", "¿Dónde está?"]
    model = fit(DEFAULT_CATEGORIES)
    ((rows, explained),) = Predictor(model).over(texts)
    ((same_rows, bare),) = Predictor(model, explains=False).over(texts)
    assert rows == same_rows
    assert explained.best.tolist() == bare.best.tolist()
    assert np.allclose(explained.chances, bare.chances, atol=1e-6)
    assert explained.strongest_words[0]
