"""The one door to classifiers: tells final answers from those that are not, and saves what was paid for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from triage_cli.domain import Answer, Classification, Outcome, Postponed, Ticket, Unfinished
from triage_cli.ports import Classifier
from triage_cli.runtime import Budget


class EarlierSteps(NamedTuple):
    """A ticket that has no final answer yet, and the answers of the steps that were asked about it."""

    ticket: Ticket
    steps: tuple[Classification, ...]


class Arrived(NamedTuple):
    """What arrived together: final answers and failures, and by classifier the tickets that its batches will answer."""

    final: Sequence[Outcome[Answer]]
    postponed: Mapping[str, Sequence[EarlierSteps]]


def answers(
    classifier: Classifier,
    chunks: Iterable[Sequence[Ticket]],
    budget: Budget,
    save_steps: Callable[[Sequence[EarlierSteps]], None] | None = None,
) -> Iterator[Arrived]:
    """Ask a classifier about tickets, and yield what arrives; nothing may have arrived, so that the caller may act.

    `save_steps` saves paid answers of tickets about which a further step is asked, before anything more is yielded: a
    kill then loses only calls in flight. Their final answers repeat these steps. Raises what ends the run.
    """
    for outcomes in classifier.classify(chunks, budget):
        final: list[Outcome[Answer]] = []
        postponed: dict[str, list[EarlierSteps]] = {}
        unfinished: list[EarlierSteps] = []
        for outcome in outcomes:
            match outcome.value:
                case Unfinished(steps):
                    unfinished.append(EarlierSteps(outcome.ticket, steps))
                case Postponed(steps, batch_of):
                    postponed.setdefault(batch_of, []).append(EarlierSteps(outcome.ticket, steps))
                case _:
                    final.append(cast(Outcome[Answer], outcome))
        if unfinished and save_steps is not None:
            save_steps(unfinished)
        yield Arrived(final, postponed)
