"""Secrets in texts of others, hidden in whatever spelling they come back.

A system may repeat the request that it refuses, as it is or as it writes texts: escaped for JSON or JavaScript, percent
encoded, with HTML entities, and these in each other. So a text is decoded step by step, and a secret is looked for
after each step; what is hidden is what the text had there.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from html.entities import html5

HIDDEN = "***"
# Shorter secrets are hidden only as words of their own: within words, one letter of a password would show itself.
SHORTEST_IN_WORDS = 6
_STEPS = 4  # encodings within each other that are looked through

_HEX = "[0-9a-fA-F]"
_BYTE = f"%[89a-bA-B]{_HEX}"
_ESCAPE = re.compile(
    rf"\\u([dD][89abAB]{_HEX}{{2}})\\u([dD][c-fC-F]{_HEX}{{2}})|\\u({_HEX}{{4}})|\\u\{{0*({_HEX}{{1,6}})\}}"
    rf"|\\x({_HEX}{{2}})|\\([\"'\\/bfnrt])"
    rf"|(%[c-dC-D]{_HEX}{_BYTE}|%[eE]{_HEX}(?:{_BYTE}){{2}}|%[fF][0-4](?:{_BYTE}){{3}}|%{_HEX}{{2}})"
    rf"|&\#0*(\d{{1,7}});?|&\#[xX]0*({_HEX}{{1,6}});?|&(\w{{1,31}};)"
)
_SHORT_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def hide_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text with each of the secrets replaced by three stars, however the text spells it."""
    sought = {form for secret in secrets if secret for form in _forms(secret)}
    spans = sorted(_spans(text, sought))
    pieces, end = [], 0
    for start, stop in spans:
        if start >= end:
            pieces += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join((*pieces, text[end:]))


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, as a form of HTML sends its blanks, and each as it would be read where it is decoded.

    A header's bytes are often read as Latin-1, whatever they are.
    """
    as_header = secret.encode("utf-8", "replace").decode("latin-1")
    for sent in (secret, secret.replace(" ", "+"), as_header):
        decoded = sent
        yield decoded
        for _ in range(_STEPS):
            decoded, _ = _decoded(decoded)
            yield decoded


def _spans(text: str, sought: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield where secrets begin and end in a text, found in it as it is and after each step of decoding."""
    steps: list[_Places] = []
    decoded = text
    for _ in range(_STEPS + 1):
        for form in sought:
            for span in _places_of(form, decoded):
                start, stop = span
                for places in reversed(steps):
                    start, stop = places.origin(start), places.origin(stop)
                yield start, stop
        further, places = _decoded(decoded)
        if further == decoded:
            return
        decoded = further
        steps.append(places)


def _places_of(form: str, text: str) -> Iterator[tuple[int, int]]:
    start = text.find(form) if form else -1
    while start >= 0:
        stop = start + len(form)
        within_word = text[start - 1 : start].isalnum() or text[stop : stop + 1].isalnum()
        if len(form) >= SHORTEST_IN_WORDS or not within_word:
            yield start, stop
        start = text.find(form, start + 1)


class _Places:
    """Where each character of a decoded text stood before: `decoded` offsets at which `origins` begin, both rising."""

    def __init__(self, decoded: Sequence[int], origins: Sequence[int]) -> None:
        self._decoded, self._origins = decoded, origins

    def origin(self, offset: int) -> int:
        at = bisect_right(self._decoded, offset) - 1
        return self._origins[at] + offset - self._decoded[at]


def _decoded(text: str) -> tuple[str, _Places]:
    """Return a text with its escapes decoded once, and where its characters stood."""
    pieces: list[str] = []
    decoded, origins, length, end = [0], [0], 0, 0
    for match in _ESCAPE.finditer(text):
        char = _char(match)
        if char is None:
            continue
        before = text[end : match.start()]
        pieces += (before, char)
        length += len(before)
        decoded += (length, length + len(char))
        origins += (match.start(), match.end())
        length, end = length + len(char), match.end()
    return "".join((*pieces, text[end:])), _Places(decoded, origins)


def _char(match: re.Match[str]) -> str | None:
    """Return the character, or few, that an escape stands for; None if it stands for none."""
    high, low, four, braced, two, short, percent, decimal, hexadecimal, name = match.groups()
    if high:
        return bytes.fromhex(high + low).decode("utf-16-be")
    if short:
        return _SHORT_ESCAPES.get(short, short)
    if percent:
        encoded = bytes.fromhex(percent.replace("%", ""))
        return encoded.decode("utf-8" if len(encoded) > 1 else "latin-1", "replace")
    if name:
        return html5.get(name)
    number = int(decimal) if decimal else int(four or braced or two or hexadecimal, 16)
    return chr(number) if number <= 0x10FFFF else None
