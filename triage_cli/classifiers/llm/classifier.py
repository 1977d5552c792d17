"""The classifier that asks a language model, with limits on cost, time and retries."""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from triage_cli.classifiers.llm import prompt
from triage_cli.classifiers.llm.costs import BudgetReserver, ClaimCheck, Cost, charged_usage, likely_usage
from triage_cli.classifiers.llm.interpretation import (
    PROBLEM_MEANINGS,
    Interpretation,
    clean_reason,
    failed_interpretation,
    interpretation_of,
    shown_message,
    without_quote,
)
from triage_cli.classifiers.llm.provider import ANSWER_TOKENS, Provider, Usage
from triage_cli.classifiers.llm.provider_errors import RejectedError
from triage_cli.classifiers.llm.redaction import redact
from triage_cli.config import ClassifierSpec
from triage_cli.domain import (
    CATEGORY,
    Action,
    Answer,
    AnswerError,
    Category,
    Classification,
    ConfigError,
    Levels,
    Outcome,
    QuestionSpec,
    RefusedError,
    TemporaryError,
    Ticket,
    TriageError,
    ids,
    times,
)
from triage_cli.runtime import (
    REAL_TIME,
    Budget,
    CircuitBreaker,
    Network,
    RateLimiter,
    Retries,
    StoppingError,
    TimeSource,
    bridge,
    persist,
)


