"""The one place that opens outgoing connections: it enforces `--offline` and sets the trusted certificates.

A server connects to public addresses alone, unless the configuration allows more. A name is resolved once and all its
addresses are checked. The connection goes to a checked address, so that a second answer of the resolver cannot lead
elsewhere.
"""

import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from triage_cli import domain as dm

if TYPE_CHECKING:
    import ssl

    import anthropic
    import httpx
    import openai
    import psycopg
    from psycopg_pool import ConnectionPool

    from triage_cli.runtime.mail_connections import ImapConnection, MailServer, Tls


Resolver = Callable[[str, int], Sequence[str]]

# Python calls these global, but they lead to other address spaces (NAT64, 6to4 and its relays, Teredo, IPv4-compatible,
# IETF), or are private by an older or a newer word than its own (site-local, documentation).
_TUNNELS = "64:ff9b::/96 64:ff9b:1::/48 2002::/16 192.88.99.0/24 2001::/32 ::/96 192.0.0.0/24 fec0::/10 3fff::/20"
TUNNELS = tuple(map(ipaddress.ip_network, _TUNNELS.split()))


def is_public(address: str) -> bool:
    """Return whether an address is on the public internet, in whatever notation."""
    ip: Any = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return False
    return not any(ip in net for net in TUNNELS if net.version == ip.version)


def checked(host: str, port: int, resolver: Resolver, shown: str = "") -> str:
    """Return an address of a host that a server may connect to.

    Raises `PrivateAddressError` if one of its addresses is not public, and `DeliveryError` if it has none. `shown` is
    how the error names the host.
    """
    try:
        addresses = resolver(host, port)
    except (OSError, UnicodeError) as error:
        raise dm.DeliveryError(f"cannot resolve {shown or host}", hint="check the url") from error
    if not addresses:
        raise dm.DeliveryError(f"{shown or host} has no address", hint="check the url")
    if not all(map(is_public, addresses)):
        raise dm.PrivateAddressError(
            f"{shown or host} leads to a private or special address, so serve sends nothing there",
            hint="triage route on the command line sends it; or set allow_private: true under destinations",
        )
    return addresses[0]


# The hooks of an httpx2 client, by event.
Hooks = Mapping[str, list[Callable[..., Any]]]


class Network(NamedTuple):
    """Opens all outgoing connections; none when `offline`.

    There is no default instance: whatever needs the network is given one. Each method raises `UsageError` when offline,
    before a socket is opened, and `ConfigError` for certificate authorities and proxies that cannot be used.
    """

    offline: bool

    def check(self, what: str) -> None:
        """Raise `UsageError` for something that needs the network, when offline."""
        if self.offline:
            raise dm.UsageError(
                f"{what} needs the network, and --offline switches it off",
                hint="leave out --offline (also TRIAGE_OFFLINE and offline: in the config)",
            )

    def http_client(self, what: str, url: str, *, proxies: bool, **options: Any) -> "httpx.Client":
        """Return a client for a server that follows no redirects, so that a key is sent to no other server.

        With `proxies`, the proxies of the environment are used.
        """
        self.check(what)
        import httpx

        context = trust()
        options |= proxy_options(url, context) if proxies else {"trust_env": False}
        return httpx.Client(verify=context, follow_redirects=False, **options)

    def http_connections(self, what: str) -> "Callable[[], httpx.AsyncHTTPTransport]":
        """Return what opens a connection to the given address itself: it knows no proxies, no .netrc, no redirects.

        Each connection has at most one request at a time; all share what certificates are checked with.
        """
        self.check(what)
        import httpx

        context, limits = shared_trust(), httpx.Limits(max_connections=1)
        return lambda: httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)

    def openai(self, what: str, url: str, *, hooks: Hooks, **options: Any) -> "openai.AsyncOpenAI":
        """Return a client of OpenAI's SDK, with the trusted certificates and the proxies of the environment."""
        self.check(what)
        import openai

        client = openai.DefaultAsyncHttpxClient(event_hooks=hooks, **sdk_options(url))
        return openai.AsyncOpenAI(base_url=url, http_client=client, **options)

    def anthropic(self, what: str, url: str, *, hooks: Hooks, **options: Any) -> "anthropic.AsyncAnthropic":
        """Return a client of Anthropic's SDK, with the trusted certificates and the proxies of the environment."""
        self.check(what)
        import anthropic

        client = anthropic.DefaultAsyncHttpxClient(event_hooks=hooks, **sdk_options(url))
        return anthropic.AsyncAnthropic(base_url=url, http_client=client, **options)

    def mail_server(self, what: str, host: str, port: int, *, tls: "Tls", timeout: float) -> "MailServer":
        """Return a mail server, to which connections over this network can be opened."""
        self.check(what)
        from triage_cli.runtime.mail_connections import MailServer

        return MailServer(host, port, tls, None if tls == "none" else trust(), timeout)

    def imap(
        self, what: str, host: str, port: int, *, tls: "Tls", timeout: float, until: float | None = None
    ) -> "ImapConnection":
        """Return an IMAP connection over this network. Raises as `mail_connections.connect_imap` does."""
        from triage_cli.runtime.mail_connections import connect_imap

        return connect_imap(self.mail_server(what, host, port, tls=tls, timeout=timeout), until)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return all IP addresses of a host name. Raises `OSError` if it has none."""
        self.check(host)
        import socket

        addresses: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in addresses]

    def check_postgres(self, conninfo: str, shown: str) -> None:
        """Raise `UsageError` when offline, unless the server is reached by a local socket."""
        if self.offline and not is_local(conninfo):
            self.check(shown)

    def postgres(self, conninfo: str, shown: str) -> "psycopg.Connection[Any]":
        """Return a connection to a PostgreSQL server, in autocommit mode."""
        self.check_postgres(conninfo, shown)
        import psycopg

        return psycopg.connect(conninfo, autocommit=True)

    def postgres_pool(self, conninfo: str, shown: str, **options: Any) -> "ConnectionPool[Any]":
        """Return a pool of connections to a PostgreSQL server, in autocommit mode."""
        self.check_postgres(conninfo, shown)
        from psycopg_pool import ConnectionPool

        return ConnectionPool(conninfo, kwargs={"autocommit": True}, **options)


class Proxy(NamedTuple):
    """A proxy of the environment: the variable that names it, and its address."""

    variable: str
    url: str


def proxy_for(url: str) -> Proxy | None:
    """Return the environment's proxy for an address; None if there is none."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    url_parts, proxies = urlsplit(url), getproxies()
    scheme = url_parts.scheme if proxies.get(url_parts.scheme) else "all"
    proxy = proxies.get(scheme)
    if not proxy or proxy_bypass(url_parts.hostname or ""):
        return None
    variable = f"{scheme}_proxy"  # it goes before the proxy variable in capitals
    variable = variable if os.environ.get(variable) else variable.upper()
    return Proxy(variable, proxy if "://" in proxy else f"http://{proxy}")


