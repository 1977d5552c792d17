"""The order of review: the most informative tickets first, so that few verdicts teach a classifier much."""

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, cycle
from math import fsum, log, sqrt
from typing import NamedTuple

from triage_cli.domain.streams import chunked
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.storage import Store

# How many tickets are ordered together, the least sure first: more than a person reviews in an hour.
WINDOW = 500
# The share of common words from which on two texts are near-duplicates.
ALIKE = 0.7
# What a text that is like no other counts, as a share of the mean.
ALONE = 0.1
WORD = re.compile(r"[^\W\d_]{2,}")


class Waiting(NamedTuple):
    """A ticket that waits for review: its text, its suggestion, and the margin over the next category, 0 to 1."""

    ticket_id: str
    text: str
    guess: str | None
    margin: float


def order_of_review(waiting: Sequence[Waiting]) -> list[str]:
    """Return ticket ids, the most informative first.

    Odd rounds are margin sampling weighted by density (Settles and Craven 2008): a small margin, and words that many of
    the others have, so that a verdict teaches something about them too. Even ones are margin sampling alone, which
    finds what is unlike the rest. Each round takes one ticket of each suggestion. Near-duplicates of earlier tickets
    come last: a second verdict on the same text teaches nothing.
    """
    waiting = sorted(waiting, key=lambda w: (w.margin, w.ticket_id))  # else rounding would depend on their order
    texts = [frozenset(WORD.findall(each.text.casefold())) for each in waiting]
    text_words = {each.ticket_id: distinct for each, distinct in zip(waiting, texts, strict=True)}
    worth = {w.ticket_id: (1 - w.margin) * dense for w, dense in zip(waiting, densities(texts), strict=True)}
    first: list[str] = []
    put_off: list[str] = []
    seen: list[frozenset[str]] = []
    for ticket_id in _in_rounds(sorted(waiting, key=lambda w: -worth[w.ticket_id]), waiting):
        if any(_alike(text_words[ticket_id], other) for other in seen):
            put_off.append(ticket_id)
        else:
            first.append(ticket_id)
            seen.append(text_words[ticket_id])
    return first + put_off


def _in_rounds(*orders: Sequence[Waiting]) -> Iterator[str]:
    """Yield each ticket id once: the orders in turn, and of each the next ticket of each suggestion."""
    queues: list[dict[str | None, deque[str]]] = [defaultdict(deque) for _ in orders]
    for queue_of, order in zip(queues, orders, strict=True):
        for each in order:
            queue_of[each.guess].append(each.ticket_id)
    taken: set[str] = set()
    for queue_of in cycle(queues):
        if len(taken) == len(orders[0]):
            return
        for ids in queue_of.values():
            while ids and ids[0] in taken:
                ids.popleft()
            if ids:
                taken.add(ids[0])
                yield ids.popleft()


def densities(texts: Sequence[frozenset[str]]) -> list[float]:
    """Return how like the others each text is, at least `ALONE` of the mean: the mean cosine of their words.

    Words are weighted by their inverse document frequency; a word of one text, or of all, has no weight.
    """
    texts_with = Counter(chain.from_iterable(texts))
    rarity = {word: log(len(texts) / number) for word, number in texts_with.items() if number > 1}
    lengths = [sqrt(fsum(rarity.get(word, 0.0) ** 2 for word in distinct)) or 1.0 for distinct in texts]
    sums: dict[str, float] = defaultdict(float)
    for distinct, length in zip(texts, lengths, strict=True):
        for word in distinct:
            sums[word] += rarity.get(word, 0.0) / length
    found = [
        fsum(sums[word] * rarity.get(word, 0.0) for word in distinct) / length
        for distinct, length in zip(texts, lengths, strict=True)
    ]
    return [likeness + ALONE * fsum(found) / len(found) for likeness in found]


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
