"""The report of an evaluation: one self-contained HTML page with its plots; no scripts, nothing from elsewhere."""

from collections.abc import Iterator, Sequence
from html import escape

from triage_cli.cli.display.eval_tables import percent, span
from triage_cli.cli.messages import plural, safe
from triage_cli.domain.evaluation.metrics import Scored
from triage_cli.service.learning.evaluate import Evaluated

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2")
WIDTH, HEIGHT, LEFT, BELOW = 460, 300, 48, 40
MATRIX = 40  # categories that a picture of confusion can hold
TEXT = 300  # characters of a ticket that are shown
STYLE = """
:root{color-scheme:light dark;--ink:#1e293b;--soft:#64748b;--line:#e2e8f0;--blue:#2563eb;--paper:#f8fafc;--card:#fff;
--own:#eff6ff}@media (prefers-color-scheme:dark){:root{--ink:#e2e8f0;--soft:#94a3b8;--line:#334155;--blue:#60a5fa;
--paper:#0f172a;--card:#1e293b;--own:#1e3a5f}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1060px;margin:0 auto;padding:32px 20px}h1{font-size:26px;margin:0}h2{font-size:20px;margin:40px 0 8px}
h3{font-size:15px;margin:24px 0 8px}p,.soft{color:var(--soft);margin:4px 0}.cards{display:flex;flex-wrap:wrap;gap:12px;
margin:16px 0}.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px;
min-width:150px;flex:1}.card b{display:block;font-size:24px}.card span{color:var(--soft);font-size:13px}
.plots{display:flex;
flex-wrap:wrap;gap:16px}figure{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px;
margin:0;flex:1 1 440px}figcaption{font-size:13px;color:var(--soft)}svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}.scroll{overflow-x:auto;background:var(--card);border:1px solid
var(--line);border-radius:10px}table{border-collapse:collapse;width:100%;font-size:14px}th,td{padding:6px 12px;
text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--soft);font-weight:600}
th:first-child,td:first-child,.left{text-align:left}td.left:last-child{white-space:normal;min-width:280px}
.bar{display:inline-block;height:9px;background:var(--blue);border-radius:3px;vertical-align:middle;margin-left:8px}
.track{display:inline-block;width:100px;text-align:left}tr.own td{background:var(--own);font-weight:600}
@media print{body{background:var(--card)}figure,.scroll,.card{break-inside:avoid}}
"""


