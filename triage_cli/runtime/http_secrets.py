"""The secrets of requests over HTTP, which no message shows."""

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from triage_cli import domain as dm
from triage_cli.runtime.access_tokens import AccessTokens

# Shorter parts of a secret address, and shorter user names, are not hidden.
SHORTEST_HIDDEN = 8


class HttpSecrets(NamedTuple):
    """The secrets of a destination or a source: the address, the authentication header, and the key for the body.

    With `tokens` there is no such header here: the sender adds one with an access token.
    """

    url: str | None = None
    auth: tuple[str, str] | None = None
    key: str | None = None
    values: tuple[str, ...] = ()
    tokens: AccessTokens | None = None

    def hidden_in(self, text: str) -> str:
        """Return a text with the secrets hidden, in whatever spelling: an answer may repeat its request."""
        parts = [self.key or "", *(value for value in self.values if len(value) >= SHORTEST_HIDDEN)]
        if self.auth:
            parts += [self.auth[1], self.auth[1].rpartition(" ")[2]]
        parts += self.tokens.secrets if self.tokens else ()
        if self.url:
            _, _, path, query, _ = urlsplit(self.url)
            url_parts = [part for part in re.split(r"[/?&=]", f"{path}?{query}") if len(part) >= SHORTEST_HIDDEN]
            parts += [self.url, *url_parts, *map(unquote, url_parts)]
        return dm.hide_secrets(text, parts)
