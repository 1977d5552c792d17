"""`triage check`: compares waiting tickets and deliveries with limits, for a monitor."""

import time
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import typer

from triage_cli.cli import messages, options, terminal
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.options import MOST
from triage_cli.cli.output import Printer
from triage_cli.domain import times
from triage_cli.domain.errors import UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.insight.stats import Stats
from triage_cli.domain.tickets import Selection

# Statuses of tickets that the next run works on; those that wait for a person have a limit of their own.
UNPROCESSED = frozenset({"new", "failed"})
LABELS = {"undeliverable": "undeliverable", "unroutable": "unroutable", "needs_review": "to review"}
HINTS = {
    "undeliverable": "undeliverable: triage why ID says why, and triage route --retry-dead tries again; "
    "what a destination will never take, a rule sends elsewhere (when: {external_id: ...}), then triage route ID"
}
BATCH_HINT = "batches: triage classify --batch collects their answers, triage why ID tells about one"
DAY = 24 * 3600.0  # seconds in which a provider answers a batch


class Finding(NamedTuple):
    """The result of one limit in words, whether it is kept, and what to do if it is not."""

    text: str
    is_kept: bool
    hint: str = ""


def _most(name: str, what: str) -> object:
    """Return an option that limits a count."""
    return typer.Option(f"--max-{name}", min=0, max=MOST, metavar="N", help=f"At most N {what}.")


@remote_command
def check(
    session: CommandContext,
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
    pending: Annotated[int | None, _most("pending", "deliveries that are due later")] = None,
    undeliverable: Annotated[
        int | None, _most("undeliverable", "tickets whose attempts at delivery are used up")
    ] = None,
    unroutable: Annotated[int | None, _most("unroutable", "tickets that match no rule")] = None,
    review: Annotated[int | None, _most("review", "tickets that wait for a person")] = None,
) -> int:
    """Compare the numbers of waiting tickets with limits, for a monitor: one line, exit code 8 if a limit is exceeded.

    \b
    triage check --max-age 1h --max-delivery-age 1d --max-undeliverable 0
    """
    limits = dict(zip(LABELS, (undeliverable, unroutable, review), strict=True))
    if all(limit is None for limit in (age, delivery_age, pending, *limits.values())):
        raise UsageError("nothing to check", hint="give a limit: triage check --max-age 1h --max-undeliverable 0")
    session.require_database()
    findings = list(_findings(session, age, delivery_age, pending, limits))
    exceeded = [finding.text for finding in findings if not finding.is_kept]
    if exceeded or not session.quiet:
        line = f"exceeded: {'; '.join(exceeded)}" if exceeded else f"ok: {'; '.join(f.text for f in findings)}"
        Printer("table").write(line + "\n")
    for finding in findings:
        session.say("" if finding.is_kept else finding.hint)
    return ExitCode.CHECK_FAILED if exceeded else ExitCode.OK


def _findings(
    session: CommandContext,
    age: str | None,
    delivery_age: str | None,
    pending: int | None,
    limits: dict[str, int | None],
) -> Iterator[Finding]:
    """Yield the result of each given limit."""
    triage = session.triage
    if age is not None:
        late = Selection(statuses=UNPROCESSED, until=options.past(age), sort="ticket_id", limit=1)
        oldest = next(iter(triage.find(late)), None)
        name = "" if oldest is None else terminal.safe(oldest.external_id or oldest.ticket_id)
        age_finding = f"ticket {name} is not classified" if oldest else "no ticket is new or failed"
        yield Finding(f"{age_finding} after {age}", oldest is None)
    stats = triage.stats()
    if age is not None:
        yield from _late_batches(stats, age)
    if delivery_age is not None:
        # This also finds a delivery that is never tried: for a private address, a missing secret or a switched off
        # network.
        oldest_delivery, latest = stats.oldest_pending_delivery, options.past(delivery_age) or ""
        late_at = oldest_delivery if oldest_delivery and oldest_delivery <= latest else None
        of = f"a delivery of {terminal.safe(late_at)} is still" if late_at else "no delivery is"
        yield Finding(f"{of} pending after {delivery_age}", late_at is None)
    if pending is not None:
        number = sum(states.get("pending", 0) for states in stats.deliveries.values())
        yield Finding(f"{messages.plural(number, 'deliveries')} pending (limit {pending:,})", number <= pending)
    for status, most in limits.items():
        if most is not None:
            number = stats.by_status.get(status, 0)
            yield Finding(f"{number:,} {LABELS[status]} (limit {most:,})", number <= most, HINTS.get(status, ""))


def _late_batches(stats: Stats, age: str) -> Iterator[Finding]:
    """Yield the batches that were not collected: a provider takes up to a day, and `age` has passed since."""
    latest = time.time() - DAY - options.seconds(age)
    for name, waits in stats.waiting.items():
        if times.to_seconds(waits["since"]) <= latest:
            wait = messages.plural(waits["tickets"], "tickets wait", "ticket waits")
            batches = f"{wait} in batches of {terminal.safe(name)} since {waits['since']}"
            text = f"{batches}, {age} after the day that one takes"
            yield Finding(text, is_kept=False, hint=BATCH_HINT)
