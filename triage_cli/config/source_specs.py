"""The records of `sources` in the configuration."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from triage_cli.config.destination_specs import AuthSpec


class NextSpec(NamedTuple):
    """The pagination of a list: how the next page is named or requested.

    By the kind, `name` is a relation of the header `Link`, a path into the answer, or a query parameter. A token goes
    into the query or, at a path, into the body. `size` is the number of items of a full page. After `most` pages the
    walk begins again at the cursor. `end` is a path whose true value marks the last page. With `keep`, the next pull
    continues at the last token.
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
    """The cursor of a list: the path of an item's time of change; durations are seconds.

    `start` is where the first pull begins: seconds ago, or a time as ISO 8601. Each pull reads the last `overlap`
    seconds again.
    """

    field: str | None = None
    start: float | str = 7 * 86_400.0
    overlap: float = 300.0


class ImapSpec(NamedTuple):
    """The folder of a mail server: its connection, and the variables with the login."""

    host: str
    user_env: str
    password_env: str
    port: int = 993  # the port of IMAP with TLS from the start (RFC 8314)
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    folder: str = "INBOX"


class SourceSpec(NamedTuple):
    """One source as configured; keys that do not apply to its type keep their default.

    String leaves of `query`, `headers` and `body` are templates; `endpoint` follows the address. `details` is a further
    request for each item, whose answer is added to the item under that name. `extra` are the paths of other values to
    keep (None: everything), `numbers` the priorities that bare numbers mean, `html` the fields with HTML to convert to
    text.
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
