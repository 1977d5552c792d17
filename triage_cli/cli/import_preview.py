"""The dry run of an import: the first tickets of each table as they would be stored, and every row that is rejected."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from triage_cli import wiring
from triage_cli.cli import messages, options
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import TICKETS_TABLE, Printer
from triage_cli.cli.reading_memory import ReadingMemory
from triage_cli.cli.rejects import RejectWriter
from triage_cli.domain import TICKET_KEYS, Action, Category, ExitCode, TicketDraft, draft_with_fields
from triage_cli.readers import Table
from triage_cli.service import CategoryNames, import_dry_run

PREVIEW_ROWS = 3  # tickets of each table that a dry run shows


def preview_tables(
    context: CommandContext, printer: Printer, tables: Sequence[Table], input_options: options.InputOptions
) -> int:
    """Show the first three tickets of each table as `create` would store them, and every row that it would reject."""
    if not context.is_remote and context.has_database:
        ReadingMemory(context, tables).tell()
    rejections = RejectWriter(None, input_options.max_rejects, strict=input_options.strict)
    rejections.begin(tables)
    preview_drafts: list[TicketDraft] = []
    foreseen_actions: Counter[Action] = Counter()
    category_names = None if context.is_remote else CategoryNames(_categories(context))
    for table in tables:
        shown_before = len(preview_drafts)
        for foreseen_outcome in import_dry_run(context.stopper.interruptible(table.rows), category_names):
            rejections.see(foreseen_outcome, table)
            foreseen_actions[foreseen_outcome.action] += 1
            is_created = foreseen_outcome.action == Action.CREATED
            if is_created and foreseen_outcome.value and len(preview_drafts) - shown_before < PREVIEW_ROWS:
                preview_drafts.append(foreseen_outcome.value)
    for remark in messages.remarks(tables):
        context.say(remark)
    reply_rows = f"{messages.plural(n, 'replies')}, " if (n := foreseen_actions[Action.UPDATED]) else ""
    repeated_rows = f"{n:,} repeated, " if (n := foreseen_actions[Action.UNCHANGED]) else ""
    created = messages.plural(foreseen_actions[Action.CREATED], "tickets")
    context.say(f"{created}, {reply_rows}{repeated_rows}{rejections.count:,} rejected")
    print_preview(context, printer, preview_drafts)
    return ExitCode.PARTIAL if rejections.too_many else ExitCode.OK


def _categories(context: CommandContext) -> Sequence[Category]:
    config = context.config
    return (wiring.stores.with_first_names(config, context.store) if context.has_database else config).categories


def print_preview(context: CommandContext, printer: Printer, drafts: Sequence[TicketDraft]) -> int:
    """Print drafts as `create` would store them."""
    fields = {} if context.is_remote else context.config.fields
    shown_drafts = [draft_with_fields(draft, fields) for draft in drafts]
    printer.many(shown_drafts, draft_record, TICKET_KEYS, TICKETS_TABLE)
    context.say("nothing was stored (--dry-run)")
    return ExitCode.OK


def draft_record(draft: TicketDraft) -> dict[str, Any]:
    """Return the record of a draft, a ticket that is not stored: null where only the store knows."""
    return dict.fromkeys(TICKET_KEYS) | {key: value for key, value in draft._asdict().items() if key in TICKET_KEYS}
