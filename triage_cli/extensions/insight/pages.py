"""The HTML pages of `triage report` and `triage plan`: tables, and pictures that are told in words too."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.cli import html_page, messages, percent

FOLDER = Path(__file__).parent  # of the templates
MOST_MOVES = 1000  # of a plan that its page shows
PEOPLE = "verdict"  # stands in place of a classifier where a person decided
MOST_BARS, MOST_ROWS = 20, 200  # of a picture, of a table
WIDTH, EDGE, TOP = 360, 8, 20  # of a picture, in the units of SVG
COLUMN_HEIGHT, ROW_HEIGHT = 150, 40

Box = tuple[str, float, float, float, float]  # of a picture: the kind, x, y, width, height


class Bar(NamedTuple):
    """A bar of a picture, in parts: tickets by a kind that has a colour in the template."""

    name: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Return the tickets of all parts."""
        return sum(self.parts.values())

    @property
    def words(self) -> str:
        """Return the bar in words."""
        return f"{self.name}: {', '.join(f'{n:,} {kind}' for kind, n in self.parts.items() if n) or 'none'}"


class Picture(NamedTuple):
    """A picture as SVG draws it: boxes, and labels (text, x, y, anchor); `words` tell it to those who do not see it."""

    name: str
    title: str
    words: str
    height: float
    boxes: Sequence[Box]
    labels: Sequence[tuple[str, float, float, str]]
    kinds: Sequence[str] = ()
    width: int = WIDTH


def plan_page(plan: dm.Plan, name: str, since: str) -> str:
    """Return the HTML report of a plan for the configuration `name`."""
    pages = sum(move.pages for move in plan.moves)
    report_time = dm.now()[:16].replace("T", " ")
    return html_page(
        FOLDER / "plan_report.html", plan=plan, name=name, since=since, at=report_time, pages=pages, most=MOST_MOVES
    )


def report_page(report: dm.Report) -> str:
    """Return the HTML page of the report on a period."""
    by_age = dm.waiting_by_age(report.waiting, report.until)
    categories = _category_bars(report.decided)
    sent = {group.keys["destination"]: group.tickets for group in report.destinations if group.keys["destination"]}
    judged = dm.Count(sum(each.n for each in report.overruled), sum(each.held for each in report.overruled))
    return html_page(
        FOLDER / "period_report.html",
        report=report,
        tickets=sum(group.tickets for group in report.decided),
        cost=sum(group.cost_usd for group in report.decided),
        volumes=_columns(
            f"Tickets by {report.volume_key}",
            [
                _bar(group.keys[report.volume_key] or "", group.tickets, decided=group.sure, people=group.needs_review)
                for group in report.volumes
            ],
        ),
        categories=categories,
        category_picture=_rows("categories", "Tickets by category", categories[:MOST_BARS]),
        questions=[
            _rows(f"question-{name}", f"Tickets by {name}", _answer_bars(name, groups))
            for name, groups in report.questions.items()
        ],
        deciders=_deciders(report),
        right={each.name: each for each in report.right},
        right_picture=_shares("right", "Answers that verdicts confirm", report.right[:MOST_BARS]),
        in_all=dm.MeasuredShare.of("", judged),
        waiting=sum(group.tickets for group in report.waiting),
        statuses=sorted({group.keys["status"] or "" for group in report.waiting}),
        by_age=by_age,
        age_picture=_rows(
            "waiting",
            "Waiting tickets by age",
            [_bar(band, sum(counts.values()), people=counts.get("needs_review", 0)) for band, counts in by_age.items()],
        ),
        destinations=[(name, sent.get(name, 0)) for name in sorted({*sent, *report.deliveries})],
        moved=[drift for drift in report.drift if drift.moved],
        people=PEOPLE,
        most=MOST_ROWS,
        interval=_interval,
    )


def _bar(name: str, tickets: int, *, decided: int = 0, people: int) -> Bar:
    return Bar(name, {"decided": decided, "for a person": people, "otherwise": tickets - decided - people})


def _category_bars(decided: Iterable[dm.StatsGroup]) -> list[Bar]:
    """Return a bar for each category, the largest first: what machines decided, and people."""
    bars = []
    for name, groups in groupby(decided, lambda group: group.keys["category"]):
        parts = {"none": 0} if name is None else {"by machines": 0, "by people": 0}
        for group in groups:
            kind = "by people" if group.keys["classifier"] == PEOPLE else "by machines"
            parts["none" if name is None else kind] += group.tickets
        bars.append(Bar("no category yet" if name is None else name, parts))
    return sorted(bars, key=lambda bar: (-bar.total, bar.name))


