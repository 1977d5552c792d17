"""Estimates what a classification will cost, for `--dry-run` and plans: the tokens and USD of asking a provider."""

import os
from collections.abc import Iterable
from typing import NamedTuple

from triage_cli.config import MODELS, Config
from triage_cli.domain import ClassifyPlan, Ticket
from triage_cli.runtime import Network


class CostEstimate(NamedTuple):
    """The estimated tickets, tokens and USD of a classification, its worst case in USD, and the first prompt.

    USD are None without a price; the worst case is what is set aside, for one call per ticket.
    """

    tickets: int
    tokens: int = 0
    cost: float | None = 0.0
    most: float | None = 0.0
    prompt: str = ""


def estimate_cost(config: Config, plan: ClassifyPlan, tickets: Iterable[Ticket]) -> CostEstimate:
    """Estimate tokens and cost of classifying tickets, without a call; for a cascade, of its first paid step."""
    spec = config.classifiers[plan.classifier or config.classifier]
    steps = [config.classifiers[step] for step in spec.steps] if spec.type == "cascade" else [spec]
    paid_step = next((step for step in steps if step.type in MODELS), None)
    if paid_step is None:
        return CostEstimate(sum(1 for _ in tickets))
    from triage_cli.classifiers import ANSWER_TOKENS, costs, llm_classifier

    llm = llm_classifier.build(
        paid_step, config.categories, env=os.environ, actor="", run_id=None, network=Network(config.offline)
    )
    price = costs.Cost(costs.half_price(paid_step.price) if plan.batch else paid_step.price)
    tickets_counted = tokens = 0
    likely_cost, worst_cost, first_prompt = 0.0, 0.0, ""
    for ticket in tickets:
        question, _ = llm.question(ticket)
        worst_usage = llm.worst_usage(question, ANSWER_TOKENS)
        likely_usage = costs.likely_usage(worst_usage)
        tickets_counted, tokens = tickets_counted + 1, tokens + likely_usage.input + likely_usage.output
        likely_cost, worst_cost = likely_cost + price.price_of(likely_usage), worst_cost + price.price_of(worst_usage)
        first_prompt = first_prompt or f"{question.system}\n\n{question.user}"
    return CostEstimate(
        tickets_counted,
        tokens,
        likely_cost if paid_step.price else None,
        worst_cost if paid_step.price else None,
        first_prompt,
    )
