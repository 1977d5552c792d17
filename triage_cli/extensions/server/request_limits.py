"""The limits of requests: the size of a body, the time in which it comes, and how many requests a caller may send."""

import asyncio
import time
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from triage_cli import domain as dm
from triage_cli.extensions.server import problems
from triage_cli.extensions.server.auth import WEBHOOK_PATHS
from triage_cli.ports import operations

MEGABYTE = 1 << 20
TABLE_PATH = "/tickets/batch"
BULK_PATHS = (TABLE_PATH, "/classify", "/route", "/reclassify", "/verdicts")


class RequestLimits(NamedTuple):
    """Limits of requests."""

    per_minute: int | None = 6000  # requests with one key; None: no limit
    body_bytes: int = MEGABYTE
    webhook_bytes: int = 8 * MEGABYTE  # HubSpot sends up to 100 events at once, each with up to 64 KB of text
    table_bytes: int = 256 * MEGABYTE  # of a table, which is read row by row
    bulk_json_bytes: int = 32 * MEGABYTE  # of other bulk bodies, which take sixteen times their size in memory
    table_rows: int = 100_000
    body_seconds: float = 20.0  # for the whole body; of a bulk request, for its next piece
    failed_keys: int = 60  # so many in a row from one address are answered as such; then one a second


def limited_body(limits: RequestLimits, scope: Scope, path: str, receive: Receive) -> Receive:
    """Return a `receive` that enforces the limits of size and time on a request's body.

    Raises `EncodingError` for a body that is encoded, and `TooLargeError` for one that is declared as too large.
    """
    headers = Headers(scope=scope)
    if (encoding := headers.get("content-encoding", "").strip().lower()) not in ("", "identity"):
        raise dm.EncodingError(f'a body in the encoding "{encoding[:20]}" is not read here', hint="send it as it is")
    is_bulk = path in BULK_PATHS or path.startswith(operations.PATH)
    most_bytes = limits.webhook_bytes if path.startswith(WEBHOOK_PATHS) else limits.body_bytes
    if is_bulk:
        most_bytes = limits.table_bytes if path == TABLE_PATH else limits.bulk_json_bytes
    declared_length = headers.get("content-length", "")
    if declared_length.isdecimal() and int(declared_length) > most_bytes:
        raise _too_large(most_bytes)
    body_size, body_until, is_complete = 0, time.monotonic() + limits.body_seconds, False

    async def limited_receive() -> Message:
        nonlocal body_size, body_until, is_complete
        if is_complete:  # the next message is the disconnect
            return await receive()
        try:
            async with asyncio.timeout(body_until - time.monotonic()):
                body_piece = await receive()
        except TimeoutError:
            late_body = dm.RequestTimeoutError("the body did not come in time", hint="send it again, faster")
            raise problems.BodyError(late_body) from None
        body_size += len(body_piece.get("body", b""))
        if body_size > most_bytes:
            raise problems.BodyError(_too_large(most_bytes))
        is_complete = not body_piece.get("more_body", False)
        if is_bulk:
            body_until = time.monotonic() + limits.body_seconds
        return body_piece

    return limited_receive


def _too_large(most_bytes: int) -> dm.TooLargeError:
    return dm.TooLargeError(f"the body is larger than {most_bytes:,} bytes", hint="send less at once")