def build(  # noqa: PLR0913 - wiring hands over what it knows, by name
    spec: ClassifierSpec,
    categories: Sequence[Category],
    *,
    env: Mapping[str, str],
    actor: str,
    run_id: str | None,
    max_wait: float = 120.0,
    network: Network,
    shared_rate_limiter: RateLimiter | None = None,
    time_source: TimeSource = REAL_TIME,
) -> "LLMClassifier":
    """Return a classifier of type `openai`, `anthropic` or `decision`; `shared_rate_limiter` is that of its provider.

    Raises `UsageError` when offline, `RefusedError` for a missing key.
    """
    name = f'classifier "{spec.name}"'
    network.check(name)
    limiter = shared_rate_limiter or RateLimiter(spec.requests_per_minute, spec.tokens_per_minute)
    endpoint = CircuitBreaker(name, workers=spec.workers, max_wait=max_wait, time_source=time_source, shared=limiter)
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
        self.levels = Levels.of(self.categories)
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
        with_first_names = [[c.root or c.name, c.description, *c.examples] for c in categories]
        categories_json, masked = json.dumps(with_first_names, ensure_ascii=False), sorted(spec.redact)
        fingerprinted = [spec.type, spec.model, provider.address, prompt.PROMPT_VERSION, categories_json, masked]
        if self.levels.parents:
            fingerprinted.append("levels")
        if spec.instructions:
            fingerprinted.append(f"instructions: {spec.instructions}")
        self.fingerprint = hashlib.sha256(json.dumps(fingerprinted).encode()).hexdigest()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprint of the only question that it asks the model."""
        return (self.fingerprint,)

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        """Return the fingerprint of a question that it answers."""
        return self.fingerprints if question == CATEGORY else ()

    def questions(self) -> tuple[QuestionSpec, ...]:
        """Return the question that the language model is asked, for the record."""
        prompt_options: dict[str, object] = {"prompt": prompt.PROMPT_VERSION, "redact": sorted(self.spec.redact)}
        if self.levels.parents:
            prompt_options["levels"] = True
        question_spec = QuestionSpec(
            fingerprint=self.fingerprint,
            kind=self.spec.type,
            model=self.spec.model or "",
            endpoint=self.provider.address,
            prompt=prompt.system_prompt(self.categories, self.spec.instructions),
            categories=self._categories_json,
            options=json.dumps(prompt_options),
            first_at=times.now(),
        )
        return (question_spec,)

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer of the model with the threshold that it would have now."""
        return self._at_level(answer.at_threshold(self.spec.threshold))

    def _at_level(self, answer: Classification) -> Classification:
        return self.levels.settled(answer, lambda _: self.spec.threshold) if self.levels.parents else answer

    def question(self, ticket: Ticket, limit: int = prompt.TICKET_LIMIT) -> tuple[prompt.Question, tuple[str, ...]]:
        """Return the question about a ticket, and the kinds of text that redaction masked in it."""
        subject, masked_kinds = redact(ticket.subject or "", self.spec.redact)
        description, more_kinds = redact(ticket.body or "", self.spec.redact)
        question = prompt.question(self.categories, subject, description, limit, self.spec.instructions)
        return question, tuple(dict.fromkeys(masked_kinds + more_kinds))

    def outcome(
        self,
        ticket: Ticket,
        question: prompt.Question,
        interpretation: Interpretation,
        cost: Cost,
        masked_kinds: tuple[str, ...],
    ) -> Outcome[Answer]:
        """Return the outcome of asking the model about a ticket: the answer to store, or the failure."""
        spec, (parsed, reply, detail) = self.spec, interpretation
        confidence, confidence_source = None, None
        if parsed.label is not None:
            is_measured = parsed.label in reply.chances or reply.source == "decision"
            confidence = reply.chances.get(parsed.label, parsed.confidence)
            confidence_source = reply.source if is_measured else "said"
        category = None if parsed.label == question.none else parsed.label
        chances = dict(reply.chances)
        if self.levels.parents and chances and category is not None:
            own = {category: confidence or 0.0} | {
                name: share for name, share in chances.items() if name in self.levels
            }
            chances = self.levels.nested(own, category)
        is_other_model = reply.model and reply.model != spec.model
        step = Classification(
            classification_id=ids.new_id(),
            ticket_id=ticket.ticket_id,
            run_id=self._run_id,
            step=f"{spec.name} ({prompt.cut_text(reply.model or '', 80)})" if is_other_model else spec.name,
            category=category,
            confidence=confidence,
            confidence_source=confidence_source,
            reason=clean_reason(parsed.reason, question.system),
            classifier=spec.name,
            actor=self._actor,
            fingerprint=self.fingerprint,
            threshold=spec.threshold,
            probabilities=json.dumps(chances, ensure_ascii=False) if chances else None,
            answer_key=ids.answer_key(self.fingerprint, ticket.text),
            at=times.now(),
            input_tokens=cost.usage.input,
            output_tokens=cost.usage.output,
            cache_read=cost.usage.cache_read,
            cache_write=cost.usage.cache_write,
            cost=cost.cost,
            redacted=json.dumps(masked_kinds) if masked_kinds else None,
            error=parsed.problem,
        )
        step = self._at_level(step)
        problem = parsed.problem
        error = AnswerError(f"{problem}: {detail or PROBLEM_MEANINGS[problem]}") if problem else None
        return Outcome(
            0, Action.FAILED if error else Action.ANSWERED, Answer(ticket, (step,), step.is_sure), error, ticket
        )

    def worst_usage(self, question: prompt.Question, answer_tokens: int) -> Usage:
        """Return the most expensive usage of a request; its tokens may all be written to the provider's cache."""
        most = self.provider.most_tokens(question, answer_tokens)
        usages = Usage(most, answer_tokens), Usage(most, answer_tokens, cache_write=most)
        return max(usages, key=Cost(self.spec.price).price_of)

    def check_price(self, budget: Budget) -> None:
        """Raise `ConfigError` if there is a cost limit and the model's price is not known."""
        if budget.is_limited and self.spec.price is None:
            raise ConfigError(
                f'what classifier "{self.name}" costs is not known, so a budget cannot bound it',
                hint=f"set classifiers.{self.name}.price, or leave out --max-cost and budget",
            )

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Yield the model's answers as they arrive. Raises `ConfigError` as `check_price` does."""
        self.check_price(budget)
        return self._classify(chunks, budget)

    def _classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        question_run = _QuestionRun(self, budget)
        self.provider.open(self.network)
        try:
            for asked_tickets in bridge().map(
                chunks, question_run.ask, workers=self.spec.workers, stopping=lambda: question_run.stopping, tick=1.0
            ):
                outcomes = [o for _, o in asked_tickets if isinstance(o, Outcome)]
                yield [outcome._replace(row=row) for row, outcome in enumerate(outcomes)]
        finally:
            # Without waiting, because a generator that was dropped may be closed in the loop's own thread.
            asyncio.run_coroutine_threadsafe(self.provider.close(), bridge().loop)
        if question_run.fatal_error is not None:
            raise question_run.fatal_error


