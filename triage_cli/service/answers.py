"""The one door to classifiers: tells final answers from those that are not, and what answers make of a ticket."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, cast

from triage_cli import domain as dm
from triage_cli.ports import Classifier
from triage_cli.runtime import Budget


class EarlierSteps(NamedTuple):
    """A question about a ticket that has no final answer yet, and the answers of the steps that were asked."""

    ticket: dm.Ticket
    steps: tuple[dm.Classification, ...]
    question: str


class Arrived(NamedTuple):
    """What arrived together: final answers and failures, and by classifier the tickets that its batches will answer."""

    final: Sequence[dm.Outcome[dm.Answer]]
    postponed: Mapping[str, Sequence[EarlierSteps]]


def answers(
    classifier: Classifier,
    chunks: Iterable[Sequence[dm.Ticket]],
    budget: Budget,
    save_steps: Callable[[Sequence[EarlierSteps]], None] | None = None,
    known: Callable[[Sequence[dm.Ticket]], Sequence[dm.Answer]] | None = None,
) -> Iterator[Arrived]:
    """Ask a classifier about tickets, and yield what arrives; nothing may have arrived, so that the caller may act.

    `known` returns the answers that need no classifier, those of precedents.
    `save_steps` saves paid answers of tickets about which a further step is asked, before anything more is yielded: a
    kill then loses only calls in flight. Their final answers repeat these steps. Raises what ends the run.
    """
    unasked: list[dm.Outcome[dm.Answer]] = []

    def to_ask() -> Iterator[Sequence[dm.Ticket]]:
        for chunk in chunks:
            known_answers = known(chunk) if known is not None and chunk else ()
            unasked.extend(dm.Outcome(None, dm.Action.ANSWERED, a, None, a.ticket) for a in known_answers)
            yield _without_known(chunk, known_answers) if known_answers else chunk

    try:
        for outcomes in classifier.classify(to_ask(), budget):
            arrived, unfinished = _sorted(outcomes, unasked)
            unasked.clear()
            if unfinished and save_steps is not None:
                save_steps(unfinished)
            yield arrived
    except dm.TriageError:
        if unasked:
            yield Arrived(unasked, {})
        raise
    if unasked:
        yield Arrived(unasked, {})


def question_of(outcome: dm.Outcome[dm.Answer]) -> str:
    """Return the question that an outcome is about."""
    return dm.CATEGORY if outcome.value is None else outcome.value.question


class Gathering:
    """Gathers what arrives about tickets, until it is known of each question that they are asked."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[dm.Ticket, dict[str, dm.Outcome[dm.Answer] | None]]] = {}

    def whole(self, arrived: Arrived) -> Iterator[tuple[dm.Ticket, Mapping[str, dm.Outcome[dm.Answer] | None]]]:
        """Yield the tickets of which the last answer has arrived, with all by question; None: a batch would answer."""
        postponed = (earlier for waiting in arrived.postponed.values() for earlier in waiting)
        for ticket, question, outcome in chain(
            ((outcome.ticket, question_of(outcome), outcome) for outcome in arrived.final),
            ((earlier.ticket, earlier.question, None) for earlier in postponed),
        ):
            # What is known comes first, with the ticket as it was before what is left was asked.
            begun, by_question = self._begun.setdefault(ticket.ticket_id, (ticket, {}))
            by_question[question] = outcome
            if by_question.keys() >= set(begun.asked):
                del self._begun[ticket.ticket_id]
                yield begun, by_question


def _without_known(tickets: Sequence[dm.Ticket], known: Iterable[dm.Answer]) -> list[dm.Ticket]:
    """Return tickets with the questions that are left to ask; one without any is left out."""
    answered: dict[str, set[str]] = {}
    for answer in known:
        answered.setdefault(answer.ticket.ticket_id, set()).add(answer.question)
    left = [
        t._replace(asked=tuple(q for q in t.asked if q not in answered[t.ticket_id])) if t.ticket_id in answered else t
        for t in tickets
    ]
    return [ticket for ticket in left if ticket.asked or ticket.ticket_id not in answered]


def _sorted(
    outcomes: Iterable[dm.Outcome[dm.Answered]], unasked: Iterable[dm.Outcome[dm.Answer]]
) -> tuple[Arrived, list[EarlierSteps]]:
    """Return what arrived, with the answers that needed no classifier, and what a further step is asked about."""
    final, unfinished = [*unasked], list[EarlierSteps]()
    postponed: dict[str, list[EarlierSteps]] = {}
    for outcome in outcomes:
        match outcome.value:
            case dm.Unfinished(steps):
                unfinished.append(EarlierSteps(outcome.ticket, steps, steps[0].question if steps else dm.CATEGORY))
            case dm.Postponed(steps, batch_of, question):
                postponed.setdefault(batch_of, []).append(EarlierSteps(outcome.ticket, steps, question))
            case _:
                final.append(
                    cast("dm.Outcome[dm.Answer]", outcome)
                )  # evaluated, the name of the type takes longest here
    return Arrived(final, postponed), unfinished


def text_doubts(suspicion: dm.Suspicion, ticket: dm.Ticket, answer: dm.Answer | None) -> tuple[tuple[str, ...], bool]:
    """Return what a ticket's text has by which only a person may accept a sure answer, and whether the answer holds."""
    if answer is None or not answer.sure:
        return (), False
    doubts = tuple(suspicion.found(ticket.text) if answer.doubts is None else answer.doubts)
    return doubts, not doubts


