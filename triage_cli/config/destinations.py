"""Destinations of config.yaml: webhooks, commands and files; requests of one's own stand in `http_destination`."""

from collections.abc import Mapping

from triage_cli.config.http_destination import RETRIES, TIMEOUT, http_schema, read_http
from triage_cli.config.json_schema import Schema, accepts, named_schema, record_schema, schema_of
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

TYPES = ("webhook", "http", "command", "file")


def _schema() -> Schema:
    of_http = {"if": {"properties": {"type": {"const": "http"}}, "required": ["type"]}, "then": http_schema()}
    return named_schema({**of_http, "else": record_schema(DESTINATION)}, [{"not": {"pattern": "://"}}])


@accepts(_schema)
def read_destinations(place: ConfigNode) -> dict[str, DestinationSpec]:
    """Return the destinations by their names."""
    found = {}
    for name, inner in named(place).items():
        if "://" in name:
            inner.wrong("give the destination a name; the address goes into its url")
        chosen = inner.value.get("type") if isinstance(inner.value, dict) else None
        if chosen is not None and chosen.value == "http":
            found[name] = read_http(name, inner)
            continue
        values = record(inner, DESTINATION, f"destinations.{name}", instead="secret_env")
        if values.get("type") == "command" and inner.book.untrusted:
            inner.wrong(inner.book.untrusted)
        found[name] = DestinationSpec(name, **{"type": "", **values})
    return found


@accepts(lambda: schema_of(several(text, alone=False, least=1)))
def _command(place: ConfigNode) -> tuple[str, ...]:
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
    "run": Field(_command, ("command",), needed=True),
    "final_exit": Field(several(number(1, 255, whole=True)), ("command",)),
    "path": Field(path, ("file",), needed=True),
    "timeout": Field(TIMEOUT, ("webhook", "command")),
    **RETRIES,
}
