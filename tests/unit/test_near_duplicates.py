"""Copies of a text in another spelling are recognised; other texts are not taken for copies."""

import random
import unicodedata
from collections.abc import Callable

import pytest

from triage_cli import domain as dm

SYLLABLES = [consonant + vowel for consonant in "bcdfgklmnprstvz" for vowel in "aeiou"]
SIGNATURE = "\n\nBest regards\nAnna Smith"


def texts(number: int, length: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [
        f"Ändern: my invoice {n + 100} " + " ".join("".join(chance.choices(SYLLABLES, k=3)) for _ in range(length))
        for n in range(number)
    ]


def as_html(text: str) -> str:
    return f"<html><body><p class='a b'>{text.replace('Ä', '&Auml;')}<br/></p>&nbsp;</body></html>"


SPELLINGS: dict[str, Callable[[str], str]] = {
    "line ends": lambda text: text.replace(" ", "\r\n"),
    "capitals": str.upper,
    "full stop": "{}.".format,
    "another number": lambda text: text.replace("1", "7"),
    "HTML": as_html,
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "invisible characters": lambda text: text.replace("in", "i\u00adn\u200b"),
    "wide letters": lambda text: text.replace("my", "\uff4d\uff59"),
    "order": lambda text: " ".join(reversed(text.split())),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_another_spelling_has_the_same_key(spelling: Callable[[str], str]) -> None:
    for length in (1, 8, 60):
        for text in texts(20, length):
            assert spelling(text) != text
            assert dm.copy_key(spelling(text)) == dm.copy_key(text)


@pytest.mark.parametrize("length", [4, 8, 60])
@pytest.mark.parametrize("added", ["{}\nThanks", "Hello {}", "{} [#4711]"])
def test_a_word_more_or_less_makes_no_other_text(added: str, length: int) -> None:
    for text in texts(100, length):
        for copy, original in ((added.format(text), text), (text, added.format(text))):
            assert dm.keys_of_originals(copy) & dm.copy_keys(original)


def test_a_long_text_may_have_a_signature() -> None:
    copies = [bool(dm.keys_of_originals(text + SIGNATURE) & dm.copy_keys(text)) for text in texts(100, 40)]
    assert sum(copies) >= 90
    assert max(len(dm.copy_keys(text)) for text in texts(10, 200)) <= 1 + 8 + dm.SKETCHES


@pytest.mark.parametrize("length", [0, 1, 8, 60])
def test_other_texts_are_no_copies(length: int) -> None:
    learned = set().union(*map(dm.copy_keys, texts(200, length, seed=1))) if length else dm.copy_keys("!!!")
    others = texts(200, length, seed=2) if length else ["???"]
    assert sum(bool(dm.keys_of_originals(text) & learned) for text in others) == 0
