"""The one door through which connections leave the process: whether there is a network, and whom to trust in it."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from triage_cli.domain.errors import ConfigError, UsageError

if TYPE_CHECKING:  # an annotation is no reason to import what makes a connection
    import imaplib
    import ssl

    import anthropic
    import httpx
    import openai
    import psycopg
    from psycopg_pool import ConnectionPool

    from triage_cli.runtime.smtp import MailServer, Tls

# The hooks of an httpx2 client, by event.
Hooks = Mapping[str, list[Callable[..., Any]]]


class Network(NamedTuple):
    """Makes every connection that goes out, or, when `offline`, none.

    It has no default and no global: who opens something that needs the network is handed one. Each method raises
    `UsageError` when offline, before a socket is opened, and `ConfigError` for authorities that cannot be read.
    """

    offline: bool

    def check(self, what: str) -> None:
        """Raise `UsageError` for something that needs the network, when that is switched off."""
        if self.offline:
            raise UsageError(
                f"{what} needs the network, and --offline switches it off",
                hint="leave out --offline (also TRIAGE_OFFLINE and offline: in the config)",
            )

    def http_client(self, what: str, *, proxies: bool, **options: Any) -> "httpx.Client":
        """Return a client for one server, which follows no redirect: a key goes nowhere else.

        With `proxies` those of the environment are used.
        """
        self.check(what)
        import httpx

        return httpx.Client(verify=trust(), trust_env=proxies, follow_redirects=False, **options)

    def async_http_client(self, what: str, **options: Any) -> "httpx.AsyncClient":
        """Return a client that goes straight to the address it is given: no proxy, no .netrc, no redirect."""
        self.check(what)
        import httpx

        return httpx.AsyncClient(verify=trust(), trust_env=False, follow_redirects=False, **options)

    def openai(self, what: str, *, hooks: Hooks, **options: Any) -> "openai.AsyncOpenAI":
        """Return OpenAI's client."""
        self.check(what)
        import openai

        client = openai.DefaultAsyncHttpxClient(verify=trust(), event_hooks=hooks)
        return openai.AsyncOpenAI(http_client=client, **options)

    def anthropic(self, what: str, *, hooks: Hooks, **options: Any) -> "anthropic.AsyncAnthropic":
        """Return Anthropic's client."""
        self.check(what)
        import anthropic

        client = anthropic.DefaultAsyncHttpxClient(verify=trust(), event_hooks=hooks)
        return anthropic.AsyncAnthropic(http_client=client, **options)

    def mail_server(self, what: str, host: str, port: int, *, tls: "Tls", timeout: float) -> "MailServer":
        """Return a mail server that connections can be opened to."""
        self.check(what)
        from triage_cli.runtime.smtp import MailServer

        return MailServer(host, port, tls, None if tls == "none" else trust(), timeout)

    def imap(self, what: str, host: str, port: int, *, tls: "Tls", timeout: float) -> "imaplib.IMAP4":
        """Return a connection to a mail server that mail is read from. Raises what `runtime.imap.connect` raises."""
        self.check(what)
        from triage_cli.runtime.imap import connect

        return connect(host, port, tls, None if tls == "none" else trust(), timeout)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return all addresses of a name. Raises `OSError` where it has none."""
        self.check(host)
        import socket

        found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in found]

    def check_postgres(self, conninfo: str, shown: str) -> None:
        """Raise `UsageError` for a server that is not reached by a socket of this machine, when offline."""
        if self.offline and not is_local(conninfo):
            self.check(shown)

    def postgres(self, conninfo: str, shown: str) -> "psycopg.Connection[Any]":
        """Return a connection to a PostgreSQL server; each statement is a transaction of its own."""
        self.check_postgres(conninfo, shown)
        import psycopg

        return psycopg.connect(conninfo, autocommit=True)

    def postgres_pool(self, conninfo: str, shown: str, **options: Any) -> "ConnectionPool[Any]":
        """Return a pool of such connections."""
        self.check_postgres(conninfo, shown)
        from psycopg_pool import ConnectionPool

        return ConnectionPool(conninfo, kwargs={"autocommit": True}, **options)


def trust() -> "ssl.SSLContext":
    """Return what certificates are held against: the system's authorities, and those the environment names.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` add to the system's, on each system and for each address. Raises `ConfigError`.
    """
    import ssl

    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    named = {name: value for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if (value := os.environ.get(name))}
    if not named:
        return context
    for name, value in named.items():
        try:
            context.load_verify_locations(**{"cafile" if name == "SSL_CERT_FILE" else "capath": value})
        except OSError as error:  # that of OpenSSL is one too
            why = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "no certificate in it"
            raise ConfigError(
                f"{name} names {value}, which cannot be used: {why}", hint=f"correct or unset {name}"
            ) from error
    # OpenSSL takes what is named in the place of the system's: a private authority is to shut out no public one.
    paths = ssl.get_default_verify_paths()
    if os.path.isfile(paths.openssl_cafile):  # noqa: PTH113 - a plain look, without pathlib's objects
        context.load_verify_locations(cafile=paths.openssl_cafile)
    if os.path.isdir(paths.openssl_capath):  # noqa: PTH112
        context.load_verify_locations(capath=paths.openssl_capath)
    return context


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its address or as `localhost`: what goes there leaves no machine."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_local(conninfo: str) -> bool:
    """Tell whether a PostgreSQL server is reached by a socket in this machine's file system, as far as libpq tells."""
    from psycopg import conninfo as parsing
    from psycopg import pq

    # What is not given is taken from the environment. A file of services could name any host, so it is not trusted.
    usual = {option.keyword.decode(): (option.val or b"").decode() for option in pq.Conninfo.get_defaults()}
    given = {**usual, **{key: str(value) for key, value in parsing.conninfo_to_dict(conninfo).items()}}
    if os.name != "posix" or given.get("hostaddr") or given.get("service"):
        return False
    return all(host.startswith(("/", "@")) or not host for host in (given.get("host") or "").split(","))
