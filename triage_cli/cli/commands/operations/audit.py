"""`triage audit`: proof that the log is whole, and the head to keep elsewhere."""

from pathlib import Path
from typing import Annotated, Any

import typer

from triage_cli import wiring
from triage_cli.cli import messages
from triage_cli.cli.command import command_group, remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.heads_file import HASH, HeadsFile
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.domain.errors import UsageError

COLUMNS = ("head", "events")


@remote_command
def verify(
    session: CommandContext,
    expect_head: Annotated[
        str | None,
        typer.Option(
            "--expect-head",
            metavar="HASH",
            help="A head printed earlier, which must be in the log.",
            show_default=False,
        ),
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option(
            "--heads",
            metavar="FILE",
            help="Heads printed earlier, one a line: each must be in the log; today's is added.",
            show_default=False,
        ),
    ] = None,
    *,
    printing: PrintOptions,
) -> None:
    """Recompute the whole log. With exit code 8, it names the first event that was changed, moved, added or removed.

    \b
    triage audit verify
    triage audit verify --heads /mnt/elsewhere/heads
    triage audit verify --expect-head $(cat head-of-monday)
    """
    expected = (expect_head or "").strip().lower()
    if expect_head is not None and not HASH.fullmatch(expected):
        raise UsageError(f'"{expect_head}" is no hash', hint="give the 64 digits that triage audit head -o id prints")
    file = HeadsFile(heads) if heads else None
    elsewhere = {**(file.read() if file else {}), **({expected: "that was expected"} if expected else {})}
    if session.is_remote:
        verified_head = wiring.remote_verify(session.remote, elsewhere)
    else:
        verified_head = wiring.stores.verify(session.config, elsewhere)
    new = file.add(verified_head) if file else False
    _print(printing, verified_head._asdict())
    session.say(f"{messages.plural(verified_head.events, 'events')}: the log is whole")
    if new:
        session.say(f"note: {heads} is new, and holds today's head from here on")


@remote_command
def head(session: CommandContext, *, printing: PrintOptions) -> None:
    """Print the hash of the last event. Keep it where nobody who can write to the database can change it.

    \b
    triage audit head >> /mnt/elsewhere/heads
    triage audit head -o id
    """
    _print(printing, session.look().audit_head()._asdict())


def _print(printing: PrintOptions, record: dict[str, Any]) -> None:
    printing.printer().one(record, drawn_by("tables.plain", columns=COLUMNS), COLUMNS, "head")


GROUP = command_group("Prove that the audit log is whole.", verify=verify, head=head)
