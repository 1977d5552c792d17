"""`triage review`: shows tickets that wait for a person, or all, in a full-screen application."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer

from triage_cli import wiring
from triage_cli.cli import messages, options, terminal
from triage_cli.cli.command import remote_command
from triage_cli.cli.commands.models.learn import learning_summary
from triage_cli.cli.context import CommandContext
from triage_cli.cli.review import filters
from triage_cli.cli.review.filters import View
from triage_cli.cli.review.session import ReviewSession
from triage_cli.domain.errors import UsageError
from triage_cli.domain.exit_codes import ExitCode


@remote_command
def review(
    session: CommandContext,
    every: Annotated[bool, typer.Option("--all", help="All tickets, not only those that need a person.")] = False,
    order: Annotated[
        filters.Order | None, typer.Option(metavar="NAME", help="review: the most informative first; urgent; newest.")
    ] = None,
    status: options.Statuses = None,
    category: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Tickets with this guess or category; may be repeated.")
    ] = None,
    priority: options.PriorityFilter = None,
    search: options.Search = None,
    limit: options.Limit = None,
) -> int:
    """Decide the tickets that need a person, the most informative first: one key each, stored at once; ? shows help.

    \b
    triage review              then: triage route
    triage review --order urgent --category Billing
    triage review --all --search refund
    """
    if not (terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stdout)):
        raise UsageError(
            "review needs a terminal",
            hint="triage list --status needs_review -o csv gives a table to fill in, triage verdict - takes it",
        )
    names = [each.name for each in session.triage.categories()]
    one_priority, searched = options.single("--priority", priority), options.single("--search", search)
    chosen = filters.checked(one_priority, category or (), status or (), searched, names, every=every)
    view = View(every, order or ("newest" if every else "review"), chosen, limit)
    review_session = ReviewSession(session.triage, names, None if session.is_remote else partial(_learned, session))
    code = _plain(session, review_session, view) if _is_plain() else _full_screen(session, review_session, view)
    if review_session.verdicts_given:
        session.say("next: triage route")
    return code


def _learned(session: CommandContext) -> str:
    """Learn from all verdicts, and return a summary."""
    warnings: list[str] = []
    run = wiring.learning_runs.training_run(session.config, *session.signature, lambda _: None, warn=warnings.append)
    return messages.joined(*learning_summary(run.learn_verdicts()), *warnings)


def _is_plain() -> bool:
    """Return whether the terminal cannot draw; Textual draws on stderr."""
    return not os.environ.get("TERM") or terminal.is_dumb() or not terminal.is_terminal(sys.stderr)


def _nothing(view: View) -> str:
    """Return the message if there is no ticket to show."""
    if view.filters.line:
        return "no ticket matches the filters"
    return "no tickets yet: triage create FILE stores some" if view.every else "nothing waits for a person"


def _plain(session: CommandContext, review_session: ReviewSession, view: View) -> int:
    from triage_cli.cli.review.plain import PlainReview
    from triage_cli.cli.review.ticket_queue import TicketQueue

    def write(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    queue = TicketQueue(review_session.triage, view, review_session.names)
    if not queue.total:
        session.say(_nothing(view))
        return ExitCode.OK
    try:
        PlainReview(review_session, queue, session.stopper.interruptible(sys.stdin), write).work()
    finally:
        session.say(review_session.summary())
    return ExitCode.OK


def _full_screen(session: CommandContext, review_session: ReviewSession, view: View) -> int:
    from triage_cli.cli.review.app import ReviewApp

    app = ReviewApp(review_session, view)
    if not app.queue.total:
        session.say(_nothing(view))
        return ExitCode.OK
    session.stopper.watch(app.stop)
    try:
        with _own_wakeup():
            code = app.run()
    finally:
        session.say(review_session.summary())
    if app.failure is not None:
        raise app.failure
    return ExitCode.OK if code is None else code


@contextmanager
def _own_wakeup() -> Iterator[None]:
    """Restore the stopper's wakeup file descriptor after an event loop has used it."""
    before = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
