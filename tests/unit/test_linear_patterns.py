"""Patterns and words over the worst texts take no longer than over others, or are refused."""

import random
import time

import pytest

from triage_cli import domain as dm

LENGTH = 1_000_000
SECONDS = 0.5  # of processor time; a backtracking engine takes hours
HOSTILE = [
    "(a+)+$", "(a+)+b", "([a-zA-Z]+)*!", "(a|aa)+b", "(a|a?)+b", "(.*a){20}", "(.*a){90}b",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(a*)*b", "(a*)*(b*)*c", r"\s+$x", r"^\s+|\s+$x", r"(\s*,\s*)+x", "(x+x+)+y", "(?:a|b|ab)*c", r"([^@]+@)+\d",
    r"(\w+\s?)*!", r"(\d+)*x", r"\d+\d+\d+x", ".*.*.*=.*", "(.*)(.*)(.*)(.*)x$", "a[ab]{20}c", "a[ab]{70}c",
    "a[ab]{100}c", "a[ab]{1000}c", "a.{0,50}c", "a.{0,77}c", "a.{0,190}c", "a.{0,40}b.{0,30}c", "([ab]{5}){30}c",
    "((a{1,30}){1,30})b", r"(\pL{1,20}){1,20}9", r"[A-Z]\w{20}!", r"[A-Z]\pL{70}!", "(a?){30}a{30}b", "(a?){90}a{90}b",
    "(a|b){20}a(a|b){20}c", "a" + "(a|b)" * 70 + "c", "a" + "(a|b)" * 90 + "c", "a" + "[ab]" * 115 + "c",
    "(?i)[a-z]+[A-Z]+!", r"(\b\w+\b\s*)+!", "(<[^>]*>)+x", r'"(?:[^"\\]|\\.)*"x', '(?:[^"]*"[^"]*")*x',
    "([a-z]+[0-9]+)+!", r"([\pL\pN]+[-_.]?)+@x", r"^(?:\w+\.)+\w+@(?:\w+\.)+x$", "(?s)(.+)+!z", "(?:0|1|01|10)*2",
]  # fmt: skip


def texts() -> list[str]:
    """Return texts that are the worst ones for some of the patterns."""
    chooser = random.Random(7)
    alphabets = ("ab", "aA ", "a1", "aé漢", "AZ09-", "abcdefghijklmnopqrstuvwxyz    .,@")
    return [
        *("".join(chooser.choices(alphabet, k=LENGTH)) for alphabet in alphabets),
        *(unit * (LENGTH // len(unit)) for unit in ("a", "ab", " ", "1", "\n", "漢", '"', "<", "a@", "# ")),
    ]


def longest(patterns: list[str]) -> float:
    """Return the longest time of processor that looking for one of the patterns in one of the texts takes."""
    worst = 0.0
    for text in texts():
        for pattern in patterns:
            dm.linear_patterns._readable.cache_clear()
            begun = time.thread_time()
            dm.linear_patterns.found(pattern, text)
            worst = max(worst, time.thread_time() - begun)
    return worst


@pytest.mark.slow
def test_what_cannot_backtrack_is_quick_over_the_worst_texts() -> None:
    taken = [pattern for pattern in HOSTILE if not dm.linear_patterns.no_pattern(pattern)]
    assert len(HOSTILE) // 2 < len(taken) < len(HOSTILE)
    assert longest(taken[::6]) < SECONDS


@pytest.mark.long
def test_a_hundred_hostile_patterns_are_quick_or_refused() -> None:
    patterns = [*HOSTILE, *(f"(?:{pattern})|(?:q{pattern})z" for pattern in HOSTILE)]
    assert longest([pattern for pattern in patterns if not dm.linear_patterns.no_pattern(pattern)]) < SECONDS / 5


def test_a_thousand_words_are_looked_for_at_once() -> None:
    words = tuple("a" * n for n in range(1, 200)) + tuple(f"w{n}" for n in range(800))
    begun = time.thread_time()
    assert not dm.linear_patterns.has_words(words, "ab" * (LENGTH // 2))
    assert time.thread_time() - begun < SECONDS


@pytest.mark.parametrize(
    ("pattern", "texts", "expected"),
    [
        (r"(?i)(?:\border|#)\s*(\d{6,})", ("Order 123456 and #654321", None), "123456"),
        (r"(?i)(?:\border|#)\s*(\d{6,})", (None, "no", "my #654321"), "654321"),
        (r"INC-\d+", ("see INC-7",), "INC-7"),
        (r"(a)|(b)", ("b",), None),
        (r"é\w?(漢)", ("xé漢",), "漢"),
        (r"INC-\d+", ("", "nothing"), None),
    ],
)
def test_a_field_is_the_first_group_of_the_first_match(
    pattern: str, texts: tuple[str | None, ...], expected: str | None
) -> None:
    assert dm.linear_patterns.first_match(pattern, texts) == expected
