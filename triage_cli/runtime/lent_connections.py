"""Connections that are lent to one HTTP request at a time, and used again by later ones.

In a pool that requests share, what a request costs grows with the number of its connections: before each request, the
pool asks all idle ones whether their server has hung up.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """A connection that can be closed in the bridge's loop."""

    async def aclose(self) -> None:
        """Close the connection."""


ConnectionT = TypeVar("ConnectionT", bound=Closable)


class LentConnections(Generic[ConnectionT]):
    """As many connections as requests were under way at once. To be used in the bridge's loop."""

    def __init__(self, open_connection: Callable[[], ConnectionT]) -> None:
        self._open_connection = open_connection
        self._connections: list[ConnectionT] = []
        self._idle: list[ConnectionT] = []

    @contextmanager
    def lent(self) -> Iterator[ConnectionT]:
        """Lend a connection that no other request uses."""
        if not self._idle:
            self._idle.append(self._open_connection())
            self._connections.append(self._idle[-1])
        connection = self._idle.pop()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    async def aclose(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            await connection.aclose()
