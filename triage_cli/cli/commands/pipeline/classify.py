"""`triage classify`: ask a classifier about tickets."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Annotated

import typer

from triage_cli import wiring
from triage_cli.cli import local_time, messages, options, terminal, ticket_id_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TICKETS_TABLE, Printer, TicketPrintOptions
from triage_cli.cli.progress import ProgressBar, among
from triage_cli.domain.decisions import ClassifyPlan, Decided
from triage_cli.domain.exit_codes import ExitCode, gravest
from triage_cli.domain.insight.stats import Stats
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.serialization import TICKET_KEYS, outcome_record
from triage_cli.domain.tickets import Selection

COLUMNS = (*TICKET_KEYS, "asked")
PREVIEW_KEYS = ("tickets", "tokens", "cost_usd", "prompt")
WORDS = {"waiting": "waiting in a batch", "needs_review": "need review", "held": "held by a verdict or another run"}
DIDS = ("classified", "needs_review", "failed")


@remote_command
def classify(
    session: CommandContext,
    ids: options.Ids = None,
    *,
    classify_options: options.ClassifyOptions,
    limit: options.Limit = None,
    since: options.Since = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show how many tickets would be asked about, the cost and a prompt; ask nothing."
        ),
    ] = False,
    batch: options.InBatches = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Ask about every ticket again, also about those that a person decided, or that wait in a batch.",
        ),
    ] = False,
    printing: TicketPrintOptions,
) -> int:
    """Give tickets a category: the named ones, else all that are new or failed, urgent ones first.

    \b
    triage classify
    triage list --status needs_review -o id | triage classify - --classifier gpt
    """
    plan = classify_options.plan(session, force=force, batch=batch)
    printer = printing.printer(quiet=session.quiet, stop=session.stopper.stop)
    named, missing = ticket_id_input.ids(session, ids)
    selection = Selection(ids=named[:limit] if named is not None else None, since=options.moment(since), limit=limit)
    if dry_run:
        session.only_here("classify --dry-run")
        return _preview(session, selection, plan, printer, as_text=printing.as_text)
    counts: Counter[str] = Counter()
    codes = {ExitCode.PARTIAL} if missing else {ExitCode.OK}
    total = partial(among, session, selection, ("new", "failed"))
    bar = ProgressBar(session, "classifying", session.shows_progress(printer.format), total)
    outcomes = _counted(bar.over(session.triage.classify(selection, plan)), counts, codes)
    try:
        printer.of_named(ids, outcomes, outcome_record, COLUMNS, TICKETS_TABLE)
    finally:
        session.say(messages.counted(counts, DIDS, WORDS))
    stats = cache(session.triage.stats)  # asked once, after the work
    if batch or counts["waiting"]:
        tell_waiting(session, stats)
    if counts["waiting"] and not batch:
        session.say("triage classify --batch collects the answers; --force asks now, at the full price")
    if named is None and since is None and limit is None and not session.stopper.code:
        new = 0 if session.quiet else stats().by_status.get("new", 0)
        session.say(messages.still(new, "new"))
    if session.guides:
        steps = []
        if counts["classified"]:
            steps.append("triage route")
        if counts["waiting"] and batch:
            steps.append("triage classify --batch, again later, collects the answers")
        if counts["needs_review"]:
            steps.append(f"{counts['needs_review']:,} need you: triage review")
        session.say("next: " + "; ".join(steps) if steps else "")
    return gravest(codes)


def _counted(
    outcomes: Iterable[Outcome[Decided]], counts: Counter[str], codes: set[ExitCode]
) -> Iterator[Outcome[Decided]]:
    for outcome in outcomes:
        counts[outcome.action] += 1
        if outcome.error is not None:
            codes.add(outcome.error.exit_code)
            messages.say(f"failed: {outcome.error.sentence()}")
        yield outcome


def _preview(
    session: CommandContext, selection: Selection, plan: ClassifyPlan, printer: Printer, *, as_text: bool
) -> int:
    session.look()
    tickets = session.local.to_ask(selection, plan) if session.has_database else ()
    estimate = wiring.cost_estimate.estimate(session.config, plan, tickets)
    if not as_text:
        figures = (estimate.tickets, estimate.tokens, estimate.cost, estimate.prompt or None)
        printer.one(dict(zip(PREVIEW_KEYS, figures, strict=True)), TICKETS_TABLE, PREVIEW_KEYS, "tickets")
    elif estimate.prompt:
        Printer("table").write(terminal.safe_lines(estimate.prompt) + "\n")
    if estimate.cost is None:
        cost = "at a price that is not configured"
    else:
        cost = f"${estimate.cost:.4f} expected, ${estimate.most:.4f} at worst"
    session.say(
        f"{messages.plural(estimate.tickets, 'tickets')} would be asked: "
        f"about {estimate.tokens:,} tokens, {cost} (--dry-run)"
    )
    return ExitCode.OK


def tell_waiting(session: CommandContext, stats: Callable[[], Stats]) -> None:
    """Print how many tickets wait in providers' batches, and since when."""
    for name, waits in ({} if session.quiet else stats().waiting).items():
        since = f"{local_time.local_times(waits['since'])[:16].replace('T', ' ')} ({local_time.time_zone()})"
        waiting = messages.plural(waits["tickets"], "wait in batches", "waits in batches")
        session.say(f"{waiting} of {name}, since {since}")