def page(found: Sequence[Evaluated], source: str, at: str) -> str:
    """Return the report of one or several classifiers on one labelled file; every text in it is escaped."""
    scored = [each.scored for each in found]
    n = scored[0].n
    tickets = plural(n, "labelled tickets", "labelled ticket")
    body = "".join(
        [
            f"<h1>How often is {_classifiers(scored)} right?</h1>",
            f"<p>{tickets} of {_said(source)}, {_said(at[:16].replace('T', ' '))} UTC.</p>",
            "<p>Each interval holds the true value with a probability of 95&nbsp;% (Wilson's interval).</p>",
            _compared(scored) if len(scored) > 1 else "",
            _plots(scored),
            *(part for each in found for part in _one(each)),
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>triage eval</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _classifiers(scored: Sequence[Scored]) -> str:
    names = ", ".join(s.classifier for s in scored)
    return f"the classifier “{_said(names)}”" if len(scored) == 1 else f"each classifier ({_said(names)})"


def _said(text: object) -> str:
    return escape(safe(str(text)))


def _compared(scored: Sequence[Scored]) -> str:
    rows = [
        [
            _said(s.classifier), percent(s.accuracy) + _bar(s.accuracy), span(s.accuracy_interval), f"{s.macro_f1:.3f}",
            percent(s.coverage), _error(s.calibration_error), f"${s.cost_usd:.4f}", _pace(s),
        ]
        for s in scored
    ]  # fmt: skip
    head = (
        "classifier",
        "accuracy",
        "interval",
        "macro-F1",
        "answered surely",
        "calibration error",
        "cost",
        "ms a ticket",
    )
    return f"<h2>Side by side</h2>{_table(head, rows)}"


def _plots(scored: Sequence[Scored]) -> str:
    curves = [[(t["coverage"], t["error"] or 0.0) for t in s.thresholds if t["answered"]] for s in scored]
    highest = max((y for curve in curves for _, y in curve), default=0.0)
    top = next((step for step in (0.05, 0.1, 0.2, 0.3, 0.5) if highest <= step), 1.0)
    names = [s.classifier for s in scored]
    error = _chart(curves, names, top, "tickets answered without a person", "of these wrong")
    points = [[(b["confidence"], b["right"]) for b in s.reliability] for s in scored]
    trust = _chart(points, names, 1.0, "confidence", "right", diagonal=True)
    return (
        '<h2>What to expect</h2><div class="plots">'
        f"<figure>{error}<figcaption>Each point is a threshold: the more is answered, the more of it is wrong. "
        "Down and to the right is better.</figcaption></figure>"
        f"<figure>{trust}<figcaption>On the dashed line a confidence of 0.8 is right 8 times of 10. Below it the "
        "classifier is too sure of itself.</figcaption></figure></div>"
    )


def _chart(
    curves: Sequence[Sequence[tuple[float, float]]], names: Sequence[str], top: float, across: str, up: str,
    *, diagonal: bool = False,
) -> str:  # fmt: skip
    def x(value: float) -> float:
        return LEFT + value * (WIDTH - LEFT - 24)

    def y(value: float) -> float:
        return HEIGHT - BELOW - value / top * (HEIGHT - BELOW - 24)

    parts = []
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        height = y(share * top)
        parts.append(
            f'<line x1="{x(0):.1f}" y1="{height:.1f}" x2="{x(1):.1f}" y2="{height:.1f}" style="stroke:var(--line)"/>'
            f'<text x="{x(0) - 6:.1f}" y="{height + 4:.1f}" text-anchor="end">{share * top:.0%}</text>'
            f'<text x="{x(share):.1f}" y="{HEIGHT - BELOW + 16}" text-anchor="middle">{share:.0%}</text>'
        )
    if diagonal:
        parts.append(
            f'<line x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(1):.1f}" y2="{y(1):.1f}" stroke="#94a3b8" '
            'stroke-dasharray="5 4"/>'
        )
    for number, (curve, name) in enumerate(zip(curves, names, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in sorted(curve))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5" fill="{colour}"/>' for a, b in curve]
        parts.append(
            f'<text x="{LEFT + 8}" y="{14 + 14 * number}" style="fill:{colour};font-weight:600">{_said(name)}</text>'
        )
    parts.append(f'<text x="{x(0.5):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{across} →</text>')
    parts.append(f'<text x="12" y="{y(top / 2):.1f}" transform="rotate(-90 12 {y(top / 2):.1f})" '
                 f'text-anchor="middle">{up} →</text>')  # fmt: skip
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{up} by {across}">{"".join(parts)}</svg>'


def _one(each: Evaluated) -> Iterator[str]:
    s = each.scored
    yield f"<h2>{_said(s.classifier)}</h2>" + _cards(s)
    if s.outside:
        yield (
            f"<p>{s.outside['n']:,} more tickets belong to none of the categories: "
            f"{percent(s.outside['held_back'])} of them were not answered surely.</p>"
        )
    if each.learned:
        yield f"<p>{each.learned.n:,} of these tickets were learned from, so the figures flatter.</p>"
    yield "<h3>A threshold to choose</h3>" + _thresholds(s)
    names = list(s.per_category)
    if len(names) <= MATRIX:
        yield "<h3>What is taken for what</h3>" + _confusion(names, s.confusion)
    yield "<h3>By category</h3>" + _categories(s)
    if each.mistakes:
        rows = [[_said(m.label), _said(m.guess), _share(m.confidence), _said(m.text[:TEXT])] for m in each.mistakes]
        yield "<h3>The surest mistakes</h3>" + _table(
            ("labelled", "answered", "confidence", "ticket"), rows, left=(1, 3)
        )


def _cards(s: Scored) -> str:
    fewer = "" if s.error_reduction is None else f"{s.error_reduction:.0%}"
    cards = [
        (percent(s.accuracy), f"right, best guess ({span(s.accuracy_interval)})"),
        (percent(s.coverage), "answered surely, without a person"),
        (fewer, f"fewer errors than always the commonest ({percent(s.majority_accuracy)} right)"),
        (_error(s.calibration_error), "calibration error: confidence against truth"),
        (f"${1000 * s.cost_usd / s.n:.2f}" if s.n else "", f"a thousand tickets; {_pace(s)} ms a ticket"),
    ]  # fmt: skip
    return '<div class="cards">' + "".join(
        f'<div class="card"><b>{value}</b><span>{label}</span></div>' for value, label in cards if value
    ) + "</div>"  # fmt: skip


def _thresholds(s: Scored) -> str:
    rows = [
        [
            f"{t['threshold']:.2f}", percent(t["coverage"]) + _bar(t["coverage"]), f"{t['answered']:,}",
            f"{t['wrong']:,}", percent(t["error"]), span(t["error_interval"]), f"{t['abstained']:,}",
        ]
        for t in s.thresholds
    ]  # fmt: skip
    return _table(("threshold", "coverage", "answered", "wrong", "error", "interval", "left to a person"), rows)


def _categories(s: Scored) -> str:
    rows = [
        [
            _said(name), f"{c['n']:,}", percent(c["recall"]) + _bar(c["recall"]), span(c["recall_interval"]),
            percent(c["precision"]), f"{c['f1']:.3f}",
        ]
        for name, c in s.per_category.items()
        if c["n"]
    ]  # fmt: skip
    return _table(("category", "tickets", "found (recall)", "interval", "right when named (precision)", "F1"), rows)


def _confusion(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    size, left, top = max(18, min(46, 700 // (len(names) + 1))), 180, 120
    parts = []
    for place, (name, row) in enumerate(zip(names, matrix, strict=True)):
        y = top + place * size
        parts.append(f'<text x="{left - 8}" y="{y + size / 2 + 4:.1f}" text-anchor="end">{_short(name)}</text>')
        x = left + place * size + size / 2
        parts.append(f'<text x="{x:.1f}" y="{top - 8}" transform="rotate(-45 {x:.1f} {top - 8})">{_short(name)}</text>')
        for column, n in enumerate(row):
            share = n / (sum(row) or 1)
            colour = "37,99,235" if place == column else "220,38,38" if column < len(names) else "100,116,139"
            shade = 0.0 if not n else 0.12 + 0.88 * share
            ink = "#fff" if shade > 0.55 else "var(--ink)"
            answer = "no answer" if column == len(names) else names[column]
            parts.append(
                f'<g><title>{_said(name)} answered as {_said(answer)}: {n:,}</title>'
                f'<rect x="{left + column * size}" y="{y}" width="{size - 1}" height="{size - 1}" rx="3" '
                f'fill="rgba({colour},{shade:.2f})" style="stroke:var(--line)"/>'
                + (f'<text x="{left + column * size + size / 2:.1f}" y="{y + size / 2 + 4:.1f}" text-anchor="middle" '
                   f'style="fill:{ink}">{n:,}</text>' if n and size >= 26 else "")
                + "</g>"
            )  # fmt: skip
    x = left + len(names) * size + size / 2
    parts.append(f'<text x="{x:.1f}" y="{top - 8}" transform="rotate(-45 {x:.1f} {top - 8})">no answer</text>')
    width, height = left + (len(names) + 1) * size + 90, top + len(names) * size + 8
    return (
        f'<figure style="max-width:{width}px"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="confusion matrix">{"".join(parts)}</svg>'
        "<figcaption>A row is how tickets were labelled, a column how they were answered.</figcaption></figure>"
    )


def _short(name: str) -> str:
    return _said(name if len(name) <= 24 else name[:23] + "…")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> str:
    """Return a table of cells that are HTML already; the columns at the places `left` hold text."""
    sides = [" class=left" if place in left else "" for place in range(len(head))]
    top = "".join(f"<th{side}>{name}</th>" for side, name in zip(sides, head, strict=True))
    lines = "".join(
        "<tr>" + "".join(f"<td{side}>{cell}</td>" for side, cell in zip(sides, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def _bar(share: float | None) -> str:
    width = round(100 * (share or 0.0))
    return f'<span class="track"><span class="bar" style="width:{width}px"></span></span>'


def _error(error: float | None) -> str:
    return "" if error is None else f"{error:.3f}"


def _share(confidence: float | None) -> str:
    return "" if confidence is None else f"{confidence:.2f}"


def _pace(s: Scored) -> str:
    return f"{1000 * s.seconds / s.n:.1f}" if s.n else ""
