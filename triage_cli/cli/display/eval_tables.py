"""Tables of `eval`, `learn` and `suspects`: accuracy, thresholds, categories, the confusion matrix as a picture."""

import math
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from triage_cli import domain as dm
from triage_cli.cli.display.cells import Record, bar, text
from triage_cli.cli.display.table_layout import COLUMN_GAP, AutoWidthTable, WideTable, borderless
from triage_cli.cli.terminal import AMBER

MOST_MATRIX_CATEGORIES = 16  # that fit into the picture of confusion; of more, the most confused pairs are listed
MOST_PAIRS = 12
COUNT_WIDTH = 7  # of a count in the confusion matrix
TOLERATED = 0.1  # a share of wrong answers: what tables and `max_error` of the docs compare with
CATEGORY_WIDTH = 10  # that a category's name needs beside the confusion matrix
# Dark text on light cells, and no background for a count of 0: legible on a dark and on a light terminal.
RIGHT_SHADES = ("dim", "grey0 on color(194)", "grey0 on color(157)", "grey0 on color(120)", "grey0 on color(77)")
ERROR_SHADES = ("dim", "grey0 on color(224)", "grey0 on color(217)", "grey0 on color(210)", "grey0 on color(203)")


def percent(share: float | None) -> str:
    """Return a share, such as an accuracy, as a percentage."""
    return "" if share is None else f"{share:.1%}"


def span(interval: Sequence[float]) -> str:
    """Return a confidence interval as percentages."""
    return f"{interval[0]:.1%} to {interval[1]:.1%}"


def lesson(records: Sequence[Record]) -> RenderableType:
    """Return the table of `learn`: the accuracy before and after on held-out tickets, or why nothing was learned."""
    (learning,) = records
    accuracy_table = _evaluation_table("on held-out tickets", "n", "accuracy", "", "95 % interval", "macro-F1")
    for name in ("before", "after"):
        metrics = learning[name]
        if metrics:
            accuracy = metrics["accuracy"]
            accuracy_cells = text(percent(accuracy)), bar(accuracy), text(span(metrics["interval"]))
            accuracy_table.add_row(text(name), text(metrics["n"]), *accuracy_cells, text(f"{metrics['macro_f1']:.3f}"))
    if accuracy_table.row_count:
        return accuracy_table
    outcome_table = _evaluation_table("outcome", "version", "labelled")  # the summary of `learn` has the reason
    outcome = text(learning["outcome"].replace("_", " "), AMBER)
    outcome_table.add_row(outcome, text(learning["version"] or "built-in"), text(learning["labelled"]))
    return outcome_table


def suspects(records: Sequence[Record]) -> RenderableType:
    """Return the table of `suspects`: doubtful labels, what other answers say, and the ticket's text."""
    columns = ("id", "label", "rather", "confidence", "against", "text")
    suspects_table = AutoWidthTable(columns, spare=("against", "confidence"))
    for suspect in records:
        labels = text(suspect["label"], "red"), text(suspect["suggestion"], "green")
        doubts = bar(suspect["confidence"]), text(suspect["against"])
        suspects_table.add_row(
            text(dm.short(suspect["ticket_id"] or ""), "dim"), *labels, *doubts, text(suspect["text"])
        )
    return suspects_table


def category_changes(records: Sequence[Record]) -> RenderableType:
    """Return the table of `categories`: numbered proposals, what they gain, and what they cost."""
    columns = ("#", "proposal", "gain", "95 % interval", "rate", "labels", "tickets", "decisions", "why")
    changes_table = AutoWidthTable(columns, spare=("labels", "why"))
    for number, change in enumerate((dm.CategoryChange(**record) for record in records), 1):
        gains = (
            text(f"{change.gain:+.1%}"),
            text(span(change.gain_interval)),
            text("" if change.kind is dm.ChangeKind.SPLIT else f"{change.rate:.0%}"),
        )
        counts = (text(f"{n:,}") for n in (change.labels, change.tickets, change.disagreeing))
        why = text("; ".join(change.texts), "dim")
        changes_table.add_row(text(number), text(dm.change_words(change), "bold"), *gains, *counts, why)
    return changes_table