class _QuestionRun:
    """One call of `LLMClassifier.classify`; after the first fatal error, no further question begins."""

    def __init__(self, classifier: LLMClassifier, budget: Budget) -> None:
        self.fatal_error: Exception | None = None
        self._classifier = classifier
        self._spec = classifier.spec
        self._budget = budget
        self._rejected = 0
        self._rejections_to_end_run = max(10, self._spec.workers)
        self._reserver = BudgetReserver(budget, lambda: self.stopping)
        self._claim_check = ClaimCheck(budget)

    @property
    def stopping(self) -> bool:
        """Return whether no further question is to begin."""
        return self.fatal_error is not None or self._budget.stopping

    async def ask(self, ticket: Ticket) -> Outcome[Answer]:
        """Ask the model about one ticket. An error ends the run."""
        if self.stopping:
            raise StoppingError
        try:
            return self._budget.answered(await self._ask_until_usable(ticket))
        except StoppingError:
            raise
        except Exception as error:
            self.fatal_error = self.fatal_error or error
            raise
        except asyncio.CancelledError:
            self.fatal_error = self.fatal_error or RuntimeError("a question was cancelled")
            raise

    async def _ask_until_usable(self, ticket: Ticket) -> Outcome[Answer]:
        cost, retries = Cost(self._spec.price), Retries(self._spec.max_retries)
        limit, answer_tokens, may_retry = prompt.TICKET_LIMIT, ANSWER_TOKENS, True
        outcome, paid_usage = None, Usage()
        while True:
            question, masked_kinds = self._classifier.question(ticket, limit)
            try:
                interpretation = await self._ask_provider(ticket, question, answer_tokens, retries, cost)
            except (TriageError, StoppingError) as error:
                if outcome is None or paid_usage == Usage():
                    raise
                if isinstance(error, TriageError):
                    self.fatal_error = self.fatal_error or error
                return outcome  # the first answer is unusable, but was paid for
            outcome = self._classifier.outcome(ticket, question, interpretation, cost, masked_kinds)
            paid_usage = cost.usage
            problem = interpretation.parsed.problem
            if problem == "too_long" and (shorter := prompt.shorter_limit(limit, question)):
                limit = shorter  # nothing was paid, so this does not count as a retry
                continue
            if problem not in ("cut", "empty", "not_json", "unknown_label") or not may_retry or not retries.take():
                return outcome
            may_retry = False
            if problem == "cut":
                answer_tokens *= 2

    async def _ask_provider(
        self, ticket: Ticket, question: prompt.Question, answer_tokens: int, retries: Retries, cost: Cost
    ) -> Interpretation:
        """Ask the provider once, with retries of failed requests, and interpret its reply."""
        provider, worst_usage = self._classifier.provider, self._classifier.worst_usage(question, answer_tokens)
        reservation = self._reserver.reservation(cost.price_of(worst_usage))
        try:
            reply = await persist(
                lambda: self._claim_check.call_if_held(ticket.ticket_id, lambda: provider.ask(question, answer_tokens)),
                self._classifier.endpoint,
                retries,
                timeout=self._spec.timeout,
                tokens=likely_usage(worst_usage).input + answer_tokens,
                stopping=lambda: self.stopping,
                ready=reservation.reserve,
                lost=lambda: reservation.settle(cost.add(worst_usage)),
            )
            reservation.settle(cost.add(charged_usage(reply, worst_usage)))
        except (AnswerError, TemporaryError) as error:
            self._rejected += isinstance(error, RejectedError)
            if isinstance(error, RejectedError) and self._rejected == self._rejections_to_end_run:
                raise ConfigError(
                    shown_message(error, question), hint="not one ticket was accepted; check model and base_url"
                ) from None
            return failed_interpretation(error, question)
        except (ConfigError, RefusedError) as error:
            raise without_quote(error, question) from None
        finally:
            reservation.settle(0.0)
        self._rejected = -(10**9)  # after one accepted request, a rejection concerns only its ticket
        interpretation = interpretation_of(reply, question)
        if not reply.problem and interpretation.parsed.problem != "empty":
            provider.record_form(is_followed=interpretation.parsed.problem != "not_json")
        return interpretation
