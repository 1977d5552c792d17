"""`triage classify`: ask a classifier about tickets."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Annotated, Any

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import messages, options, safe_text, summaries, ticket_id_input
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import TICKETS_TABLE, Printer, TicketPrintOptions, drawn_by
from triage_cli.cli.progress import ProgressBar, among
from triage_cli.readers import text_lines

PREVIEW_KEYS = ("tickets", "tokens", "cost_usd", "prompt")
TEXT_COLUMNS = ("text", *dm.TextAnswer._fields)
TEXTS_TABLE = drawn_by("tables.texts")
CLASSIFY_LABELS = {
    "waiting": "waiting in a batch",
    "needs_review": "need review",
    "held": "held by a verdict or another run",
}
CLASSIFY_ACTIONS = ("classified", "needs_review", "failed")


@remote_command
def classify(
    context: CommandContext,
    ids: options.Ids = None,
    *,
    text: Annotated[
        list[str] | None,
        option("--text", "TEXT", "Answer about this text, and store nothing; may be repeated. -: one a line on stdin."),
    ] = None,
    classify_options: options.ClassifyOptions,
    limit: options.Limit = None,
    since: options.Since = None,
    dry_run: Annotated[
        bool, flag("--dry-run", "Show how many tickets would be asked about, the cost and a prompt; ask nothing.")
    ] = False,
    batch: options.InBatches = False,
    force: Annotated[
        bool,
        flag(
            "--force", "Ask about the named tickets again, also those that a person decided, or that wait in a batch."
        ),
    ] = False,
    printing: TicketPrintOptions,
) -> int:
    """Give tickets a category: the named ones, else all that are new or failed, urgent ones first.

    \b
    triage classify
    triage list --status needs_review -o id | triage classify - --classifier gpt
    triage classify --text "I was charged twice"
    """
    classify_plan = classify_options.plan(context, force=force, batch=batch)
    if text:
        _refuse_ticket_options({"ID": ids, "--limit": limit, "--since": since, "--dry-run": dry_run, "--batch": batch,
                                "--force": force})  # fmt: skip
        return _answer_texts(context, text, classify_plan, printing.printer(TEXT_COLUMNS, stop=context.stopper.stop))
    printer = printing.printer(quiet=context.quiet, stop=context.stopper.stop)
    named_ids, missing = ticket_id_input.ids(context, ids)
    limited_ids = named_ids[:limit] if named_ids is not None else None
    selection = dm.Selection(ids=limited_ids, since=options.typed_moment(since), limit=limit)
    if force and ids is None:
        again_example = "triage list -o id | triage classify - --force"
        context.say(f"note: --force asks again about tickets that are named, and none is: {again_example}")
    if dry_run:
        context.only_here("classify --dry-run")
        return _preview_cost(context, selection, classify_plan, printer, as_text=printing.as_text)
    classify_counts: Counter[str] = Counter()
    classify_codes = {dm.ExitCode.PARTIAL} if missing else {dm.ExitCode.OK}
    to_classify = partial(among, context, selection, ("new", "failed"))
    classify_bar = ProgressBar(context, "classifying", context.shows_progress(printer.format), to_classify)
    classified = classify_bar.over(context.triage.classify(selection, classify_plan))
    classify_outcomes = _counted_answers(classified, classify_counts, classify_codes)
    try:
        printer.of_named(ids, classify_outcomes, dm.outcome_record, context.ticket_columns("asked"), TICKETS_TABLE)
    finally:
        context.say(messages.counted(classify_counts, CLASSIFY_ACTIONS, CLASSIFY_LABELS))
        context.say(messages.followed(classify_counts[dm.PRECEDENT]))
    stats = cache(context.triage.stats)  # asked once, after the work
    if batch or classify_counts["waiting"]:
        summaries.say_waiting_batches(context, stats)
    if classify_counts["waiting"] and not batch:
        context.say("triage classify --batch collects the answers; --force asks now, at the full price")
    is_whole = selection == dm.Selection() and not (context.quiet or context.stopper.code)
    if is_whole:
        context.say(messages.still(stats().by_status.get("new", 0), "new"))
    if context.guides:
        step = summaries.next_step(context) if classify_counts["classified"] else None
        next_steps = messages.joined(
            summaries.said(context, step) if step else "",
            "triage classify --batch, again later, collects the answers"
            if classify_counts["waiting"] and batch
            else "",
            _waiting_line(context, classify_counts, step),
            summaries.waits_for_others(context, "classify") if is_whole and not classify_counts else "",
        )
        context.say(next_steps and f"next: {next_steps}")
    return dm.gravest(classify_codes)


def _refuse_ticket_options(ticket_options: Mapping[str, object]) -> None:
    """Raise `UsageError` for options about tickets, which mean nothing beside --text."""
    for name in (name for name, value in ticket_options.items() if value):
        raise dm.UsageError(f"--text asks about a text that is no ticket, so {name} means nothing", hint="leave it out")


def _answer_texts(context: CommandContext, typed: Sequence[str], plan: dm.ClassifyPlan, printer: Printer) -> int:
    """Print how each text would be classified; what has no answer is reported, and the others go on."""
    name = plan.classifier or context.config.classifier
    if not context.is_remote and not wiring.classifier_diagnostics.asks_provider(context.config, name):
        context.lend_database()  # what asks a provider books its cost in a database that stays
    consultation, codes = context.consultation, {dm.ExitCode.OK}

    def answers() -> Iterator[dict[str, Any]]:
        for each in typed:
            for text in filter(str.strip, _piped_texts(context)) if each == "-" else [each]:
                question = dm.TextQuestion(description=dm.storable_or_none(text))
                left = None if plan.max_cost is None else max(0.0, plan.max_cost - consultation.spent)
                try:
                    answer = consultation.classify_text(question, plan._replace(max_cost=left))
                except dm.TriageError as error:
                    if error.exit_code is not dm.ExitCode.PARTIAL:
                        raise
                    codes.add(context.report(error))
                else:
                    yield {"text": question.description} | answer._asdict()

    if len(typed) == 1 and typed != ["-"]:
        for record in answers():
            printer.one(record, TEXTS_TABLE, TEXT_COLUMNS, "text")
    else:
        printer.many(answers(), lambda record: record, TEXT_COLUMNS, TEXTS_TABLE, "text")
    return dm.gravest(codes)


def _piped_texts(context: CommandContext) -> Iterator[str]:
    return context.stopper.interruptible(text_lines(ticket_id_input.stdin("type --text TEXT")))


def _waiting_line(context: CommandContext, classify_counts: Counter[str], step: summaries.NextStep | None) -> str:
    waiting = classify_counts["needs_review"]
    total = classify_counts["classified"] + waiting
    if step is summaries.NextStep.REVIEW and waiting:  # which says what helps
        return f"{waiting:,} of {total:,} wait"
    return summaries.waiting_line(context, waiting, total)


def _counted_answers(
    classify_outcomes: Iterable[dm.Outcome[dm.Decided]], classify_counts: Counter[str], classify_codes: set[dm.ExitCode]
) -> Iterator[dm.Outcome[dm.Decided]]:
    for outcome in classify_outcomes:
        classify_counts[outcome.action] += 1
        if outcome.value and outcome.value.now and outcome.value.now.confidence_source == dm.PRECEDENT:
            classify_counts[dm.PRECEDENT] += 1
        if outcome.error is not None:
            classify_codes.add(outcome.error.exit_code)
            messages.say(f"failed: {outcome.error.sentence()}")
        yield outcome


def _preview_cost(
    context: CommandContext, selection: dm.Selection, classify_plan: dm.ClassifyPlan, printer: Printer, *, as_text: bool
) -> int:
    context.look()
    tickets_to_ask = context.local.to_ask(selection, classify_plan) if context.has_database else ()
    estimate = wiring.cost_estimate.estimate_cost(context.config, classify_plan, tickets_to_ask)
    if not as_text:
        preview_figures = (estimate.tickets, estimate.tokens, estimate.cost, estimate.prompt or None)
        printer.one(dict(zip(PREVIEW_KEYS, preview_figures, strict=True)), TICKETS_TABLE, PREVIEW_KEYS, "tickets")
    elif estimate.prompt:
        Printer("table").write(safe_text.safe_lines(estimate.prompt) + "\n")
    context.say(f"{messages.plural(estimate.tickets, 'tickets')} would be asked: {estimate.said()} (--dry-run)")
    return dm.ExitCode.OK
