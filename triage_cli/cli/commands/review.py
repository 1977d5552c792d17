"""`triage review`: shows tickets that wait for a person, or all, in a full-screen application."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import messages, options, summaries, terminal
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.review import filters
from triage_cli.cli.review.filters import View
from triage_cli.cli.review.session import ReviewSession
from triage_cli.cli.review.ticket_queue import TicketQueue
from triage_cli.cli.typed_commands import as_typed

Prepared = tuple[TicketQueue, Callable[[], int | None]]  # the tickets, and what lets a person decide them


@remote_command
def review(
    context: CommandContext,
    every: Annotated[bool, flag("--all", "All tickets, not only those that need a person.")] = False,
    order: Annotated[
        filters.Order | None, option("NAME", "review: the most informative first; urgent; newest.")
    ] = None,
    status: options.Statuses = None,
    category: Annotated[
        list[str] | None, option("NAME", "Tickets with this guess or category; may be repeated.")
    ] = None,
    priority: options.PriorityFilter = None,
    search: options.Search = None,
    limit: options.Limit = None,
) -> int:
    """Decide the tickets that need a person, the most informative first: one key each, stored at once; ? shows help.

    \b
    triage review              then: triage learn
    triage review --order urgent --category Billing
    triage review --all --search refund
    """
    if not (terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stdout)):
        raise dm.UsageError(
            "review needs a terminal",
            hint="triage list --status needs_review -o csv gives a table to fill in, triage verdict - takes it",
        )
    questions = context.triage.questions()
    names = [category.name for category in questions[0].values]
    one_priority, searched = options.single("--priority", priority), options.single("--search", search)
    review_filters = filters.checked_filters(one_priority, category or (), status or (), searched, names, every=every)
    review_view = View(every, order or ("newest" if every else "review"), review_filters, limit)
    learn_verdicts = None if context.is_remote else partial(_learn_verdicts, context)
    review_session = ReviewSession(context.triage, questions, learn_verdicts)
    queue, work = (_full_screen if terminal.has_screen() else _plain)(context, review_session, review_view)
    if not queue.total:
        context.say(_nothing_to_review(context, review_view))
        return dm.ExitCode.OK
    try:
        review_code = work()
    finally:
        context.say(review_session.summary())
    if review_session.verdicts_given and not context.quiet:
        context.say(f"next: {summaries.step_to_routing(context)}")
    return review_code or dm.ExitCode.OK


def _learn_verdicts(context: CommandContext) -> str:
    """Learn from all verdicts during a review, and return a summary."""
    training_warnings: list[str] = []
    analyst = wiring.Analyst(*context.signature, warn=training_warnings.append)
    lessons = wiring.learning_runs.training_run(context.config, analyst).learn()
    return as_typed(messages.joined(*summaries.lessons_summary(lessons), *training_warnings))


def _nothing_to_review(context: CommandContext, review_view: View) -> str:
    """Return the message if there is no ticket to review."""
    if review_view.filters.line:
        return "no ticket matches the filters"
    if review_view.every:
        return "no tickets yet: triage create FILE stores some"
    waiting = summaries.waits_for_others(context, "review")
    return messages.joined("nothing waits for a person", waiting)


def _plain(context: CommandContext, session: ReviewSession, view: View) -> Prepared:
    from triage_cli.cli.review.plain import PlainReview

    def write(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    queue = TicketQueue(session.triage, view, session.category_names)
    return queue, PlainReview(session, queue, context.stopper.interruptible(sys.stdin), write).work


def _full_screen(context: CommandContext, session: ReviewSession, view: View) -> Prepared:
    from triage_cli.cli.review.app import ReviewApp

    review_app = ReviewApp(session, view)
    return review_app.queue, partial(review_app.run_until_stopped, context)
