"""The types of classifiers that ask a language model, and all that the core asks of one."""

from collections.abc import Callable, Mapping, Sequence

from triage_cli import domain as dm
from triage_cli.config import ClassifierSpec
from triage_cli.extensions.llm import costs, topic_names
from triage_cli.extensions.llm.batch.api import BatchApi
from triage_cli.extensions.llm.batch.client import BatchClient, BatchedClassifier
from triage_cli.extensions.llm.classifier import FindNearest, LLMClassifier
from triage_cli.extensions.llm.provider import Provider
from triage_cli.runtime import REAL_TIME, Budget, CircuitBreaker, Network, RateLimiter, TimeSource


def build(  # noqa: PLR0913 - wiring hands over what it knows, by name
    spec: ClassifierSpec,
    categories: Sequence[dm.Category],
    *,
    questions: Sequence[dm.Question] = (),
    env: Mapping[str, str],
    actor: str,
    run_id: str | None,
    max_wait: float = 120.0,
    network: Network,
    shared_rate_limiter: RateLimiter | None = None,
    time_source: TimeSource = REAL_TIME,
    nearest: FindNearest | None = None,
) -> "LanguageModel":
    """Return a model of type `openai`, `anthropic` or `decision`; `shared_rate_limiter` is that of its provider.

    Raises `UsageError` when offline, `RefusedError` for a missing key.
    """
    name = f'classifier "{spec.name}"'
    network.check(name)
    limiter = shared_rate_limiter or RateLimiter(spec.requests_per_minute, spec.tokens_per_minute)
    endpoint = CircuitBreaker(name, workers=spec.workers, max_wait=max_wait, time_source=time_source, shared=limiter)
    provider = _provider(spec, max([len(categories), *(len(question.values) for question in questions)]), env)
    return LanguageModel(
        spec, categories, provider, endpoint, network, actor=actor, run_id=run_id, questions=questions, nearest=nearest
    )


def _provider(spec: ClassifierSpec, most_values: int, env: Mapping[str, str]) -> Provider:
    if spec.type == "openai":
        from triage_cli.extensions.llm.openai import OpenAIProvider

        return OpenAIProvider(spec, env)
    if spec.type == "anthropic":
        from triage_cli.extensions.llm.anthropic import AnthropicProvider

        return AnthropicProvider(spec, env)
    if spec.type == "decision":
        from triage_cli.extensions.llm.decisions_api import DecisionProvider

        return DecisionProvider(spec, env, most_values)
    raise dm.ConfigError(f'classifier "{spec.name}": type {spec.type} asks no language model')


def batch_api_of(spec: ClassifierSpec, env: Mapping[str, str]) -> BatchApi:
    """Return the batch API of a classifier's provider."""
    if spec.type == "openai":
        from triage_cli.extensions.llm.batch.openai import OpenAIBatchApi

        return OpenAIBatchApi(spec, env)
    from triage_cli.extensions.llm.batch.anthropic import AnthropicBatchApi

    return AnthropicBatchApi(spec, env)


class LanguageModel(LLMClassifier):
    """Implements `ports.AskedModel`."""

    @property
    def constraint(self) -> str:
        return self.provider.constraint

    def batched(self, *, has_next: bool) -> BatchedClassifier:
        return BatchedClassifier(self, has_next=has_next)

    def batcher(
        self,
        env: Mapping[str, str],
        *,
        has_next: bool,
        calibrate: Callable[[dm.Answer], dm.Answer],
        bound: Callable[[dm.Answer], dm.Answer] | None,
    ) -> BatchClient:
        return BatchClient(self, batch_api_of(self.spec, env), has_next=has_next, calibrate=calibrate, bound=bound)

    def expected(self, ticket: dm.Ticket, *, batch: bool) -> dm.ExpectedCall:
        price = costs.Cost(costs.half_price(self.spec.price) if batch else self.spec.price)
        question, _ = self.question(ticket)
        worst_usage = self.worst_usage(question, self.answer_tokens(ticket))
        likely_usage = costs.likely_usage(worst_usage, self.spec.effort)
        tokens = likely_usage.input + likely_usage.output
        prompt = f"{question.system}\n\n{question.user}"
        return dm.ExpectedCall(tokens, price.price_of(likely_usage), price.price_of(worst_usage), prompt)

    def named(self, proposal: dm.Proposal, budget: Budget) -> tuple[dm.Proposal, int]:
        return topic_names.with_names(proposal, self, budget)
