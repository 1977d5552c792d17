"""The order of review: the most informative tickets first, so that few verdicts teach a classifier much."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain.streams import chunked
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.storage import Store

# How many tickets are ordered together, the least sure first: more than a person reviews in an hour.
WINDOW = 500
# The share of common words from which on two texts are near-duplicates.
ALIKE = 0.7
WORD = re.compile(r"[^\W\d_]{2,}")


class Waiting(NamedTuple):
    """A ticket that waits for review: its text, its suggestion, and the margin over the next category, 0 to 1."""

    ticket_id: str
    text: str
    guess: str | None
    margin: float


def order_of_review(waiting: Sequence[Waiting]) -> list[str]:
    """Return ticket ids, the most informative first.

    This is margin sampling, with turns over the suggestions so that each category has some. Near-duplicates of
    earlier tickets come last: a second verdict on the same text teaches nothing.
    """
    turns: dict[str | None, list[Waiting]] = {}
    for each in sorted(waiting, key=lambda w: (w.margin, w.ticket_id)):
        turns.setdefault(each.guess, []).append(each)
    first: list[str] = []
    put_off: list[str] = []
    seen: list[frozenset[str]] = []
    for nth in range(max(map(len, turns.values()), default=0)):
        for line in turns.values():
            if nth < len(line):
                text_words = frozenset(WORD.findall(line[nth].text.casefold()))
                if any(_alike(text_words, other) for other in seen):
                    put_off.append(line[nth].ticket_id)
                else:
                    first.append(line[nth].ticket_id)
                    seen.append(text_words)
    return first + put_off


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    least, most = sorted((len(one), len(other)))
    if least < ALIKE * most:
        return False
    common = len(one & other)
    return common >= ALIKE * (len(one) + len(other) - common)


def lead(chances: Mapping[str, float], confidence: float | None) -> float:
    """Return the margin between the two best categories, 0 to 1, as far as it is known."""
    best = sorted(chances.values(), reverse=True)
    if len(best) > 1:
        return best[0] - best[1]
    return max(0.0, 2 * (confidence or 0.0) - 1)


def queue(store: Store, selection: Selection, labels: frozenset[str]) -> Iterator[Ticket]:
    """Yield the tickets that wait for review, in its order, then tickets whose verdict is a category that is gone."""
    undecided = selection._replace(statuses=frozenset({"needs_review"}), limit=None, sort="confidence")
    for window in chunked(store.find(undecided), WINDOW):
        answers = store.decisions([t.decision_id for t in window if t.decision_id])
        chances = {answer.ticket_id: answer.chances for answer in answers.values()}
        tickets = {t.ticket_id: t for t in window if t.status == "needs_review"}  # some were decided meanwhile
        waiting = [Waiting(i, t.text, t.suggestion, lead(chances.get(i, {}), t.confidence)) for i, t in tickets.items()]
        yield from (tickets[i] for i in order_of_review(waiting))
    for category in store.stats().by_category:
        if category not in labels:
            gone = store.find(selection._replace(categories=(category,), limit=None, order="newest"))
            yield from (ticket for ticket in gone if ticket.verdict)
