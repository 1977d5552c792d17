"""`triage db`: the path of the database, its backup, restore, and copy to PostgreSQL."""

from pathlib import Path
from typing import Annotated

from triage_cli import wiring
from triage_cli.cli import input_tables, messages
from triage_cli.cli.command import command, command_group
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag
from triage_cli.cli.output import Printer
from triage_cli.cli.progress import elapsed_line
from triage_cli.config import without_password

MOST_NAMED_IDS = 10  # in the warning that a restored database has forgotten tickets


@command
def path(context: CommandContext) -> None:
    """Print where the database is."""
    Printer("table").write(wiring.database_maintenance.path_of(context.config) + "\n")


@command
def backup(context: CommandContext, file: Annotated[Path, argument("FILE", "A new file.")]) -> None:
    """Copy the database, also while it is in use; the copy can be opened with --db."""
    input_tables.check_written(context, file, "triage db backup FILE")
    with elapsed_line("copying", shown=context.guides):
        wiring.database_maintenance.backup(context.config, file)
    context.say(f"wrote {file}")


@command
def restore(
    context: CommandContext,
    file: Annotated[Path, argument("FILE", "What triage db backup wrote.")],
    yes: Annotated[bool, flag("--yes", "Do not ask first; needed where there is no terminal.")] = False,
) -> None:
    """Replace the database by a backup; the old database is kept beside it, and the log records this.

    It is refused during a run. A backup from before a forget brings the text back. On a terminal it asks first; in a
    script it needs --yes.

    \b
    triage db restore backup.db --yes
    """
    path = wiring.database_maintenance.restorable(context.config, file)
    context.need_agreement(yes=yes)
    restore_question = f"this puts {file} in the place of {path}, which is kept beside it"
    if not yes and Path(path).exists() and not context.agrees(restore_question):
        context.say("nothing was restored")
        return
    with elapsed_line("restoring", shown=context.guides):
        restored = wiring.database_maintenance.restore(context.config, file, context.signature[0])
    restored_head, replaced_database, audit_doubts = restored
    kept_beside = f"; what was there is kept in {replaced_database.kept}" if replaced_database.kept else ""
    context.say(f"restored {file}: {messages.plural(restored_head.events, 'events')}{kept_beside}")
    if audit_doubts:
        messages.say(f"warning: the audit log of {file} does not hold: {audit_doubts}")
    if replaced_database.tickets:
        forgotten_ids = replaced_database.tickets
        listed_ids = ", ".join(forgotten_ids[:MOST_NAMED_IDS]) + (", …" if len(forgotten_ids) > MOST_NAMED_IDS else "")
        forgotten = messages.plural(
            len(forgotten_ids), "tickets that were forgotten are", "ticket that was forgotten is"
        )
        messages.say(
            f"warning: {forgotten} back with text: triage show says whose, triage forget erases it: {listed_ids}"
        )
    if replaced_database.keys:
        revoked_keys = ", ".join(replaced_database.keys)
        messages.say(f"warning: API keys that were revoked are valid again: triage keys revoke NAME ({revoked_keys})")


@command
def copy(context: CommandContext, url: Annotated[str, argument("URL", "postgresql://user@host/name")]) -> None:
    """Move the database to an empty one on PostgreSQL, audit log included, and verify it there; all or nothing."""
    with elapsed_line("copying", shown=context.guides):
        copied = wiring.database_maintenance.copy_to(context.config, url)
    copied_rows = ", ".join(f"{number:,} {table}" for table, number in copied.rows.items() if number)
    context.say(f"copied {copied_rows or 'nothing, since there is nothing'}; the audit log holds there")
    if copied.changed:
        context.say(f"note: a NUL character in {copied.changed} rows became U+FFFD, which PostgreSQL can keep")
    if context.guides:
        context.say(f"next: put database: {without_password(url)} into the config, or give it as --db")


@command
def migrate(context: CommandContext) -> None:
    """Bring the tables of an older version forward to this one's, after which older programs cannot use them any more.

    On PostgreSQL nothing else does. A file is brought forward by whichever command opens it first.
    """
    with elapsed_line("migrating", shown=context.guides):
        migrated = wiring.database_maintenance.migrate(context.config)
    if migrated.old_version == migrated.version:
        context.say(f"{migrated.shown} has the newest tables (schema {migrated.version})")
    else:
        context.say(f"brought {migrated.shown} forward from schema {migrated.old_version} to {migrated.version}")


GROUP = command_group("Look after the database.", path=path, backup=backup, restore=restore, copy=copy, migrate=migrate)
