"""How many planted spikes `triage spikes` finds, and how often it raises a false alarm, on made-up inflow.

Call it as: python benchmarks/spikes.py [SEEDS [MONTHS [QUIET]]]

The first part is one desk. Five weeks of tickets about ten topics, about 40 in two hours and twice as many on Monday
mornings; a tenth of the customers writes several times, and half of the categories are unsure guesses. Into the last
two hours are planted: 40 tickets of 30 customers, 8 of 6, a slow rise over four weeks; and what is none: 40 tickets of
one customer, a Monday morning, and a category that always is large.

The second part: 40 customers write about one thing within two hours, in five wordings, at desks with 24, 200 and 2,000
tickets a day in 3 and 10 categories. Their category is the largest one, their words are as old as the desk or new, and
they write at noon or at night, when hardly anybody else does. 15 % of all tickets are in a wrong category, and the
customers of a day come in bursts. An incident is seen if spikes that are mostly about it name somebody of it; how many
of the 40 they name is told, too. MONTHS are planted in each cell; QUIET windows are without an incident.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import accumulate, product
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from triage_cli import domain as dm

LETTERS = "abcdefghijklmnopqrstuvwxyz"
FILLER = "the my please with about cannot when help account today have again need this that order would thanks"
WEEKS, USUAL, WORDS = 4, 40, 14


def topics(random: Random) -> list[list[str]]:
    """Return the words of ten topics."""
    return [["".join(random.choices(LETTERS, k=7)) for _ in range(40)] for _ in range(10)]


class Inflow:
    """Makes tickets; topic 0 is the standing large one."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.topics = topics(self.random)
        self.shares = [6.0, 2, 2, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
        self._number = 0

    def ticket(self, topic: list[str], category: str, customer: str) -> dm.InflowTicket:
        """Return a ticket with five words of a topic and some filler."""
        self._number += 1
        text = self.random.sample(topic, min(len(topic), 5)) + self.random.sample(FILLER.split(), WORDS - 5)
        self.random.shuffle(text)
        return dm.InflowTicket(
            f"t{self._number:08}", f"2026-01-01T00:00:{self._number % 60:02}Z", category, customer, " ".join(text)
        )

    def period(self, mean: float, shares: list[float] | None = None) -> list[dm.InflowTicket]:
        """Return the tickets of two hours."""
        found: list[dm.InflowTicket] = []
        for _ in range(round(self.random.gauss(mean, mean**0.5))):
            topic = self.random.choices(range(10), shares or self.shares)[0]
            customer = found[-1].customer if found and self.random.random() < 0.1 else f"c{self.random.randrange(5000)}"
            found.append(self.ticket(self.topics[topic], f"category {topic}", customer))
        return found

    def planted(self, tickets: int, customers: int) -> list[dm.InflowTicket]:
        """Return tickets about a new topic, in a category that was there before."""
        topic = ["".join(self.random.choices(LETTERS, k=8)) for _ in range(7)]
        return [self.ticket(topic, "category 5", f"p{n % customers}") for n in range(tickets)]


def usual(inflow: Inflow) -> tuple[list[dm.InflowTicket], list[list[dm.InflowTicket]]]:
    return inflow.period(USUAL), [inflow.period(USUAL) for _ in range(WEEKS)]


def large(inflow: Inflow) -> list[dm.Spike]:
    now, before = usual(inflow)
    return dm.find_spikes(now + inflow.planted(40, 30), before)


def small(inflow: Inflow) -> list[dm.Spike]:
    now, before = usual(inflow)
    return dm.find_spikes(now + inflow.planted(8, 6), before)


def slow(inflow: Inflow) -> list[dm.Spike]:
    """Let the share of topic 3 grow by a half each week."""
    periods = []
    for week in range(WEEKS + 1):
        shares = inflow.shares[:]
        shares[3] *= 1.5**week
        periods.append(inflow.period(USUAL, shares))
    return dm.find_spikes(periods[-1], periods[:-1])


def quiet(inflow: Inflow) -> list[dm.Spike]:
    return dm.find_spikes(*usual(inflow))


def one_customer(inflow: Inflow) -> list[dm.Spike]:
    now, before = usual(inflow)
    return dm.find_spikes(now + inflow.planted(40, 1), before)


def monday(inflow: Inflow) -> list[dm.Spike]:
    return dm.find_spikes(inflow.period(2 * USUAL), [inflow.period(2 * USUAL) for _ in range(WEEKS)])


def busy_monday(inflow: Inflow) -> list[dm.Spike]:
    """Three times the tickets of earlier Mondays, of the usual topics."""
    return dm.find_spikes(inflow.period(6 * USUAL), [inflow.period(2 * USUAL) for _ in range(WEEKS)])


def standing(inflow: Inflow) -> list[dm.Spike]:
    """Every second ticket is about topic 0, as in all weeks."""
    inflow.shares[0] = 15.0
    return quiet(inflow)


PLANTED: tuple[Callable[[Inflow], list[dm.Spike]], ...] = (large, small, slow)
NONE: tuple[Callable[[Inflow], list[dm.Spike]], ...] = (quiet, one_customer, monday, busy_monday, standing)


PER_DAY = (24, 200, 2000)
SHARES = {3: (0.55, 0.30, 0.15), 10: (0.28, 0.18, 0.12, 0.10, 0.08, 0.07, 0.06, 0.05, 0.04, 0.02)}
TOPICS, WORDINGS, OWN_WORDS = 12, 5, 3
WINDOWS_A_DAY, AT_NIGHT, MISPLACED, BURSTS = 12, 0.01, 0.15, 0.25
INCIDENT_CUSTOMERS, MOST_OTHERS = 40, 2000


class Cell(NamedTuple):
    """A desk, and when and how forty customers write to it."""

    per_day: int
    categories: int
    new_words: bool
    at_night: bool

    def __str__(self) -> str:
        words, hours = "new words" if self.new_words else "old words", "at night" if self.at_night else "at noon"
        return f"{self.per_day:5,} a day, {self.categories:2} categories, {words}, {hours}"


CELLS = [Cell(*values) for values in product(PER_DAY, SHARES, (False, True), (False, True))]


class Desk:
    """Makes the tickets of a desk: each category has topics, and each topic five wordings."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self.random = Random(f"{cell} {seed}")
        self._cell = cell
        self._words = [self._word(5 + n % 4) for n in range(4000)]
        self._word_weights = list(accumulate(1 / (n + 10) for n in range(len(self._words))))
        self._topics = [[self._wordings() for _ in range(TOPICS)] for _ in SHARES[cell.categories]]
        self._number = 0

    def _word(self, length: int) -> str:
        return "".join(self.random.choices(LETTERS, k=length))

    def _wordings(self) -> list[list[str]]:
        """Return five wordings of a new topic: two of its six words, and three that are the wording's own."""
        topic = [self._word(7) for _ in range(6)]
        return [self.random.sample(topic, 2) + [self._word(7) for _ in range(3)] for _ in range(WORDINGS)]

    def _ticket(self, category: int, wordings: list[list[str]], customer: str) -> dm.InflowTicket:
        self._number += 1
        others = [n for n in range(self._cell.categories) if n != category]
        placed = self.random.choice(others) if self.random.random() < MISPLACED else category
        usual = self.random.choices(self._words, cum_weights=self._word_weights, k=4)
        words = [*self.random.choice(wordings), *usual, *self.random.sample(FILLER.split(), 7)]
        words += [self._word(6) for _ in range(OWN_WORDS - 1)]
        self.random.shuffle(words)
        return dm.InflowTicket(f"t{self._number:08}", "2026-01-01T00:00:00Z", f"c{placed}", customer, " ".join(words))

    def tickets(self, mean: float) -> list[dm.InflowTicket]:
        """Return usual tickets: so many on the mean, of some bursts."""
        mean *= self.random.lognormvariate(-(BURSTS**2) / 2, BURSTS)
        number = sum(1 for _ in self._arrivals(mean))
        found: list[dm.InflowTicket] = []
        for _ in range(number):
            category = self.random.choices(range(self._cell.categories), SHARES[self._cell.categories])[0]
            customer = (
                found[-1].customer if found and self.random.random() < 0.1 else f"u{self.random.randrange(10**6)}"
            )
            found.append(self._ticket(category, self.random.choice(self._topics[category]), customer))
        return found

    def _arrivals(self, mean: float) -> Iterator[float]:
        """Yield the times of a Poisson process, up to `mean`."""
        at = self.random.expovariate(1.0)
        while at < mean:
            yield at
            at += self.random.expovariate(1.0)

    def incident(self) -> list[dm.InflowTicket]:
        """Return the tickets of forty customers about one topic of the largest category."""
        wordings = self._wordings() if self._cell.new_words else self.random.choice(self._topics[0])
        return [self._ticket(0, wordings, f"i{n}") for n in range(INCIDENT_CUSTOMERS)]

    def spikes(self, incident: list[dm.InflowTicket], growth: float = 1.0) -> list[dm.Spike]:
        """Return what is found in a window with an incident, after four weeks; the rest has grown by a factor."""
        rate = self._cell.per_day * AT_NIGHT if self._cell.at_night else self._cell.per_day / WINDOWS_A_DAY
        before = [self.tickets(rate) for _ in range(WEEKS)]
        others = self.tickets(min(MOST_OTHERS, self._cell.per_day * 7 * WEEKS))
        return dm.find_spikes(self.tickets(growth * rate) + incident, before, others)


def named(cell: Cell, seed: int) -> int:
    """Return how many customers of an incident are named by spikes that are mostly about it."""
    desk = Desk(cell, seed)
    tickets = desk.incident()
    incident = {ticket.ticket_id for ticket in tickets}
    about_it = [
        set(spike.members) & incident
        for spike in desk.spikes(tickets)
        if 2 * len(incident.intersection(spike.members)) > len(spike.members)
    ]
    return len(set().union(*about_it))


def desks(months: int, quiet_windows: int) -> None:
    """Print for each cell how many incidents are seen, and how often a quiet window alarms."""
    of_small: list[bool] = []
    for cell in CELLS:
        customers = [named(cell, month) for month in range(months)]
        seen = [number > 0 for number in customers]
        of_small += seen if cell.per_day < PER_DAY[-1] else []
        half = fmean(2 * number >= INCIDENT_CUSTOMERS for number in customers)
        print(f"{cell}: seen {fmean(seen):4.0%}, half of the customers {half:4.0%}, named {fmean(customers):4.1f}")
    print(f"seen at desks of up to {PER_DAY[-2]} tickets a day: {fmean(of_small):.1%} of {len(of_small)}")
    for per_day in PER_DAY:
        cells = [cell for cell in CELLS if cell.per_day == per_day and not cell.new_words]
        for growth, number in ((1, quiet_windows), (2, quiet_windows // 5), (3, quiet_windows // 5)):
            alarms = [
                bool(Desk(cell, -1 - n).spikes([], growth)) for n in range(number // len(cells)) for cell in cells
            ]
            windows = f"{len(alarms)} windows with {growth} times the tickets"
            print(f"{per_day:5,} a day, no incident: alarm in {fmean(alarms):.2%} of {windows}")


def main(seeds: str = "50", months: str = "40", quiet_windows: str = "1000") -> None:
    for case in (*PLANTED, *NONE):
        found = [case(Inflow(seed)) for seed in range(int(seeds))]
        share = fmean(bool(spikes) for spikes in found)
        word = "found" if case in PLANTED else "false alarm"
        each = fmean(map(len, found))
        print(f"{case.__name__:13} {word:11} in {share:6.1%} of {seeds} windows; spikes a window {each:.2f}")
    desks(int(months), int(quiet_windows))


if __name__ == "__main__":
    main(*sys.argv[1:])
