"""Addresses of databases: a file's path, or the URL of a PostgreSQL database."""

import re

from triage_cli.config import validators as valid
from triage_cli.config.key_tables import accepts
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError


@accepts(
    {
        "type": "string",
        "pattern": r"^(postgres(ql)?://(?![^/?#]*:[^/?#]*@)|(?![A-Za-z][\w+.-]+://))",
        "not": {"const": ":memory:"},
    }
)
def database(setting: ConfigNode) -> str:
    """Accept the address of a database: a path, or a PostgreSQL URL without a password."""
    location = valid.text(setting)
    if objection := no_database(location):
        raise ConfigValueError(objection)
    if is_postgres(location):
        if without_password(location) != location:
            raise ConfigValueError("holds a password; put it into the environment as PGPASSWORD, or into ~/.pgpass")
        return location
    return str(valid.absolute(location, setting.diagnostics.folder, setting.diagnostics.home))


def no_database(location: str) -> str:
    """Return why a location names no database, else an empty text."""
    if not is_postgres(location) and re.match(r"[A-Za-z][\w+.-]+://", location):
        return "must be a path or postgresql://user@host/name"
    if location == ":memory:":
        return "is no path: a database in memory would be gone when the command ends"
    return "holds a character that no path has" if "\0" in location else ""


def is_postgres(location: str) -> bool:
    """Return whether this is the address of a PostgreSQL server, not a path."""
    return location.startswith(("postgresql://", "postgres://"))


def without_password(database: str) -> str:
    """Return the address of a database without its password, as it may be printed."""
    if "://" not in database:
        return database
    without_user_password = re.sub(r"(?<=://)([^/@?#:]*):[^?#]*(?=@)", r"\1:***", database)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&#]*", r"\1***", without_user_password)