STATUS_INDEX, ANSWERS_INDEX, LANGUAGE_INDEX, RUN_INDEX = map(
    dm.Ticket._fields.index, ("status", "answers", "language", "run_id")
)


def steps_within(answer: dm.Answer | EarlierSteps | None, labels: frozenset[str]) -> tuple[dm.Classification, ...]:
    """Return an answer's steps without values that their question has not: no such label is ever stored."""
    if answer is None:
        return ()
    for step in answer.steps:
        if step.category is not None and step.category not in labels:
            return tuple([_step_within(step, labels) for step in answer.steps])
    return answer.steps


def _step_within(step: dm.Classification, labels: frozenset[str]) -> dm.Classification:
    if step.category is None or step.category in labels:
        return step
    return step._replace(category=None, error=f"{step.classifier} answered a category that is not in the list")


def _problem(steps: Sequence[dm.Classification], error: dm.TriageError | None) -> str | None:
    """Return why there is no answer, or None."""
    if error is not None:
        return error.message
    return (steps[-1].error or None) if steps else "no answer"


def answer_given(
    before: dm.GivenAnswer,
    steps: Sequence[dm.Classification],
    error: dm.TriageError | None,
    labels: dm.Levels,
    *,
    sure: bool,
) -> dm.GivenAnswer:
    """Return what holds of a question after its answers: a sure one holds, an unsure one is a suggestion.

    One that is sure at a level above its guess holds, and its guess is the suggestion.
    To be unanswered counts as a failure, which overrules no verdict even with `force`.
    """
    last, problem = steps[-1] if steps else None, _problem(steps, error)
    if last is None or problem is not None:
        if before.verdict:
            return before._replace(error=problem)
        return dm.GivenAnswer(
            classifier=last.classifier if last else before.classifier,
            state="failed",
            failures=before.failures + 1,
            error=problem,
            decision_id=last.classification_id if last else None,
        )
    sure = sure and last.category is not None
    # By position, in the order of the fields: this is done for each ticket, and names take twice as long.
    return dm.GivenAnswer(
        last.category if sure else None,
        labels.below(last) if sure else labels.guess(last),
        last.confidence,
        last.confidence_source,
        last.classifier,
        last.reason,
        False,
        "answered" if sure else "unsure",
        0,  # failures
        None,  # no error
        last.classification_id,
    )


def answered_ticket(
    ticket_before: dm.Ticket,
    steps: Sequence[dm.Classification],
    error: dm.TriageError | None,
    labels: dm.Levels,
    *,
    sure: bool,
    language: str | None = None,
) -> dm.Ticket:
    """Return a ticket after the answers about its category, with its language where that is known; no run holds it."""
    has_failed = _problem(steps, error) is not None
    before = (
        dm.given_answer(ticket_before, dm.CATEGORY) if has_failed else dm.UNANSWERED
    )  # which takes a while to find out
    given = answer_given(before, steps, error, labels, sure=sure)
    return with_category(ticket_before, given, ticket_before.revision + 1, language)


def with_category(
    ticket_before: dm.Ticket, given: dm.GivenAnswer, revision: int, language: str | None = None
) -> dm.Ticket:
    """Return a ticket with what holds of its category, and the status that follows; no run holds it."""
    if given.error is not None and given.verdict:
        return ticket_before._replace(error=given.error, revision=revision, run_id=None)
    if given.state == "answered":
        status = ticket_before.status if ticket_before.status in dm.SETTLED else "classified"
    elif given.state == "failed" and given.failures < dm.MOST_FAILURES:
        status = "failed"
    else:
        status = "needs_review"
    # By position as above: `_replace` takes three times as long.
    ticket_after = dm.Ticket._make(
        (
            *ticket_before[:STATUS_INDEX],
            status,
            given.value,
            given.suggestion,
            given.confidence,
            given.confidence_source,
            given.classifier,
            given.reason,
            int(given.verdict),
            ticket_before.routed_to,
            ticket_before.cost_usd,
            given.error,
            given.failures,
            given.decision_id,
            revision,
            *ticket_before[ANSWERS_INDEX:LANGUAGE_INDEX],
            language or ticket_before.language,
            *ticket_before[LANGUAGE_INDEX + 1 : RUN_INDEX],
            None,  # no run holds it
            *ticket_before[RUN_INDEX + 1 :],
        )
    )
    return dm.woken(ticket_before, ticket_after)


def released_with_cost(ticket: dm.Ticket, steps: Sequence[dm.Classification]) -> dm.Ticket:
    """Return a ticket after answers that do not hold: their cost is added, and its claim is freed."""
    return with_cost(ticket, steps)._replace(revision=ticket.revision + 1, run_id=None)


def with_cost(ticket: dm.Ticket, steps: Iterable[dm.Classification]) -> dm.Ticket:
    """Return a ticket with the cost of answers added."""
    answers_cost = costs(steps)
    return ticket._replace(cost_usd=ticket.cost_usd + answers_cost) if answers_cost else ticket


def costs(steps: Iterable[dm.Classification]) -> float:
    """Return what answers cost that are not reused, in USD."""
    return sum([step.cost for step in steps if not step.reused])
