"""The table of word vectors: what is looked up, and that like words are near each other."""

import time
from pathlib import Path

import numpy as np
import pytest

from triage_cli import domain as dm
from triage_cli.classifiers import NGRAM_BUCKETS, Lexicon, ngrams_of, word_parts
from triage_cli.classifiers import default_word_vectors as word_vectors
from triage_cli.classifiers import embedded_word_vectors as module


def cosine(one: str, other: str) -> float:
    a, b = word_vectors().of([one, other])
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("refund", ["refund"]), ("(refund)!", ["refund"]), ("log-in/out", ["log", "in", "out"]), ("don't", ["don't"]),
        ("don\u2019t", ["don't"]), ("café", ["cafe"]),
        ("snake_case", ["snake", "case"]), ("???", []), ("заказ", ["заказ"]),
    ],
)  # fmt: skip
def test_a_word_is_looked_up_by_its_parts(word: str, parts: list[str]) -> None:
    assert word_parts(word) == parts


def test_a_word_that_is_not_there_is_cut_into_the_longest_pieces() -> None:
    lexicon = Lexicon(["pay", "payment", "##ment", "##s", "m", "##e", "404", "don", "t"])
    assert lexicon.rows("payment") == [1]
    assert lexicon.rows("payments") == [1, 3]
    assert lexicon.rows("mess") == [4, 5, 3, 3]
    assert lexicon.rows("payx") == []
    assert lexicon.rows("don't") == [7, 8]
    assert (lexicon.rows("404"), lexicon.rows("4044")) == ([6], [])


def test_a_word_of_thousands_of_letters_costs_little() -> None:
    """As an attachment in base64. No piece is longer than the longest entry, so no longer one is looked for."""
    began = time.process_time()
    assert word_vectors().lexicon.rows("refundw" * 600)
    assert time.process_time() - began < 1


def test_like_words_are_near() -> None:
    assert cosine("refund", "reimbursement") > cosine("refund", "keyboard") + 0.2
    assert cosine("password", "login") > cosine("password", "parcel") + 0.1


def test_what_is_unknown_has_no_vector() -> None:
    found = word_vectors().of(["заказ", "!!!", "refund"])
    assert found.shape == (3, word_vectors().dimensions)
    assert not found[:2].any()
    assert found[2].any()


def test_a_missing_or_damaged_file_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VECTORS_FILE", tmp_path / "none.npz")
    with pytest.raises(dm.TriageError, match="word vectors cannot be read"):
        module.word_vectors.__wrapped__()
    (tmp_path / "none.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(dm.TriageError, match="word vectors cannot be read"):
        module.word_vectors.__wrapped__()


def test_ngrams_are_those_of_the_word_between_its_marks() -> None:
    numbers, starts = ngrams_of(["refund", "card,", "!!!", "a", "12345", "67890", "refund", "card"])
    parts = np.split(numbers, starts[1:])
    assert [len(part) for part in parts] == [15, 9, 1, 1, 12, 12, 15, 9]
    assert all(np.array_equal(parts[one], parts[other]) for one, other in ((0, 6), (1, 7), (4, 5)))
    assert len(set(parts[0].tolist()) & set(parts[1].tolist())) == 0
    assert 0 <= numbers.min() <= numbers.max() < NGRAM_BUCKETS
    assert not ngrams_of(["???"])[0].any()
