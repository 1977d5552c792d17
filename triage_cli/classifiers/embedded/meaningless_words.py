"""Meaningless words, which say nothing about a label: common ones, greetings, tests, filler, keys hit at random."""

import numpy as np
from numpy.typing import NDArray

from triage_cli.classifiers.embedded.tokens import bare_word
from triage_cli.classifiers.embedded.word_vectors import word_parts, word_vectors

# A text's marks are the sum of its words': how many are known, how many are content, and how many were taught.
KNOWN, CONTENT, TAUGHT = 1, 1 << 10, 1 << 20  # in a mark
LEAST_KNOWN = 2  # words, one of them content, without which an answer has no confidence
READABLE_PART = 2  # a text in another language can be read if one in so many of its words was taught

# Words that say nothing about a label, and that no reason names.
_COMMON = """
about after again also although always and any anyone are ask back because been before being but came can cannot
come could dear did does doing done down each even ever every everything for from get gets getting give got had
has have having hello her here him his how into its just kind know last let like made make many may more most
much must need needs never not now off once one only other our out over own please put regards said same say see
send sent she should since some still such sure take tell than thank thanks that the their them then there these
they thing this those though through today too two under until upon use used using very via want wanted wants
was way week well went were what when where which while who why will wish with without would yesterday yet you
your yours
"""
SILENT = frozenset(_COMMON.split())
_GREETINGS = """
afternoon best bonjour bye cheers ciao dear evening good goodbye greeting greetings hallo happy hello hey hi hiya hola
kind kindly madam morning please pls plz regards sincerely sir team thank thanks thx welcome well wishes yo
"""
_FILLER = """
abc abcd abcde amet asap asd attached attachment bar baz bla blah body consectetur description dolor dummy elit example
example.com foo fyi help hmm ignore ipsum lol lorem message na name nan nil no none null ok okay ping pong qux qwe
sample see sit spam subject tbd temp test tested tester testing tests text ticket title tmp todo undefined untitled
urgent xyz yeah yes
"""
_VAGUE = """
anything happened info information issue issues nothing problem problems question questions something stuff thing things
trouble wrong
"""
_WEAK = SILENT | frozenset(_VAGUE.split())  # known, but no content
_MEANINGLESS = frozenset((_GREETINGS + _FILLER).split())
_KEYBOARD_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn")
_KEYBOARD = " ".join((*_KEYBOARD_ROWS, *(row[::-1] for row in _KEYBOARD_ROWS)))


def word_marks(word: str, *, taught: bool, learned: bool) -> int:
    """Return the marks of a lower-case word without punctuation around it: whether it is known, content, and taught.

    `taught` words occur in the training texts; `learned` ones in several labelled texts, and may stand alone.
    """
    taught_mark = TAUGHT if taught else 0
    if word in _MEANINGLESS or not (taught or _is_known(word)) or _is_keyboard_noise(word):
        return taught_mark
    if len(word) < 3 or word in _WEAK:
        return taught_mark + KNOWN
    return taught_mark + CONTENT + (LEAST_KNOWN if learned else 1) * KNOWN


def _is_known(word: str) -> bool:
    lexicon = word_vectors().lexicon
    if word.isascii() and word.isalnum():
        return len(word) > 1 and word in lexicon
    known_parts = word_parts(word)
    return bool(known_parts) and all(len(part) > 1 and part in lexicon for part in known_parts)


def _is_keyboard_noise(word: str) -> bool:
    """Return whether a word has no letters, repeats one or two of them, or is a piece of a row of keys."""
    if not word.isalpha() and not any(map(str.isalpha, word)):
        return True
    return len(word) > 2 and ((len(word) > 3 and word in _KEYBOARD) or len(set(word)) < min(3, len(word) - 1))


def is_vague(mark_sums: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which texts, by the sums of their words' marks, say too little for a confidence."""
    has_no_content = mark_sums // CONTENT % (TAUGHT // CONTENT) == 0
    vague: NDArray[np.bool_] = (mark_sums % CONTENT < LEAST_KNOWN * KNOWN) | has_no_content
    return vague


def is_readable(mark_sums: NDArray[np.int64], word_counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which texts, by the sums of their words' marks, are mostly of words that were taught."""
    readable: NDArray[np.bool_] = mark_sums // TAUGHT * READABLE_PART >= word_counts
    return readable


def showable_word(word: str) -> str:
    """Return a word as a reason may show it; empty for common words, and for what may be a number or an address."""
    shown = bare_word(word)
    return shown if 3 <= len(shown) <= 24 and shown.isalpha() and shown not in SILENT else ""
