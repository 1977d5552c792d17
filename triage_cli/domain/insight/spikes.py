"""Spikes: categories and groups of similar tickets about which far more customers write than in earlier weeks.

Customers are counted instead of tickets: one customer who writes forty times is no spike. Both their share and their
number are compared with the same hours of earlier weeks, and one of them is enough: a category with half of the inflow
cannot double its share, and the share of a small topic says more than its number on a busy Monday.

- The *share* is tested by the tail of the binomial distribution. In place of the earlier share stands its upper
  confidence bound (Clopper & Pearson 1934).
- The *number* is tested by the conditional test of two Poisson means (Przyborowski & Wilenski 1940), with counts made
  smaller because customers come in bursts. What all other customers have grown by is no news, up to three times.

The risk is divided by the number of comparisons (Bonferroni).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import chain
from typing import Annotated, Literal, NamedTuple

from triage_cli.domain.evaluation.confidence_intervals import at_least, upper_bound
from triage_cli.domain.insight.similar_texts import SimilarTexts, WordWeights, distinct_words, groups

CUSTOMERS = 3  # that a spike has at least
LIFT = 2.0  # times the earlier share that a spike has at least
MORE_CUSTOMERS = 5  # that a spike has at least which is one by its number
NUMBER_LIFT = 3.0  # times the earlier number that such a spike has at least
MOST_GROWTH = 3.0  # of all other customers that is taken for a busy day
# The risk that all other customers have grown by less than is taken off. They are few at a small desk, so what is not
# likely is not taken off from a category. On a busy day a group is linked through more texts, so it grows more.
GROWTH_DOUBT = {"category": 0.2, "group": 0.5}
BURSTS = 1.5  # the variance of the number of customers, over that of independent ones
_RISK = 0.01  # of a false spike in one window, for categories and for groups each
DOUBT = 0.05  # the risk that the earlier share is larger than its upper bound
EXAMPLES, SHOWN = 3, 160  # tickets that a spike shows, and characters of each
MOST_GROUPED = 5_000  # tickets of a window that are compared with each other, which takes their square of time
LEAST_GROUPS = 5  # groups that are counted at least in the correction: they were found in the data that tests them


class InflowTicket(NamedTuple):
    """A ticket of the inflow; `customer` is the ticket's id if the customer is unknown."""

    ticket_id: str
    written_at: str
    category: str | None
    customer: str
    text: str


class SpikeExample(NamedTuple):
    """A ticket of a spike."""

    ticket_id: Annotated[str, "the ticket's id"]
    text: Annotated[str, "how its text begins"]


SpikeKind = Literal["category", "group"]


class Spike(NamedTuple):
    """A category or a group of similar tickets about which far more customers write than in earlier weeks."""

    spike_id: Annotated[str, "its id, which stays while it lasts"]
    kind: Annotated[SpikeKind, "what the tickets have in common: their category, or their words"]
    name: Annotated[str, "its typical words"]
    category: Annotated[str | None, "the category of its tickets"]
    tickets: Annotated[int, "how many there are"]
    customers: Annotated[int, "how many customers wrote them"]
    share: Annotated[float, "`customers` of all customers of the window"]
    share_before: Annotated[float, "the same in the same hours of earlier weeks"]
    customers_before: Annotated[float, "the mean number of such customers there"]
    since: Annotated[str, "when its first ticket was written", datetime]
    examples: Annotated[tuple[SpikeExample, ...], "tickets of three customers"]
    members: Annotated[tuple[str, ...], "the ids of all its tickets, oldest first"]


class SpikeSearch(NamedTuple):
    """The spikes of a window, and with how much it was compared."""

    spikes: Annotated[tuple[Spike, ...], "those with the most customers first"]
    tickets: Annotated[int, "the tickets in the same hours of earlier weeks"]
    weeks: Annotated[int, "how many earlier weeks those were"]


class SpikeSending(NamedTuple):
    """What was sent to the destination of spikes."""

    destination: Annotated[str, "its name; null: the configuration names none", str | None]
    sent: Annotated[int | None, "how many spikes it accepted; null: it needs the network, which is off"]


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


def find_spikes(now: Period, before: Sequence[Period], others: Period = ()) -> list[Spike]:
    """Return the spikes of a window against the same hours of earlier weeks, those with the most customers first.

    A week without tickets in these hours counts, too. `others` are tickets of other hours, whose words tell which are
    rare. Tickets of a group that is a spike are not counted again for their category.
    """
    if not before:  # nothing to compare with, such as on the day of a first import, which may be large
        return []
    finder = _SpikeFinder(now, before, others)
    spikes_found = list(finder.groups())
    in_groups = {ticket_id for spike in spikes_found for ticket_id in spike.members}
    spikes_found += finder.categories([ticket for ticket in now if ticket.ticket_id not in in_groups])
    return sorted(spikes_found, key=lambda spike: (-spike.customers, spike.name))


