"""Detection of ticket text that is addressed to a classifier; it reports, does not block, and cannot find everything.

A ticket may quote such text in good faith, so a finding only sends it to a person. A pattern is tried only if one of
its literal words occurs, and every pattern is bounded, so an ordinary ticket costs a few microseconds.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from re import Pattern
from typing import NamedTuple

from triage_cli.domain.hostile_text.invisible import readings


class _Sign(NamedTuple):
    kind: str
    vocabulary: frozenset[str]
    pattern: Pattern[str]


def _sign(kind: str, vocabulary: str, pattern: str) -> _Sign:
    return _Sign(kind, frozenset(vocabulary.split("|")), re.compile(pattern))


_INSTRUCTION = "instructions to the classifier"
_FORGERY = "a forged answer or role"
_CATEGORY_REQUEST = "asks for a category by name"
_HIDDEN_TEXT = "hidden text"
# The patterns are for lower-case texts with single blanks.
SIGNS = (
    _sign(
        _INSTRUCTION,
        "ignor|disregard|forget|override|bypass|t follow",
        r"(?:ignore|disregard|forget|override|bypass|(?:not|n't) follow)\b[^\n.]{0,30}?\b(?:(?:previous|prior"
        r"|above|earlier|preceding|all|any|your|these|those|system|initial|original)\b[^\n.]{0,25}?\b(?:instruction"
        r"|prompt|rule|guideline|direction|categor)|(?:instructions?|categories|rules|prompt|text) (?:above|before))",
    ),
    _sign(
        _INSTRUCTION,
        "instruction|prompt|override",
        r"\b(?:new|updated|revised|special|additional|system|admin(?:istrator)?|developer|hidden) (?:instructions?"
        r"|prompt|override)(?: for (?:the|this|any|every) [\w -]{1,30})? ?:",
    ),
    _sign(
        _INSTRUCTION,
        "classif|language model| ai|chatbot|llm",
        r"you are (?:now |no longer |actually )?(?:an? |the )?(?:\w+ ){0,3}(?:classifier|language model|ai assistant"
        r"|chatbot|llm)\b",
    ),
    _sign(
        _INSTRUCTION,
        " ai|llm|language model|classif|triage",
        r"\b(?:to|for|note to|attention|dear|hello|hey) (?:the |any |every |all )?(?:\w+ )?(?:ai|llm|language model"
        r"|classifier|classification (?:model|system)|triage (?:bot|system|model))\b ?[:,]",
    ),
    _sign(
        _INSTRUCTION,
        "categor|label|json| word",
        r"\b(?:answer|respond|reply|output) (?:only )?(?:with|in) (?:the )?(?:category|label|json|word)\b",
    ),
    _sign(
        _INSTRUCTION,
        "answer|categor|label|classif",
        r"\b(?:only )?(?:correct|right|valid|expected|true) (?:answer|category|label|classification) (?:here |for this"
        r" (?:\w+ )?)?(?:is|must be|should be)\b",
    ),
    _sign(_INSTRUCTION, "ignor", r"ignorier\w{0,2} [^\n.]{0,30}?(?:anweisung|instruktion|regel|vorgabe)"),
    _sign(
        _INSTRUCTION,
        "ignor|oublie|olvida|negeer",
        r"(?:ignore[zr]?|oublie[zr]?|ignora|olvida|negeer) [^\n.]{0,30}?(?:instructions|consignes|r[eè]gles"
        r"|instrucciones|instru[cç][oõ]es|istruzioni|regole|reglas|regras|instructies|regels|aanwijzingen)",
    ),
    _sign(_INSTRUCTION, "игнорируй", r"игнорируй\w{0,2} [^\n.]{0,40}?(?:инструкци|указани|правил)"),
    _sign(
        _INSTRUCTION,
        "忽略|无视|無視",
        r"(?:忽略|无视)[^\n。]{0,12}(?:指令|指示|说明|规则)|(?:指示|命令|ルール)を?[^\n。]{0,6}無視",
    ),
    _sign(_FORGERY, "categor|label", r"[\"'“”„](?:category|label)[\"'“”] ?: ?[\"'“”„]"),
    _sign(
        _FORGERY,
        "<|inst]",
        r"<\|[a-z_]{2,20}\|>|</?(?:start_of_turn|end_of_turn|system|s)>|\[/?inst\]|<</?sys>>"
        r"|</(?:ticket|user|document|data)>",
    ),
    _sign(
        _FORGERY,
        "system|assistant|developer",
        r"(?:^|\n)\W{0,8}(?:(?:system|assistant)(?: message| prompt)?|developer (?:message|prompt))\W{0,3}:",
    ),
    _sign(
        _FORGERY,
        " of ticket| of the ticket|prompt|user message",
        r"\b(?:end|begin|start) of (?:the )?(?:ticket|system prompt|user message)\b",
    ),
)
# What comes before a category's name when a text asks for that category.
_REQUEST = re.compile(
    r"\b(?:classif(?:y|ied)|categori[sz]ed?|label(?:l?ed)?|treat(?:ed)?|sort(?:ed)?|tag(?:ged)?|mark(?:ed)?|filed?"
    r"|count(?:ed)?|rout(?:e|ed)|handled?|assign(?:ed)?|put|belongs?|goes|falls)\b[^\n.]{0,60}?\b(?:as|to|under|into|in"
    r"|with)\b\W{0,4}(?:(?:an?|the|our|your) )?(?:(?:category|label|queue|class)\b\W{0,3})?$"
    r"|\b(?:category|label|classification|queue)\b ?(?:[:=]|is|to|must be|should be)\W{0,4}$"
)
_LITERALS = frozenset().union(*(sign.vocabulary for sign in SIGNS))  # each is searched once per text
# Each literal cut at its blanks, which stay in the pieces: if a text contains it, the text's words contain the pieces.
_PIECES = {word: re.findall(r" ?[^ ]+ ?", word) for word in sorted(_LITERALS) if word.isascii()}
# Each match of `_REQUEST` contains one of these.
_REQUESTED = "classif categor label treat sort tag mark file count rout handle assign put belong goes falls queue"
_BEFORE = 110  # characters before a category's name that are searched
_MAX_OCCURRENCES = 20  # occurrences of a name that are checked in one text
# What nobody types: tag characters outside of a flag, direction overrides, runs of invisible characters.
_HIDDEN = re.compile(
    "(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0020-\U000e007f]|[\u202d\u202e]|[\u200b\u2060-\u2064\ufeff\u00ad]{6}"
    "|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4}"
)
_BLANKS = re.compile(r"[^\S\n]+")
# Cyrillic and Greek letters that look like Latin ones; within a word of Latin letters they are read as these.
_LATIN_LOOKALIKES = str.maketrans(
    "\u0430\u0441\u0435\u04bb\u0456\u0458\u043e\u0440\u0455\u0443\u0445\u0501\u051b\u051d"
    "\u0432\u043a\u043c\u0442\u043d\u03b1\u03bf\u03c1\u03c5\u03bd\u03c4\u03b9\u03ba",
    "acehijopsyxdqwbkmthaopyvtik",
)
_OTHER_SCRIPTS = "\u03b1-\u03c9\u0430-\u052f"
_MIXED_SCRIPTS = re.compile(
    f"(?<![a-z{_OTHER_SCRIPTS}])(?:[a-z]+[{_OTHER_SCRIPTS}]|[{_OTHER_SCRIPTS}]+[a-z])[a-z{_OTHER_SCRIPTS}]*"
)
_LINE_BREAK = re.compile(r"(?<=\S) ?\n ?(?=\S)")  # within a paragraph, where mail programs put one anywhere
_UNFOLDED_BLANKS = ("  ", "\t", "\r", "\v", "\f")  # an ASCII text without these has only single blanks


class Suspicion:
    """Checks texts for prompt injection, given the names of the categories."""

    def __init__(self, labels: Iterable[str]) -> None:
        self._labels = tuple(filter(None, (_folded(readings(label)[0]) for label in labels)))
        pieces = dict.fromkeys(piece for pieces in _PIECES.values() for piece in pieces)
        bits = {piece: 1 << number for number, piece in enumerate(pieces, start=2)}
        longest_words = [max(label.split() or [""], key=len) for label in self._labels]
        self._bits = [
            *bits.items(),
            *((word, 1) for word in longest_words),
            *((word, 2) for word in _REQUESTED.split()),
        ]
        # A pre-check: `found` can find something in an ASCII text only if the traces of its words, combined, have all
        # bits of one of these.
        self.required = [3, *(sum({bits[piece] for piece in pieces}) for pieces in _PIECES.values())]

    def traces(self, tokens: Sequence[str]) -> list[int]:
        """Return for each lower-case word which pieces of the signs' literals it contains, as bits."""
        token_marks = [0] * len(tokens)
        joined_tokens = f" {' '.join(tokens)} "
        starts = list(accumulate((len(word) + 1 for word in tokens[:-1]), initial=1))
        for piece, bit in self._bits:
            at = joined_tokens.find(piece)
            while at >= 0:
                token_marks[bisect_right(starts, at + piece.startswith(" ")) - 1] |= bit
                at = joined_tokens.find(piece, at + 1)
        return token_marks

    def found(self, ticket_text: str) -> tuple[str, ...]:
        """Return the kinds of text addressed to a classifier that a text contains."""
        kinds: dict[str, None] = {}
        if not ticket_text.isascii() and _HIDDEN.search(ticket_text):
            kinds[_HIDDEN_TEXT] = None
        for reading in readings(ticket_text):
            folded = _folded(reading)
            self._find_kinds(folded, kinds)
            if "\n" in folded:
                self._find_kinds(_LINE_BREAK.sub(" ", folded), kinds)
        return tuple(kinds)

    def _find_kinds(self, ticket_text: str, kinds: dict[str, None]) -> None:
        literals = [word for word in _LITERALS if word in ticket_text]
        for kind, vocabulary, pattern in SIGNS if literals else ():
            if kind not in kinds and not vocabulary.isdisjoint(literals) and pattern.search(ticket_text):
                kinds[kind] = None
        for label in self._labels:
            if label in ticket_text and self._asks_for_category(ticket_text, label):
                kinds[_CATEGORY_REQUEST] = None
                break

    @staticmethod
    def _asks_for_category(ticket_text: str, label: str) -> bool:
        label_start = -1
        for _ in range(_MAX_OCCURRENCES):
            label_start = ticket_text.find(label, label_start + 1)
            if label_start < 0:
                return False
            label_end = label_start + len(label)
            text_before = ticket_text[max(0, label_start - _BEFORE) : label_start]
            if not ticket_text[label_end : label_end + 1].isalnum() and _REQUEST.search(text_before):
                return True
        return False


def _folded(ticket_text: str) -> str:
    """Return a text in lower case with single blanks, as the signs expect it."""
    if not ticket_text.isascii():
        ticket_text = _BLANKS.sub(" ", unicodedata.normalize("NFKC", ticket_text).casefold())
        return _MIXED_SCRIPTS.sub(lambda mixed: mixed.group().translate(_LATIN_LOOKALIKES), ticket_text)
    ticket_text = ticket_text.casefold()
    return _BLANKS.sub(" ", ticket_text) if any(blanks in ticket_text for blanks in _UNFOLDED_BLANKS) else ticket_text
