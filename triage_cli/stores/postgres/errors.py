"""PostgreSQL's errors as the program's own, which of them are worth a retry, and the check of an address.

No message holds a password.
"""

import re

import psycopg

from triage_cli.domain import StoreError, StoreRefusedError, StoreUnavailableError, TriageError

NOTHING_LOST = "nothing that was finished is lost; run the same command again later"
# The server surely rolled the transaction back: serialization failure, deadlock.
ROLLED_BACK = frozenset({"40001", "40P01"})
# The server is stopping or starting, or has no free connection.
SERVER_UNAVAILABLE = frozenset({"57P01", "57P02", "57P03", "53300"})
# What libpq and psycopg write before the reason why a connection failed.
_BEFORE_LIBPQ_REASON = re.compile(r".*(?:failed|is bad|FATAL|host '.*'): +")
_ADDRESS = re.compile(r"postgres(?:ql)?://(?P<rest>[^/?#]*)")


def check_address(url: str) -> None:
    """Raise `StoreError` for a malformed address, whose password could be taken for the host and shown in an error."""
    postgres_address = _ADDRESS.match(url)
    authority = postgres_address["rest"] if postgres_address else ""
    is_malformed = (
        postgres_address is None
        or authority.count("@") > 1
        or ("@" not in authority and "@" in url.split("?", maxsplit=1)[0])
    )
    try:
        address_settings = psycopg.conninfo.conninfo_to_dict(url)
        psycopg.conninfo.timeout_from_conninfo(address_settings)
        port = str(address_settings.get("port") or "")
        is_malformed = is_malformed or re.fullmatch(r"[\d,]*", port) is None  # for example, the host was left out
    except psycopg.ProgrammingError:
        is_malformed = True
    if is_malformed:
        raise StoreError(
            "the address of the database cannot be read",
            hint="give postgresql://user@host:port/name and the password in PGPASSWORD; in an address write @ as %40 "
            "and / as %2F",
        )


def is_lost(error: BaseException) -> bool:
    """Return whether an error means that the connection or the server is gone."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is None or error.sqlstate in SERVER_UNAVAILABLE or error.sqlstate.startswith("08")


def is_retryable(error: BaseException) -> bool:
    """Return whether the same transaction may succeed if it is retried."""
    return is_lost(error) or (isinstance(error, psycopg.Error) and error.sqlstate in ROLLED_BACK)


def is_starting(error: psycopg.Error) -> bool:
    """Return whether a server refuses connections because it is starting or stopping."""
    return "the database system is" in str(error)


# By the text of libpq's message, because it gives no SQLSTATE when a connection fails.
_REFUSED_CONNECTIONS: tuple[tuple[str, type[TriageError], str, str], ...] = (
    (
        r'database ".*" does not exist',
        StoreError,
        "{shown}: there is no such database",
        "make it with createdb, or name another with --db",
    ),
    (
        r"authentication failed|no password supplied|no pg_hba\.conf entry|role .* does not exist",
        StoreRefusedError,
        "{shown}: the server refuses this user or password",
        "set PGPASSWORD or ~/.pgpass, and check the user's name and pg_hba.conf",
    ),
    (
        r"is not permitted to log in|permission denied for database",
        StoreRefusedError,
        "{shown}: this user may not use the database",
        "grant connect on it to this user",
    ),
    (
        r"too many|remaining connection slots",
        StoreUnavailableError,
        "{shown}: the server has no connection to spare",
        "raise max_connections, or run fewer workers",
    ),
    (
        (
            r"invalid (\S+ )?(value|argument)|invalid port number|unrecognized configuration parameter|"
            r"unsupported startup parameter|definition of service|certificate|SSL was required|channel binding required"
        ),
        StoreError,
        "{shown} cannot be reached by this address: {detail}",
        "correct its settings, or name another with --db",
    ),
    (r"", StoreUnavailableError, "{shown} cannot be reached: {detail}", NOTHING_LOST),
)
# By the first characters of SQLSTATE (PostgreSQL's manual, appendix A).
_ERRORS_BY_SQLSTATE: tuple[tuple[tuple[str, ...], type[TriageError], str, str], ...] = (
    (("57P", "08", "53300"), StoreUnavailableError, "the connection to {shown} was lost", NOTHING_LOST),
    (tuple(ROLLED_BACK), StoreUnavailableError, "{shown}: other programs kept changing the same rows", NOTHING_LOST),
    (("57014", "55P03", "25P0"), StoreUnavailableError, "{shown} took too long over one statement", NOTHING_LOST),
    (("25006",), StoreUnavailableError, "{shown} is read-only, as a standby is", "name the primary server"),
    (("53",), StoreUnavailableError, "{shown} has no room left: {detail}", NOTHING_LOST),
    (("42501",), StoreRefusedError, "{shown}: {detail}", "grant this user the right, or name another database"),
    (("3F000",), StoreError, "{shown}: {detail}", "make the schema that its search_path names, or name another"),
    (("42P01", "42703"), StoreError, "{shown} is a database, but not one of triage", "name another with --db"),
)


def translate(error: psycopg.Error, shown: str) -> TriageError:
    """Return the error to show to a user. An error that only a bug can cause is raised unchanged."""
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        libpq_message = str(error)
        libpq_reason = _BEFORE_LIBPQ_REASON.sub("", (libpq_message.strip().splitlines() or ["no answer"])[0])
        error_type, sentence, hint = next(row[1:] for row in _REFUSED_CONNECTIONS if re.search(row[0], libpq_message))
        return error_type(sentence.format(shown=shown, detail=libpq_reason), hint=hint)
    for sqlstates, error_type, sentence, hint in _ERRORS_BY_SQLSTATE:
        if (error.sqlstate or "").startswith(sqlstates):
            return error_type(sentence.format(shown=shown, detail=error.diag.message_primary), hint=hint)
    raise error
