"""A classifier that asks a language model, with limits on cost, time and retries."""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from triage_cli.classifiers.llm import prompt
from triage_cli.classifiers.llm.claim_check import ClaimCheck
from triage_cli.classifiers.llm.costs import BudgetReserver, Cost, expected, used
from triage_cli.classifiers.llm.interpretation import (
    MEANING,
    Interpretation,
    clean_reason,
    described,
    failed,
    interpretation_of,
    without_quote,
)
from triage_cli.classifiers.llm.provider import ANSWER_TOKENS, Provider, Usage
from triage_cli.classifiers.llm.provider_errors import RejectedError
from triage_cli.classifiers.llm.redaction import redact
from triage_cli.config import ClassifierSpec
from triage_cli.domain import ids, times
from triage_cli.domain.decisions import Answer, Classification, QuestionSpec
from triage_cli.domain.errors import AnswerError, ConfigError, RefusedError, TemporaryError, TriageError
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.budget import Budget
from triage_cli.runtime.circuit_breaker import REAL_TIME, CircuitBreaker, TimeSource
from triage_cli.runtime.network import Network
from triage_cli.runtime.rate_limit import RateLimiter
from triage_cli.runtime.retry import Retries, persist
from triage_cli.runtime.stop import StoppingError


def build(  # noqa: PLR0913 - wiring hands over what it knows, by name
    spec: ClassifierSpec,
    categories: Sequence[Category],
    *,
    env: Mapping[str, str],
    actor: str,
    run_id: str | None,
    max_wait: float = 120.0,
    network: Network,
    shared: RateLimiter | None = None,
    time_source: TimeSource = REAL_TIME,
) -> "LLMClassifier":
    """Return a classifier of type `openai`, `anthropic` or `decision`; `shared` is its rate limiter, if any.

    Raises `UsageError` when offline, `RefusedError` for a missing key.
    """
    network.check(f'classifier "{spec.name}"')
    endpoint = CircuitBreaker(
        f'classifier "{spec.name}"', workers=spec.workers, max_wait=max_wait, time_source=time_source,
        shared=shared or RateLimiter(spec.requests_per_minute, spec.tokens_per_minute),
    )  # fmt: skip
    provider = _provider(spec, categories, env)
    return LLMClassifier(spec, categories, provider, endpoint, network, actor=actor, run_id=run_id)


def _provider(spec: ClassifierSpec, categories: Sequence[Category], env: Mapping[str, str]) -> Provider:
    if spec.type == "openai":
        from triage_cli.classifiers.llm.openai import OpenAIProvider

        return OpenAIProvider(spec, env)
    if spec.type == "anthropic":
        from triage_cli.classifiers.llm.anthropic import AnthropicProvider

        return AnthropicProvider(spec, env)
    if spec.type == "decision":
        from triage_cli.classifiers.llm.decisions_api import DecisionProvider

        return DecisionProvider(spec, env, len(categories))
    raise ConfigError(f'classifier "{spec.name}": type {spec.type} asks no language model')