def telling(
    texts: Sequence[frozenset[str]], elsewhere: Mapping[str, int], others: int, weights: WordWeights
) -> list[str]:
    """Return the three words by which texts differ most from others; `elsewhere` counts words in the `others`."""
    word_scores = {
        word: (n / len(texts) - elsewhere.get(word, 0) / max(1, others)) * (weights.of(word) or 0.1)
        for word, n in Counter(chain.from_iterable(texts)).items()
    }
    return sorted(word_scores, key=lambda word: (-word_scores[word], word))[:3]


class _SpikeFinder:
    def __init__(self, now: Period, before: Sequence[Period], others: Period) -> None:
        self._window = now
        self._window_words = [distinct_words(ticket.text) for ticket in now]
        self._earlier_words = [distinct_words(ticket.text) for period in before for ticket in period]
        self._earlier_tickets = [(n, ticket) for n, period in enumerate(before) for ticket in period]
        compared_ids = {ticket.ticket_id for _, ticket in self._earlier_tickets}
        other_words = [distinct_words(ticket.text) for ticket in others if ticket.ticket_id not in compared_ids]
        self._weights = WordWeights([*self._earlier_words, *other_words])
        self._weeks = len(before)
        self._customers = len(_customers(now))
        self._customers_before = sum(len(_customers(period)) for period in before)

    def groups(self) -> Iterable[Spike]:
        """Yield the groups of similar tickets that are spikes.

        Of a window with more than `MOST_GROUPED` tickets, as after a large import, so many are compared with each
        other: its groups have more customers than is told.
        """
        chosen = range(0, len(self._window), math.ceil(len(self._window) / MOST_GROUPED) or 1)
        vectors = {i: self._weights.vector(self._window_words[i]) for i in chosen}
        grouped = [[chosen[n] for n in group] for group in groups([*vectors.values()])]
        large_groups = [g for g in grouped if len(_customers(self._window[i] for i in g)) >= CUSTOMERS]
        if not large_groups:
            return
        comparisons = max(LEAST_GROUPS, len(large_groups))
        earlier_texts = SimilarTexts(self._weights.vector(distinct) for distinct in self._earlier_words)
        for group in large_groups:
            tickets = [self._window[ticket_index] for ticket_index in group]
            before = self._like_before((vectors[i] for i in group), earlier_texts, tickets, comparisons)
            if before is not None:
                in_group = set(group)
                group_texts = [self._window_words[ticket_index] for ticket_index in group]
                other_texts = [distinct for i, distinct in enumerate(self._window_words) if i not in in_group]
                elsewhere = self._weights.counts + Counter(chain.from_iterable(other_texts))
                others = self._weights.number + len(other_texts)
                telling_words = telling(group_texts, elsewhere, others, self._weights)
                yield self._spike("group", _most_common(t.category for t in tickets), telling_words, tickets, before)

    def _like_before(
        self, vectors: Iterable[Mapping[str, float]], earlier_texts: SimilarTexts, tickets: Period, comparisons: int
    ) -> int | None:
        """Return how many earlier customers wrote texts like those of a group; None if they make it no spike.

        The more there are, the less a group is a spike. So most groups, which are none, need only some comparisons.
        """
        similar_indexes: set[int] = set()
        customers: set[tuple[int, str]] = set()
        group_customers = len(_customers(tickets))
        next_test = 0  # the number of earlier customers at which it is tested again
        for vector in vectors:
            if len(customers) >= next_test and not self._is_spike("group", tickets, len(customers), comparisons):
                return None
            next_test = max(next_test, 2 * len(customers) + 1)
            newly_found = list(earlier_texts.alike(vector, similar_indexes.__contains__))
            similar_indexes.update(newly_found)
            customers.update((n, ticket.customer) for n, ticket in map(self._earlier_tickets.__getitem__, newly_found))
            now_and_before = group_customers, len(customers)  # the quick part of the tests
            if not self._share_has_grown(*now_and_before) and not self._number_has_grown(*now_and_before):
                return None
        return len(customers) if self._is_spike("group", tickets, len(customers), comparisons) else None

    def categories(self, now: Period) -> Iterable[Spike]:
        """Yield the categories that are spikes, among these tickets of the window."""
        by_category: dict[str, list[InflowTicket]] = defaultdict(list)
        for ticket in now:
            if ticket.category is not None:
                by_category[ticket.category].append(ticket)
        earlier_customers: dict[str | None, set[tuple[int, str]]] = defaultdict(set)
        for n, ticket in self._earlier_tickets:
            earlier_customers[ticket.category].add((n, ticket.customer))
        for name, category_tickets in by_category.items():
            if self._is_spike("category", category_tickets, len(earlier_customers[name]), len(by_category)):
                earlier_pairs = zip(self._earlier_words, self._earlier_tickets, strict=True)
                earlier_texts = [distinct for distinct, (_, ticket) in earlier_pairs if ticket.category == name]
                elsewhere = Counter(chain.from_iterable(earlier_texts))
                telling_words = telling(
                    [distinct_words(ticket.text) for ticket in category_tickets],
                    elsewhere,
                    len(earlier_texts),
                    self._weights,
                )
                yield self._spike("category", name, telling_words, category_tickets, len(earlier_customers[name]))

    def _is_spike(self, kind: SpikeKind, tickets: Period, customers_before: int, comparisons: int) -> bool:
        customers = len(_customers(tickets))
        if customers < CUSTOMERS:
            return False
        risk = _RISK / comparisons
        is_by_share = self._share_has_grown(customers, customers_before)
        if is_by_share and self._chance_of_share(customers, customers_before) <= risk:
            return True
        is_by_number = self._number_has_grown(customers, customers_before)
        return is_by_number and self._chance_of_number(customers, customers_before, GROWTH_DOUBT[kind]) <= risk

    def _share_has_grown(self, customers: int, customers_before: int) -> bool:
        earlier_share = customers_before / self._customers_before if self._customers_before else 1.0
        return customers / self._customers >= LIFT * earlier_share

    def _number_has_grown(self, customers: int, customers_before: int) -> bool:
        return customers >= max(MORE_CUSTOMERS, NUMBER_LIFT * customers_before / self._weeks)

    def _chance_of_share(self, customers: int, customers_before: int) -> float:
        """Return how likely so large a share of a window is, after the earlier share."""
        share = upper_bound(customers_before, self._customers_before, DOUBT)
        return at_least(customers, self._customers, share)

    def _chance_of_number(self, customers: int, customers_before: int, growth_doubt: float) -> float:
        """Return how likely so many customers are in one window, after so many in all earlier weeks together.

        Of all these customers, each is one of the window with the probability that its length and the growth of the
        others give it. One customer more is taken to have written before, so that empty hours are none without any.
        """
        now, before = int(customers / BURSTS), math.ceil((customers_before + 1) / BURSTS)
        growth = self._growth(self._customers - customers, self._customers_before - customers_before, growth_doubt)
        return at_least(now, now + before, growth / (growth + self._weeks))

    def _growth(self, customers: int, customers_before: int, doubt: float) -> float:
        """Return by what so many customers have grown at least, from the mean of the earlier weeks; 1 if they have not.

        It is less with a probability of `doubt`.
        """
        now, before = int(customers / BURSTS), math.ceil(customers_before / BURSTS)
        earlier_share = upper_bound(before, now + before, doubt)
        return min(MOST_GROWTH, max(1.0, self._weeks * (1 - earlier_share) / earlier_share))

    def _spike(
        self, kind: SpikeKind, category: str | None, words: Sequence[str], tickets: Period, customers_before: int
    ) -> Spike:
        members = sorted(tickets, key=lambda ticket: (ticket.written_at, ticket.ticket_id))
        one_per_customer = {ticket.customer: ticket for ticket in reversed(members)}
        examples = sorted(one_per_customer.values(), key=members.index)[:EXAMPLES]
        customers = len(_customers(tickets))
        spike_key = f"{kind}\0{category}\0{members[0].ticket_id}"
        return Spike(
            spike_id=f"spike_{sha256(spike_key.encode()).hexdigest()[:32]}",
            kind=kind,
            name=", ".join(words),
            category=category,
            tickets=len(tickets),
            customers=customers,
            share=round(customers / self._customers, 4),
            share_before=round(customers_before / max(1, self._customers_before), 4),
            customers_before=round(customers_before / self._weeks, 2),
            since=members[0].written_at,
            examples=tuple(SpikeExample(t.ticket_id, " ".join(t.text.split())[:SHOWN]) for t in examples),
            members=tuple(ticket.ticket_id for ticket in members),
        )


def _customers(tickets: Iterable[InflowTicket]) -> set[str]:
    return {ticket.customer for ticket in tickets}


def _most_common(categories: Iterable[str | None]) -> str | None:
    counted = Counter(name for name in categories if name is not None)
    return max(sorted(counted), key=counted.__getitem__) if counted else None
