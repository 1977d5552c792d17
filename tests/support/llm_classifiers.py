"""Language model classifiers against the stub provider."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.support.llm_server import (
    LlmServer,
)
from tests.support.online import ONLINE
from tests.support.world import a_budget
from triage_cli import domain as dm
from triage_cli.config import ClassifierSpec, Price
from triage_cli.extensions.llm import LLMClassifier, build
from triage_cli.runtime import Budget, TimeSource

CATEGORIES = (
    dm.Category("Billing", "Money", ("I was charged twice",)),
    dm.Category("Technical"),
    dm.Category("General"),
)


KEY = "sk-canary-0123456789abcdef"


WORDS = "the wombat canary sentence"


PRICE = Price(input=1000, output=10000, cache_read=100, cache_write=1250)


TYPES = ("openai", "anthropic", "decision")


class Clock:
    """Time that passes only by sleeping, so that no retry takes any."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0.001)

    @property
    def time_source(self) -> TimeSource:
        return TimeSource(lambda: self.now, self.sleep, lambda: 1.0)


def tickets(count: int, words: str = WORDS) -> list[dm.Ticket]:
    return [
        dm.Ticket(f"t{n}", f"i{n}", "s", None, "h", f"Subject {n}", words, None, None, 2, None, "now")
        for n in range(count)
    ]


def opened(server: LlmServer | str, kind: str = "openai", **spec: Any) -> LLMClassifier:
    root, url = (server, server) if isinstance(server, str) else (server.root, server.url)
    env = {"KEY": KEY}
    options: dict[str, Any] = {"max_wait": 120.0, "network": ONLINE} | {
        k: spec.pop(k) for k in ("max_wait", "network") if k in spec
    }
    options["nearest"] = spec.pop("find_nearest", None)
    base: dict[str, Any] = {
        "model": "m",
        "base_url": root if kind == "anthropic" else url,
        "api_key_env": "KEY",
        "timeout": 5.0,
    }
    categories = spec.pop("categories", CATEGORIES)
    return build(
        ClassifierSpec("gpt", kind, **(base | spec)), categories, env=env, actor="tester", run_id="r",
        time_source=Clock().time_source, **options,
    )  # fmt: skip


Ended = tuple[list[dm.Outcome[dm.Answer]], dm.TriageError | None]


def asked(classifier: LLMClassifier, count: int = 1, budget: Budget | None = None) -> Ended:
    """Return the outcomes and what ended the run."""
    outcomes: list[dm.Outcome[dm.Answer]] = []
    try:
        for chunk in classifier.classify([tickets(count)], budget or a_budget()):
            assert [o.row for o in chunk] == list(range(len(chunk)))
            outcomes += chunk
    except dm.TriageError as error:
        return outcomes, error
    return outcomes, None


def steps(outcomes: Sequence[dm.Outcome[dm.Answer]]) -> list[dm.Classification]:
    """Return each outcome's one step, having checked what always holds."""
    found = []
    for outcome in outcomes:
        assert outcome.value is not None
        assert outcome.item is outcome.value.ticket
        (step,) = outcome.value.steps
        assert step.category in {None, "Billing", "Technical", "General"}
        assert (step.error is None) == (outcome.error is None)
        assert outcome.error is None or isinstance(outcome.error, dm.AnswerError)
        assert not outcome.value.sure or step.category
        found.append(step)
    return found
