"""The records of `sources` in the configuration."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from triage_cli.config.http_auth import AuthSpec


class NextSpec(NamedTuple):
    """How a list goes on: where the next page is named, or how it is asked for.

    `name` is a relation of the header `Link`, a path into the answer, or a parameter of the query, by the kind. A token
    goes into the query or, at a path, into the body. `size` is how many items a full page has, `most` after how many
    pages the walk begins again at the cursor, `end` a path whose truth says that this is the last page. With `keep` the
    last token is where the next pull goes on.
    """

    kind: Literal["link", "path", "page", "offset", "token"]
    name: str
    query: str = ""
    body: str = ""
    size: int | None = None
    most: int | None = None
    end: str = ""
    keep: bool = False


class CursorSpec(NamedTuple):
    """What tells how new an item is: the path of a time; durations are seconds.

    `start` is how far back the first pull goes: seconds, or a time as ISO 8601. `overlap` is read again by each pull.
    """

    field: str | None = None
    start: float | str = 7 * 86_400.0
    overlap: float = 300.0


class ImapSpec(NamedTuple):
    """The folder of a mail server: how it is reached, and the variables that hold the login."""

    host: str
    user_env: str
    password_env: str
    port: int = 993  # that of IMAP with TLS from the start (RFC 8314)
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    folder: str = "INBOX"


class SourceSpec(NamedTuple):
    """One source as configured; keys that mean nothing to its type keep their default.

    String leaves of `query`, `headers` and `body` are templates; `endpoint` follows the address. `details` is a request
    of its own for each item, whose answer stands in the item under that name. `extra` are the paths of what else is
    kept of an item (None: everything), `numbers` the priorities that bare numbers mean, `html` the fields that hold
    HTML and become text.
    """

    name: str
    type: str  # http | command | imap
    preset: str | None = None
    url: str = ""
    endpoint: str = ""
    method: str = "GET"
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    auth: AuthSpec | None = None
    body: Any = None
    items: str = ""
    next: NextSpec | None = None
    cursor: CursorSpec = CursorSpec()
    where: Mapping[str, tuple[Any, ...]] = {}
    details: str = ""
    fields: Mapping[str, tuple[str, ...]] = {}
    extra: tuple[str, ...] | None = None
    numbers: Mapping[str, str] = {}
    html: tuple[str, ...] = ()
    verdict: str | None = None
    on_update: str = "new"
    timeout: float = 60
    run: tuple[str, ...] = ()
    stream: str = "tickets"
    imap: ImapSpec | None = None

    def variables(self) -> Iterator[tuple[str, str]]:
        """Yield the variables that hold its secrets, each with the key that names it."""
        yield from (("auth", name) for name in (self.auth.env if self.auth else ()))
        if self.imap:
            yield from (("user_env", self.imap.user_env), ("password_env", self.imap.password_env))
