"""Ports of 127.0.0.1 for servers that start later, or not at all."""

import socket


def reserve_port() -> socket.socket:
    """Bind a port without listening there, so that nobody else gets it before the test's own server listens.

    Linux and macOS let a server listen on such a port, because both sockets have SO_REUSEADDR; connections are refused
    until then. Without the reservation another process may be given the port in the meantime.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def number_of(reserved: socket.socket) -> int:
    """Return the number of a reserved port."""
    return int(reserved.getsockname()[1])
