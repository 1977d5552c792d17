"""`triage reclassify`: asks again, shows flips, and applies them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from triage_cli.cli import messages, options, ticket_id_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.commands.pipeline.classify import tell_waiting
from triage_cli.cli.commands.pipeline.route import waiting_offline
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TicketPrintOptions
from triage_cli.cli.progress import ProgressBar, among
from triage_cli.domain.errors import UsageError
from triage_cli.domain.exit_codes import ExitCode, gravest
from triage_cli.domain.ids import short
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.reclassification import Flip, ReclassifyPlan
from triage_cli.domain.serialization import FLIP_KEYS, outcome_record
from triage_cli.domain.tickets import Selection
from triage_cli.service.classification.flip_rules import Bound

# The statuses that are selected if no ticket is named.
DECIDED = ("classified", "routing", "routed", "unroutable", "undeliverable")
# The outcomes that are printed: the present and the new category differ.
SHOWN = (Action.FLIP, Action.FLIPPED, Action.REHOMED, Action.UNHOUSED, Action.DOUBTED, Action.SETTLED)
WORDS = {
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
CHANGED = {"doubted": "need review", "settled": "no longer wait"}  # with --apply
COLUMNS = (
    "ticket_id", "status", "old", "old_confidence", "new", "new_confidence", "old_reason", "new_reason", "applied",
)  # fmt: skip
WIDEST = 12  # the most categories of a matrix on a terminal


@remote_command
def reclassify(
    session: CommandContext,
    ids: options.Ids = None,
    status: options.Statuses = None,
    category: Annotated[str | None, typer.Option(metavar="NAME", help="Only tickets of this category.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Make the changes, all or none.")] = False,
    max_flips: Annotated[
        str | None, typer.Option(metavar="N|N%", help="Change nothing if more than so many would change (exit code 8).")
    ] = None,
    reroute: Annotated[
        bool,
        typer.Option("--reroute", help="Send on routed tickets whose category changed, and those that no longer wait."),
    ] = False,
    doubted: Annotated[
        bool, typer.Option("--doubted", help="Tickets without a sure answer now wait for a person, also routed ones.")
    ] = False,
    *,
    classify_options: options.ClassifyOptions,
    limit: options.Limit = None,
    since: options.Since = None,
    batch: options.InBatches = False,
    force: Annotated[bool, typer.Option("--force", help="Also ask about tickets that a person decided.")] = False,
    printing: TicketPrintOptions,
) -> int:
    """Ask again about tickets that a classifier decided; print whose category would change. --apply changes them.

    \b
    triage reclassify --classifier gpt                   look first
    triage reclassify --classifier gpt --apply --max-flips 2% --reroute
    triage reclassify --status routed --doubted --apply  then: triage review
    triage reclassify --status needs_review --apply      after new thresholds
    """
    if reroute and not apply:
        raise UsageError("--reroute sends on what was flipped, and without --apply nothing is", hint="add --apply")
    asked = classify_options.plan(session, force=force, batch=batch)
    Bound.read(max_flips)  # so that a bad value is reported before any work
    plan = ReclassifyPlan(asked, apply, max_flips, reroute, doubted)
    printer = printing.printer(quiet=session.quiet, stop=session.stopper.stop)
    categories = (category,) if category is not None else ()
    filters = Selection(statuses=options.statuses(status), categories=categories, since=options.moment(since))
    if ids and filters != Selection():
        raise UsageError("ids go with no filter", hint="leave one of them out")
    named, missing = ticket_id_input.ids(session, ids)
    selection = filters._replace(ids=named[:limit] if named is not None else None, limit=limit)
    counts: Counter[str] = Counter()
    matrix: Counter[tuple[str, str]] = Counter()
    codes = {ExitCode.PARTIAL} if missing else {ExitCode.OK}
    unroutable = messages.Unroutable()
    try:
        total = partial(among, session, selection, DECIDED)
        bar = ProgressBar(session, "comparing", session.shows_progress(printer.format), total)
        outcomes = _counted(bar.over(session.triage.reclassify(selection, plan)), counts, matrix, codes, unroutable)
        printer.many((o for o in outcomes if o.action in SHOWN), outcome_record, FLIP_KEYS, _table)
    finally:
        for line in table(matrix):
            session.say(line)
        unroutable.close()
        labels = WORDS | {action: label if apply else f"would {label}" for action, label in CHANGED.items()}
        session.say(messages.counted(counts, ("flipped" if apply else "flip", "confirmed", "unchanged"), labels))
    if batch or counts["waiting"]:
        tell_waiting(session, session.triage.stats)
    if counts["waiting"] and not batch:
        session.say("triage reclassify --batch collects the answers")
    if reroute:
        session.say(waiting_offline(session, session.triage.stats))
    if session.guides and (counts["flip"] or counts["settled"]) and not apply:
        session.say("next: the same with --apply; no classifier is asked again")
    elif session.guides and (counts["flipped"] or counts["settled"]):
        session.say("next: triage route")
    return gravest(codes)


def _counted(
    outcomes: Iterable[Outcome[Flip]],
    counts: Counter[str],
    matrix: Counter[tuple[str, str]],
    codes: set[ExitCode],
    unroutable: messages.Unroutable,
) -> Iterator[Outcome[Flip]]:
    for outcome in outcomes:
        has_failed = outcome.action == Action.UNANSWERED and outcome.error is not None
        counts["failed" if has_failed else outcome.action] += 1
        if outcome.value is not None and outcome.value.old and outcome.value.new:
            matrix[outcome.value.old, outcome.value.new] += 1
        if outcome.value is not None and outcome.value.applied and outcome.value.status == "unroutable":
            unroutable.add(outcome.value.new)
            codes.add(ExitCode.PARTIAL)
        if outcome.error is not None:
            codes.add(outcome.error.exit_code)
            messages.say(f"failed: {outcome.error.sentence()}")
        yield outcome


def table(matrix: Counter[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a matrix: old categories are rows, new ones columns.

    With many categories, only changes are shown.
    """
    if all(old == new for old, new in matrix):
        return
    names = sorted({name for pair in matrix for name in pair})
    if len(names) > WIDEST:
        for (old, new), number in matrix.most_common():
            if old != new:
                yield f"{old} → {new}: {number:,}"
        return
    widths = [max(len(name), 7) for name in names]
    corner = "old → new"
    first = max(map(len, (corner, *names)))
    yield "  ".join([f"{corner:<{first}}", *(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))])
    for old in names:
        cells = (f"{matrix[old, new]:>{w},}" for new, w in zip(names, widths, strict=True))
        yield "  ".join([f"{old:<{first}}", *cells])


def _table(records: Sequence[Any]) -> object:
    from triage_cli.cli.display import cells
    from triage_cli.cli.display.table_layout import AutoWidthTable

    shown = AutoWidthTable(COLUMNS, spare=("status", "applied", "old_reason", "new_reason"))
    for r in records:
        shown.add_row(*(cells.cell(short(r[name]) if name == "ticket_id" else r[name]) for name in COLUMNS))
    return shown
