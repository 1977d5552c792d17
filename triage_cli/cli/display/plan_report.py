"""The report of a plan: one self-contained HTML page; every text in it is escaped."""

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from triage_cli.cli.display.html_report import STYLE
from triage_cli.cli.messages import safe
from triage_cli.domain.ids import now
from triage_cli.domain.insight.plans import Plan

TEMPLATE = Path(__file__).with_name("plan_report.html")
MOVES = 1000  # that are shown


def page(plan: Plan, name: str, since: str) -> str:
    """Return the page about a plan for the configuration `name`."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["safe_text"] = lambda text: safe(str(text))  # what is invisible is shown
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    pages = sum(move.pages for move in plan.moves)
    at = now()[:16].replace("T", " ")
    return template.render(plan=plan, name=name, since=since, style=STYLE, at=at, pages=pages, most=MOVES) + "\n"