def _answer_bars(question: str, groups: Iterable[dm.StatsGroup]) -> list[Bar]:
    """Return a bar for each answer to a further question, the most frequent first."""
    counts = {group.keys[question] or "": group.tickets for group in groups}
    bars = [Bar(value or "open", {"decided" if value else "none": number}) for value, number in counts.items()]
    return sorted(bars, key=lambda bar: (-bar.total, bar.name))[:MOST_BARS]


def _deciders(report: dm.Report) -> list[tuple[str | None, int, int, float]]:
    """Return who decided: all tickets, those with a category, and the cost; people first, nobody (None) last.

    Those whose every answer was replaced by a verdict are there, too.
    """
    deciders: dict[str | None, tuple[int, int, float]] = {each.name: (0, 0, 0.0) for each in report.right}
    for group in report.decided:
        tickets, sure, cost = deciders.get(name := group.keys["classifier"], (0, 0, 0.0))
        deciders[name] = tickets + group.tickets, sure + group.sure, cost + group.cost_usd
    ordered = sorted(deciders, key=lambda name: (name is None, name != PEOPLE, name or ""))
    return [(name, *deciders[name]) for name in ordered]


def _interval(share: dm.MeasuredShare) -> str:
    return f"{share.low:.1%} to {share.high:.1%}"


def _columns(title: str, bars: Sequence[Bar]) -> Picture:
    """Return the picture of a period: a column for each part of it."""
    most, bottom = max([1, *(bar.total for bar in bars)]), TOP + COLUMN_HEIGHT
    step = (WIDTH - 2 * EDGE) / len(bars)
    boxes: list[Box] = [("axis", EDGE, bottom, WIDTH - 2 * EDGE, 1)]
    for place, bar in enumerate(bars):
        y = float(bottom)
        for kind, n in bar.parts.items():
            height = COLUMN_HEIGHT * n / most
            y -= height
            boxes.append((kind, EDGE + step * (place + 0.1), y, step * 0.8, height))
    labels = [(f"{most:,}", EDGE, TOP - 6, "start"), (bars[0].name, EDGE, bottom + 16, "start")]
    labels += [(bars[-1].name, WIDTH - EDGE, bottom + 16, "end")] if len(bars) > 1 else []
    return Picture("volume", title, _words(bars), bottom + 24, boxes, labels, _kinds(bars))


def _rows(name: str, title: str, bars: Sequence[Bar]) -> Picture:
    """Return a picture with a row for each bar, below its name and number."""
    scale, labels = (WIDTH - 2 * EDGE) / max([1, *(bar.total for bar in bars)]), []
    boxes: list[Box] = []
    for place, bar in enumerate(bars):
        x, y = float(EDGE), place * ROW_HEIGHT
        labels += [(bar.name, EDGE, y + 14, "start"), (f"{bar.total:,}", WIDTH - EDGE, y + 14, "end")]
        boxes.append(("axis", EDGE, y + 20, WIDTH - 2 * EDGE, 12))
        for kind, n in bar.parts.items():
            boxes.append((kind, x, y + 20, scale * n, 12))
            x += scale * n
    return Picture(name, title, _words(bars), ROW_HEIGHT * len(bars), boxes, labels, _kinds(bars))


def _shares(name: str, title: str, shares: Sequence[dm.MeasuredShare]) -> Picture:
    """Return a picture of shares from 0 to 1: a mark for each, within the bar of its interval."""
    scale, labels, words = WIDTH - 2 * EDGE, [], []
    boxes: list[Box] = []
    for place, each in enumerate(shares):
        y = place * ROW_HEIGHT
        labels += [(each.name, EDGE, y + 14, "start"), (percent(each.share), WIDTH - EDGE, y + 14, "end")]
        boxes += [
            ("axis", EDGE, y + 20, scale, 12),
            ("interval", EDGE + scale * each.low, y + 20, scale * (each.high - each.low), 12),
            ("mark", EDGE + scale * (each.share or 0.0) - 1.5, y + 18, 3, 16),
        ]
        words.append(f"{each.name}: {percent(each.share)} of {messages.plural(each.n, 'verdicts')}, {_interval(each)}")
    return Picture(name, title, "; ".join(words), ROW_HEIGHT * len(shares), boxes, labels)


def _words(bars: Iterable[Bar]) -> str:
    return "; ".join(bar.words for bar in bars)


def _kinds(bars: Iterable[Bar]) -> list[str]:
    return list(dict.fromkeys(kind for bar in bars for kind, n in bar.parts.items() if n))
