"""Near duplicates: a text that comes again in another spelling, or with a few words more or less.

Line ends, case, accents' encoding, punctuation, the order of words, numbers and HTML make no other text of it. What is
kept of a text are hashes of sets of its words, by which a copy is recognised and nothing can be read.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from html import unescape

from triage_cli.domain.hostile_text.invisible import UNSEEN

_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W_]{2,}|0+")
_BLANKLESS = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"  # compiled when needed
_TELLING = rf"[^\W\d_]{{3,}}|{_BLANKLESS}{{2,}}"
# A tag, or an address in brackets. Other words in brackets are read, so they count: nobody hides a text there.
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+)"""
_TAG = re.compile(rf"</?[a-zA-Z][^<>\s]*(?:{_ATTRIBUTE})*\s*/?>")
LONG = 12  # distinct words from which on texts with nearly the same words are near duplicates
# The words of a text are in so many parts, by their hashes. A word that was added changes one of them.
PARTS = 8
LEAST_COMMON = 2  # words that copies have in common at least, unless they have all
# Sketches of long texts: texts that share 9 words of 10 agree in one 9 times in 10, with 1 of 2 about once in 50.
SKETCHES, SKETCH_WORDS = 5, 8
LEAST_TELLING = 3  # words that a text must have to be recognised as one that a person decided
# Words with which people begin and end whatever they write.
_FILLER_WORDS = """
again also and any are asap best but can could dear for from get good have hello help here hey how just kind need new
not now our please problem question regards sent still support team thank thanks that the there this ticket urgent was
what when why will with you your bitte danke das der die ein eine für guten hallo hilfe ich ist mein mit nicht und tag
avec bonjour cordialement dans est merci mon pas pour que une vous ayuda buenas con del favor gracias hola los por una
"""
_FILLERS = frozenset(_FILLER_WORDS.split())
REMEMBERED = 1 << 13  # texts; a server asks about the same labels again at each run
_MASK = (1 << 64) - 1
_MULTIPLIERS = [(0x9E3779B97F4A7C15 * (2 * n + 1) ^ 0xC2B2AE3D27D4EB4F) & _MASK | 1 for n in range(PARTS)]


def distinct_words(text: str) -> frozenset[str]:
    """Return the words of a text, folded: without case, order and HTML, and with all numbers alike."""
    if "<" in text or "&" in text:
        text = unescape(_TAG.sub(" ", text))
    if not text.isascii():
        text = UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return frozenset(_WORD.findall(_NUMBER.sub("00", text.casefold())))


def folded_digest(text: str) -> str:
    """Return a hash that all spellings of a text have and nobody can forge; empty if the text says too little.

    Two characters of a script without blanks tell as much as a word.
    """
    words = distinct_words(text)
    telling = sum(
        1 if w.isascii() else max(1, len(re.findall(_BLANKLESS, w)) // 2)
        for w in words
        if re.match(_TELLING, w) and w not in _FILLERS
    )
    if telling < LEAST_TELLING:
        return ""
    return blake2b(" ".join(sorted(words)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@lru_cache(REMEMBERED)
def copy_key(text: str) -> int:
    """Return a 64-bit hash that is the same for all spellings of a text."""
    return _whole_key(text, _hashes(text))


def copy_keys(text: str) -> set[int]:
    """Return the hashes of a text that are kept, to recognise its copies."""
    hashes = _hashes(text)
    return {_whole_key(text, hashes), *_part_keys(hashes, (0,)), *_sketches(hashes)}


@lru_cache(REMEMBERED)
def keys_of_originals(text: str) -> frozenset[int]:
    """Return hashes of which the `copy_keys` of a text have one, if this is a copy of it with one word more or less.

    Copies of long texts may differ by more words, if these are few among all.
    """
    hashes = _hashes(text)
    return frozenset((_whole_key(text, hashes), *_part_keys(hashes, (-1, 1)), *_sketches(hashes)))


def _hashes(text: str) -> list[int]:
    return [*map(_word_hash, distinct_words(text))]


def _whole_key(text: str, hashes: Sequence[int]) -> int:
    return sum(hashes) & _MASK or _word_hash(f"\0{text}")


def _part_keys(hashes: Sequence[int], more: Sequence[int]) -> Iterator[int]:
    """Yield hashes for each part of the words: of all others, and of how many the part has, with so many `more`."""
    sums, counts = [0] * PARTS, [0] * PARTS
    for number in hashes:
        sums[number % PARTS] += number
        counts[number % PARTS] += 1
    whole = sum(hashes)
    for part in range(PARTS):
        if len(hashes) - counts[part] >= LEAST_COMMON:
            for count in more:
                yield whole - sums[part] + _MULTIPLIERS[part] * (counts[part] + count) & _MASK


def _sketches(hashes: Sequence[int]) -> Iterator[int]:
    """Yield hashes of some words of a long text, the same for most texts with nearly the same words."""
    if len(hashes) >= LONG:
        for multiplier in _MULTIPLIERS[:SKETCHES]:
            yield sum(sorted([number * multiplier & _MASK for number in hashes])[:SKETCH_WORDS]) & _MASK


@lru_cache(maxsize=1 << 15)
def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())
