"""`triage keys`: who may use the HTTP API."""

from typing import Annotated, Any

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import options
from triage_cli.cli.command import command_group, makes_database, remote_command
from triage_cli.cli.context import CommandContext, user
from triage_cli.cli.declared import argument, option
from triage_cli.cli.output import Printer, PrintOptions, drawn_by
from triage_cli.ports import ApiKeys
from triage_cli.service import KeyRing

Name = Annotated[str, argument("NAME", "Who uses the key; the audit log shows this name.")]
Expires = Annotated[str | None, option("DURATION", "When the key expires, such as 90d.")]
KEY_COLUMNS = ("name", "role", "key_id", "created_at", "last_used_at", "expires_at", "revoked_at", "old_key_until")
KEYS_TABLE = drawn_by("tables.plain", columns=KEY_COLUMNS)


@remote_command
@makes_database
def create(
    context: CommandContext,
    name: Name,
    role: Annotated[
        dm.Role,
        option(
            "ROLE", "metrics sees /metrics alone, reader reads, agent also works on tickets, admin may do everything."
        ),
    ],
    expires: Expires = None,
    *,
    printing: PrintOptions,
) -> None:
    """Make a key. It is shown this once: only its hash is stored.

    \b
    triage keys create zendesk-bot --role agent
    triage keys create prometheus --role metrics --expires 90d
    """
    printer = printing.printer(dm.CreatedKey._fields)
    _show_created_key(context, printer, _key_ring(context).create(name, role, options.typed_seconds(expires)))


@remote_command
def list_keys(context: CommandContext, *, printing: PrintOptions) -> None:
    """List keys, when each was used last (to the minute), which are revoked, and until when a rotated one is taken.

    \b
    triage keys list
    """
    context.look()
    api_keys = list(_key_ring(context).list())
    if not api_keys and context.guides and context.has_database:
        context.say("no keys yet: triage keys create NAME --role reader makes one")
    printing.printer().many(api_keys, _key_record, KEY_COLUMNS, KEYS_TABLE, "name")


@remote_command
def rotate(
    context: CommandContext,
    name: Name,
    overlap: Annotated[str, option("DURATION", "How long the old key stays valid, such as 24h.")] = "0s",
    expires: Expires = None,
    *,
    printing: PrintOptions,
) -> None:
    """Make a new key with the same name, which the log keeps. Without --expires its expiry stays the same.

    \b
    triage keys rotate zendesk-bot --overlap 24h
    """
    printer = printing.printer(dm.CreatedKey._fields)
    created_key = _key_ring(context).rotate(name, options.seconds(overlap), options.typed_seconds(expires))
    _show_created_key(context, printer, created_key)


@remote_command
def revoke(context: CommandContext, name: Name, *, printing: PrintOptions) -> None:
    """Revoke a key: the next request with it is refused.

    \b
    triage keys revoke zendesk-bot
    """
    printer = printing.printer(KEY_COLUMNS)
    printer.one(_key_record(_key_ring(context).revoke(name)), KEYS_TABLE, KEY_COLUMNS, "name")


def _show_created_key(context: CommandContext, printer: Printer, created_key: dm.CreatedKey) -> None:
    created_record = created_key._asdict()
    printer.one(created_record, drawn_by("tables.plain", columns=tuple(created_record)), tuple(created_record), "key")
    context.say("keep the key now: it is shown only once")


def _key_ring(context: CommandContext) -> ApiKeys:
    if context.is_remote:
        return context.remote.keys
    return KeyRing(context.store, wiring.stores.open_api_access(context.store), user())


def _key_record(api_key: dm.ApiKey) -> dict[str, Any]:
    return {column: getattr(api_key, column) for column in KEY_COLUMNS}


GROUP = command_group(
    "Make and revoke the keys of the HTTP API.", create=create, list=list_keys, rotate=rotate, revoke=revoke
)
