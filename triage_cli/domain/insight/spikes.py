"""Spikes: categories and groups of similar tickets with a share of the inflow far above that of earlier weeks.

Customers are counted instead of tickets, and shares are compared instead of numbers: neither one customer who writes
forty times nor a Monday morning is a spike. A share is compared with the share in the same hours of earlier weeks, by
the tail of the binomial distribution. In place of the earlier share stands its upper confidence bound (Clopper &
Pearson 1934), and the risk is divided by the number of comparisons (Bonferroni).
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Literal, NamedTuple

from triage_cli.domain.evaluation.confidence_intervals import at_least, upper_bound
from triage_cli.domain.evaluation.disjoint_sets import DisjointSets

WORD = re.compile(r"[^\W\d_]{3,}")
LONGEST = 200  # words at the beginning of a text that are used
ALIKE = 0.4  # the least cosine of the weighed words of two similar texts
COMMON = 0.1  # words in a larger share of the earlier texts are not used


def words_of(text: str) -> frozenset[str]:
    """Return the distinct words at the beginning of a text."""
    return frozenset(word[0] for word in islice(WORD.finditer(text.casefold()), LONGEST))


class Weights:
    """Weighs words by how rare they are in earlier texts and in the present ones."""

    def __init__(self, present: Sequence[frozenset[str]], earlier: Sequence[frozenset[str]]) -> None:
        self._number = len(present) + len(earlier)
        self._counts = Counter(word for distinct in (*present, *earlier) for word in distinct)
        before = Counter(word for distinct in earlier for word in distinct)
        self._common = {word for word, n in before.items() if n > COMMON * len(earlier)}

    def of(self, word: str) -> float:
        """Return the weight of a word; 0 if it is common."""
        return 0.0 if word in self._common else math.log(1 + self._number / self._counts[word])

    def vector(self, distinct: frozenset[str]) -> dict[str, float]:
        """Return the weighed words of a text, as a vector of length 1; empty if all are common."""
        weighed = {word: weight for word in distinct if (weight := self.of(word))}
        length = math.sqrt(sum(weight * weight for weight in weighed.values()))
        return {word: weight / length for word, weight in weighed.items()}


def groups(vectors: Sequence[Mapping[str, float]]) -> Iterator[list[int]]:
    """Yield groups of indexes of texts that are similar, directly or through others; single texts are left out."""
    sets = DisjointSets(len(vectors))
    places: dict[str, list[int]] = defaultdict(list)
    for ticket_index, vector in enumerate(vectors):
        for other in alike(vector, vectors, places):
            sets.join(ticket_index, other)
        for word in vector:
            places[word].append(ticket_index)
    members: dict[int, list[int]] = defaultdict(list)
    for ticket_index in range(len(vectors)):
        members[sets.root(ticket_index)].append(ticket_index)
    yield from (group for group in members.values() if len(group) > 1)


def alike(
    vector: Mapping[str, float], vectors: Sequence[Mapping[str, float]], places: Mapping[str, Collection[int]]
) -> Iterator[int]:
    """Yield the indexes of similar texts; `places` maps each word to the indexes of texts with it."""
    cosines: dict[int, float] = defaultdict(float)
    for word, weight in vector.items():
        for other in places.get(word, ()):
            cosines[other] += weight * vectors[other][word]
    yield from (other for other, cosine in cosines.items() if cosine >= ALIKE)


def telling(texts: Iterable[frozenset[str]], others: Sequence[frozenset[str]], weights: Weights) -> list[str]:
    """Return the three words by which texts differ most from others."""
    inside = list(texts)
    counts, elsewhere = (Counter(word for each in some for word in each) for some in (inside, others))
    score = {
        word: (n / len(inside) - elsewhere[word] / max(1, len(others))) * (weights.of(word) or 0.1)
        for word, n in counts.items()
    }
    return sorted(score, key=lambda word: (-score[word], word))[:3]


CUSTOMERS = 3  # that a spike has at least
LIFT = 2.0  # times the earlier share that it has at least
RISK = 0.01  # of a false alarm in one window, for categories and for groups each
DOUBT = 0.05  # that the earlier share is larger than its upper bound
EXAMPLES, SHOWN = 3, 160  # tickets, and characters of each
LEAST_GROUPS = 5  # groups that are counted at least in the correction: they were found in the data that tests them


class InflowTicket(NamedTuple):
    """A ticket of the inflow; `customer` is the ticket's id if the customer is unknown."""

    ticket_id: str
    written_at: str
    category: str | None
    customer: str
    text: str


class Example(NamedTuple):
    """A ticket of a spike, and how its text begins."""

    ticket_id: str
    text: str


class Spike(NamedTuple):
    """A category or a group of like tickets with a share of the customers that is far above its baseline.

    `name` holds the words by which it differs; `category` is None if its tickets have none. `members` are all of its
    tickets, oldest first, and `since` is when the first of them was written.
    """

    spike_id: str
    kind: Literal["category", "group"]
    name: str
    category: str | None
    tickets: int
    customers: int
    share: float
    share_before: float
    since: str
    examples: tuple[Example, ...]
    members: tuple[str, ...]


