"""Tables of evaluations: before and after, thresholds, categories, the confusion matrix as a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from triage_cli.cli.display.cells import bar, text
from triage_cli.cli.display.table_layout import COLUMN_GAP, AutoWidthTable, WideTable, borderless
from triage_cli.cli.terminal import AMBER
from triage_cli.domain.ids import short

Record = Mapping[str, Any]

MATRIX = 16  # categories that fit into a picture; of more, the pairs that are most confused are listed
PAIRS = 12
DIGITS = 7  # columns of a number in the picture
NAME = 10  # columns that a category's name needs beside it
# Dark text on light cells, and no background where nothing is: legible on a dark and on a light terminal.
SHADES = ("dim", "grey0 on color(194)", "grey0 on color(157)", "grey0 on color(120)", "grey0 on color(77)")
ERRORS = ("dim", "grey0 on color(224)", "grey0 on color(217)", "grey0 on color(210)", "grey0 on color(203)")


def percent(share: float | None) -> str:
    """Return a share as a percentage."""
    return "" if share is None else f"{share:.1%}"


def span(interval: Sequence[float]) -> str:
    """Return an interval as percentages."""
    return f"{interval[0]:.1%} to {interval[1]:.1%}"


def lesson(records: Sequence[Record]) -> RenderableType:
    """Return the table of the result of learning."""
    (learning,) = records
    table = _table("on held-out tickets", "n", "accuracy", "", "95 % interval", "macro-F1")
    for name in ("before", "after"):
        figures = learning[name]
        if figures:
            table.add_row(
                text(name), text(figures["n"]), text(percent(figures["accuracy"])), bar(figures["accuracy"]),
                text(span(figures["interval"])), text(f"{figures['macro_f1']:.3f}"),
            )  # fmt: skip
    if table.row_count:
        return table
    table = _table("outcome", "version", "labelled")  # the summary has the reason
    table.add_row(
        text(learning["outcome"].replace("_", " "), AMBER), text(learning["version"] or "built-in"),
        text(learning["labelled"]),
    )  # fmt: skip
    return table


def suspects(records: Sequence[Record]) -> RenderableType:
    """Return a table of doubtful labels, what other answers say, and the ticket's text."""
    table = AutoWidthTable(("id", "label", "rather", "confidence", "against", "text"), spare=("against", "confidence"))
    for suspect in records:
        table.add_row(
            text(short(suspect["ticket_id"] or ""), "dim"),
            text(suspect["label"], "red"), text(suspect["suggestion"], "green"),
            bar(suspect["confidence"]), text(suspect["against"]), text(suspect["text"]),
        )  # fmt: skip
    return table


def evaluations(records: Sequence[Record], *, calibrated: bool = False) -> RenderableType:
    """Return a table that compares classifiers, then each one's figures, before a calibration on the same labels."""
    return Group(
        _side_by_side(records, "sure before these labels" if calibrated else "sure"),
        *(part for evaluation in records for part in _one(evaluation)),
    )


def _side_by_side(records: Sequence[Record], sure: str) -> Table:
    table = _table("classifier", *(evaluation["classifier"] for evaluation in records))
    table.add_row(text("tickets"), *(text(f"{r['n']:,}") for r in records))
    table.add_row(text("accuracy"), *(bar(r["accuracy"]) for r in records))
    table.add_row(text("95 % interval"), *(text(span(r["accuracy_interval"])) for r in records))
    table.add_row(text("macro-F1"), *(text(f"{r['macro_f1']:.3f}") for r in records))
    table.add_row(text(sure), *(text(percent(r["coverage"])) for r in records))
    less = [r["error_reduction"] for r in records]
    table.add_row(text("than always the commonest"), *(text(_compared(each)) for each in less))
    errors = [r["calibration_error"] for r in records]
    table.add_row(text("calibration error"), *(text("" if each is None else f"{each:.3f}") for each in errors))
    table.add_row(text("USD"), *(text(f"{r['cost_usd']:.4f}") for r in records))
    times = [1000 * r["seconds"] / r["n"] if r["n"] else None for r in records]
    table.add_row(text("ms a ticket"), *(text("" if each is None else f"{each:.1f}") for each in times))
    return table


def _compared(reduction: float | None) -> str:
    """Return the reduction of errors in words."""
    return "" if reduction is None else f"{abs(reduction):.0%} {'more' if reduction < 0 else 'fewer'} errors"


def _shade(error: float | None) -> str:
    return "" if error is None else "green" if error <= 0.02 else AMBER if error <= 0.1 else "red"


def _one(evaluation: Record) -> list[RenderableType]:
    thresholds = AutoWidthTable(
        ("threshold", "answered", "coverage", "wrong", "error", "95 % interval", "abstained"),
        spare=("abstained", "coverage", "95 % interval"),
        title=f"{evaluation['classifier']}: a threshold to choose",
    )
    for t in evaluation["thresholds"]:
        thresholds.add_row(
            text(f"{t['threshold']:.2f}"), text(f"{t['answered']:,}"), bar(t["coverage"], "cyan"),
            text(f"{t['wrong']:,}"), text(percent(t["error"]), _shade(t["error"])),
            text(span(t["error_interval"])), text(f"{t['abstained']:,}"),
        )  # fmt: skip
    categories = AutoWidthTable(
        ("category", "n", "recall", "95 % interval", "precision", "F1"),
        spare=("95 % interval", "precision"),
        title=f"{evaluation['classifier']}: by category",
    )
    for name, c in evaluation["per_category"].items():
        if c["n"]:
            categories.add_row(
                text(name), text(f"{c['n']:,}"), bar(c["recall"]), text(span(c["recall_interval"])),
                text(percent(c["precision"])), text(f"{c['f1']:.3f}"),
            )  # fmt: skip
    return [thresholds, categories, _confusion(evaluation)]


def _confusion(evaluation: Record) -> RenderableType:
    names, matrix = list(evaluation["per_category"]), evaluation["confusion"]
    if len(names) > MATRIX:
        return _pairs(names, matrix)
    table = _table("labelled ↓ answered →", *names, "no answer", title="confusion")
    for place, (name, row) in enumerate(zip(names, matrix, strict=True)):
        most = sum(row) or 1
        cells = [_cell(n, n / most, right=place == column) for column, n in enumerate(row)]
        table.add_row(text(name), *cells)
    return WideTable(table, NAME + (DIGITS + COLUMN_GAP) * (len(names) + 1), _pairs(names, matrix))


def _cell(number: int, share: float, *, right: bool) -> Text:
    shades = SHADES if right else ERRORS
    shade = 0 if not number else 1 + min(3, int(share * (4 if right else 12)))
    return text(f"{number:^{DIGITS},}" if number else f"{'·':^{DIGITS}}", shades[shade])


def _pairs(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> Table:
    table = _table("labelled", "answered", "times", "of", title="most confused")
    pairs = [
        (n, name, names[column], sum(row))
        for place, (name, row) in enumerate(zip(names, matrix, strict=True))
        for column, n in enumerate(row[:-1])
        if n and column != place
    ]
    for n, name, guess, total in sorted(pairs, key=lambda pair: -pair[0])[:PAIRS]:
        table.add_row(text(name), text(guess), text(n), text(total))
    return table


def _table(*columns: str, title: str = "") -> Table:
    table = borderless(title)
    for column in columns:
        table.add_column(text(column), overflow="ellipsis")
    return table
