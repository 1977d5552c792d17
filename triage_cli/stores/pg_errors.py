"""What a user is told of PostgreSQL's errors, which of them pass, and what a broken address is; never a password."""

import re

import psycopg

from triage_cli.errors import RefusedError, StoreError, TriageError, UnavailableError

NOTHING_LOST = "nothing that was finished is lost; run the same command again later"
# Rolled back for certain by the server, for reasons that are not ours: deadlock, serialization failure.
UNDONE = frozenset({"40001", "40P01"})
# The server goes down, comes up or has no connection to spare.
AWAY = frozenset({"57P01", "57P02", "57P03", "53300"})
_ADDRESS = re.compile(r"postgres(?:ql)?://(?P<rest>[^/?#]*)")


def check_address(url: str) -> None:
    """Refuse an address whose password would be taken for a part of the host, and then told in an error."""
    found = _ADDRESS.match(url)
    authority = found["rest"] if found else ""
    broken = found is None or authority.count("@") > 1 or ("@" not in authority and "@" in url.split("?")[0])
    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        broken = True
    if broken:
        raise StoreError(
            "the address of the database cannot be read",
            hint="give postgresql://user@host:port/name and the password in PGPASSWORD; in an address write @ as %40 "
            "and / as %2F",
        )


def is_lost(error: BaseException) -> bool:
    """Tell whether an error says that the connection, or the server, is gone."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is None or error.sqlstate in AWAY or error.sqlstate.startswith("08")


def passes(error: BaseException) -> bool:
    """Tell whether the same transaction may succeed when it is tried again."""
    return is_lost(error) or (isinstance(error, psycopg.Error) and error.sqlstate in UNDONE)


def is_starting(error: psycopg.Error) -> bool:
    """Tell whether a server that refuses a connection is only just coming up or going down."""
    return "the database system is" in str(error)


def _unreachable(error: psycopg.OperationalError, shown: str) -> TriageError:
    """Return what a user is told where no connection could be made; libpq gives no code here, only words."""
    said = str(error)
    pgconn = error.pgconn
    if 'database "' in said and "does not exist" in said:
        return StoreError(f"{shown}: there is no such database", hint="make it with createdb, or name another with --db")
    refused = re.search(r"authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist", said)
    if refused or (pgconn is not None and pgconn.needs_password):
        return RefusedError(
            f"{shown}: the server refuses this user or password",
            hint="set PGPASSWORD or ~/.pgpass, and check the user's name and pg_hba.conf",
        )
    if "is not permitted to log in" in said or "permission denied for database" in said:
        return RefusedError(f"{shown}: this user may not use the database", hint="grant connect to it")
    if "too many" in said or "remaining connection slots" in said:
        return UnavailableError(
            f"{shown}: the server has no connection to spare", hint="raise max_connections or run fewer workers"
        )
    reason = said.strip().splitlines()[0].rpartition(": ")[2] if said.strip() else "no answer"
    return UnavailableError(f"{shown} cannot be reached: {reason}", hint=NOTHING_LOST)


def translate(error: psycopg.Error, shown: str) -> TriageError:
    """Return what a user can be told of an error; one that is a mistake of the program is raised as it is."""
    code = error.sqlstate or ""
    if isinstance(error, psycopg.OperationalError) and not code:
        return _unreachable(error, shown)
    if is_lost(error):
        return UnavailableError(f"the connection to {shown} was lost", hint=NOTHING_LOST)
    if code in UNDONE:
        return UnavailableError(f"{shown}: other programs were faster again and again", hint=NOTHING_LOST)
    if code in ("57014", "55P03", "25P03"):
        return UnavailableError(f"{shown} took too long over one statement", hint=NOTHING_LOST)
    if code == "25006":
        return UnavailableError(f"{shown} is read-only, as a standby is", hint="name the primary server")
    if code.startswith("53"):
        return UnavailableError(f"{shown} has no room left: {_first_line(error)}", hint=NOTHING_LOST)
    if code == "42501":
        return RefusedError(f"{shown}: {_first_line(error)}", hint="grant this user the rights, or name another database")
    if code in ("42P01", "42703", "42P07", "42710"):
        return StoreError(f"{shown} is a database, but not one of triage", hint="name another with --db")
    raise error


def _first_line(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error).splitlines()[0]
