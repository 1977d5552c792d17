"""Pagination: the requests for the pages of a list, how pages follow one another, and the position that is stored."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urljoin, urlsplit

from triage_cli.config.sources import CursorSpec, NextSpec, SourceSpec
from triage_cli.config.templates.filters import as_text, as_url_part
from triage_cli.config.templates.jinja import Template, TemplateMistake, check, compiled, is_template, leaves
from triage_cli.domain.errors import UsageError
from triage_cli.domain.json_values import compact, from_json, lookup, placed
from triage_cli.domain.times import from_seconds, to_seconds
from triage_cli.runtime.http_exchange import HttpRequest
from triage_cli.runtime.installation import USER_AGENT

# One link of the header `Link` (RFC 8288): its address and its parameters.
LINK_HEADER = re.compile(r"<([^<>]*)>((?:\s*;\s*[\w*]+\s*=\s*(?:\"[^\"]*\"|[^\s,;]+))*)")
LINK_RELATION = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s,;]+))", re.IGNORECASE)

# Seconds for which a stored page number, address or token can be used to continue.
RESUMABLE = 3600

# If a time is more than this many seconds ahead, a clock must be wrong.
CLOCK_TOLERANCE = 300

# The names that the templates of a list may use.
TEMPLATE_NAMES = frozenset({"cursor", "cursor_seconds"})
# The largest page, in bytes.
LARGEST_PAGE = 64 << 20


class Page(NamedTuple):
    """A page as pagination sees it: the answer, its address, the number of items, and the times of their changes.

    `newest` is the last change in seconds since 1970, None if no item has a time; `ascending` tells whether the items
    are in the order of their changes.
    """

    answer: Any
    url: str
    link: str
    item_count: int
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
        place = _next_place(page, spec)
        ended = place is None or bool(spec.end and lookup(page.answer, spec.end))
        if not ended and (walk_begun_again := walk.begun_again(page, spec, newest)):
            return walk_begun_again
        if ended and not spec.keep:
            place = None
        return walk._replace(ended=ended, place=place if place is not None or not spec.keep else self.place)

    def counted(self, page: Page, spec: NextSpec, newest: int | None) -> "Walk":
        """Return the walk after a page of a list with page numbers or offsets."""
        # A short page is the last one unless the answer names a next page: rows that the user may not see are left out.
        is_short = page.item_count == 0 or bool(spec.size and page.item_count < spec.size)
        if (is_short and not linked(page.link, "next")) or (spec.end and lookup(page.answer, spec.end)):
            return self._replace(ended=True, place=None)
        if walk_begun_again := self.begun_again(page, spec, newest):
            return walk_begun_again
        first_place, place_step = (1, 1) if spec.kind == "page" else (0, spec.size or 0)
        return self._replace(place=(first_place if self.place is None else int(self.place)) + place_step)

    def begun_again(self, page: Page, spec: NextSpec, newest: int | None) -> "Walk | None":
        """Return the walk begun again at its newest item, if so many pages of an ascending list were read."""
        # One second of overlap: whether the cursor's own moment is included differs from list to list.
        is_due = spec.most and self.pages >= spec.most and page.ascending and newest and newest - 1 > self.since
        return self._replace(since=newest - 1, place=None, pages=0) if is_due and newest else None

    def position(self, spec: NextSpec | None, now: int) -> str:
        """Return the position of the walk to be stored, as JSON."""
        if not self.ended:
            stored_walk = {"since": self.since, "high": self.high, "place": self.place, "pages": self.pages}
            return compact({**stored_walk, "ascending": self.ascending, "at": now})
        kept_token = {"token": self.place} if spec and spec.keep and self.place is not None else {}
        return compact({"high": self.high, **kept_token})


def begin_walk(
    position: str | None, since: int | None, cursor: CursorSpec, next_spec: NextSpec | None, now: int
) -> tuple[Walk, bool]:
    """Return the walk that a pull begins, and whether it stores its position.

    It does not if it begins after the stored position, since the items between would be left out.
    """
    first_start = int(now - cursor.start) if isinstance(cursor.start, float) else int(to_seconds(cursor.start))
    stored = from_json(position) if position else {}
    high = stored.get("high")
    if high is not None and high > now + CLOCK_TOLERANCE:
        high = None
    if since is not None:
        stored_since = stored.get("since", high)
        return _walk_from(since, high, cursor), not stored or stored_since is None or since <= stored_since
    if "place" in stored:
        return _continued_walk(stored, high, cursor, next_spec, now), True
    walk = _walk_from(first_start if high is None else int(high - cursor.overlap), high, cursor)
    stored_token = stored.get("token")
    return walk._replace(place=stored_token if _is_place_of(stored_token, next_spec) else None), True


def _continued_walk(
    stored: Mapping[str, Any], high: int | None, cursor: CursorSpec, next_spec: NextSpec | None, now: int
) -> Walk:
    """Return the walk that goes on where a pull was cut off.

    A page number, and an address or token that counts, means another page once the list has changed. So after an hour
    the walk begins again: at its newest item if all before were read, else at its cursor.
    """
    walk = Walk(stored["since"], stored["high"], ascending=bool(stored.get("ascending")))
    if next_spec is None or not _is_place_of(stored["place"], next_spec):
        return walk
    if now - stored["at"] <= RESUMABLE or next_spec.keep:
        return walk._replace(place=stored["place"], pages=stored["pages"])
    read_until = int(high - cursor.overlap) if walk.ascending and high is not None else walk.since
    return walk._replace(since=max(walk.since, read_until))


def _is_place_of(place: object, next_spec: NextSpec | None) -> bool:
    """Return whether a stored place is one of this pagination; the configuration may have changed since."""
    if next_spec is None:
        return False
    if next_spec.kind in ("page", "offset"):
        return isinstance(place, int)
    return isinstance(place, str) and (next_spec.kind == "token" or "://" in place)


def _walk_from(since: int, high: int | None, cursor: CursorSpec) -> Walk:
    """Return a walk from a time. A list without items has been read from there, too: the next pull does not skip on."""
    return Walk(since, since if high is None and cursor.field else high)


def _next_place(page: Page, spec: NextSpec) -> str | None:
    if spec.kind == "link":
        next_page = linked(page.link, spec.name)
    else:
        next_value = lookup(page.answer, spec.name)
        is_number = isinstance(next_value, int) and next_value
        next_page = next_value if isinstance(next_value, str) else str(next_value) if is_number else None
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
    for address, parameters in LINK_HEADER.findall(header):
        relation_match = LINK_RELATION.search(parameters)
        if relation_match and relation.lower() in (relation_match[1] or relation_match[2] or "").lower().split():
            return str(address)
    return None


def mistakes(spec: SourceSpec) -> Iterator[tuple[str, str]]:
    """Yield each invalid template of a source: its key in the configuration, and why it is invalid."""
    for section_key, tree in (("query", spec.query), ("headers", spec.headers), ("body", spec.body)):
        for template_key, template in leaves(tree, section_key):
            try:
                if is_template(template):
                    check(template, TEMPLATE_NAMES)
            except TemplateMistake as mistake:
                yield template_key, str(mistake)
    for name, template in spec.details.items():
        try:
            check(template, _names_of_item(template))
        except TemplateMistake as mistake:
            yield f"details.{name}", str(mistake)


def _names_of_item(template: str) -> frozenset[str]:
    """Return the names below `item` that a template uses; whether an item has them is known only at the pull."""
    return frozenset(re.findall(r"\bitem(?:\.\w+)+", template))


class PageRequests:
    """Renders the requests for the pages of a list; `proof` is the authentication header. Raises `TemplateMistake`."""

    def __init__(self, spec: SourceSpec, proof: tuple[str, str] | None) -> None:
        self._spec = spec
        self._base = spec.url.rstrip("/") + spec.endpoint if spec.endpoint else spec.url
        self._headers = {"user-agent": USER_AGENT, "accept": "application/json", "accept-encoding": "identity"}
        if proof:
            self._headers[proof[0].lower()] = proof[1]
        self._query = {key: Template(template, TEMPLATE_NAMES, f"query.{key}") for key, template in spec.query.items()}
        self._own_headers = {
            key: Template(template, TEMPLATE_NAMES, f"headers.{key}") for key, template in spec.headers.items()
        }
        self._body = compiled(spec.body, TEMPLATE_NAMES, "body")
        self._details = {
            name: Template(template, _names_of_item(template), f"details.{name}", as_url_part)
            for name, template in spec.used_details.items()
        }

    def page(self, walk: Walk) -> HttpRequest:
        """Return the request for the next page of the list. Raises `UsageError` if it is on another host."""
        next_spec, cursor_values = self._spec.next, {"cursor": from_seconds(walk.since), "cursor_seconds": walk.since}
        if next_spec and next_spec.kind in ("link", "path") and isinstance(walk.place, str):
            self._check_origin(walk.place)
            return self._request(self._spec.method, walk.place, cursor_values)
        token = walk.place if next_spec and next_spec.kind == "token" else None
        page_query = {
            key: as_text(template.value(cursor_values))
            for key, template in self._query.items()
            # A token that is kept from pull to pull replaces the cursor.
            if not (token and next_spec and next_spec.keep and "cursor" in self._spec.query[key])
        }
        page_body = self._body(cursor_values)
        if next_spec and next_spec.kind in ("page", "offset"):
            first_place = 1 if next_spec.kind == "page" else 0
            page_query[next_spec.name] = str(walk.place if walk.place is not None else first_place)
        elif next_spec and token is not None and next_spec.query:
            page_query[next_spec.query] = str(token)
        elif next_spec and token is not None:
            page_body = placed(page_body, next_spec.body, token)
        url = self._base
        if page_query:
            url += ("&" if "?" in url else "?") + urlencode(page_query, quote_via=quote)
        return self._request(self._spec.method, url, cursor_values, page_body)

    def details(self, source_item: Mapping[str, Any]) -> Iterator[tuple[str, HttpRequest]]:
        """Yield the further requests for an item, by the names of their answers. Raises `TemplateFailure`."""
        for name, template in self._details.items():
            url = self._spec.url.rstrip("/") + template.text({"item": source_item})
            yield name, HttpRequest("GET", url, self._headers, most=LARGEST_PAGE)

    def _request(self, method: str, url: str, values: Mapping[str, Any], body: Any = None) -> HttpRequest:
        headers = {**self._headers, **{key.lower(): each.text(values) for key, each in self._own_headers.items()}}
        if body is None:
            return HttpRequest(method, url, headers, most=LARGEST_PAGE)
        headers["content-type"] = "application/json"
        return HttpRequest(method, url, headers, compact(body).encode("utf-8", "replace"), most=LARGEST_PAGE)

    def _check_origin(self, url: str) -> None:
        try:
            page_origin = _url_origin(url)
        except ValueError as error:  # a port beyond all ports, half of an IPv6 address
            raise UsageError(
                f"{self._spec.name}: the next page has no address that can be read", hint="check next"
            ) from error
        if page_origin != _url_origin(self._base):
            raise UsageError(
                f"{self._spec.name}: the next page is on another host, which is not handed the key",
                hint="name in url the host that the answers name",
            )


def _url_origin(url: str) -> tuple[str, str | None, int | None]:
    """Return the scheme, host and port of a page's address."""
    page_url = urlsplit(url)
    return page_url.scheme, page_url.hostname, page_url.port or {"http": 80, "https": 443}.get(page_url.scheme)
