"""The reports of `eval` and `plan`: self-contained HTML pages without scripts; every text is escaped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from triage_cli.cli.display.eval_tables import percent, span
from triage_cli.cli.messages import plural
from triage_cli.cli.terminal import safe
from triage_cli.domain.evaluation.metrics import Scored
from triage_cli.domain.insight.plans import Plan
from triage_cli.domain.times import now
from triage_cli.service.learning.evaluation_run import Evaluated

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2")
MOST_CATEGORIES = 40  # that a picture of confusion can hold
MOST_TEXT = 300  # characters of a ticket that are shown
MOST_MOVES = 1000  # that are shown
FOLDER = Path(__file__).parent


class Curve(NamedTuple):
    """The line of one classifier in a chart."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """Curves over shares from 0 to 1, with heights from 0 to `top`; `across` and `up` are the labels of the axes."""

    curves: Sequence[Curve]
    top: float
    across: str
    up: str
    diagonal: bool = False
    width: int = 460
    height: int = 300
    left: int = 48
    bottom: int = 260

    def x(self, share: float) -> float:
        """Return the horizontal position of a share."""
        return round(self.left + share * (self.width - self.left - 24), 1)

    def y(self, value: float) -> float:
        """Return the vertical position of a value."""
        return round(self.bottom - value / self.top * (self.bottom - 24), 1)


def evaluation_page(evaluations: Sequence[Evaluated], source: str, at: str) -> str:
    """Return the report of one or several classifiers on one labelled file."""
    scored = [each.scored for each in evaluations]
    errors = [[(t["coverage"], t["error"] or 0.0) for t in s.thresholds if t["answered"]] for s in scored]
    highest = max((error for points in errors for _, error in points), default=0.0)
    top = next((step for step in (0.05, 0.1, 0.2, 0.3, 0.5) if highest <= step), 1.0)
    trust = [[(b["confidence"], b["right"]) for b in s.reliability] for s in scored]
    return _rendered(
        "eval_report.html",
        evaluations=evaluations,
        scored=scored,
        tickets=plural(scored[0].n, "labelled tickets", "labelled ticket"),
        source=source,
        at=at[:16].replace("T", " "),
        error_chart=Chart(_curves(scored, errors), top, "tickets answered without a person", "of these wrong"),
        trust_chart=Chart(_curves(scored, trust), 1.0, "confidence", "right", diagonal=True),
        most_categories=MOST_CATEGORIES,
        most_text=MOST_TEXT,
    )


def _curves(scored: Sequence[Scored], points: Sequence[Sequence[tuple[float, float]]]) -> list[Curve]:
    named = enumerate(zip((s.classifier for s in scored), points, strict=True))
    return [Curve(name, COLOURS[number % len(COLOURS)], curve) for number, (name, curve) in named]


def plan_page(plan: Plan, name: str, since: str) -> str:
    """Return the report of a plan for the configuration `name`."""
    pages = sum(move.pages for move in plan.moves)
    at = now()[:16].replace("T", " ")
    return _rendered("plan_report.html", plan=plan, name=name, since=since, at=at, pages=pages, most=MOST_MOVES)


def _rendered(template: str, **values: Any) -> str:
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {
        "safe_text": lambda text: safe(str(text)),  # what is invisible is shown
        "shortened": lambda name: safe(name if len(name) <= 24 else name[:23] + "…"),
        "percent": percent,
        "span": span,
        "decimals": lambda number, digits: "" if number is None else f"{number:.{digits}f}",
        "pace": lambda scored: f"{1000 * scored.seconds / scored.n:.1f}" if scored.n else "",
    }
    style = (FOLDER / "report.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, **values) + "\n"
