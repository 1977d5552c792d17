"""Destinations of config.yaml: webhooks, commands, files and mail; type `http` has a module of its own."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from triage_cli.config.destination_specs import DestinationSpec, MailSpec
from triage_cli.config.http_destination import COMMON, RETRIES, TIMEOUT, http_schema, read_http
from triage_cli.config.json_schema import Schema, accepts, named_schema, record_schema, schema_of
from triage_cli.config.validators import (
    Field,
    absolute,
    named,
    number,
    one_of,
    path,
    record,
    several,
    text,
    text_matching,
    truth,
    url,
    variable,
)
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError
from triage_cli.domain.tickets import Category
from triage_cli.runtime.network import is_loopback

SUBMISSIONS = 465  # the port of SMTP with TLS from the start (RFC 8314)
HOST = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}"
# An address (RFC 5322, 3.4) in ASCII, without what is quoted or commented; maybe a name before it.
ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
MAILBOX = rf'{ADDRESS}|[^<>@,;:"\\\x00-\x1f\x7f]{{1,80}} <{ADDRESS}>'


def read_mail(destination_name: str, setting: ConfigNode) -> DestinationSpec:
    """Read a destination of type `mail`; its mistakes are in its diagnostics."""
    destination_values = record(setting, MAIL, f"destinations.{destination_name}", instead="user_env and password_env")
    common = {key: destination_values.pop(key) for key in COMMON if key in destination_values}
    if ("user_env" in destination_values) != ("password_env" in destination_values):
        setting.wrong("needs both user_env and password_env, or neither")
    destination_values.pop("type", None)
    sender, host, port = (
        destination_values.pop("from", ""),
        destination_values.get("host", ""),
        destination_values.get("port"),
    )
    usual = "implicit" if port == SUBMISSIONS else "none" if is_loopback(host) else "starttls"
    tls = destination_values.setdefault("tls", usual)
    destination_values.setdefault("port", SUBMISSIONS if tls == "implicit" else MailSpec._field_defaults["port"])
    return DestinationSpec(
        destination_name, "mail", **common, mail=MailSpec(**{"host": "", **destination_values}, sender=sender)
    )


mail_host = text_matching(f"({HOST})", "must be the name or address of a mail server, such as smtp.example.com")
_mailbox = text_matching(f"({MAILBOX})", "must be a mail address, such as team@example.com or Team <team@example.com>")
MAIL: Mapping[str, Field] = {
    "type": Field(one_of("mail"), needed=True),
    "host": Field(mail_host, needed=True),
    "port": Field(number(1, 65535, whole=True)),
    "tls": Field(one_of("implicit", "starttls", "none")),
    "user_env": Field(variable),
    "password_env": Field(variable),
    "from": Field(_mailbox, needed=True),
    "to": Field(several(_mailbox, least=1, most=100), needed=True),
    "subject": Field(text),
    "text": Field(text),
    **COMMON,
}


TYPES = ("webhook", "http", "mail", "command", "file")
# The types that are read by tables of their own.
READERS = {"http": read_http, "mail": read_mail}


def _schema() -> Schema:
    schema: Schema = record_schema(DESTINATION)
    for kind, of_kind in (("http", http_schema()), ("mail", record_schema(MAIL))):
        is_kind = {"properties": {"type": {"const": kind}}, "required": ["type"]}
        schema = {"if": is_kind, "then": of_kind, "else": schema}
    return named_schema(schema, [{"not": {"pattern": "://"}}])


@accepts(_schema)
def read_destinations(setting: ConfigNode) -> dict[str, DestinationSpec]:
    """Return the destinations by their names."""
    destinations = {}
    for destination_name, inner in named(setting).items():
        if "://" in destination_name:
            inner.wrong("give the destination a name; the address goes into its url")
        chosen = inner.value.get("type") if isinstance(inner.value, dict) else None
        if chosen is not None and isinstance(chosen.value, str) and chosen.value in READERS:
            destinations[destination_name] = READERS[chosen.value](destination_name, inner)
            continue
        destination_values = record(inner, DESTINATION, f"destinations.{destination_name}", instead="secret_env")
        if destination_values.get("type") == "command":
            inner.refuse_command()
        destinations[destination_name] = DestinationSpec(destination_name, **{"type": "", **destination_values})
    return destinations


def unnamed_webhook(address: str, setting: ConfigNode) -> DestinationSpec:
    """Return the destination for an address in the routing map, which is also its name."""
    spec = DestinationSpec(address, "webhook", url(setting))
    setting.origin(f"destinations.{address}.url")
    return spec


def default_destinations(categories: Iterable[Category], folder: Path) -> dict[str, DestinationSpec]:
    """Return a file for each category, for a configuration without a routing map."""
    names = [category.name for category in categories]
    return {name: DestinationSpec(name, "file", path=folder / _file_name(name)) for name in names}


def _file_name(category: str) -> str:
    """Return a name for a category's file that is safe everywhere; an altered one gets a hash of its own."""
    safe = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "-", category).strip(" .-").encode()[:200].decode(errors="ignore")
    if safe != category:
        import hashlib

        safe = f"{safe or 'category'}-{hashlib.sha256(category.encode()).hexdigest()[:6]}"
    return f"{safe}.jsonl"


@accepts(lambda: schema_of(several(text, alone=False, least=1)))
def command(setting: ConfigNode) -> tuple[str, ...]:
    """Read a command as a list; a program given with a slash is found beside the file."""
    if isinstance(setting.value, str):
        raise ConfigValueError("must be a list, since no shell is used: [program, argument]")
    argv: tuple[str, ...] = several(text, alone=False, least=1)(setting)
    if argv and ("/" in argv[0] or argv[0].startswith("~")):
        return (str(absolute(argv[0], setting.diagnostics.folder, setting.diagnostics.home)), *argv[1:])
    return argv


DESTINATION: Mapping[str, Field] = {
    "type": Field(one_of(*TYPES), needed=True),
    "url": Field(url, ("webhook",), needed=True),
    "secret_env": Field(several(variable), ("webhook",)),
    "allow_private": Field(truth, ("webhook",)),
    "run": Field(command, ("command",), needed=True),
    "final_exit": Field(several(number(1, 255, whole=True)), ("command",)),
    "path": Field(path, ("file",), needed=True),
    "timeout": Field(TIMEOUT, ("webhook", "command")),
    **RETRIES,
}
