"""The client of a provider's batch API: it sends questions in batches, and reads their results."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, TypeVar

from triage_cli import domain as dm
from triage_cli.classifiers import WrappedClassifier
from triage_cli.extensions.llm import prompt
from triage_cli.extensions.llm.batch.api import BatchApi, custom_id
from triage_cli.extensions.llm.classifier import LLMClassifier
from triage_cli.extensions.llm.costs import Cost, charged_usage, half_price
from triage_cli.extensions.llm.interpretation import failed_interpretation, interpretation_of
from triage_cli.extensions.llm.provider import Reply
from triage_cli.runtime import Budget, Retries, bridge, persist

T = TypeVar("T")
BATCH_TIMEOUT = 900.0  # seconds for sending or fetching a batch of any size


class BatchClient:
    """Implements `ports.Batcher` for one classifier. Each method opens and closes the batch API.

    `calibrate` returns an answer with calibrated confidence, if there is a calibration; `bound` returns one that is
    compared with the thresholds of `max_error`.
    """

    def __init__(
        self,
        classifier: LLMClassifier,
        batch_api: BatchApi,
        *,
        has_next: bool,
        calibrate: Callable[[dm.Answer], dm.Answer] | None,
        bound: Callable[[dm.Answer], dm.Answer] | None,
    ) -> None:
        self.name = classifier.name
        self.has_next = has_next
        self.fingerprint = classifier.fingerprint
        self.address = batch_api.address
        self.labels = prompt.labels_of(classifier.categories)
        self.most_requests, self.most_bytes = batch_api.limits
        self._classifier = classifier
        self._batch_api = batch_api
        self._calibrate_answer = calibrate
        self._apply_bounds = bound
        self._price = half_price(classifier.spec.price)
        self._answers_in_form = self._answers_out_of_form = 0
        self.heartbeat: Callable[[], None] = lambda: None

    @property
    def questions(self) -> str:
        """Return the further questions that it may ask, as JSON: the fingerprint and the labels of each."""
        further = (part for part in self._classifier.parts if part.name != dm.CATEGORY)
        return json.dumps({p.name: {"fingerprint": self.fingerprint_of(p.name), "labels": p.labels} for p in further})

    def fingerprint_of(self, question: str) -> str:
        (fingerprint,) = self._classifier.fingerprints_of(question)
        return fingerprint

    @property
    def options(self) -> str:
        return json.dumps(self._batch_api.options)

    def remember(self, options: str) -> None:
        self._batch_api.remember_options(json.loads(options))

    def request(self, ticket: dm.Ticket, batch_id: str, number: int) -> dm.BatchRequest:
        """Return a batch's request about a ticket: with more tokens after a cut answer, less text after "too long"."""
        last_error = ticket.error or ""
        limit = prompt.SHORT_TICKET_LIMIT if last_error.startswith("too_long") else prompt.TICKET_LIMIT
        answer_tokens = self._classifier.answer_tokens(ticket)
        if last_error.startswith("cut"):
            answer_tokens = self._classifier.tokens_after_cut(answer_tokens, in_thought=True)
        question, masked_kinds = self._classifier.question(ticket, limit)
        worst_usd = Cost(self._price).price_of(self._classifier.worst_usage(question, answer_tokens))
        request_line = self._batch_api.request_line(custom_id(batch_id, number), question, answer_tokens)
        return dm.BatchRequest(request_line, worst_usd, json.dumps(masked_kinds) if masked_kinds else None)

    def submit(self, batch: dm.Batch, request_lines: IO[bytes], mark_sent: Callable[[], bool]) -> str:
        with self._open_api():
            uploaded = self._call_api(lambda: self._batch_api.upload(batch.batch_id, request_lines), BATCH_TIMEOUT)
            if not mark_sent():
                raise dm.UnavailableError("another run has taken this batch back", hint=dm.Step.AGAIN)
            return bridge().run(self._create_once(batch, uploaded), self.heartbeat)

    async def _create_once(self, batch: dm.Batch, uploaded: Any) -> str:
        """Start a batch in a single try, because the API may have begun it when the try fails."""
        try:
            async with asyncio.timeout(BATCH_TIMEOUT):
                provider_id = await self._batch_api.create(batch.batch_id, uploaded)
        except TimeoutError:
            raise _unknown_batch_outcome("no answer in time") from None
        except dm.TemporaryError as error:
            if error.reached and not error.limited:
                raise _unknown_batch_outcome(error.message) from None
            raise self._batches_unavailable(error) from None
        except dm.AnswerError as error:
            raise self._batches_unavailable(error) from None
        if not provider_id:
            raise _unknown_batch_outcome("it gave the batch no name")
        return provider_id

    def find(self, batch: dm.Batch, known_ids: frozenset[str]) -> str | None:
        with self._open_api():
            return self._call_api(lambda: self._batch_api.find(batch, known_ids), self._classifier.spec.timeout)

    def look(self, batch: dm.Batch) -> dm.BatchLook:
        with self._open_api():
            call = partial(self._batch_api.look, batch.provider_id or "")
            progress, _ = self._call_api(call, self._classifier.spec.timeout)
        return progress

    def fetch(self, batch: dm.Batch, result_file: IO[bytes]) -> None:
        """Fetch all results of a batch that has ended: missing ones would be asked and paid again."""

        async def fetch_all() -> None:
            progress, result_ids = await self._batch_api.look(batch.provider_id or "")
            result_file.seek(0)
            result_file.truncate()
            are_available = await self._batch_api.fetch(result_ids, result_file)
            result_file.seek(0)
            if are_available and sum(1 for line in result_file if line.strip()) < progress.answered:
                raise dm.TemporaryError("the results came incomplete")

        with self._open_api():
            self._call_api(fetch_all, BATCH_TIMEOUT)
        result_file.seek(0)

    def results(self, batch: dm.Batch, result_lines: Iterable[bytes], *, outage: bool) -> Iterator[dm.BatchResult]:
        question = prompt.question(self._classifier.categories, "", "")._replace(labels=tuple(json.loads(batch.labels)))
        then = json.loads(batch.questions)
        parts = [part._replace(labels=tuple(then[part.name]["labels"])) for part in self._parts_of(then)]
        question = question._replace(further=tuple(parts))
        options = json.loads(batch.options)
        for result_line in result_lines:
            try:
                batch_line = self._batch_api.read_result(json.loads(result_line), question, options)
            except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
                continue  # no result of this batch
            id_prefix, _, request_number = batch_line.custom_id.rpartition("-")
            if f"{id_prefix}-" != custom_id(batch.batch_id, "") or not re.fullmatch(r"[0-9]{1,9}", request_number):
                continue
            error = batch_line.error
            stops_run = error is not None and error.stops_run
            again = batch_line.again or stops_run or (outage and isinstance(error, dm.TemporaryError))
            yield dm.BatchResult(int(request_number), batch_line.reply, error, again)
        if self._answers_out_of_form and not self._answers_in_form:
            self._batch_api.record_form(is_followed=False)

    def answers(
        self, ticket: dm.Ticket, item: dm.BatchItem, batch: dm.Batch, result: dm.BatchResult
    ) -> list[dm.Outcome[dm.Answer]]:
        then = {dm.CATEGORY: {"fingerprint": batch.fingerprint, "labels": json.loads(batch.labels)}}
        then |= json.loads(batch.questions)
        asked = tuple(part.name for part in self._parts_of(item.questions) if part.name in then)
        if not asked:
            return []
        question, _ = self._classifier.question(ticket._replace(asked=asked))
        first, *further = [tuple(then[name]["labels"]) for name in asked]
        parts = [part._replace(labels=labels) for part, labels in zip(question.further, further, strict=True)]
        question = question._replace(labels=first, further=tuple(parts))
        cost = Cost(self._price)
        if isinstance(reply := result.reply, Reply):
            if asked[0] != dm.CATEGORY:  # its probabilities were read as those of a further question
                reply = reply._replace(chances=reply.further.get(asked[0], {}))
            less = self._classifier.answer_tokens(ticket._replace(asked=asked))
            most = self._classifier.tokens_after_cut(less, in_thought=True)
            cost.add(charged_usage(reply, self._classifier.worst_usage(question, most)))
            interpretation = interpretation_of(reply, question)
            self._answers_in_form += interpretation.parsed.problem in (None, "unknown_label")
            self._answers_out_of_form += interpretation.parsed.problem == "not_json"
        else:
            interpretation = failed_interpretation(result.error or dm.AnswerError("no answer"), question)
        outcomes = self._classifier.outcomes(ticket, question, interpretation, cost, ())
        asked_then = then.get(item.questions[0], then[dm.CATEGORY])["fingerprint"]
        is_same_text = dm.ids.answer_key(asked_then, ticket.text) == item.answer_key
        return [
            self._as_then(outcome, then[name]["fingerprint"], item, is_same_text=is_same_text)
            for name, outcome in zip(asked, outcomes, strict=True)
        ]

    def _as_then(
        self, outcome: dm.Outcome[dm.Answer], fingerprint: str, item: dm.BatchItem, *, is_same_text: bool
    ) -> dm.Outcome[dm.Answer]:
        """Return the outcome of a question with the fingerprint by which it was asked."""
        if outcome.value is None:
            raise TypeError(outcome)
        answer, question = outcome.value, outcome.value.question
        answer_key = item.answer_key
        if question != item.questions[0]:
            answer_key = dm.ids.answer_key(fingerprint, answer.ticket.text) if is_same_text else ""
        step = answer.steps[-1]._replace(fingerprint=fingerprint, answer_key=answer_key, redacted=item.redacted)
        answer = answer._replace(steps=(self._with_new_name(step) if question == dm.CATEGORY else step,))
        # A calibration is for the present question, but the batch may have asked an earlier one.
        if self._calibrate_answer is not None and fingerprint == self.fingerprint_of(question):
            answer = self._calibrate_answer(answer)
        return outcome._replace(value=self._apply_bounds(answer) if self._apply_bounds is not None else answer)

    def _parts_of(self, names: Collection[str]) -> list[prompt.Part]:
        return [part for part in self._classifier.parts if part.name in names]

    def _with_new_name(self, step: dm.Classification) -> dm.Classification:
        """Replace the name of a category that was renamed since the batch was sent."""
        if step.category in self.labels:
            return step
        renamed_to = {old: c.name for c in self._classifier.categories for old in c.was}
        return step._replace(category=renamed_to.get(step.category or "", step.category))

    @contextmanager
    def _open_api(self) -> Iterator[None]:
        self._batch_api.open(self._classifier.network)
        try:
            yield
        finally:
            bridge().run(self._batch_api.close())

    def _call_api(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Call the batch API with retries, each within so many seconds; a final failure ends the run."""
        retries = Retries(self._classifier.spec.max_retries)
        try:
            return bridge().run(persist(call, self._classifier.endpoint, retries, timeout=seconds), self.heartbeat)
        except (dm.TemporaryError, dm.AnswerError) as error:
            raise self._batches_unavailable(error) from None

    def _batches_unavailable(self, error: dm.TriageError) -> dm.UnavailableError:
        return dm.UnavailableError(
            f'the batches of classifier "{self.name}": {error.message}', hint="nothing is lost; try again later"
        )


def _unknown_batch_outcome(why: str) -> dm.UnknownOutcomeError:
    return dm.UnknownOutcomeError(
        f"whether the provider has begun a batch is not known: {why}", hint="its tickets wait; the next run looks it up"
    )


BATCH_TYPES = ("openai", "anthropic")  # of classifiers whose providers have a batch API


class BatchedClassifier(WrappedClassifier):
    """A paid step whose questions go into a batch: it postpones every ticket.

    A ticket that failed at this step before is not postponed again, but goes on to the next step, if there is one.
    """

    def __init__(self, classifier: LLMClassifier, *, has_next: bool) -> None:
        spec = classifier.spec
        if spec.type not in BATCH_TYPES:
            raise dm.UsageError(
                f'classifier "{spec.name}" is of type {spec.type}, which no provider answers in batches',
                hint="leave out --batch, or name one of type openai or anthropic",
            )
        super().__init__(classifier)
        self.chunk_size = dm.CHUNK  # a postponed ticket needs no call
        self._check_price = classifier.check_price
        self._has_next = has_next

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answered]]]:
        """Postpone every ticket. Raises `ConfigError` where money is bounded and no price is known."""
        self._check_price(budget)
        return ([self._postponed(t, question) for t in chunk for question in t.asked] for chunk in chunks)

    def _postponed(self, ticket: dm.Ticket, question: str) -> dm.Outcome[dm.Answered]:
        if self._has_next and question == dm.CATEGORY and ticket.status == "failed" and ticket.classifier == self.name:
            return dm.Outcome.failed(ticket, dm.AnswerError(ticket.error or ""), dm.Answer(ticket, (), sure=False))
        return dm.Outcome(0, dm.Action.WAITING, dm.Postponed((), self.name, question), None, ticket)