def sdk_options(url: str) -> dict[str, Any]:
    """Return the options by which the client of an SDK reaches an address. Raises `ConfigError`."""
    context = shared_trust()
    if proxy_for(url):
        return {"verify": context, **proxy_options(url, context)}
    import httpx2

    from triage_cli.runtime.sdk_transport import SdkTransport

    limits = httpx2.Limits(max_connections=1)
    return {
        "transport": SdkTransport(lambda: httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits))
    }


def proxy_options(url: str, context: "ssl.SSLContext") -> dict[str, Any]:
    """Return the options by which a client of httpx uses the proxies of the environment. Raises `ConfigError`."""
    from urllib.parse import urlsplit

    import httpx

    try:
        httpx.Client(verify=context).close()
    except (ImportError, ValueError, httpx.InvalidURL):
        # One proxy variable that it cannot use, even one not for this address, keeps httpx from making a client.
        proxy = proxy_for(url)
    else:
        return {}
    if proxy is None:
        return {"trust_env": False}
    proxied: dict[str, Any] = {"trust_env": False, "proxy": proxy.url}
    try:
        httpx.Client(verify=context, **proxied).close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        host = urlsplit(url).hostname
        why = "SOCKS needs the package socksio" if isinstance(error, ImportError) else "it is no http proxy's address"
        raise dm.ConfigError(
            f"{proxy.variable} names a proxy that cannot be used for {host}: {why}",
            hint=f"set {proxy.variable} to http://HOST:PORT, unset it, or add {host} to NO_PROXY",
        ) from error
    return proxied


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: a loopback address, or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_local(conninfo: str) -> bool:
    """Return whether libpq would reach a PostgreSQL server by a socket in this machine's file system."""
    from psycopg import conninfo as parsing
    from psycopg import pq

    # libpq fills gaps from the environment. A service file could name any host, so a service counts as remote.
    libpq_defaults = {option.keyword.decode(): (option.val or b"").decode() for option in pq.Conninfo.get_defaults()}
    parameters = {**libpq_defaults, **{key: str(value) for key, value in parsing.conninfo_to_dict(conninfo).items()}}
    if parameters.get("hostaddr") or parameters.get("service"):
        return False
    return all(host.startswith(("/", "@")) or not host for host in (parameters.get("host") or "").split(","))


def shared_trust() -> "ssl.SSLContext":
    """Return what `trust` returns, made once a process: reading the system's authorities takes some 20 ms.

    For asynchronous HTTP alone: a blocking handshake holds the context's lock, so a server that hangs would hold up
    all others; and HTTP is announced by ALPN on the context, which a mail server may refuse.
    """
    return _trusted(*(os.environ.get(name) for name in _AUTHORITIES))


@cache
def _trusted(*authorities: str | None) -> "ssl.SSLContext":  # noqa: ARG001 - a changed environment is read anew
    return trust()


_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def trust() -> "ssl.SSLContext":
    """Return a TLS context that trusts the system's certificate authorities and those of the environment.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` add to the system's authorities, on every platform. Raises `ConfigError`.
    """
    import ssl

    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = {name: value for name in _AUTHORITIES if (value := os.environ.get(name))}
    if not authorities:
        return context
    for name, value in authorities.items():
        try:
            context.load_verify_locations(**{"cafile" if name == "SSL_CERT_FILE" else "capath": value})
        except OSError as error:  # includes the errors of OpenSSL
            why = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "no certificate in it"
            raise dm.ConfigError(
                f"{name} names {value}, which cannot be used: {why}", hint=f"correct or unset {name}"
            ) from error
    # OpenSSL would replace the system's authorities, but a private authority must not exclude the public ones.
    paths = ssl.get_default_verify_paths()
    if os.path.isfile(paths.openssl_cafile):  # noqa: PTH113 - without importing pathlib
        context.load_verify_locations(cafile=paths.openssl_cafile)
    if os.path.isdir(paths.openssl_capath):  # noqa: PTH112
        context.load_verify_locations(capath=paths.openssl_capath)
    return context
