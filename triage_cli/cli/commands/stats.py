"""`triage stats`: counts of tickets and deliveries, cost, overruled answers; `triage`: the start screen."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated

from triage_cli import domain as dm
from triage_cli.cli import messages, options, summaries
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import Printer, TicketPrintOptions, drawn_by
from triage_cli.cli.typed_commands import as_typed
from triage_cli.config import without_password


@remote_command
def stats(
    context: CommandContext,
    since: options.Since = None,
    until: options.Until = None,
    by: Annotated[
        list[str] | None, option("KEY,...", f"A row a group; keys are {', '.join(dm.STATS_KEYS)}, and questions.")
    ] = None,
    overruled: Annotated[
        bool, flag("--overruled", "Count how often verdicts overruled sure answers, by week and category.")
    ] = False,
    *,
    printing: TicketPrintOptions,
) -> None:
    """Count tickets by status, category, classifier and day, and deliveries by destination.

    With --by, `sure` are the tickets that have a category, and `needs_review` those that wait for one or for a required
    answer, also where questions are the keys. A row of a question without a value has those without a sure answer.

    \b
    triage stats
    triage stats --since 7d --by category,status
    triage stats --by week,source --excel > weeks.csv
    triage stats --overruled --since 90d
    """
    if overruled:
        if by is not None:
            raise dm.UsageError("--overruled counts by week and category", hint="leave out --by")
        _print_overruled(context, since, until, printing.printer(dm.Overruled._fields))
        return
    if since is not None or until is not None or by is not None:
        stored_selection = dm.Selection(since=options.typed_moment(since), until=options.typed_moment(until))
        stats_query = dm.StatsQuery(stored_selection, options.stats_keys(by, context.question_names))
        group_keys = (*stats_query.by, *dm.GROUP_COUNTS)
        printer = printing.printer(group_keys)
        group_records = [dm.group_record(group) for group in context.look().stats_by(stats_query)]
        printer.all_of(group_records, group_keys, drawn_by("tables.plain", columns=group_keys), group_keys[0])
        return
    stats_record = context.look().stats()._asdict()
    printing.printer().one(stats_record, drawn_by("tables.stats"), tuple(stats_record), "tickets")


def _print_overruled(context: CommandContext, since: str | None, until: str | None, printer: Printer) -> None:
    """Print a record for each week and category, and the share of all of them together."""
    weeks = context.look().overruled(options.typed_moment(since), options.typed_moment(until))
    overruled_table = drawn_by("tables.plain", columns=dm.Overruled._fields)
    printer.all_of([each._asdict() for each in weeks], dm.Overruled._fields, overruled_table, "week")
    judged = sum(each.judged for each in weeks)
    if not judged:
        context.say("no verdict was given on an answer of which a machine was sure")
        return
    total = dm.overruled_share("", "", judged, sum(each.overruled for each in weeks))
    answers = messages.plural(judged, "sure answers that people judged were", "sure answer that people judged was")
    interval = f"{total.share:.1%}, {total.low:.1%} to {total.high:.1%}"
    context.say(f"{total.overruled:,} of {answers} overruled ({interval})")


MOST_CATEGORIES = 8  # of a remote, that the start screen names
LEAST_COMMAND_WIDTH = 24


@remote_command
def start(context: CommandContext) -> None:
    """Print the start screen: what is in the database, how many tickets need a person, the next commands.

    Creates nothing.
    """
    config = context.config
    if context.is_remote:
        store_origin = f"{config.remote} ({_listed_categories(context.triage.categories())})"
    else:
        store_origin = f"{without_password(config.database)} (configuration: {config.path or 'the built-in defaults'})"
    screen_counts = context.look().stats().by_status if context.has_database else {}
    start_screen = Printer("table")
    step = summaries.next_step(context) if screen_counts.get("classified") else summaries.NextStep.ROUTE
    is_measured = step is summaries.NextStep.ROUTE
    for screen_line in _start_screen_lines(
        screen_counts, store_origin, is_remote=context.is_remote, is_measured=is_measured
    ):
        start_screen.write(f"{messages.formatted(screen_line, sys.stdout)}\n")


def _listed_categories(categories: Sequence[dm.Category]) -> str:
    """Return the categories of a remote, whatever a configuration here says."""
    further = len(categories) - MOST_CATEGORIES
    names = ", ".join(category.name for category in categories[:MOST_CATEGORIES])
    return f"its categories: {names}{f' and {further:,} more' if further > 0 else ''}"


def _start_screen_lines(
    screen_counts: Mapping[str, int], store_origin: str, *, is_remote: bool, is_measured: bool
) -> Iterator[str]:
    """Yield the lines of the start screen, from the numbers of tickets by status."""
    if not any(screen_counts.values()):
        yield f"no tickets in {store_origin}"
    else:
        other_counts = {status: number for status, number in screen_counts.items() if status != "needs_review"}
        yield f"{messages.plural(sum(screen_counts.values()), 'tickets')} in {store_origin}"
        yield messages.joined(
            messages.counted(other_counts, (), {status: dm.status_words(status) for status in other_counts}),
            as_typed(messages.need_you(screen_counts.get("needs_review", 0))),
        )
    yield ""
    next_commands = [
        (as_typed(command), purpose) for command, purpose in _next_commands(screen_counts, is_remote, is_measured)
    ]
    width = max(LEAST_COMMAND_WIDTH, *(len(command) + 2 for command, _ in next_commands))
    for number, (command, purpose) in enumerate(next_commands):
        yield f"{'' if number else 'next':<6}{command:<{width}}{purpose}"


def _next_commands(screen_counts: Mapping[str, int], is_remote: bool, is_measured: bool) -> Iterator[tuple[str, str]]:
    """Yield three commands, each with its purpose; the categories of a remote are not ours to write."""
    unclassified = screen_counts.get("new", 0) + screen_counts.get("failed", 0)
    classified = screen_counts.get("classified", 0)
    next_commands = {
        "triage review": (screen_counts.get("needs_review", 0), "decide those that need you"),
        "triage classify": (unclassified, "give the new ones a category"),
        "triage route": (is_measured and classified, "send the classified ones to their destinations"),
        "triage eval FILE": (
            not is_measured and not is_remote and classified,
            "measure the answers, before anything is sent",
        ),
        "triage list": (sum(screen_counts.values()), "all tickets, newest first"),
        "triage run FILE": (1, "store, classify and route a file of tickets"),
        "triage init": (not is_remote, "write a configuration with categories of your own"),
    }
    yield from islice(((command, purpose) for command, (number, purpose) in next_commands.items() if number), 2)
    yield "triage --help", "every command"
