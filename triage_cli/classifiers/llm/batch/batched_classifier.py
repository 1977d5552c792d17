"""A classifier that postpones its tickets, because its provider is to answer them in a batch."""

from collections.abc import Iterable, Iterator, Sequence

from triage_cli.classifiers.llm.classifier import LLMClassifier
from triage_cli.classifiers.wrapped_classifier import WrappedClassifier
from triage_cli.domain.chunks import CHUNK
from triage_cli.domain.classifications import Answer, Postponed
from triage_cli.domain.errors import AnswerError, UsageError
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.runtime.budget import Budget

BATCH_TYPES = ("openai", "anthropic")  # of classifiers whose providers have a batch API


class BatchedClassifier(WrappedClassifier):
    """A paid step whose questions go into a batch: it postpones every ticket.

    A ticket that failed at this step before is not postponed again, but goes on to the next step, if there is one.
    """

    def __init__(self, classifier: LLMClassifier, *, has_next: bool) -> None:
        spec = classifier.spec
        if spec.type not in BATCH_TYPES:
            raise UsageError(
                f'classifier "{spec.name}" is of type {spec.type}, which no provider answers in batches',
                hint="leave out --batch, or name one of type openai or anthropic",
            )
        super().__init__(classifier)
        self.chunk_size = CHUNK  # a postponed ticket needs no call
        self._check_price = classifier.check_price
        self._has_next = has_next

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Postpone every ticket. Raises `ConfigError` where money is bounded and no price is known."""
        self._check_price(budget)
        return ([self._postponed(ticket) for ticket in chunk] for chunk in chunks)

    def _postponed(self, ticket: Ticket) -> Outcome[Answer]:
        if self._has_next and ticket.status == "failed" and ticket.classifier == self.name:
            return Outcome(0, Action.FAILED, Answer(ticket, (), sure=False), AnswerError(ticket.error or ""), ticket)
        return Outcome(0, Action.WAITING, Postponed(ticket, (), sure=False, batch_of=self.name), None, ticket)
