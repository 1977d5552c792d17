"""Compression of responses by gzip, for clients that accept it."""

import re

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Receive, Scope, Send

from triage_cli.api.ndjson import OCTETS
from triage_cli.client.wire_outcomes import LINES_MEDIA_TYPE

# A response of so many bytes or more is compressed. Streams are not: compression would hold their lines back.
COMPRESSED_BYTES = 4096
STREAMED_TYPES = (LINES_MEDIA_TYPE, OCTETS)
REFUSED_QUALITY = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")  # of an encoding that a client does not take


class CompressionMiddleware:
    """Starlette's compression for clients that accept gzip; its own middleware also takes `gzip;q=0` for that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compress a response if its client accepts gzip."""
        responder = self._app
        if scope["type"] == "http" and _accepts_gzip(Headers(scope=scope).get("accept-encoding", "")):
            responder = GZipResponder(self._app, COMPRESSED_BYTES, 5, exclude_content_types=STREAMED_TYPES)
        elif scope["type"] == "http":  # tells caches that the answer could have been another one
            responder = IdentityResponder(self._app, COMPRESSED_BYTES, exclude_content_types=STREAMED_TYPES)
        await responder(scope, receive, send)


def _accepts_gzip(accept_encoding: str) -> bool:
    """Return whether a header Accept-Encoding names gzip, with another quality than 0."""
    encodings = (encoding.partition(";") for encoding in accept_encoding.lower().split(","))
    return any(name.strip() == "gzip" and not REFUSED_QUALITY.fullmatch(quality) for name, _, quality in encodings)
