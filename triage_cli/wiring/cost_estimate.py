"""Estimates what a classification will cost, for `--dry-run` and plans: the tokens and USD of asking a provider."""

import os
from collections.abc import Iterable
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli import hooks
from triage_cli.config import MODELS, ClassifierSpec, Config
from triage_cli.hooks import Hook
from triage_cli.ports import AskedModel
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

    def said(self) -> str:
        """Return the tokens and the cost in words."""
        cost = (
            "at a price that is not configured"
            if self.cost is None
            else f"${self.cost:.4f} expected, ${self.most:.4f} at worst"
        )
        return f"about {self.tokens:,} tokens, {cost}"


def estimate_cost(config: Config, plan: dm.ClassifyPlan, tickets: Iterable[dm.Ticket]) -> CostEstimate:
    """Estimate tokens and cost of what is asked about tickets, without a call; of a cascade, its first paid step."""
    spec = config.classifiers[plan.classifier or config.classifier]
    asked_of = {q.name: config.classifiers[q.classifier] if q.classifier else spec for q in config.asked}
    paid_steps = {name: step for name, asked in asked_of.items() if (step := _paid_step(config, asked)) is not None}
    if not paid_steps:
        return CostEstimate(sum(1 for _ in tickets))
    models: dict[str, AskedModel] = {
        step.name: hooks.added(Hook.CLASSIFIER, step.type)(
            step, config.categories, questions=config.asked, env=os.environ, actor="", run_id=None,
            network=Network(config.offline),
        )
        for step in paid_steps.values()
    }  # fmt: skip
    tickets_counted = tokens = 0
    likely_cost, worst_cost, first_prompt = 0.0, 0.0, ""
    for ticket in tickets:
        tickets_counted += 1
        calls: dict[str, list[str]] = {}
        for name in ticket.asked:
            if name in paid_steps:
                calls.setdefault(paid_steps[name].name, []).append(name)
        for step_name, names in calls.items():
            call = models[step_name].expected(ticket._replace(asked=tuple(names)), batch=plan.batch)
            tokens += call.tokens
            likely_cost, worst_cost = likely_cost + call.cost, worst_cost + call.most
            first_prompt = first_prompt or call.prompt
    has_prices = all(step.price for step in paid_steps.values())
    return CostEstimate(
        tickets_counted, tokens, likely_cost if has_prices else None, worst_cost if has_prices else None, first_prompt
    )


def _paid_step(config: Config, spec: ClassifierSpec) -> ClassifierSpec | None:
    """Return a classifier, or the first step of a cascade, that asks a provider."""
    steps = [config.classifiers[step] for step in spec.steps] if spec.type == "cascade" else [spec]
    return next((step for step in steps if step.type in MODELS), None)
