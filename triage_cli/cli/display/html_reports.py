"""The HTML pages of `eval` and `discover`, and how all such pages are made: no scripts, every text escaped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from triage_cli import domain as dm
from triage_cli.cli.display.eval_tables import percent, proof_line, span
from triage_cli.cli.messages import plural
from triage_cli.cli.safe_text import safe

CURVE_COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2")
MOST_REPORT_CATEGORIES = 40  # that the report's picture of confusion can hold
MOST_REPORT_TEXT = 300  # characters of a ticket that a report shows
FOLDER = Path(__file__).parent  # of the templates of this module's pages


class ChartCurve(NamedTuple):
    """The curve of one classifier in a chart of the HTML report."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """A chart of the HTML report: curves over shares from 0 to 1, with heights from 0 to `top`.

    `across` and `up` are the labels of the axes.
    """

    curves: Sequence[ChartCurve]
    top: float
    across: str
    up: str
    diagonal: bool = False
    width: int = 460
    height: int = 300
    left: int = 48
    bottom: int = 260

    def x(self, share: float) -> float:
        """Return the horizontal position of a share in the chart."""
        return round(self.left + share * (self.width - self.left - 24), 1)

    def y(self, value: float) -> float:
        """Return the vertical position of a value in the chart."""
        return round(self.bottom - value / self.top * (self.bottom - 24), 1)


def evaluation_page(evaluations: Sequence[dm.Evaluated], source: str, report_time: str) -> str:
    """Return the HTML report of one or several classifiers on one labelled file."""
    scored = [evaluation.scored for evaluation in evaluations]
    error_curves = [[(t["coverage"], t["error"] or 0.0) for t in s.thresholds if t["answered"]] for s in scored]
    highest_error = max((error for points in error_curves for _, error in points), default=0.0)
    top = next((step for step in (0.05, 0.1, 0.2, 0.3, 0.5) if highest_error <= step), 1.0)
    trust_curves = [[(b["confidence"], b["right"]) for b in s.reliability] for s in scored]
    return html_page(
        FOLDER / "eval_report.html",
        evaluations=evaluations,
        scored=scored,
        tickets=plural(scored[0].n, "labelled tickets", "labelled ticket"),
        source=source,
        at=report_time[:16].replace("T", " "),
        error_chart=Chart(_curves(scored, error_curves), top, "tickets answered without a person", "of these wrong"),
        trust_chart=Chart(_curves(scored, trust_curves), 1.0, "confidence", "right", diagonal=True),
        most_categories=MOST_REPORT_CATEGORIES,
        most_text=MOST_REPORT_TEXT,
    )


def _curves(scored: Sequence[dm.Scored], points: Sequence[Sequence[tuple[float, float]]]) -> list[ChartCurve]:
    named = enumerate(zip((s.classifier for s in scored), points, strict=True))
    return [ChartCurve(name, CURVE_COLOURS[number % len(CURVE_COLOURS)], curve) for number, (name, curve) in named]


def topics_page(proposal: dm.Proposal) -> str:
    """Return the HTML page of a proposal, with the examples of each topic."""
    return html_page(
        FOLDER / "topics.html", proposal=proposal, shortened_example=dm.shortened, at=dm.now()[:16].replace("T", " ")
    )


def categories_page(report: dm.CategoryReport, summary: Sequence[str]) -> str:
    """Return the HTML page of proposals to change categories; `summary` says what they were measured on."""
    return html_page(FOLDER / "categories.html", report=report, summary=summary, at=dm.now()[:16].replace("T", " "))


def html_page(template: Path, **values: Any) -> str:
    """Return the HTML page that Jinja makes of a report's template."""
    environment = Environment(loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {
        "safe_text": lambda text: safe(str(text)),  # invisible characters become visible
        "shortened": lambda name: safe(name if len(name) <= 24 else name[:23] + "…"),
        "percent": percent,
        "proof": proof_line,
        "words": dm.status_words,
        "change_words": dm.change_words,
        "span": span,
        "decimals": lambda number, digits: "" if number is None else f"{number:.{digits}f}",
        "pace": lambda scored: f"{1000 * scored.seconds / scored.n:.1f}" if scored.n else "",
    }
    style = (FOLDER / "report.css").read_text(encoding="utf-8")
    return environment.get_template(template.name).render(style=style, **values) + "\n"