def evaluations(records: Sequence[Record], *, calibrated: bool = False) -> RenderableType:
    """Return a table that compares the evaluated classifiers, then the tables of each evaluation.

    `calibrated` says that the shares of sure answers are those before a calibration on the same labels.
    """
    return Group(
        _comparison(records, "sure before these labels" if calibrated else "sure"),
        *(table for evaluation in records for table in _evaluation_tables(evaluation)),
    )


def _comparison(evaluations: Sequence[Record], coverage_label: str) -> Table:
    """Return the table that compares evaluations: a column a classifier, a row a metric."""
    comparison = _evaluation_table("classifier", *(evaluation["classifier"] for evaluation in evaluations))
    comparison.add_row(text("tickets"), *(text(f"{e['n']:,}") for e in evaluations))
    comparison.add_row(text("accuracy"), *(bar(e["accuracy"]) for e in evaluations))
    comparison.add_row(text("95 % interval"), *(text(span(e["accuracy_interval"])) for e in evaluations))
    comparison.add_row(text("macro-F1"), *(text(f"{e['macro_f1']:.3f}") for e in evaluations))
    comparison.add_row(text(coverage_label), *(text(percent(e["coverage"])) for e in evaluations))
    error_reductions = [e["error_reduction"] for e in evaluations]
    comparison.add_row(text("than always the commonest"), *map(text, map(_error_reduction, error_reductions)))
    errors = [e["calibration_error"] for e in evaluations]
    comparison.add_row(text("calibration error"), *(text("" if error is None else f"{error:.3f}") for error in errors))
    comparison.add_row(text("USD"), *(text(f"{e['cost_usd']:.4f}") for e in evaluations))
    ticket_times = [f"{1000 * e['seconds'] / e['n']:.1f}" if e["n"] else "" for e in evaluations]
    comparison.add_row(text("ms a ticket"), *map(text, ticket_times))
    return comparison


def _error_reduction(reduction: float | None) -> str:
    """Return the reduction of errors, compared with the most common category, in words."""
    return "" if reduction is None else f"{abs(reduction):.0%} {'more' if reduction < 0 else 'fewer'} errors"


def _error_colour(threshold: Record) -> str:
    """Return the colour of the errors at a threshold: green where they are proven to be few."""
    if not threshold["answered"] or threshold["error"] > TOLERATED:
        return "red" if threshold["answered"] else ""
    return "green" if _is_proven(threshold) else AMBER


def _is_proven(threshold: Record) -> bool:
    return bool(threshold["error_interval"][1] <= TOLERATED)


def proof_line(thresholds: Iterable[Record]) -> str:
    """Return which threshold the labelled tickets prove, and which one only looks good, in a sentence or two."""
    promising = [each for each in thresholds if each["answered"] and each["error"] <= TOLERATED]
    if not promising:
        return f"No threshold has {TOLERATED:.0%} wrong or less."
    lowest = promising[0]
    proven = next(filter(_is_proven, promising), None)
    sentences = []
    if lowest is not proven:
        few = f"{lowest['wrong']:,} wrong of {lowest['answered']:,} does not prove {lowest['threshold']:.2f}"
        at_worst = f"up to {percent(lowest['error_interval'][1])} may be wrong"
        sentences.append(f"{few}: {at_worst}; label at least {_to_label(lowest):,} more.")
    if proven:
        at_most = f"at most {percent(proven['error_interval'][1])} is wrong"
        sentences.append(f"Proven: from {proven['threshold']:.2f} on {at_most}.")
    return " ".join(sentences)


def _to_label(threshold: Record) -> int:
    """Return how many more labelled tickets prove a threshold, if none that it answers is wrong."""
    answered, wrong = threshold["answered"], threshold["wrong"]
    right_more = 1
    while dm.wilson(wrong, answered + right_more)[1] > TOLERATED:
        right_more += 1
    coverage: float = threshold["coverage"]
    return math.ceil(right_more / coverage)


