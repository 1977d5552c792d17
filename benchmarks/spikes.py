"""How many planted spikes `triage spikes` finds, and how often it raises a false alarm, on made-up inflow.

Call it as: python benchmarks/spikes.py [SEEDS]

Five weeks of tickets about ten topics, about 40 in two hours and twice as many on Monday mornings; a tenth of the
customers writes several times, and half of the categories are unsure guesses. Into the last two hours are planted: 40
tickets of 30 customers, 8 of 6, a slow rise over four weeks; and what is none: 40 tickets of one customer, a Monday
morning, and a category that always is large.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parent.parent))

from triage_cli.domain import InflowTicket, Spike, find_spikes

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

    def ticket(self, topic: list[str], category: str, customer: str) -> InflowTicket:
        """Return a ticket with five words of a topic and some filler."""
        self._number += 1
        text = self.random.sample(topic, min(len(topic), 5)) + self.random.sample(FILLER.split(), WORDS - 5)
        self.random.shuffle(text)
        return InflowTicket(
            f"t{self._number:08}", f"2026-01-01T00:00:{self._number % 60:02}Z", category, customer, " ".join(text)
        )

    def period(self, mean: float, shares: list[float] | None = None) -> list[InflowTicket]:
        """Return the tickets of two hours."""
        found: list[InflowTicket] = []
        for _ in range(round(self.random.gauss(mean, mean**0.5))):
            topic = self.random.choices(range(10), shares or self.shares)[0]
            customer = found[-1].customer if found and self.random.random() < 0.1 else f"c{self.random.randrange(5000)}"
            found.append(self.ticket(self.topics[topic], f"category {topic}", customer))
        return found

    def planted(self, tickets: int, customers: int) -> list[InflowTicket]:
        """Return tickets about a new topic, in a category that was there before."""
        topic = ["".join(self.random.choices(LETTERS, k=8)) for _ in range(7)]
        return [self.ticket(topic, "category 5", f"p{n % customers}") for n in range(tickets)]


def usual(inflow: Inflow) -> tuple[list[InflowTicket], list[list[InflowTicket]]]:
    return inflow.period(USUAL), [inflow.period(USUAL) for _ in range(WEEKS)]


def large(inflow: Inflow) -> list[Spike]:
    now, before = usual(inflow)
    return find_spikes(now + inflow.planted(40, 30), before)


def small(inflow: Inflow) -> list[Spike]:
    now, before = usual(inflow)
    return find_spikes(now + inflow.planted(8, 6), before)


def slow(inflow: Inflow) -> list[Spike]:
    """Let the share of topic 3 grow by a half each week."""
    periods = []
    for week in range(WEEKS + 1):
        shares = inflow.shares[:]
        shares[3] *= 1.5**week
        periods.append(inflow.period(USUAL, shares))
    return find_spikes(periods[-1], periods[:-1])


def quiet(inflow: Inflow) -> list[Spike]:
    return find_spikes(*usual(inflow))


def one_customer(inflow: Inflow) -> list[Spike]:
    now, before = usual(inflow)
    return find_spikes(now + inflow.planted(40, 1), before)


def monday(inflow: Inflow) -> list[Spike]:
    return find_spikes(inflow.period(2 * USUAL), [inflow.period(2 * USUAL) for _ in range(WEEKS)])


def busy_monday(inflow: Inflow) -> list[Spike]:
    """Three times the tickets of earlier Mondays, of the usual topics."""
    return find_spikes(inflow.period(6 * USUAL), [inflow.period(2 * USUAL) for _ in range(WEEKS)])


def standing(inflow: Inflow) -> list[Spike]:
    """Every second ticket is about topic 0, as in all weeks."""
    inflow.shares[0] = 15.0
    return quiet(inflow)


PLANTED: tuple[Callable[[Inflow], list[Spike]], ...] = (large, small, slow)
NONE: tuple[Callable[[Inflow], list[Spike]], ...] = (quiet, one_customer, monday, busy_monday, standing)


def main(seeds: str = "50") -> None:
    for case in (*PLANTED, *NONE):
        found = [case(Inflow(seed)) for seed in range(int(seeds))]
        share = fmean(bool(spikes) for spikes in found)
        word = "found" if case in PLANTED else "false alarm"
        each = fmean(map(len, found))
        print(f"{case.__name__:13} {word:11} in {share:6.1%} of {seeds} windows; spikes a window {each:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
