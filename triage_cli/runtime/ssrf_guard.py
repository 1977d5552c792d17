"""Which addresses a server may connect to: public ones, unless the configuration allows more.

A name is resolved once and all its addresses are checked. The connection goes to a checked address, so that a second
answer of the resolver cannot lead elsewhere.
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from triage_cli.domain import DeliveryError, PrivateAddressError

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
        raise DeliveryError(f"cannot resolve {shown or host}", hint="check the url") from error
    if not addresses:
        raise DeliveryError(f"{shown or host} has no address", hint="check the url")
    if not all(map(is_public, addresses)):
        raise PrivateAddressError(
            f"{shown or host} leads to a private or special address, so serve sends nothing there",
            hint="triage route on the command line sends it; or set allow_private: true under destinations",
        )
    return addresses[0]