class LLMClassifier:
    """Implements `ports.Classifier` with one provider; `workers` calls are in flight."""

    def __init__(
        self,
        spec: ClassifierSpec,
        categories: Sequence[Category],
        provider: Provider,
        endpoint: CircuitBreaker,
        network: Network,
        *,
        actor: str,
        run_id: str | None,
    ) -> None:
        self.name = spec.name
        self.spec = spec
        self.categories = tuple(categories)
        self.provider = provider
        self.endpoint = endpoint
        self.network = network
        self._actor = actor
        self._run_id = run_id
        self.chunk_size = 2 * spec.workers
        self._categories_json = json.dumps(
            [[c.name, c.description, *c.examples] for c in categories], ensure_ascii=False
        )
        # With the categories' first names, so that a rename does not change the fingerprint.
        first = json.dumps([[c.root or c.name, c.description, *c.examples] for c in categories], ensure_ascii=False)
        asked = [spec.type, spec.model, provider.address, prompt.VERSION, first, sorted(spec.redact)]
        self.fingerprint = hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return its only fingerprint."""
        return (self.fingerprint,)

    def questions(self) -> tuple[QuestionSpec, ...]:
        """Return the question, for the record."""
        options = {"prompt": prompt.VERSION, "redact": sorted(self.spec.redact)}
        question_spec = QuestionSpec(
            self.fingerprint, self.spec.type, self.spec.model or "", self.provider.address,
            prompt.system(self.categories), self._categories_json, json.dumps(options), times.now(),
        )  # fmt: skip
        return (question_spec,)

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer with the confidence and the threshold that it would have now."""
        return answer.at_threshold(self.spec.min_confidence)

    def question(self, ticket: Ticket, limit: int = prompt.LIMIT) -> tuple[prompt.Question, tuple[str, ...]]:
        """Return the question about a ticket, and the kinds of text that were masked in it."""
        subject, masked_kinds = redact(ticket.subject or "", self.spec.redact)
        description, more = redact(ticket.body or "", self.spec.redact)
        return prompt.question(self.categories, subject, description, limit), tuple(dict.fromkeys(masked_kinds + more))

    def outcome(
        self,
        ticket: Ticket,
        question: prompt.Question,
        interpretation: Interpretation,
        cost: Cost,
        masked: tuple[str, ...],
    ) -> Outcome[Answer]:
        """Return the outcome of a question about a ticket: the answer to store, or the failure."""
        spec, (parsed, reply, detail) = self.spec, interpretation
        confidence, source = None, None
        if parsed.label is not None:
            is_measured = parsed.label in reply.chances or reply.source == "decision"
            confidence = reply.chances.get(parsed.label, parsed.confidence)
            source = reply.source if is_measured else "said"
        category = None if parsed.label == question.none else parsed.label
        another_model = reply.model and reply.model != spec.model
        step = Classification(
            ids.new_id(), ticket.ticket_id, self._run_id,
            f"{spec.name} ({prompt.shown(reply.model or '', 80)})" if another_model else spec.name,
            category, confidence, source,
            clean_reason(parsed.reason, question.system), spec.name, self._actor, self.fingerprint,
            spec.min_confidence, json.dumps(dict(reply.chances), ensure_ascii=False) if reply.chances else None,
            ids.answer_key(self.fingerprint, ticket.text), times.now(), None, *cost.usage, cost.cost,
            json.dumps(masked) if masked else None, parsed.problem,
        )  # fmt: skip
        problem = parsed.problem
        error = AnswerError(f"{problem}: {detail or MEANING[problem]}") if problem else None
        return Outcome(
            0, Action.FAILED if error else Action.ANSWERED, Answer(ticket, (step,), step.is_sure), error, ticket
        )

    def worst_usage(self, question: prompt.Question, answer_tokens: int) -> Usage:
        """Return the most expensive usage of a request, which may be that all its tokens are written to a cache."""
        most = self.provider.most_tokens(question, answer_tokens)
        usages = Usage(most, answer_tokens), Usage(most, answer_tokens, cache_write=most)
        return max(usages, key=Cost(self.spec.price).price_of)

    def check_price(self, budget: Budget) -> None:
        """Raise `ConfigError` if there is a cost limit and no price is known."""
        if budget.bounded and self.spec.price is None:
            raise ConfigError(
                f'what classifier "{self.name}" costs is not known, so a budget cannot bound it',
                hint=f"set classifiers.{self.name}.price, or leave out --max-cost and budget",
            )

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Yield answers as they arrive. Raises `ConfigError` if there is a cost limit and no price is known."""
        self.check_price(budget)
        return self._classify(chunks, budget)

    def _classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        run = _AskRun(self, budget)
        self.provider.open(self.network)
        try:
            for done in bridge().map(
                chunks, run.ask, workers=self.spec.workers, stopping=lambda: run.stopping, tick=1.0
            ):
                outcomes = [o for _, o in done if isinstance(o, Outcome)]
                yield [outcome._replace(row=row) for row, outcome in enumerate(outcomes)]
        finally:
            # Without waiting, because a generator that was dropped may be closed in the loop's own thread.
            asyncio.run_coroutine_threadsafe(self.provider.close(), bridge().loop)
        if run.fatal is not None:
            raise run.fatal


class _AskRun:
    """One call of `classify`; after the first fatal error, no further call begins."""

    def __init__(self, classifier: LLMClassifier, budget: Budget) -> None:
        self.fatal: Exception | None = None
        self._classifier = classifier
        self._spec = classifier.spec
        self._budget = budget
        self._rejected = 0
        self._rejections_to_end = max(10, self._spec.workers)
        self._reserver = BudgetReserver(budget, lambda: self.stopping)
        self._claim_check = ClaimCheck(budget)

    @property
    def stopping(self) -> bool:
        """Return whether no further call is to begin."""
        return self.fatal is not None or self._budget.stopping

    async def ask(self, ticket: Ticket) -> Outcome[Answer]:
        """Ask about one ticket. An error ends the run."""
        if self.stopping:
            raise StoppingError
        try:
            return self._budget.answered(await self._ask_with_retries(ticket))
        except StoppingError:
            raise
        except Exception as error:
            self.fatal = self.fatal or error
            raise
        except asyncio.CancelledError:
            self.fatal = self.fatal or RuntimeError("a question was cancelled")
            raise

    async def _ask_with_retries(self, ticket: Ticket) -> Outcome[Answer]:
        cost, retries = Cost(self._spec.price), Retries(self._spec.max_retries)
        limit, answer_tokens, may_retry = prompt.LIMIT, ANSWER_TOKENS, True
        outcome, paid = None, Usage()
        while True:
            question, masked = self._classifier.question(ticket, limit)
            try:
                interpretation = await self._interpretation(ticket, question, answer_tokens, retries, cost)
            except (TriageError, StoppingError) as error:
                if outcome is None or paid == Usage():
                    raise
                if isinstance(error, TriageError):
                    self.fatal = self.fatal or error
                return outcome  # the first answer is unusable, but was paid for
            outcome, paid = self._classifier.outcome(ticket, question, interpretation, cost, masked), cost.usage
            problem = interpretation.parsed.problem
            if problem == "too_long" and (shorter := prompt.shorter(limit, question)):
                limit = shorter  # nothing was paid, so this does not count as a retry
                continue
            if problem not in ("cut", "empty", "not_json", "unknown_label") or not may_retry or not retries.take():
                return outcome
            may_retry = False
            if problem == "cut":
                answer_tokens *= 2

    async def _interpretation(
        self, ticket: Ticket, question: prompt.Question, answer_tokens: int, retries: Retries, cost: Cost
    ) -> Interpretation:
        """Ask once, with retries of failed requests."""
        provider, worst = self._classifier.provider, self._classifier.worst_usage(question, answer_tokens)
        reservation = self._reserver.stake(cost.price_of(worst))
        try:
            reply = await persist(
                lambda: self._claim_check.held(ticket.ticket_id, lambda: provider.ask(question, answer_tokens)),
                self._classifier.endpoint, retries, timeout=self._spec.timeout,
                tokens=expected(worst).input + answer_tokens, stopping=lambda: self.stopping,
                ready=reservation.put, lost=lambda: reservation.settle(cost.add(worst)),
            )  # fmt: skip
            reservation.settle(cost.add(used(reply, worst)))
        except (AnswerError, TemporaryError) as error:
            self._rejected += isinstance(error, RejectedError)
            if isinstance(error, RejectedError) and self._rejected == self._rejections_to_end:
                raise ConfigError(
                    described(error, question), hint="not one ticket was accepted; check model and base_url"
                ) from None
            return failed(error, question)
        except (ConfigError, RefusedError) as error:
            raise without_quote(error, question) from None
        finally:
            reservation.settle(0.0)
        self._rejected = -(10**9)  # after one accepted request, a rejection concerns only its ticket
        interpretation = interpretation_of(reply, question)
        if not reply.problem and interpretation.parsed.problem != "empty":
            provider.record_form(is_followed=interpretation.parsed.problem != "not_json")
        return interpretation