def _evaluation_tables(evaluation: Record) -> list[RenderableType]:
    """Return the tables of one evaluation: thresholds, categories, confusion."""
    threshold_table = AutoWidthTable(
        ("threshold", "answered", "coverage", "wrong", "error", "95 % interval", "abstained"),
        spare=("abstained", "coverage", "95 % interval"),
        title=f"{evaluation['classifier']}: a threshold to choose",
    )
    for t in evaluation["thresholds"]:
        answered = text(f"{t['threshold']:.2f}"), text(f"{t['answered']:,}"), bar(t["coverage"], "cyan")
        error = text(percent(t["error"]), _error_colour(t)), text(span(t["error_interval"]))
        threshold_table.add_row(*answered, text(f"{t['wrong']:,}"), *error, text(f"{t['abstained']:,}"))
    category_table = AutoWidthTable(
        ("category", "n", "recall", "95 % interval", "precision", "F1"),
        spare=("95 % interval", "precision"),
        title=f"{evaluation['classifier']}: by category",
    )
    for category, c in evaluation["per_category"].items():
        if c["n"]:
            recall = bar(c["recall"]), text(span(c["recall_interval"]))
            precision = text(percent(c["precision"])), text(f"{c['f1']:.3f}")
            category_table.add_row(text(category), text(f"{c['n']:,}"), *recall, *precision)
    return [threshold_table, Text(proof_line(evaluation["thresholds"])), category_table, _confusion_matrix(evaluation)]


def _confusion_matrix(evaluation: Record) -> RenderableType:
    categories, confusion = list(evaluation["per_category"]), evaluation["confusion"]
    if len(categories) > MOST_MATRIX_CATEGORIES:
        return _confused_pairs(categories, confusion)
    matrix = _evaluation_table("labelled ↓ answered →", *categories, "no answer", title="confusion")
    for label_index, (label, answer_counts) in enumerate(zip(categories, confusion, strict=True)):
        label_count = sum(answer_counts) or 1
        cells = [
            _confusion_cell(count, count / label_count, right=label_index == answer_index)
            for answer_index, count in enumerate(answer_counts)
        ]
        matrix.add_row(text(label), *cells)
    matrix_width = CATEGORY_WIDTH + (COUNT_WIDTH + COLUMN_GAP) * (len(categories) + 1)
    return WideTable(matrix, matrix_width, _confused_pairs(categories, confusion))


def _confusion_cell(count: int, share: float, *, right: bool) -> Text:
    shades = RIGHT_SHADES if right else ERROR_SHADES
    shade = 0 if not count else 1 + min(3, int(share * (4 if right else 12)))
    return text(f"{count:^{COUNT_WIDTH},}" if count else f"{'·':^{COUNT_WIDTH}}", shades[shade])


def _confused_pairs(categories: Sequence[str], confusion: Sequence[Sequence[int]]) -> Table:
    """Return the table of the categories that are most confused: the label and the answer."""
    pair_table = _evaluation_table("labelled", "answered", "times", "of", title="most confused")
    confused_pairs = [
        (count, label, categories[answer_index], sum(answer_counts))
        for label_index, (label, answer_counts) in enumerate(zip(categories, confusion, strict=True))
        for answer_index, count in enumerate(answer_counts[:-1])
        if count and answer_index != label_index
    ]
    for count, label, answer, label_count in sorted(confused_pairs, key=lambda pair: -pair[0])[:MOST_PAIRS]:
        pair_table.add_row(text(label), text(answer), text(count), text(label_count))
    return pair_table


def _evaluation_table(*columns: str, title: str = "") -> Table:
    evaluation_table = borderless(title)
    for column_name in columns:
        evaluation_table.add_column(text(column_name), overflow="ellipsis")
    return evaluation_table
