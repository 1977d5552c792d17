"""`triage check`: compares waiting tickets and deliveries with limits, for a monitor."""

import time
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import typer

from triage_cli.cli import messages, options, safe_text
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.options import MOST
from triage_cli.cli.output import Printer
from triage_cli.domain import ExitCode, Selection, Stats, UsageError, times

# Statuses of tickets that the next run works on; those that wait for a person have a limit of their own.
UNPROCESSED = frozenset({"new", "failed"})
LIMIT_LABELS = {"undeliverable": "undeliverable", "unroutable": "unroutable", "needs_review": "to review"}
LIMIT_HINTS = {
    "undeliverable": "undeliverable: triage why ID says why, and triage route --retry-dead tries again; "
    "what a destination will never take, a rule sends elsewhere (when: {external_id: ...}), then triage route ID"
}
BATCH_HINT = "batches: triage classify --batch collects their answers, triage why ID tells about one"
DAY = 24 * 3600.0  # seconds in which a provider answers a batch


class Finding(NamedTuple):
    """What a check found about one limit, in words, whether the limit is kept, and what to do if it is not."""

    text: str
    is_kept: bool
    hint: str = ""


def _limit_option(name: str, what: str) -> object:
    """Return an option of `check` that limits a count."""
    return typer.Option(f"--max-{name}", min=0, max=MOST, metavar="N", help=f"At most N {what}.")


@remote_command
def check(
    context: CommandContext,
    age: Annotated[
        str | None,
        typer.Option(
            "--max-age",
            metavar="AGE",
            help="No ticket is new or failed for longer, as in 1h, or a day longer in a batch.",
        ),
    ] = None,
    delivery_age: Annotated[
        str | None,
        typer.Option(
            "--max-delivery-age", metavar="AGE", help="No delivery is pending for longer since its ticket was routed."
        ),
    ] = None,
    pending: Annotated[int | None, _limit_option("pending", "pending deliveries")] = None,
    undeliverable: Annotated[
        int | None, _limit_option("undeliverable", "tickets whose attempts at delivery are used up")
    ] = None,
    unroutable: Annotated[int | None, _limit_option("unroutable", "tickets that match no rule")] = None,
    review: Annotated[int | None, _limit_option("review", "tickets that wait for a person")] = None,
) -> int:
    """Compare the numbers of waiting tickets with limits, for a monitor: one line, exit code 8 if a limit is exceeded.

    \b
    triage check --max-age 1h --max-delivery-age 1d --max-undeliverable 0
    """
    status_limits = dict(zip(LIMIT_LABELS, (undeliverable, unroutable, review), strict=True))
    if all(limit is None for limit in (age, delivery_age, pending, *status_limits.values())):
        raise UsageError("nothing to check", hint="give a limit: triage check --max-age 1h --max-undeliverable 0")
    context.require_database()
    findings = list(_limit_findings(context, age, delivery_age, pending, status_limits))
    exceeded = [finding.text for finding in findings if not finding.is_kept]
    if exceeded or not context.quiet:
        check_line = f"exceeded: {'; '.join(exceeded)}" if exceeded else f"ok: {'; '.join(f.text for f in findings)}"
        Printer("table").write(check_line + "\n")
    for finding in findings:
        context.say("" if finding.is_kept else finding.hint)
    return ExitCode.CHECK_FAILED if exceeded else ExitCode.OK


def _limit_findings(
    context: CommandContext,
    age: str | None,
    delivery_age: str | None,
    pending: int | None,
    status_limits: dict[str, int | None],
) -> Iterator[Finding]:
    """Yield what the check finds about each given limit."""
    triage = context.triage
    if age is not None:
        late_selection = Selection(statuses=UNPROCESSED, until=options.past(age), sort="ticket_id", limit=1)
        oldest_late = next(iter(triage.find(late_selection)), None)
        name = "" if oldest_late is None else safe_text.safe(oldest_late.external_id or oldest_late.ticket_id)
        age_finding = f"ticket {name} is not classified" if oldest_late else "no ticket is new or failed"
        yield Finding(f"{age_finding} after {age}", oldest_late is None)
    stats = triage.stats()
    if age is not None:
        yield from _late_batch_findings(stats, age)
    if delivery_age is not None:
        # This also finds a delivery that is never tried: for a private address, a missing secret or a switched off
        # network.
        oldest_delivery, latest_allowed = stats.oldest_pending_delivery, options.past(delivery_age) or ""
        late_at = oldest_delivery if oldest_delivery and oldest_delivery <= latest_allowed else None
        of = f"a delivery of {safe_text.safe(late_at)} is still" if late_at else "no delivery is"
        yield Finding(f"{of} pending after {delivery_age}", late_at is None)
    if pending is not None:
        waiting = sum(states.get("pending", 0) for states in stats.deliveries.values())
        yield Finding(f"{messages.plural(waiting, 'deliveries')} pending (limit {pending:,})", waiting <= pending)
    for status, most_tickets in status_limits.items():
        if most_tickets is not None:
            waiting, hint = stats.by_status.get(status, 0), LIMIT_HINTS.get(status, "")
            yield Finding(f"{waiting:,} {LIMIT_LABELS[status]} (limit {most_tickets:,})", waiting <= most_tickets, hint)


def _late_batch_findings(stats: Stats, age: str) -> Iterator[Finding]:
    """Yield the batches that were not collected: a provider takes up to a day, and `age` has passed since."""
    latest_allowed = time.time() - DAY - options.seconds(age)
    for name, waits in stats.waiting.items():
        if times.to_seconds(waits["since"]) <= latest_allowed:
            wait = messages.plural(waits["tickets"], "tickets wait", "ticket waits")
            waiting_batches = f"{wait} in batches of {safe_text.safe(name)} since {waits['since']}"
            batch_text = f"{waiting_batches}, {age} after the day that one takes"
            yield Finding(batch_text, is_kept=False, hint=BATCH_HINT)
