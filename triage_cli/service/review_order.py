"""The order of review: the most informative tickets first, so that few verdicts teach a classifier much."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain
from math import fsum, log, sqrt
from typing import NamedTuple

from triage_cli.domain.chunks import chunked
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.storage import Store

# How many tickets are ordered together, the least sure first: more than a person reviews in an hour.
WINDOW = 500
WORD = re.compile(r"[^\W\d_]{2,}")
RAREST = 200  # of a long text, so many words are compared: frequent ones would pair it with every other text


class Waiting(NamedTuple):
    """A ticket that waits for review: its text, and the margin of its suggestion over the next category, 0 to 1."""

    ticket_id: str
    text: str
    margin: float


def order_of_review(waiting: Sequence[Waiting]) -> Iterator[str]:
    """Yield ticket ids, the most informative first.

    Weighted facility location (Wei, Iyer and Bilmes 2015), greedily: the next ticket is the one that adds most to how
    well the tickets so far stand for all that wait, of which each counts by its doubt, 1 less its margin. A ticket
    stands for another one as far as their words are alike. So a verdict teaches something about many doubtful tickets,
    and near-duplicates come late: they add little.
    """
    waiting = sorted(waiting, key=lambda each: (each.margin, each.ticket_id))
    neighbours = likenesses([each.text for each in waiting])
    represented = [0.0] * len(waiting)

    def added(number: int) -> float:
        return fsum(
            (1 - waiting[other].margin) * (likeness - represented[other])
            for other, likeness in neighbours[number]
            if likeness > represented[other]
        )

    queue = [(-added(number), number) for number in range(len(waiting))]
    heapify(queue)
    while queue:
        _, number = heappop(queue)
        entry = -added(number), number  # it adds less than it did, as others were taken meanwhile
        if queue and queue[0] < entry:
            heappush(queue, entry)
            continue
        for other, likeness in neighbours[number]:
            represented[other] = max(represented[other], likeness)
        yield waiting[number].ticket_id


def likenesses(texts: Sequence[str]) -> list[list[tuple[int, float]]]:
    """Return for each text the indexes of those that are like it, itself among them, and how much, up to 1.

    It is the cosine of their rarest distinct words, weighted by inverse document frequency; a word of one text has no
    weight.
    """
    distinct = [set(WORD.findall(text.casefold())) for text in texts]
    counts = Counter(chain.from_iterable(distinct))
    rarity = {word: log(len(texts) / count) for word, count in counts.items() if 1 < count < len(texts)}
    earlier: dict[str, list[tuple[int, float]]] = defaultdict(list)
    found = [[(number, 1.0)] for number in range(len(texts))]
    for number, own in enumerate(distinct):
        rarest = sorted((word for word in own if word in rarity), key=lambda word: (-rarity[word], word))
        weights = {word: rarity[word] for word in rarest[:RAREST]}
        length = sqrt(fsum(weight**2 for weight in weights.values()))
        cosines: dict[int, float] = defaultdict(float)
        for word, weight in weights.items():
            for other, others_weight in earlier[word]:
                cosines[other] += weight / length * others_weight
            earlier[word].append((number, weight / length))
        for other, cosine in cosines.items():
            found[number].append((other, min(cosine, 1.0)))
            found[other].append((number, min(cosine, 1.0)))
    return found


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
        waiting = [Waiting(i, t.text, lead(chances.get(i, {}), t.confidence)) for i, t in tickets.items()]
        yield from (tickets[i] for i in order_of_review(waiting))
    for category in store.stats().by_category:
        if category not in labels:
            gone = store.find(selection._replace(categories=(category,), limit=None, order="newest"))
            yield from (ticket for ticket in gone if ticket.verdict)
