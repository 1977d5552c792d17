"""`triage reclassify`: asks a question again, shows flips, and applies them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any

from triage_cli import domain as dm
from triage_cli.cli import messages, options, summaries, ticket_id_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import TicketPrintOptions
from triage_cli.cli.progress import ProgressBar, among
from triage_cli.service import FlipLimit

# The outcomes that are printed: the present and the new category or answer differ.
PRINTED_ACTIONS = (
    dm.Action.FLIP,
    dm.Action.FLIPPED,
    dm.Action.REFINED,
    dm.Action.WIDENED,
    dm.Action.REHOMED,
    dm.Action.UNHOUSED,
    dm.Action.DOUBTED,
    dm.Action.SETTLED,
)
ACTION_LABELS = {
    "flip": "would flip",
    "flipped": "flipped",
    "unanswered": "left as before for lack of a sure answer",
    "within": "within the hysteresis",
    "waiting": "waiting in a batch",
    "locked": "locked by a verdict",
    "held": "held by another run",
    "rehomed": "of categories that are gone find another",
    "unhoused": "of categories that are gone need a person",
}
CHANGE_LABELS = {
    "doubted": "need review",
    "settled": "no longer wait",
    "refined": "get a category below theirs",
    "widened": "get a category above theirs",
}  # with --apply
LABELS_OF_FURTHER = {
    "unanswered": "left open or as before for lack of a sure answer",
    "rehomed": "of values that are gone find another",
    "unhoused": "of values that are gone are open",
}
CHANGES_OF_FURTHER = {
    "doubted": "lose their answer",
    "settled": "get an answer",
    "refined": "get an answer below theirs",
    "widened": "get an answer above theirs",
}
FLIP_COLUMNS = (
    "ticket_id", "status", "old", "old_confidence", "new", "new_confidence", "old_reason", "new_reason", "applied",
)  # fmt: skip
WIDEST_MATRIX = 12  # the most categories of a matrix on a terminal


@remote_command
def reclassify(
    context: CommandContext,
    ids: options.Ids = None,
    question: options.QuestionName = dm.CATEGORY,
    status: options.Statuses = None,
    category: Annotated[str | None, option("NAME", "Only tickets of this category.")] = None,
    apply: Annotated[bool, flag("--apply", "Make the changes, all or none.")] = False,
    max_flips: Annotated[
        str | None, option("N|N%", "Change nothing if more than so many would change (exit code 8).")
    ] = None,
    reroute: Annotated[
        bool, flag("--reroute", "Send on routed tickets whose category changed, and those that no longer wait.")
    ] = False,
    doubted: Annotated[
        bool,
        flag(
            "--doubted",
            "Tickets without a sure answer now wait for a person, also routed ones; those that are sure of an upper "
            "level only get that one.",
        ),
    ] = False,
    *,
    classify_options: options.ClassifyOptions,
    limit: options.Limit = None,
    since: options.Since = None,
    batch: options.InBatches = False,
    force: Annotated[bool, flag("--force", "Also ask about tickets that a person decided.")] = False,
    printing: TicketPrintOptions,
) -> int:
    """Ask again about tickets that a classifier decided; print whose category would change. --apply changes them.

    With --question, it is the answers to that question that are asked for and changed.

    \b
    triage reclassify --classifier gpt                   look first
    triage reclassify --classifier gpt --apply --max-flips 2% --reroute
    triage reclassify --status routed --doubted --apply  then: triage review
    triage reclassify --status needs_review --apply      after new thresholds
    triage reclassify --question urgency --max-flips 5%  of another question
    """
    if reroute and not apply:
        raise dm.UsageError("--reroute sends on what was flipped, and without --apply nothing is", hint="add --apply")
    classify_plan = classify_options.plan(context, force=force, batch=batch)
    FlipLimit.read(max_flips)  # so that a bad value is reported before any work
    reclassify_plan = dm.ReclassifyPlan(classify_plan, apply, max_flips, reroute, doubted, question)
    printer = printing.printer(quiet=context.quiet, stop=context.stopper.stop)
    categories = (category,) if category is not None else ()
    filters = dm.Selection(statuses=options.statuses(status), categories=categories, since=options.typed_moment(since))
    if ids and filters != dm.Selection():
        raise dm.UsageError("ids go with no filter", hint="leave one of them out")
    named_ids, missing = ticket_id_input.ids(context, ids)
    selection = filters._replace(ids=named_ids[:limit] if named_ids is not None else None, limit=limit)
    flip_counts: Counter[str] = Counter()
    flip_matrix: Counter[tuple[str, str]] = Counter()
    exit_codes = {dm.ExitCode.PARTIAL} if missing else {dm.ExitCode.OK}
    unroutable = messages.UnroutableTickets()
    try:
        statuses = dm.DECIDED if question == dm.CATEGORY else dm.DECIDED | {"needs_review"}
        total = partial(among, context, selection, statuses)
        reclassify_bar = ProgressBar(context, "comparing", context.shows_progress(printer.format), total)
        flips = reclassify_bar.over(context.triage.reclassify(selection, reclassify_plan))
        flip_outcomes = _counted_flips(flips, flip_counts, flip_matrix, exit_codes, unroutable)
        printed_flips = (flip for flip in flip_outcomes if flip.action in PRINTED_ACTIONS)
        printer.many(printed_flips, dm.outcome_record, dm.FLIP_KEYS, _flip_table)
    finally:
        for line in matrix_lines(flip_matrix):
            context.say(line)
        unroutable.close()
        labels, changes = ACTION_LABELS, CHANGE_LABELS
        if question != dm.CATEGORY:
            labels, changes = ACTION_LABELS | LABELS_OF_FURTHER, CHANGES_OF_FURTHER
        change_labels = {action: label if apply else f"would {label}" for action, label in changes.items()}
        always_counted = ("flipped" if apply else "flip", "confirmed", "unchanged")
        context.say(messages.counted(flip_counts, always_counted, labels | change_labels))
    if batch or flip_counts["waiting"]:
        summaries.say_waiting_batches(context, context.triage.stats)
    if flip_counts["waiting"] and not batch:
        about = "" if question == dm.CATEGORY else f"--question {question} "
        context.say(f"triage reclassify {about}--batch collects the answers")
    if reroute:
        context.say(summaries.waiting_offline(context, context.triage.stats))
    if not apply and any(flip_counts[action] for action in PRINTED_ACTIONS):
        context.say("nothing was changed; the same with --apply makes these changes, and asks no classifier again")
    has_changed = apply and any(flip_counts[action] for action in ("flipped", "settled", "refined", "widened"))
    if context.guides and has_changed:
        context.say(f"next: {summaries.step_to_routing(context)}")
    return dm.gravest(exit_codes)


def _counted_flips(
    flip_outcomes: Iterable[dm.Outcome[dm.Flip]],
    flip_counts: Counter[str],
    flip_matrix: Counter[tuple[str, str]],
    exit_codes: set[dm.ExitCode],
    unroutable: messages.UnroutableTickets,
) -> Iterator[dm.Outcome[dm.Flip]]:
    for outcome in flip_outcomes:
        has_failed = outcome.action == dm.Action.UNANSWERED and outcome.error is not None
        flip_counts["failed" if has_failed else outcome.action] += 1
        if outcome.value is not None and outcome.value.old and outcome.value.new:
            flip_matrix[outcome.value.old, outcome.value.new] += 1
        if outcome.value is not None and outcome.value.applied and outcome.value.status == "unroutable":
            unroutable.add(outcome.value.new)
            exit_codes.add(dm.ExitCode.PARTIAL)
        if outcome.error is not None:
            exit_codes.add(outcome.error.exit_code)
            messages.say(f"failed: {outcome.error.sentence()}")
        yield outcome


def matrix_lines(flip_matrix: Counter[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a matrix of flips: old categories are rows, new ones columns.

    With many categories, only flips are shown.
    """
    if all(old == new for old, new in flip_matrix):
        return
    matrix_categories = sorted({name for pair in flip_matrix for name in pair})
    if len(matrix_categories) > WIDEST_MATRIX:
        for (old, new), flips in flip_matrix.most_common():
            if old != new:
                yield f"{old} → {new}: {flips:,}"
        return
    column_widths = [max(len(name), 7) for name in matrix_categories]
    corner = "old → new"
    first_width = max(map(len, (corner, *matrix_categories)))
    matrix_columns = list(zip(matrix_categories, column_widths, strict=True))
    yield "  ".join([f"{corner:<{first_width}}", *(f"{new:>{width}}" for new, width in matrix_columns)])
    for old in matrix_categories:
        matrix_cells = (f"{flip_matrix[old, new]:>{width},}" for new, width in matrix_columns)
        yield "  ".join([f"{old:<{first_width}}", *matrix_cells])


def _flip_table(flip_records: Sequence[Any]) -> object:
    from triage_cli.cli.display import cells
    from triage_cli.cli.display.table_layout import AutoWidthTable

    table = AutoWidthTable(FLIP_COLUMNS, spare=("status", "applied", "old_reason", "new_reason"))
    for flip in flip_records:
        table.add_row(
            *(cells.cell(dm.short(flip[name]) if name == "ticket_id" else flip[name]) for name in FLIP_COLUMNS)
        )
    return table
