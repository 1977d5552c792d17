"""Spikes: categories and groups of like tickets whose share of the inflow is far above that of earlier weeks.

Customers are counted, not tickets, and shares, not numbers: one customer who writes forty times is no spike, and
neither is a Monday morning. A share is compared with that in the same hours of earlier weeks by the tail of the
binomial distribution, with the upper confidence bound of the earlier share (Clopper & Pearson 1934), and with the risk
divided by the number of comparisons (Bonferroni).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Literal, NamedTuple

from triage_cli.domain.evaluation.binomial import at_least, upper_bound
from triage_cli.domain.insight.like_texts import Weights, alike, groups, telling, words_of

CUSTOMERS = 3  # that a spike has at least
LIFT = 2.0  # times the earlier share that it has at least
RISK = 0.01  # of a false alarm in one window, for categories and for groups each
DOUBT = 0.05  # that the earlier share is larger than its upper bound
EXAMPLES, SHOWN = 3, 160  # tickets, and characters of each
LEAST_GROUPS = 5  # groups that are counted at least in the correction: they were found in the data that tests them


class InflowTicket(NamedTuple):
    """A ticket of the inflow; `customer` is its own id where the customer is unknown."""

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
    """A spike as it is remembered, so that it is sent once; `delivered_at` is None if that has failed so far."""

    spike_id: str
    kind: str
    category: str | None
    members: tuple[str, ...]
    first_at: str
    last_at: str
    destination: str
    delivered_at: str | None

    def goes_on_as(self, spike: Spike) -> bool:
        """Return whether a spike is this one: the same category, or a group with a ticket in common."""
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
    found = list(finder.groups())
    inside = {ticket_id for spike in found for ticket_id in spike.members}
    found += finder.categories([ticket for ticket in now if ticket.ticket_id not in inside])
    return sorted(found, key=lambda spike: (-spike.customers, spike.name))


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
        """Yield the groups of like tickets that are spikes."""
        vectors = [self._weights.vector(distinct) for distinct in self._words]
        several = [g for g in groups(vectors) if len(_customers(self._now[i] for i in g)) >= CUSTOMERS]
        if not several:
            return
        earlier = [self._weights.vector(distinct) for distinct in self._earlier]
        places: dict[str, list[int]] = defaultdict(list)
        for index, vector in enumerate(earlier):
            for word in vector:
                places[word].append(index)
        for group in several:
            like = {other for index in group for other in alike(vectors[index], earlier, places)}
            customers_before = len({(n, t.customer) for n, t in (self._earlier_tickets[i] for i in like)})
            tickets = [self._now[index] for index in group]
            if self._is_spike(tickets, customers_before, max(LEAST_GROUPS, len(several))):
                inside = set(group)
                others = [distinct for index, distinct in enumerate(self._words) if index not in inside]
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
                found = telling((words_of(ticket.text) for ticket in tickets), before, self._weights)
                yield self._spike("category", name, found, tickets, len(earlier))

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
