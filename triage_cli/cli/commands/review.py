"""`triage review`: what waits for a person, one ticket a screen, one key a category."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

import typer

from triage_cli.cli import messages, options
from triage_cli.cli.context import CommandContext, served
from triage_cli.domain.errors import UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.tickets import Selection
from triage_cli.service.lookup import WINDOW


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("review")(review)


@served
def review(session: CommandContext, limit: options.Limit = None) -> int:
    """Work through what waits for a person, the most informative first; each key is stored at once.

    \b
    triage review              then: triage route
    """
    if not (messages.on_terminal(sys.stdin) and messages.on_terminal(sys.stdout)):
        raise UsageError(
            "review needs a terminal",
            hint="triage list --status needs_review -o csv gives a table to fill in, triage verdict - takes it",
        )
    from triage_cli.cli.review_session import CLEAR, ReviewSession

    categories = session.triage.categories()
    tickets = list(
        islice(session.triage.find(Selection(order="review", limit=limit)), WINDOW if limit is None else limit)
    )
    if not tickets:
        session.say("nothing waits for a person")
        return ExitCode.OK
    desk = ReviewSession(session, tickets, [category.name for category in categories])
    number = sys.stdin.fileno()
    try:
        with _one_key_at_a_time(number), _resizes(session) as resized:
            desk.work(session.stopper.interruptible(_keys(number, resized)))
    finally:
        sys.stdout.write(CLEAR)
        sys.stdout.flush()
        session.say(desk.summary())
    if desk.given:
        session.say("next: triage route")
    return ExitCode.OK


def _keys(number: int, resized: int) -> Iterator[str]:
    """Yield keys as they are pressed, and `RESIZED`; what an arrow or a function key sends is no key."""
    from triage_cli.cli.review_session import RESIZED

    while True:
        ready, _, _ = select.select([number, resized], [], [])
        if resized in ready:
            os.read(resized, 64)
            yield RESIZED
        if number in ready:
            text = os.read(number, 64)
            if not text:
                return
            keys = text.decode(errors="ignore")
            yield from () if len(keys) > 1 and keys.startswith("\x1b") else keys


@contextmanager
def _resizes(session: CommandContext) -> Iterator[int]:
    """Give a file that can be read from when the window has got another size."""
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)

    def resized() -> None:
        with suppress(BlockingIOError):  # it is told already
            os.write(sender, b"x")

    try:
        with session.stopper.telling_of(signal.SIGWINCH, resized):
            yield receiver
    finally:
        os.close(receiver)
        os.close(sender)


@contextmanager
def _one_key_at_a_time(number: int) -> Iterator[None]:
    """Let the terminal hand over each key at once and unseen; as it was afterwards, whatever happens."""
    import termios
    import tty

    before = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
