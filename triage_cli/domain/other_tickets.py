"""The guard against other tickets: whether an input would give known ids the texts of other tickets."""

import html
import re
from collections.abc import Iterable

from triage_cli.domain.dedup import Identified
from triage_cli.domain.errors import InputError
from triage_cli.domain.ids import is_forgotten
from triage_cli.domain.next_steps import Step
from triage_cli.domain.tickets import Ticket

# Known ids of an input from which on the guard judges: the text of a single one may be anything.
ENOUGH_TO_DOUBT = 2
# The share of the shorter text that an edited ticket keeps: of the letters of its words, or of its pieces.
_KEPT = 0.5
# Pieces of a text, by which a word with a typo counts in part: five letters, or one to two of Chinese.
PIECE_BYTES = 5
MOST_BYTES = 20_000  # of a text that are compared by pieces; by words it is compared as a whole

_TAG = re.compile(r"<[^<>]{1,400}>")
_WORD = re.compile(r"\w+")


class OtherTicketsGuard:
    """Counts the known ids of an input, and those of them that would get the text of another ticket.

    `rows` is how many rows came before the chunk that is judged now.
    """

    def __init__(self, met: int = 0, others: int = 0, rows: int = 0) -> None:
        self.met = met
        self.others = others
        self.rows = rows

    def meet(self, known_ticket: Ticket, identified: Identified) -> None:
        """Count a known id, with the text that it would get; a ticket that was forgotten has none to compare."""
        if identified.counts_occurrences or is_forgotten(known_ticket.identity):
            return
        self.met += 1
        if identified.content != known_ticket.content_hash:
            draft = identified.draft
            self.others += not is_edit(
                (known_ticket.subject, known_ticket.description), (draft.subject, draft.description)
            )

    def judge(self, source: str) -> None:
        """Raise `InputError` if more than half of the known ids would get the text of another ticket."""
        if self.met < ENOUGH_TO_DOUBT or self.others * 2 <= self.met:
            return
        stored = f"the first {self.rows:,} rows were stored, and none after them" if self.rows else "no row was stored"
        raise InputError(
            f'{self.others:,} of {self.met:,} known ids of source "{source}" would get the text of another ticket; '
            + stored,
            hint=f"if these are other tickets, {Step.GIVE_SOURCE}; if they are the same ones, {Step.SAME_TICKETS}",
        )


def is_edit(before: tuple[str | None, str | None], after: tuple[str | None, str | None]) -> bool:
    """Return whether a subject and description are an edit of earlier ones, which keeps most of their words.

    Words may be added or cut, masked or misspelt; tags of HTML are no words. A subject that stays says little, as that
    of a form does, so then the descriptions alone are compared.
    """
    (subject, description), (new_subject, new_description) = before, after
    if subject == new_subject and description and new_description:
        return _keeps_most(_words(description), _words(new_description))
    return _keeps_most(_words(subject, description), _words(new_subject, new_description))


def _words(*texts: str | None) -> list[str]:
    text = "\n".join(filter(None, texts))
    if "<" in text:
        text = _TAG.sub(" ", text)
    return _WORD.findall((html.unescape(text) if "&" in text else text).casefold())


def _keeps_most(words: list[str], new_words: list[str]) -> bool:
    return _kept_share(words, new_words) >= _KEPT or _kept_share(_pieces(words), _pieces(new_words)) >= _KEPT


def _pieces(words: list[str]) -> Iterable[bytes]:
    text = " ".join(words).encode("utf-8", "replace")[:MOST_BYTES]
    return (text[start : start + PIECE_BYTES] for start in range(max(1, len(text) - PIECE_BYTES + 1)))


def _kept_share(parts: Iterable[str] | Iterable[bytes], new_parts: Iterable[str] | Iterable[bytes]) -> float:
    """Return how much of the shorter text the other one has too, by the lengths of its distinct parts."""
    distinct, new_distinct = {*parts}, {*new_parts}
    shorter = min(sum(map(len, distinct)), sum(map(len, new_distinct)))
    return sum(map(len, distinct & new_distinct)) / shorter if shorter else 0.0
