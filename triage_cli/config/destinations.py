"""Destinations of config.yaml: webhooks, commands and files; types `http` and `mail` have modules of their own."""

from collections.abc import Mapping

from triage_cli.config.http_destination import RETRIES, TIMEOUT, http_schema, read_http
from triage_cli.config.json_schema import Schema, accepts, named_schema, record_schema, schema_of
from triage_cli.config.mail_destination import MAIL, read_mail
from triage_cli.config.models import DestinationSpec
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
    truth,
    url,
    variable,
)
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError

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
def read_destinations(place: ConfigNode) -> dict[str, DestinationSpec]:
    """Return the destinations by their names."""
    found = {}
    for name, inner in named(place).items():
        if "://" in name:
            inner.wrong("give the destination a name; the address goes into its url")
        chosen = inner.value.get("type") if isinstance(inner.value, dict) else None
        if chosen is not None and isinstance(chosen.value, str) and chosen.value in READERS:
            found[name] = READERS[chosen.value](name, inner)
            continue
        values = record(inner, DESTINATION, f"destinations.{name}", instead="secret_env")
        if values.get("type") == "command" and inner.book.untrusted:
            inner.wrong(inner.book.untrusted)
        found[name] = DestinationSpec(name, **{"type": "", **values})
    return found


@accepts(lambda: schema_of(several(text, alone=False, least=1)))
def command(place: ConfigNode) -> tuple[str, ...]:
    """Read a command as a list; a program given with a slash is found beside the file."""
    if isinstance(place.value, str):
        raise ConfigValueError("must be a list, since no shell takes it apart: [program, argument]")
    argv: tuple[str, ...] = several(text, alone=False, least=1)(place)
    if argv and ("/" in argv[0] or argv[0].startswith("~")):
        return (str(absolute(argv[0], place.book.folder, place.book.home)), *argv[1:])
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
