"""Sends questions in batches and reads their results; `BatchApi` is the provider's API."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar

from triage_cli.classifiers.llm import prompt
from triage_cli.classifiers.llm.batch.api import BatchApi, custom_id
from triage_cli.classifiers.llm.classifier import LLMClassifier
from triage_cli.classifiers.llm.costs import Cost, half, used
from triage_cli.classifiers.llm.interpretation import failed, interpretation_of
from triage_cli.classifiers.llm.provider import BUDGET, Reply
from triage_cli.domain.batches import Batch, BatchItem, BatchLook, BatchRequest, BatchResult
from triage_cli.domain.decisions import Answer, Classification
from triage_cli.domain.errors import (
    AnswerError,
    TemporaryError,
    TriageError,
    UnavailableError,
    UnknownOutcomeError,
)
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.retry import Retries, persist

T = TypeVar("T")
PATIENCE = 900.0  # seconds for sending or fetching a batch of any size


class BatchClient:
    """Implements `ports.Batcher` for one classifier. Each method opens and closes the client.

    `calibrate` returns an answer with calibrated confidence, if there is a calibration; `bound` returns one that is
    compared with the thresholds of `max_error`.
    """

    def __init__(
        self,
        asked: LLMClassifier,
        wire: BatchApi,
        *,
        has_next: bool,
        calibrate: Callable[[Answer], Answer] | None,
        bound: Callable[[Answer], Answer] | None,
    ) -> None:
        self.name = asked.name
        self.has_next = has_next
        self.fingerprint = asked.fingerprint
        self.address = wire.address
        self.labels = prompt.labels_of(asked.categories)
        self.most_requests, self.most_bytes = wire.limits
        self._asked = asked
        self._wire = wire
        self._calibrate = calibrate
        self._bound = bound
        self._price = half(asked.spec.price)
        self._followed_form = self._ignored_form = 0
        self.heartbeat: Callable[[], None] = _no_heartbeat

    @property
    def options(self) -> str:
        """Return which features the server refused, as JSON."""
        return json.dumps(self._wire.options)

    def remember(self, options: str) -> None:
        """Start with the refused features of an earlier batch."""
        self._wire.remember(json.loads(options))

    def request(self, ticket: Ticket, batch_id: str, number: int) -> BatchRequest:
        """Return the request about a ticket; after a cut answer with more tokens, after "too long" with less text."""
        last_error = ticket.error or ""
        limit = prompt.SHORT_LIMIT if last_error.startswith("too_long") else prompt.LIMIT
        budget = BUDGET * 2 if last_error.startswith("cut") else BUDGET
        question, masked = self._asked.question(ticket, limit)
        worst = self._asked.worst(question, budget)
        line = self._wire.line(custom_id(batch_id, number), question, budget)
        return BatchRequest(line, Cost(self._price).price_of(worst), json.dumps(masked) if masked else None)

    def submit(self, batch: Batch, lines: IO[bytes], mark_sent: Callable[[], bool]) -> str:
        """Send a batch and return the provider's id for it.

        `mark_sent` is called before the step that cannot be undone, and returns whether to take it. Raises
        `UnknownOutcomeError` if the batch may have arrived; after any other error it has not.
        """
        with self._open():
            uploaded = self._run(lambda: self._wire.upload(batch.batch_id, lines), PATIENCE)
            if not mark_sent():
                raise UnavailableError("another run has taken this batch back", hint="run the same command again")
            return bridge().run(self._create(batch, uploaded), self.heartbeat)

    async def _create(self, batch: Batch, uploaded: Any) -> str:
        """Start a batch in a single try, because the request is not idempotent."""
        try:
            async with asyncio.timeout(PATIENCE):
                provider_id = await self._wire.create(batch.batch_id, uploaded)
        except TimeoutError:
            raise _unknown_outcome("no answer in time") from None
        except TemporaryError as error:
            if error.reached and not error.limited:
                raise _unknown_outcome(error.message) from None
            raise self._unavailable(error) from None
        except AnswerError as error:
            raise self._unavailable(error) from None
        if not provider_id:
            raise _unknown_outcome("it gave the batch no name")
        return provider_id

    def find(self, batch: Batch, known: frozenset[str]) -> str | None:
        """Return the provider's id for a batch that may not have arrived, or None."""
        with self._open():
            return self._run(lambda: self._wire.find(batch, known), self._asked.spec.timeout)

    def look(self, batch: Batch) -> BatchLook:
        """Return the progress of a batch."""
        with self._open():
            return self._run(lambda: self._wire.look(batch.provider_id or ""), self._asked.spec.timeout)[0]

    def fetch(self, batch: Batch, into: IO[bytes]) -> None:
        """Fetch all results of a batch that has ended: missing ones would be asked and paid again."""

        async def fetch_all() -> None:
            look, names = await self._wire.look(batch.provider_id or "")
            into.seek(0)
            into.truncate()
            complete = await self._wire.fetch(names, into)
            into.seek(0)
            if complete and sum(1 for line in into if line.strip()) < look.answered:
                raise TemporaryError("the results came incomplete")

        with self._open():
            self._run(fetch_all, PATIENCE)
        into.seek(0)

    def results(self, batch: Batch, lines: Iterable[bytes], *, outage: bool) -> Iterator[BatchResult]:
        """Yield the results; in an `outage` nothing was answered, so failed requests are to be repeated."""
        question = prompt.question(self._asked.categories, "", "")._replace(labels=tuple(json.loads(batch.labels)))
        options = json.loads(batch.options)
        for raw in lines:
            try:
                line = self._wire.read(json.loads(raw), question, options)
            except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
                continue  # an incomplete or foreign line
            prefix, _, number = line.custom_id.rpartition("-")
            if f"{prefix}-" != custom_id(batch.batch_id, "") or not re.fullmatch(r"[0-9]{1,9}", number):
                continue
            is_fatal = line.error is not None and line.error.stops_run
            again = line.again or is_fatal or (outage and isinstance(line.error, TemporaryError))
            yield BatchResult(int(number), line.reply, line.error, again)
        if self._ignored_form and not self._followed_form:
            self._wire.heeded(form=False)

    def answer(self, ticket: Ticket, item: BatchItem, batch: Batch, result: BatchResult) -> Outcome[Answer]:
        """Return the outcome of a result for a ticket, with tokens and the halved cost."""
        question, _ = self._asked.question(ticket)
        question = question._replace(labels=tuple(json.loads(batch.labels)))
        cost = Cost(self._price)
        if isinstance(result.reply, Reply):
            cost.add(used(result.reply, self._asked.worst(question, 2 * BUDGET)))
            interpretation = interpretation_of(result.reply, question)
            self._followed_form += interpretation.parsed.problem in (None, "unknown_label")
            self._ignored_form += interpretation.parsed.problem == "not_json"
        else:
            interpretation = failed(result.error or AnswerError("no answer"), question)
        outcome = self._asked.outcome(ticket, question, interpretation, cost, ())
        if outcome.value is None:
            raise TypeError(outcome)
        step = outcome.value.steps[-1]._replace(
            fingerprint=batch.fingerprint, answer_key=item.answer_key, redacted=item.redacted
        )
        answer = outcome.value._replace(steps=(self._renamed(step),))
        # A calibration is for the present question, but the batch may have asked an earlier one.
        if self._calibrate is not None and batch.fingerprint == self.fingerprint:
            answer = self._calibrate(answer)
        return outcome._replace(value=self._bound(answer) if self._bound is not None else answer)

    def _renamed(self, step: Classification) -> Classification:
        """Replace the name of a category that was renamed meanwhile."""
        if step.category in self.labels:
            return step
        new_names = {old: c.name for c in self._asked.categories for old in c.was}
        return step._replace(category=new_names.get(step.category or "", step.category))

    @contextmanager
    def _open(self) -> Iterator[None]:
        self._wire.open(self._asked.network)
        try:
            yield
        finally:
            bridge().run(self._wire.close())

    def _run(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Make a call with retries, each within so many seconds; a final failure ends the run."""
        retries = Retries(self._asked.spec.max_retries)
        try:
            return bridge().run(persist(call, self._asked.endpoint, retries, timeout=seconds), self.heartbeat)
        except (TemporaryError, AnswerError) as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: TriageError) -> UnavailableError:
        return UnavailableError(
            f'the batches of classifier "{self.name}": {error.message}', hint="nothing is lost; try again later"
        )


def _no_heartbeat() -> None:
    """Do nothing while a provider is asked."""


def _unknown_outcome(why: str) -> UnknownOutcomeError:
    return UnknownOutcomeError(
        f"whether the provider has begun a batch is not known: {why}", hint="its tickets wait; the next run looks it up"
    )
