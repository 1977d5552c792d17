"""Pagination: the requests for the pages of a list, how pages follow one another, and the position that is stored."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urljoin, urlsplit

from triage_cli.config.sources import CursorSpec, NextSpec, SourceSpec
from triage_cli.config.templates.filters import as_text, as_url_part
from triage_cli.config.templates.jinja import Template, TemplateMistake, check, compiled, is_template, leaves
from triage_cli.domain.errors import UsageError
from triage_cli.domain.json_paths import lookup, placed
from triage_cli.domain.serialization import compact, from_json
from triage_cli.domain.times import from_seconds, to_seconds
from triage_cli.runtime.http_exchange import HttpRequest
from triage_cli.runtime.installation import USER_AGENT

# One link of the header `Link` (RFC 8288): its address and its parameters.
LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[\w*]+\s*=\s*(?:\"[^\"]*\"|[^\s,;]+))*)")
RELATION = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s,;]+))", re.IGNORECASE)

# Seconds for which a stored page number, address or token can be used to continue.
FRESH = 3600

# If a time is more than this many seconds ahead, a clock must be wrong.
AHEAD = 300

# The names that the templates of a list may use.
NAMES = frozenset({"cursor", "cursor_seconds"})
# The largest page, in bytes.
LARGEST = 64 << 20


class Page(NamedTuple):
    """A page as pagination sees it: the answer, its address, the number of items, and the times of their changes.

    `newest` is the last change in seconds since 1970, None if no item has a time; `ascending` tells whether the items
    are in the order of their changes.
    """

    answer: Any
    url: str
    link: str
    number: int
    newest: int | None = None
    ascending: bool = False


class Walk(NamedTuple):
    """The progress of a pull through a list; times are seconds since 1970.

    `since` is the time from which the list is requested, `high` the newest change seen. `place` is the next page: its
    number, offset, token or address (None: the first). `pages` counts the pages since the walk last began at the
    cursor. `since` does not change until a walk has ended, so a kill leaves nothing out. `ascending` tells whether all
    items so far were in the order of their changes.
    """

    since: int
    high: int | None = None
    place: int | str | None = None
    pages: int = 0
    ended: bool = False
    ascending: bool = True

    def after(self, page: Page, spec: NextSpec | None, now: int) -> "Walk":
        """Return the walk after a page. Times in the future do not count, else older items would be left out."""
        newest = None if page.newest is None else min(page.newest, now)
        high = max((each for each in (self.high, newest) if each is not None), default=None)
        ascending = self.ascending and page.ascending and newest is not None and newest == high
        walk = self._replace(high=high, pages=self.pages + 1, ascending=ascending)
        if spec is None:
            return walk._replace(ended=True, place=None)
        if spec.kind in ("page", "offset"):
            return walk.counted(page, spec, newest)
        place = _named_next(page, spec)
        ended = place is None or bool(spec.end and lookup(page.answer, spec.end))
        if not ended and (again := walk.begun_again(page, spec, newest)):
            return again
        if ended and not spec.keep:
            place = None
        return walk._replace(ended=ended, place=place if place is not None or not spec.keep else self.place)

    def counted(self, page: Page, spec: NextSpec, newest: int | None) -> "Walk":
        """Return the walk after a page of a list with page numbers or offsets."""
        # A short page is the last one unless the answer names a next page: rows that the user may not see are left out.
        is_short = page.number == 0 or bool(spec.size and page.number < spec.size)
        if (is_short and not linked(page.link, "next")) or (spec.end and lookup(page.answer, spec.end)):
            return self._replace(ended=True, place=None)
        if again := self.begun_again(page, spec, newest):
            return again
        first, step = (1, 1) if spec.kind == "page" else (0, spec.size or 0)
        return self._replace(place=(first if self.place is None else int(self.place)) + step)

    def begun_again(self, page: Page, spec: NextSpec, newest: int | None) -> "Walk | None":
        """Return the walk begun again at its newest item, if so many pages of an ascending list were read."""
        # One second of overlap: whether the cursor's own moment is included differs from list to list.
        moves = spec.most and self.pages >= spec.most and page.ascending and newest and newest - 1 > self.since
        return self._replace(since=newest - 1, place=None, pages=0) if moves and newest else None

    def position(self, spec: NextSpec | None, now: int) -> str:
        """Return the position to be stored, as JSON."""
        if not self.ended:
            walk = {"since": self.since, "high": self.high, "place": self.place, "pages": self.pages}
            return compact({**walk, "ascending": self.ascending, "at": now})
        kept = {"token": self.place} if spec and spec.keep and self.place is not None else {}
        return compact({"high": self.high, **kept})


def begin(
    position: str | None, since: int | None, cursor: CursorSpec, next_spec: NextSpec | None, now: int
) -> tuple[Walk, bool]:
    """Return where a pull begins, and whether it stores its position.

    It does not if it begins after the stored position, since the items between would be left out.
    """
    first = int(now - cursor.start) if isinstance(cursor.start, float) else int(to_seconds(cursor.start))
    stored = from_json(position) if position else {}
    high = stored.get("high")
    if high is not None and high > now + AHEAD:
        high = None
    if since is not None:
        before = stored.get("since", high)
        return _from(since, high, cursor), not stored or before is None or since <= before
    if "place" in stored:
        return _continued(stored, high, cursor, next_spec, now), True
    walk = _from(first if high is None else int(high - cursor.overlap), high, cursor)
    token = stored.get("token")
    return walk._replace(place=token if _fits(token, next_spec) else None), True


def _continued(
    stored: Mapping[str, Any], high: int | None, cursor: CursorSpec, next_spec: NextSpec | None, now: int
) -> Walk:
    """Return the walk that goes on where a pull was cut off.

    A page number, and an address or token that counts, means another page once the list has changed. So after an hour
    the walk begins again: at its newest item if all before were read, else at its cursor.
    """
    walk = Walk(stored["since"], stored["high"], ascending=bool(stored.get("ascending")))
    if next_spec is None or not _fits(stored["place"], next_spec):
        return walk
    if now - stored["at"] <= FRESH or next_spec.keep:
        return walk._replace(place=stored["place"], pages=stored["pages"])
    read_until = int(high - cursor.overlap) if walk.ascending and high is not None else walk.since
    return walk._replace(since=max(walk.since, read_until))


def _fits(place: object, next_spec: NextSpec | None) -> bool:
    """Return whether a stored place is one of this pagination; the configuration may have changed since."""
    if next_spec is None:
        return False
    if next_spec.kind in ("page", "offset"):
        return isinstance(place, int)
    return isinstance(place, str) and (next_spec.kind == "token" or "://" in place)


def _from(since: int, high: int | None, cursor: CursorSpec) -> Walk:
    """Return a walk from a time. A list without items has been read from there, too: the next pull does not skip on."""
    return Walk(since, since if high is None and cursor.field else high)


def _named_next(page: Page, spec: NextSpec) -> str | None:
    if spec.kind == "link":
        next_page = linked(page.link, spec.name)
    else:
        value = lookup(page.answer, spec.name)
        next_page = value if isinstance(value, str) else str(value) if isinstance(value, int) and value else None
    if not next_page:
        return None
    if spec.kind == "token":
        return next_page
    try:
        return urljoin(page.url, next_page)
    except ValueError:  # as `page` reports
        return next_page


def linked(header: str, relation: str) -> str | None:
    """Return the address of this relation in a header `Link`, unchanged."""
    for address, parameters in LINK.findall(header):
        named = RELATION.search(parameters)
        if named and relation.lower() in (named[1] or named[2] or "").lower().split():
            return str(address)
    return None


def mistakes(spec: SourceSpec) -> Iterator[tuple[str, str]]:
    """Yield each invalid template: its place in the source's configuration, and why it is invalid."""
    for key, tree in (("query", spec.query), ("headers", spec.headers), ("body", spec.body)):
        for place, source in leaves(tree, key):
            try:
                if is_template(source):
                    check(source, NAMES)
            except TemplateMistake as mistake:
                yield place, str(mistake)
    try:
        check(spec.details, _names_of_item(spec.details))
    except TemplateMistake as mistake:
        yield "details", str(mistake)


