"""Addresses of databases: a file's path, or the URL of a PostgreSQL database."""

import re

from triage_cli.config.json_schema import accepts
from triage_cli.config.validators import absolute, text
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError


@accepts({"type": "string", "pattern": r"^(postgres(ql)?://(?![^/?#]*:[^/?#]*@)|(?![A-Za-z][\w+.-]+://))"})
def database(setting: ConfigNode) -> str:
    """Accept a path or a PostgreSQL address without a password."""
    yaml_value = text(setting)
    if objection := no_database(yaml_value):
        raise ConfigValueError(objection)
    if is_postgres(yaml_value):
        if without_password(yaml_value) != yaml_value:
            raise ConfigValueError("holds a password; put it into the environment as PGPASSWORD, or into ~/.pgpass")
        return yaml_value
    return str(absolute(yaml_value, setting.diagnostics.folder, setting.diagnostics.home))


def no_database(location: str) -> str:
    """Return why this names no database, else an empty text."""
    if not is_postgres(location) and re.match(r"[A-Za-z][\w+.-]+://", location):
        return "must be a path or postgresql://user@host/name"
    return "holds a character that no path has" if "\0" in location else ""


def is_postgres(location: str) -> bool:
    """Return whether this is a server's address, not a path."""
    return location.startswith(("postgresql://", "postgres://"))


def without_password(database: str) -> str:
    """Return the database as it may be printed."""
    hidden = re.sub(r"(?<=://)([^/@?#:]*):[^?#]*(?=@)", r"\1:***", database)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&#]*", r"\1***", hidden) if "://" in database else database
