"""Words and patterns that are looked for in texts of tickets, in linear time, and the fields that patterns find.

The engine is RE2 (https://github.com/google/re2/wiki/Syntax), which is imported where a word or a pattern is used.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from triage_cli.domain.dedup import extra_as_json
from triage_cli.domain.hostile_text.invisible import readable
from triage_cli.domain.json_values import from_json
from triage_cli.domain.tickets import Ticket, TicketDraft

# Characters of a text that are read: as many as a language model gets of a ticket.
MOST_READ = 24_000
# Classes of characters in a pattern, counted as often as they are repeated. So many states may have to be followed for
# each character of the worst text, which then takes up to 50 ms.
MOST_CLASSES = 80
# What may stand beside a word: all that is no letter, digit or mark, and what is of a script without blanks.
_BLANKLESS = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_PART_OF_WORD = r"\pL\pN\pM_"
_BESIDE = rf"[^{_PART_OF_WORD}]|[{_BLANKLESS}]"
_BLANKS = r"[\s\pZ]+"
_PART = (
    r"(?s)\\Q.*?(?:\\E|\Z)|\\[pP]\{[^}]*\}|\\[pP].|\\x\{[^}]*\}|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]"
    r"|\(\?P?<\w+>|\(\?[^():]*[:)]|\{\d+(?:,\d*)?\}|."
)


@cache
def _compiled(pattern: str) -> Any:
    """Return a compiled pattern. Raises `re2.error`."""
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def no_pattern(pattern: str) -> str:
    """Return why a text is no pattern that can be looked for, else an empty text."""
    import re2

    if re.search(r"\(\?(?:<?[=!]|>)|(?<!\\)(?:\\\\)*\\[1-9]", pattern):
        return "looks around or back, which could take hours; say it without (?=, (?!, (?<= and \\1"
    try:
        compiled = _compiled(pattern)
    except re2.error as error:
        reason = error.args[0]
        return f"is no pattern: {reason.decode() if isinstance(reason, bytes) else reason}"
    if _number_of_classes(pattern) > MOST_CLASSES:
        return f"repeats more than {MOST_CLASSES} characters by count; write * or +, or smaller counts"
    return "matches an empty text, so every ticket" if compiled.search("") else ""


class _Size(NamedTuple):
    """How many single letters and classes of letters a part of a pattern has, repeated as often as it says."""

    letters: int = 0
    classes: int = 0

    def plus(self, other: "_Size", number: int = 1) -> "_Size":
        return _Size(self.letters + number * other.letters, self.classes + number * other.classes)


def _number_of_classes(pattern: str) -> int:
    """Return how many classes of characters a pattern has; what is repeated by count is counted as often, letters too.

    The pattern was compiled, so its parentheses match.
    """
    open_groups, last = [_Size()], _Size()
    for part in re.findall(_PART, pattern):
        if part.startswith("(") and not (part.startswith("(?") and part.endswith(")")):
            open_groups.append(_Size())
            last = _Size()
        elif counted := re.fullmatch(r"\{(\d+)(?:,(\d*))?\}", part):
            most_times = max(int(counted[1]), int(counted[2] or 0))
            if most_times > 1:
                repeated = _Size(0, sum(last) * most_times)
                open_groups[-1], last = open_groups[-1].plus(last, -1).plus(repeated), repeated
        elif part not in ("*", "+", "?"):  # an alternative is a class, as (a|b) is [ab]
            is_class = part in (".", "|") or re.match(r"\[|\\[pPdDsSwW]", part)
            last = open_groups.pop() if part == ")" else _Size(0, 1) if is_class else _Size(1, 0)
            open_groups[-1] = open_groups[-1].plus(last)
    return open_groups[0].classes


def found(pattern: str, text: str) -> bool:
    """Return whether a pattern matches in the beginning of a text."""
    return _compiled(pattern).search(_readable(text)) is not None


def first_match(pattern: str, texts: Iterable[str | None]) -> str | None:
    """Return the first group of a pattern's first match in one of the texts, or the whole match if it has no group."""
    compiled = _compiled(pattern)
    for text in texts:
        if text and (match := compiled.search(_readable(text))):
            groups = match.groups()
            matched: bytes | None = groups[0] if groups else match.group()
            return None if matched is None else matched.decode(errors="replace")
    return None


def has_words(words: Sequence[str], text: str) -> bool:
    """Return whether one of the words stands in the beginning of a text, as a whole word in whatever case.

    In scripts without blanks a word may stand anywhere.
    """
    return _compiled(_words_pattern(tuple(words))).search(_folded(text)) is not None


def folded_word(word: str) -> str:
    """Return a word or phrase as it is looked for: case folded, with single blanks."""
    return " ".join(unicodedata.normalize("NFKC", readable(word).casefold()).split())


@cache
def _words_pattern(words: tuple[str, ...]) -> str:
    """Return a pattern of folded texts; words with the same edges share them, since an edge is a large class."""
    words_by_edges: dict[tuple[bool, bool], list[str]] = {}
    for word in sorted({folded_word(word) for word in words}):
        words_by_edges.setdefault((_needs_edge(word[0]), _needs_edge(word[-1])), []).append(word)
    return "|".join(
        (rf"(?:\A|{_BESIDE})" if before else "")
        + f"(?:{'|'.join(_BLANKS.join(map(re.escape, word.split())) for word in grouped_words)})"
        + (rf"(?:\z|{_BESIDE})" if after else "")
        for (before, after), grouped_words in words_by_edges.items()
    )


def _needs_edge(character: str) -> bool:
    """Return whether a word that begins or ends with a character must not continue there."""
    return (
        _compiled(f"[{_PART_OF_WORD}]").search(character) is not None
        and _compiled(f"[{_BLANKLESS}]").search(character) is None
    )


@lru_cache(4)  # several rules read the same ticket
def _readable(text: str) -> bytes:
    return readable(text[:MOST_READ]).encode(errors="replace")


@lru_cache(4)
def _folded(text: str) -> bytes:
    read = readable(text[:MOST_READ]).casefold()
    return (read if read.isascii() else unicodedata.normalize("NFKC", read)).encode(errors="replace")


LONGEST_FIELD = 200  # characters


def extracted(draft: TicketDraft, patterns: Mapping[str, str]) -> dict[str, str | None]:
    """Return the fields in the texts of a draft by their names, null where a pattern finds none.

    A field whose name is a column of the input is left out: the column has its value.
    """
    fields: dict[str, str | None] = {}
    for name, pattern in patterns.items():
        if name not in draft.extra and name not in draft.silent:
            field = first_match(pattern, (draft.subject, draft.description))
            fields[name] = field.strip()[:LONGEST_FIELD] or None if field else None
    return fields


def with_fields(ticket: Ticket, draft: TicketDraft, patterns: Mapping[str, str]) -> Ticket:
    """Return a ticket that gets its text from a draft, with the fields that stand in it and no former ones."""
    fields = extracted(draft, patterns)
    columns = {name: value for name, value in from_json(ticket.extra).items() if name not in fields}
    return ticket._replace(extra=extra_as_json(columns | {name: value for name, value in fields.items() if value}))


def draft_with_fields(draft: TicketDraft, patterns: Mapping[str, str]) -> TicketDraft:
    """Return a draft as `with_fields` would store it, to be shown."""
    fields = {name: value for name, value in extracted(draft, patterns).items() if value}
    return draft._replace(extra={**draft.extra, **fields}) if fields else draft
