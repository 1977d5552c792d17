"""`triage check`: compares waiting tickets and deliveries with limits, for a monitor."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple, Self

import typer

from triage_cli import domain as dm
from triage_cli.cli import messages, options, safe_text
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import option
from triage_cli.cli.options import MOST
from triage_cli.cli.output import Printer
from triage_cli.ports import Triage

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
        option("--max-age", "AGE", "No ticket is new or failed for longer, as in 1h, or a day longer in a batch."),
    ] = None,
    delivery_age: Annotated[
        str | None,
        option("--max-delivery-age", "AGE", "No delivery is pending for longer since its ticket was routed."),
    ] = None,
    pending: Annotated[int | None, _limit_option("pending", "pending deliveries")] = None,
    undeliverable: Annotated[
        int | None, _limit_option("undeliverable", "tickets whose attempts at delivery are used up")
    ] = None,
    unroutable: Annotated[int | None, _limit_option("unroutable", "tickets that match no rule")] = None,
    review: Annotated[int | None, _limit_option("review", "tickets that wait for a person")] = None,
    review_age: Annotated[
        str | None, option("--max-review-age", "AGE", "No ticket that waits for a person is older.")
    ] = None,
    calendar: Annotated[
        str | None, option("--in", "CALENDAR", "Ages count only the open hours of this calendar.")
    ] = None,
) -> int:
    """Compare the numbers of waiting tickets with limits, for a monitor: one line, exit code 8 if a limit is exceeded.

    \b
    triage check --max-age 1h --max-delivery-age 1d --max-undeliverable 0
    triage check --max-review-age 4h --in office
    """
    status_limits = dict(zip(LIMIT_LABELS, (undeliverable, unroutable, review), strict=True))
    age_limits = {"age": age, "delivery": delivery_age, "review": review_age}
    ages = {name: _Age.read(context, limit, calendar) for name, limit in age_limits.items() if limit is not None}
    if not ages and all(limit is None for limit in (pending, *status_limits.values())):
        raise dm.UsageError("nothing to check", hint="give a limit: triage check --max-age 1h --max-undeliverable 0")
    if calendar is not None and not ages:
        raise dm.UsageError("--in counts the hours of an age, and none is given", hint="add --max-review-age 4h")
    context.require_database()
    findings = list(_limit_findings(context, ages, pending, status_limits))
    exceeded = [finding.text for finding in findings if not finding.is_kept]
    if exceeded or not context.quiet:
        check_line = f"exceeded: {'; '.join(exceeded)}" if exceeded else f"ok: {'; '.join(f.text for f in findings)}"
        Printer("table").write(check_line + "\n")
    for finding in findings:
        context.say("" if finding.is_kept else finding.hint)
    return dm.ExitCode.CHECK_FAILED if exceeded else dm.ExitCode.OK


class _Age(NamedTuple):
    """The longest time that something may wait, in all hours or in those of a calendar."""

    typed: str
    seconds: float
    calendar: dm.Calendar | None

    @classmethod
    def read(cls, context: CommandContext, typed: str, calendar: str | None) -> Self:
        """Return an age as typed. Raises `UsageError`."""
        calendars = context.config.calendars
        if calendar is not None and calendar not in calendars:
            known = f"the config has {', '.join(calendars)}" if calendars else "calendars: {office: ...} makes one"
            raise dm.UsageError(f'no calendar "{calendar}"', hint=known)
        options.past(typed)  # says what is no age
        most = dm.LONGEST_COUNT.total_seconds()
        return cls(typed, min(options.seconds(typed), most), calendars[calendar] if calendar else None)

    def __str__(self) -> str:
        return f"{self.typed} in {self.calendar.name}" if self.calendar else self.typed

    def began(self, ended_ago: float = 0.0) -> str:
        """Return when what is so old now, or was so many seconds ago, began to wait."""
        until = datetime.now(UTC) - timedelta(seconds=ended_ago)
        if self.calendar is None:
            return dm.times.timestamp(until - timedelta(seconds=self.seconds))
        return dm.times.timestamp(self.calendar.moment_before(until, self.seconds))


def _limit_findings(
    context: CommandContext, ages: Mapping[str, _Age], pending: int | None, status_limits: dict[str, int | None]
) -> Iterator[Finding]:
    """Yield what the check finds about each given limit."""
    triage = context.triage
    if age := ages.get("age"):
        name = _oldest(triage, dm.TO_CLASSIFY, age)
        age_finding = f"ticket {name} is not classified" if name else "no ticket is new or failed"
        yield Finding(f"{age_finding} after {age}", not name)
    if age := ages.get("review"):
        name = _oldest(triage, frozenset({"needs_review"}), age)
        review_finding = f"ticket {name} waits for a person" if name else "no ticket waits for a person"
        yield Finding(f"{review_finding} after {age}", not name, "triage review" if name else "")
    stats = triage.stats()
    if age := ages.get("age"):
        yield from _late_batch_findings(stats, age)
    if age := ages.get("delivery"):
        # This also finds a delivery that is never tried: for a private address, a missing secret or a switched off
        # network.
        oldest_delivery, latest_allowed = stats.oldest_pending_delivery, age.began()
        late_at = oldest_delivery if oldest_delivery and oldest_delivery <= latest_allowed else None
        of = f"a delivery of {safe_text.safe(late_at)} is still" if late_at else "no delivery is"
        yield Finding(f"{of} pending after {age}", late_at is None)
    if pending is not None:
        waiting = sum(states.get("pending", 0) for states in stats.deliveries.values())
        yield Finding(f"{messages.plural(waiting, 'deliveries')} pending (limit {pending:,})", waiting <= pending)
    for status, most_tickets in status_limits.items():
        if most_tickets is not None:
            waiting, hint = stats.by_status.get(status, 0), LIMIT_HINTS.get(status, "")
            yield Finding(f"{waiting:,} {LIMIT_LABELS[status]} (limit {most_tickets:,})", waiting <= most_tickets, hint)


def _oldest(triage: Triage, statuses: frozenset[str], age: _Age) -> str:
    """Return the name of the oldest ticket with a status that is older than an age; empty if there is none."""
    late_selection = dm.Selection(statuses=statuses, until=age.began(), sort="ticket_id", limit=1)
    oldest_late = next(iter(triage.find(late_selection)), None)
    return "" if oldest_late is None else safe_text.safe(oldest_late.external_id or oldest_late.ticket_id)


def _late_batch_findings(stats: dm.Stats, age: _Age) -> Iterator[Finding]:
    """Yield the batches that were not collected: a provider takes up to a day, and `age` has passed since."""
    latest_allowed = dm.times.to_seconds(age.began(DAY))
    for name, waits in stats.waiting.items():
        if dm.times.to_seconds(waits["since"]) <= latest_allowed:
            wait = messages.plural(waits["tickets"], "tickets wait", "ticket waits")
            waiting_batches = f"{wait} in batches of {safe_text.safe(name)} since {waits['since']}"
            batch_text = f"{waiting_batches}, {age} after the day that one takes"
            yield Finding(batch_text, is_kept=False, hint=BATCH_HINT)
