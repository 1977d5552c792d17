"""A classifier that asks a language model: one question a ticket, any provider, bounded in money, time and tries."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli.classifiers.llm import prompt
from triage_cli.classifiers.llm.billing import BudgetReserver
from triage_cli.classifiers.llm.claim_check import ClaimCheck
from triage_cli.classifiers.llm.prices import Cost, expected, used, worst_of
from triage_cli.classifiers.llm.provider import BUDGET, Provider, RejectedError, Usage
from triage_cli.classifiers.llm.redaction import redact
from triage_cli.classifiers.llm.verdict import MEANING, Verdict, described, failed, verdict_of
from triage_cli.config import ClassifierSpec
from triage_cli.domain import ids
from triage_cli.domain.decisions import Answer, Classification, QuestionSpec
from triage_cli.domain.errors import AnswerError, ConfigError, TemporaryError, TriageError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.budget import Budget
from triage_cli.runtime.circuit_breaker import CircuitBreaker
from triage_cli.runtime.clock import REAL, StoppingError, Timing
from triage_cli.runtime.network import Network
from triage_cli.runtime.rate_limit import RateLimiter
from triage_cli.runtime.retry import Retries, persist


def build(  # noqa: PLR0913 - wiring hands over what it knows, by name
    spec: ClassifierSpec,
    categories: Sequence[Category],
    *,
    env: Mapping[str, str],
    actor: str,
    run_id: str | None,
    clock: Callable[[], str] = ids.now,
    new_id: Callable[[], str] = ids.new_id,
    max_wait: float = 120.0,
    network: Network,
    shared: RateLimiter | None = None,
    timing: Timing = REAL,
) -> "AskingClassifier":
    """Open a classifier of type `openai`, `anthropic` or `decision`; makes no request. `shared` is its pace, if any.

    Raises `UsageError` when offline, `RefusedError` for a missing key.
    """
    network.check(f'classifier "{spec.name}"')
    endpoint = CircuitBreaker(
        f'classifier "{spec.name}"', workers=spec.workers, max_wait=max_wait, timing=timing,
        shared=shared or RateLimiter(spec.requests_per_minute, spec.tokens_per_minute),
    )  # fmt: skip
    run = AnswerStamp(actor, run_id, clock, new_id)
    return AskingClassifier(spec, categories, _provider(spec, categories, env), endpoint, run, network)


def _provider(spec: ClassifierSpec, categories: Sequence[Category], env: Mapping[str, str]) -> Provider:
    if spec.type == "openai":
        from triage_cli.classifiers.llm.openai import OpenAIProvider

        return OpenAIProvider(spec, env)
    if spec.type == "anthropic":
        from triage_cli.classifiers.llm.anthropic import AnthropicProvider

        return AnthropicProvider(spec, env)
    if spec.type == "decision":
        from triage_cli.classifiers.llm.decisions import DecisionProvider

        return DecisionProvider(spec, env, len(categories))
    raise ConfigError(f'classifier "{spec.name}": type {spec.type} asks no language model')


class AnswerStamp(NamedTuple):
    """What every answer of a run is signed with."""

    actor: str
    run_id: str | None
    clock: Callable[[], str] = ids.now
    new_id: Callable[[], str] = ids.new_id


class AskingClassifier:
    """Implements `ports.Classifier` on one provider; `workers` questions are in flight."""

    def __init__(
        self,
        spec: ClassifierSpec,
        categories: Sequence[Category],
        provider: Provider,
        endpoint: CircuitBreaker,
        signature: AnswerStamp,
        network: Network,
    ) -> None:
        self.name = spec.name
        self.spec = spec
        self.categories = tuple(categories)
        self.provider = provider
        self.endpoint = endpoint
        self.signature = signature
        self.network = network
        self.appetite = 2 * spec.workers
        self._told = json.dumps([[c.name, c.description, *c.examples] for c in categories], ensure_ascii=False)
        # By the names under which the categories were first known: a rename changes no question.
        first = json.dumps([[c.root or c.name, c.description, *c.examples] for c in categories], ensure_ascii=False)
        asked = [spec.type, spec.model, provider.address, prompt.VERSION, first, sorted(spec.redact)]
        self.fingerprint = hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return all it asks by: one."""
        return (self.fingerprint,)

    def askings(self) -> tuple[QuestionSpec, ...]:
        """Describe what is asked, for the record."""
        return (self.asking(),)

    def asking(self) -> QuestionSpec:
        """Describe what is asked."""
        options = {"prompt": prompt.VERSION, "redact": sorted(self.spec.redact)}
        return QuestionSpec(
            self.fingerprint, self.spec.type, self.spec.model or "", self.provider.address,
            prompt.system(self.categories), self._told, json.dumps(options), self.signature.clock(),
        )  # fmt: skip

    def question(self, ticket: Ticket, limit: int = prompt.LIMIT) -> tuple[prompt.Question, tuple[str, ...]]:
        """Return what is asked about a ticket, and which kinds of words were masked in it."""
        subject, found = redact(ticket.subject or "", self.spec.redact)
        description, more = redact(ticket.body or "", self.spec.redact)
        return prompt.question(self.categories, subject, description, limit), tuple(dict.fromkeys(found + more))

    def outcome(
        self, ticket: Ticket, question: prompt.Question, verdict: Verdict, bill: Cost, masked: tuple[str, ...]
    ) -> Outcome[Answer]:
        """Return what became of a ticket's question as the answer to keep, or the ticket's failure."""
        spec, sign, (parsed, reply, detail) = self.spec, self.signature, verdict
        confidence, source = None, None
        if parsed.label is not None:
            confidence, source = reply.chances.get(parsed.label, parsed.confidence), "said"
            if parsed.label in reply.chances or reply.source == "decision":
                source = reply.source
        category = None if parsed.label == question.none else parsed.label
        other = reply.model and reply.model != spec.model
        step = Classification(
            sign.new_id(), ticket.ticket_id, sign.run_id,
            f"{spec.name} ({prompt.shown(reply.model or '', 80)})" if other else spec.name,
            category, confidence, source,
            prompt.clean_reason(parsed.reason, question.system), spec.name, sign.actor, self.fingerprint,
            spec.min_confidence, json.dumps(dict(reply.chances), ensure_ascii=False) if reply.chances else None,
            ids.answer_key(self.fingerprint, ticket.text), sign.clock(), None, *bill.usage, bill.cost,
            json.dumps(masked) if masked else None, parsed.problem,
        )  # fmt: skip
        sure = category is not None and confidence is not None and confidence >= spec.min_confidence
        error = None
        if parsed.problem:
            error = AnswerError(f"{parsed.problem}: {detail or MEANING[parsed.problem]}")
        return Outcome(0, Action.FAILED if error else Action.ANSWERED, Answer(ticket, (step,), sure), error, ticket)

    def worst(self, question: prompt.Question, output: int) -> Usage:
        """Return the most tokens that a request can take; all of them might be written to a cache, if that is dear."""
        return worst_of(self.provider.most(question, output), output, self.spec.price)

    def check_price(self, budget: Budget) -> None:
        """Raise `ConfigError` where money is bounded and no price is known."""
        if budget.bounded and self.spec.price is None:
            raise ConfigError(
                f'what classifier "{self.name}" costs is not known, so a budget cannot bound it',
                hint=f"set classifiers.{self.name}.price, or leave out --max-cost and budget",
            )

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer as answers come. Raises `ConfigError` where money is bounded and no price is known."""
        self.check_price(budget)
        return self._classify(chunks, budget)

    def _classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        turn = _AskRun(self, budget)
        self.provider.open(self.network)
        try:
            for done in bridge().map(
                chunks, turn.ask, workers=self.spec.workers, stopping=lambda: turn.stopping, tick=1.0
            ):
                outcomes = [o for _, o in done if isinstance(o, Outcome)]
                yield [outcome._replace(row=row) for row, outcome in enumerate(outcomes)]
        finally:
            # Not waited for: a forgotten generator may be closed in the loop's own thread.
            asyncio.run_coroutine_threadsafe(self.provider.close(), bridge().loop)
        if turn.fatal is not None:
            raise turn.fatal


class _AskRun:
    """One call of `classify`: the first error that ends the run keeps everything else from beginning."""

    def __init__(self, classifier: AskingClassifier, budget: Budget) -> None:
        self.fatal: Exception | None = None
        self._of = classifier
        self._spec = classifier.spec
        self._budget = budget
        self._rejected = 0
        self._patience = max(10, self._spec.workers)
        self._purse = BudgetReserver(budget, lambda: self.stopping)
        self._holding = ClaimCheck(budget)

    @property
    def stopping(self) -> bool:
        """Tell whether nothing new is to begin."""
        return self.fatal is not None or self._budget.stopping

    async def ask(self, ticket: Ticket) -> Outcome[Answer]:
        """Ask about one ticket."""
        if self.stopping:
            raise StoppingError
        try:
            return await self._asked(ticket)
        except StoppingError:
            raise
        except Exception as error:
            self.fatal = self.fatal or error
            raise

    async def _asked(self, ticket: Ticket) -> Outcome[Answer]:
        bill, retries = Cost(self._spec.price), Retries(self._spec.max_retries)
        limit, budget, again = prompt.LIMIT, BUDGET, True
        before, paid = None, Usage()
        while True:
            question, masked = self._of.question(ticket, limit)
            try:
                verdict = await self._verdict(ticket, question, budget, retries, bill)
            except (TriageError, StoppingError) as error:
                if before is None or paid == Usage():
                    raise
                if isinstance(error, TriageError):
                    self.fatal = self.fatal or error
                return before  # the first answer was no good, but it was paid for
            before, paid = self._of.outcome(ticket, question, verdict, bill, masked), bill.usage
            problem = verdict.parsed.problem
            if problem == "too_long" and (shorter := prompt.shorter(limit, question)):
                limit = shorter  # nothing was paid, so this is no retry
                continue
            if problem not in ("cut", "empty", "not_json", "unknown_label") or not again or not retries.take():
                return before
            again = False
            if problem == "cut":
                budget *= 2

    async def _verdict(
        self, ticket: Ticket, question: prompt.Question, budget: int, retries: Retries, bill: Cost
    ) -> Verdict:
        """Ask once, failing requests repeated, and name what came back."""
        provider, worst = self._of.provider, self._of.worst(question, budget)
        stake = self._purse.stake(bill.price_of(worst))
        try:
            reply = await persist(
                lambda: self._holding.held(ticket.ticket_id, lambda: provider.ask(question, budget)),
                self._of.endpoint, retries, timeout=self._spec.timeout,
                tokens=expected(worst).input + budget, stopping=lambda: self.stopping,
                ready=stake.put, lost=lambda: stake.settle(bill.add(worst)),
            )  # fmt: skip
            stake.settle(bill.add(used(reply, worst)))
        except (AnswerError, TemporaryError) as error:
            self._rejected += isinstance(error, RejectedError)
            if isinstance(error, RejectedError) and self._rejected == self._patience:
                raise ConfigError(
                    described(error, question), hint="not one ticket was accepted; check model and base_url"
                ) from None
            return failed(error, question)
        finally:
            stake.settle(0.0)
        self._rejected = -(10**9)  # once accepted, a rejection is about its ticket
        verdict = verdict_of(reply, question)
        if not reply.problem and verdict.parsed.problem != "empty":
            provider.heeded(form=verdict.parsed.problem != "not_json")
        return verdict
