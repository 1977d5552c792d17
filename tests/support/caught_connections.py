"""Catches what a process tries to send over the network: each attempt is written down, and refused."""

import ipaddress
import os
import sys
from typing import Any

VARIABLE = "TRIAGE_TESTS_CAUGHT"  # the file into which a process of a test writes
CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
LOOKS_UP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


class NetworkUsedError(RuntimeError):
    """Something was to leave the machine."""


def catch(path: str) -> None:
    """Write to a file from now on what this process sends over the network; what C code does is not seen."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in CONNECTS and isinstance(args[1], tuple):  # an address in the file system is a text
            line = f"{event} {args[1]}"
        elif event in LOOKS_UP and not _is_number(host := _text(args[0])):
            line = f"{event} {host}"
        else:
            return
        with open(path, "a") as file:  # noqa: PTH123 - as little as possible in a hook
            file.write(f"{line}\n")
        raise NetworkUsedError(line)

    sys.addaudithook(hook)


def _text(host: object) -> str:
    return host.decode() if isinstance(host, bytes) else str(host or "127.0.0.1")


def _is_number(host: str) -> bool:
    """Tell whether a host is an address already, so that nobody is asked for it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def at_start() -> None:
    """Begin where the environment says so."""
    if path := os.environ.get(VARIABLE):
        catch(path)
