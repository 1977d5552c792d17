"""The one door to classifiers: tells final answers from those that are not, and what answers make of a ticket."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from triage_cli.domain import (
    SETTLED,
    UNDECIDED,
    Answer,
    Classification,
    Outcome,
    Postponed,
    Ticket,
    TriageError,
    Unfinished,
    woken,
)
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


# Failures of classifiers to answer after which a ticket goes to review.
FAILURES_TO_REVIEW = 3
STATUS_INDEX = Ticket._fields.index("status")


def steps_within(answer: Answer | EarlierSteps | None, labels: frozenset[str]) -> tuple[Classification, ...]:
    """Return an answer's steps without categories that are not in the list: no such label is ever stored."""
    if answer is None:
        return ()
    for step in answer.steps:
        if step.category is not None and step.category not in labels:
            return tuple([_step_within(step, labels) for step in answer.steps])
    return answer.steps


def _step_within(step: Classification, labels: frozenset[str]) -> Classification:
    if step.category is None or step.category in labels:
        return step
    return step._replace(category=None, error=f"{step.classifier} answered a category that is not in the list")


def answered_ticket(
    ticket_before: Ticket, steps: Sequence[Classification], error: TriageError | None, *, sure: bool
) -> Ticket:
    """Return a ticket after its answers: a sure one holds, an unsure one is a suggestion.

    To be unanswered counts as a failure, which overrules no verdict even with `force`.
    """
    last_answer = steps[-1] if steps else None
    revision = ticket_before.revision + 1
    if error is not None or last_answer is None or last_answer.error:
        failures = ticket_before.failures + 1
        problem = error.message if error else (last_answer.error if last_answer and last_answer.error else "no answer")
        if ticket_before.verdict:
            return ticket_before._replace(error=problem, revision=revision, run_id=None)
        return ticket_before._replace(
            **UNDECIDED,
            status="needs_review" if failures >= FAILURES_TO_REVIEW else "failed",
            failures=failures,
            classifier=last_answer.classifier if last_answer else ticket_before.classifier,
            error=problem,
            decision_id=last_answer.classification_id if last_answer else None,
            revision=revision,
            run_id=None,
        )
    sure = sure and last_answer.category is not None
    stays_settled = sure and ticket_before.status in SETTLED
    # By position, in the order of the fields: this is done for each ticket, and `_replace` takes three times as long.
    ticket_after = Ticket._make((
        *ticket_before[:STATUS_INDEX],
        ticket_before.status if stays_settled else ("classified" if sure else "needs_review"),
        last_answer.category if sure else None,
        None if sure else last_answer.category,
        last_answer.confidence,
        last_answer.confidence_source,
        last_answer.classifier,
        last_answer.reason,
        0,  # no verdict
        ticket_before.routed_to,
        ticket_before.cost_usd,
        None,  # no error
        0,  # failures
        last_answer.classification_id,
        revision,
        None,  # no run holds it
    ))  # fmt: skip
    return woken(ticket_before, ticket_after) if stays_settled else ticket_after


def released_with_cost(ticket: Ticket, steps: Sequence[Classification]) -> Ticket:
    """Return a ticket after answers that do not hold: their cost is added, and its claim is freed."""
    return with_cost(ticket, steps)._replace(revision=ticket.revision + 1, run_id=None)


def with_cost(ticket: Ticket, steps: Iterable[Classification]) -> Ticket:
    """Return a ticket with the cost of answers added."""
    answers_cost = costs(steps)
    return ticket._replace(cost_usd=ticket.cost_usd + answers_cost) if answers_cost else ticket


def costs(steps: Iterable[Classification]) -> float:
    """Return what answers cost that are not reused, in USD."""
    return sum([step.cost for step in steps if not step.reused])
