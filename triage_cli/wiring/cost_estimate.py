"""Estimates what a classification will cost, for `--dry-run` and plans: the tokens and USD of asking a provider."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from triage_cli.config import Config
from triage_cli.domain.classifications import ClassifyPlan
from triage_cli.domain.tickets import Ticket
from triage_cli.runtime.network import Network

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    pass


class Estimate(NamedTuple):
    """The estimated tickets, tokens and USD of a classification, its worst case in USD, and the first prompt.

    USD are None without a price; the worst case is what is set aside, for one call per ticket.
    """

    tickets: int
    tokens: int = 0
    cost: float | None = 0.0
    most: float | None = 0.0
    prompt: str = ""


def estimate(config: Config, plan: ClassifyPlan, tickets: Iterable[Ticket]) -> Estimate:
    """Estimate tokens and cost of classifying tickets, without a call; for a cascade, of its first paid step."""
    spec = config.classifiers[plan.classifier or config.classifier]
    steps = [config.classifiers[step] for step in spec.steps] if spec.type == "cascade" else [spec]
    paid = next((step for step in steps if step.type != "local"), None)
    if paid is None:
        return Estimate(sum(1 for _ in tickets))
    from triage_cli.classifiers.llm import classifier as llm_classifier
    from triage_cli.classifiers.llm import costs
    from triage_cli.classifiers.llm.provider import ANSWER_TOKENS

    asked = llm_classifier.build(
        paid, config.categories, env=os.environ, actor="", run_id=None, network=Network(config.offline)
    )
    bill = costs.Cost(costs.half_price(paid.price) if plan.batch else paid.price)
    number = tokens = 0
    cost, most, prompt = 0.0, 0.0, ""
    for ticket in tickets:
        question, _ = asked.question(ticket)
        worst = asked.worst_usage(question, ANSWER_TOKENS)
        usage = costs.likely_usage(worst)
        number, tokens = number + 1, tokens + usage.input + usage.output
        cost, most = cost + bill.price_of(usage), most + bill.price_of(worst)
        prompt = prompt or f"{question.system}\n\n{question.user}"
    return Estimate(number, tokens, cost if paid.price else None, most if paid.price else None, prompt)