def _names_of_item(template: str) -> frozenset[str]:
    """Return the names below `item` that a template uses; whether an item has them is known only at the pull."""
    return frozenset(re.findall(r"\bitem(?:\.\w+)+", template))


class PageRequests:
    """Renders the requests of a source; `proof` is the authentication header. Raises `TemplateMistake`."""

    def __init__(self, spec: SourceSpec, proof: tuple[str, str] | None) -> None:
        self._spec = spec
        self._base = spec.url.rstrip("/") + spec.endpoint if spec.endpoint else spec.url
        self._headers = {"user-agent": USER_AGENT, "accept": "application/json", "accept-encoding": "identity"}
        if proof:
            self._headers[proof[0].lower()] = proof[1]
        self._query = {key: Template(source, NAMES, f"query.{key}") for key, source in spec.query.items()}
        self._own_headers = {key: Template(source, NAMES, f"headers.{key}") for key, source in spec.headers.items()}
        self._body = compiled(spec.body, NAMES, "body")
        self._detail = Template(spec.details, _names_of_item(spec.details), "details", as_url_part)

    def page(self, walk: Walk) -> HttpRequest:
        """Return the request for the next page. Raises `UsageError` if it is on another host."""
        next_spec, values = self._spec.next, {"cursor": from_seconds(walk.since), "cursor_seconds": walk.since}
        if next_spec and next_spec.kind in ("link", "path") and isinstance(walk.place, str):
            self._check_origin(walk.place)
            return self._request(self._spec.method, walk.place, values)
        token = walk.place if next_spec and next_spec.kind == "token" else None
        query = {
            key: as_text(template.value(values))
            for key, template in self._query.items()
            # A token that is kept from pull to pull replaces the cursor.
            if not (token and next_spec and next_spec.keep and "cursor" in self._spec.query[key])
        }
        body = self._body(values)
        if next_spec and next_spec.kind in ("page", "offset"):
            query[next_spec.name] = str(walk.place if walk.place is not None else 1 if next_spec.kind == "page" else 0)
        elif next_spec and token is not None and next_spec.query:
            query[next_spec.query] = str(token)
        elif next_spec and token is not None:
            body = placed(body, next_spec.body, token)
        url = self._base
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query, quote_via=quote)
        return self._request(self._spec.method, url, values, body)

    def details(self, item: Mapping[str, Any]) -> HttpRequest:
        """Return the request for the details of an item. Raises `TemplateFailure`."""
        url = self._spec.url.rstrip("/") + self._detail.text({"item": item})
        return HttpRequest("GET", url, self._headers, most=LARGEST)

    def _request(self, method: str, url: str, values: Mapping[str, Any], body: Any = None) -> HttpRequest:
        headers = {**self._headers, **{key.lower(): each.text(values) for key, each in self._own_headers.items()}}
        if body is None:
            return HttpRequest(method, url, headers, most=LARGEST)
        headers["content-type"] = "application/json"
        return HttpRequest(method, url, headers, compact(body).encode("utf-8", "replace"), most=LARGEST)

    def _check_origin(self, url: str) -> None:
        try:
            origin = _origin(url)
        except ValueError as error:  # a port beyond all ports, half of an IPv6 address
            raise UsageError(
                f"{self._spec.name}: the next page has no address that can be read", hint="check next"
            ) from error
        if origin != _origin(self._base):
            raise UsageError(
                f"{self._spec.name}: the next page is on another host, which is not handed the key",
                hint="name in url the host that the answers name",
            )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return the scheme, host and port of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