class SentSpike(NamedTuple):
    """A spike as stored, so that it is sent once; `delivered_at` is None until a delivery has succeeded."""

    spike_id: str
    kind: str
    category: str | None
    members: tuple[str, ...]
    first_at: str
    last_at: str
    destination: str
    delivered_at: str | None

    def goes_on_as(self, spike: Spike) -> bool:
        """Return whether a spike continues this one: it has the same category, or a ticket in common."""
        if self.kind != spike.kind:
            return False
        if self.kind == "category":
            return self.category == spike.category
        return not set(spike.members).isdisjoint(self.members)


Period = Sequence[InflowTicket]


def find_spikes(now: Period, before: Sequence[Period]) -> list[Spike]:
    """Return the spikes of a window against the same hours of earlier weeks, those with the most customers first.

    Tickets of a group that is a spike are not counted again for their category.
    """
    finder = _Finder(now, before)
    spikes_found = list(finder.groups())
    inside = {ticket_id for spike in spikes_found for ticket_id in spike.members}
    spikes_found += finder.categories([ticket for ticket in now if ticket.ticket_id not in inside])
    return sorted(spikes_found, key=lambda spike: (-spike.customers, spike.name))


class _Finder:
    def __init__(self, now: Period, before: Sequence[Period]) -> None:
        self._now = now
        self._before = before
        self._words = [words_of(ticket.text) for ticket in now]
        self._earlier = [words_of(ticket.text) for period in before for ticket in period]
        self._earlier_tickets = [(n, ticket) for n, period in enumerate(before) for ticket in period]
        self._weights = Weights(self._words, self._earlier)
        self._customers = len(_customers(now))
        self._customers_before = sum(len(_customers(period)) for period in before)

    def groups(self) -> Iterable[Spike]:
        """Yield the groups of similar tickets that are spikes."""
        vectors = [self._weights.vector(distinct) for distinct in self._words]
        several = [g for g in groups(vectors) if len(_customers(self._now[i] for i in g)) >= CUSTOMERS]
        if not several:
            return
        earlier = [self._weights.vector(distinct) for distinct in self._earlier]
        places: dict[str, list[int]] = defaultdict(list)
        for ticket_index, vector in enumerate(earlier):
            for word in vector:
                places[word].append(ticket_index)
        for group in several:
            like = {other for ticket_index in group for other in alike(vectors[ticket_index], earlier, places)}
            customers_before = len({(n, t.customer) for n, t in (self._earlier_tickets[i] for i in like)})
            tickets = [self._now[ticket_index] for ticket_index in group]
            if self._is_spike(tickets, customers_before, max(LEAST_GROUPS, len(several))):
                inside = set(group)
                others = [distinct for ticket_index, distinct in enumerate(self._words) if ticket_index not in inside]
                names = telling((self._words[i] for i in group), others + self._earlier, self._weights)
                yield self._spike("group", _most_common(t.category for t in tickets), names, tickets, customers_before)

    def categories(self, now: Period) -> Iterable[Spike]:
        """Yield the categories that are spikes, among these tickets of the window."""
        names = {ticket.category for ticket in now if ticket.category is not None}
        for name in names:
            tickets = [ticket for ticket in now if ticket.category == name]
            earlier = {(n, t.customer) for n, t in self._earlier_tickets if t.category == name}
            if self._is_spike(tickets, len(earlier), len(names)):
                before = [
                    w for w, (_, t) in zip(self._earlier, self._earlier_tickets, strict=True) if t.category == name
                ]
                telling_words = telling((words_of(ticket.text) for ticket in tickets), before, self._weights)
                yield self._spike("category", name, telling_words, tickets, len(earlier))

    def _is_spike(self, tickets: Period, customers_before: int, comparisons: int) -> bool:
        customers = len(_customers(tickets))
        if customers < CUSTOMERS or not self._customers_before:
            return False
        if customers / self._customers < LIFT * customers_before / self._customers_before:
            return False
        share = upper_bound(customers_before, self._customers_before, DOUBT)
        return at_least(customers, self._customers, share) <= RISK / comparisons

    def _spike(
        self, kind: Literal["category", "group"], category: str | None, telling_words: Sequence[str], tickets: Period,
        customers_before: int,
    ) -> Spike:  # fmt: skip
        members = sorted(tickets, key=lambda ticket: (ticket.written_at, ticket.ticket_id))
        one_each = {ticket.customer: ticket for ticket in reversed(members)}
        examples = sorted(one_each.values(), key=members.index)[:EXAMPLES]
        shown = tuple(Example(ticket.ticket_id, " ".join(ticket.text.split())[:SHOWN]) for ticket in examples)
        customers = len(_customers(tickets))
        key = f"{kind}\0{category}\0{members[0].ticket_id}"
        return Spike(
            f"spike_{sha256(key.encode()).hexdigest()[:32]}", kind, ", ".join(telling_words), category, len(tickets),
            customers,
            round(customers / self._customers, 4), round(customers_before / self._customers_before, 4),
            members[0].written_at, shown, tuple(ticket.ticket_id for ticket in members),
        )  # fmt: skip


def _customers(tickets: Iterable[InflowTicket]) -> set[str]:
    return {ticket.customer for ticket in tickets}


def _most_common(categories: Iterable[str | None]) -> str | None:
    known = [name for name in categories if name is not None]
    return max(sorted(set(known)), key=known.count) if known else None
