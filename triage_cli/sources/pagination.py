"""The pages of a list: the requests for them, how they follow one another, and what is remembered of the way."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urljoin, urlsplit

from triage_cli.config.source_specs import CursorSpec, NextSpec, SourceSpec
from triage_cli.config.template_filters import as_text, as_url_part
from triage_cli.config.templates import Template, TemplateMistake, check, compiled, is_template, leaves
from triage_cli.domain.errors import UsageError
from triage_cli.domain.json_paths import lookup
from triage_cli.domain.serialization import compact, from_json
from triage_cli.domain.times import to_seconds, whole_second
from triage_cli.runtime.http_exchange import HttpRequest
from triage_cli.runtime.installation import USER_AGENT

# One link of the header `Link` (RFC 8288): its address and its parameters.
LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[\w*]+\s*=\s*(?:\"[^\"]*\"|[^\s,;]+))*)")
RELATION = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s,;]+))", re.IGNORECASE)

# Seconds for which the number of a page is good for going on.
FRESH = 3600

# What the templates of a list may name.
NAMES = frozenset({"cursor", "cursor_seconds"})
# Of a page, so many bytes are read.
LARGEST = 64 << 20


class Page(NamedTuple):
    """What the way depends on: the answer, where it came from, how many items it held, and when these were changed.

    `newest` is the last change in seconds since 1970, None where no item tells; `ascending` is the items' order.
    """

    answer: Any
    url: str
    link: str
    number: int
    newest: int | None = None
    ascending: bool = False


class Walk(NamedTuple):
    """Where a pull is on its way through a list; times are seconds since 1970.

    `since` is what the list is asked from, `high` the newest change that was seen. `place` is the next page: its
    number, its offset, its token or its address (None: the first); `pages` is how many there were since the walk last
    began at the cursor. Nothing is left out by a kill: until a walk has ended, `since` stays where it began.
    """

    since: int
    high: int | None = None
    place: int | str | None = None
    pages: int = 0
    ended: bool = False

    def after(self, page: Page, spec: NextSpec | None, now: int) -> "Walk":
        """Return the walk after a page; what is dated in the future does not count, else nothing older would come."""
        newest = None if page.newest is None else min(page.newest, now)
        high = max((each for each in (self.high, newest) if each is not None), default=None)
        walk = self._replace(high=high, pages=self.pages + 1)
        if spec is None:
            return walk._replace(ended=True, place=None)
        if spec.kind in ("page", "offset"):
            return walk.counted(page, spec, newest)
        place = _named_next(page, spec)
        ended = place is None or bool(spec.end and lookup(page.answer, spec.end))
        if ended and not spec.keep:
            place = None
        return walk._replace(ended=ended, place=place if place is not None or not spec.keep else self.place)

    def counted(self, page: Page, spec: NextSpec, newest: int | None) -> "Walk":
        """Return the walk after a page of a list whose pages are counted."""
        if page.number == 0 or (spec.size and page.number < spec.size) or (spec.end and lookup(page.answer, spec.end)):
            return self._replace(ended=True, place=None)
        # One second of overlap: whether the cursor's own moment is included differs from list to list.
        moves = spec.most and self.pages >= spec.most and page.ascending and newest and newest - 1 > self.since
        if moves and newest:
            return self._replace(since=newest - 1, place=None, pages=0)
        first, step = (1, 1) if spec.kind == "page" else (0, spec.size or 0)
        return self._replace(place=(first if self.place is None else int(self.place)) + step)

    def position(self, spec: NextSpec | None, now: int) -> str:
        """Return what is stored, as JSON."""
        if not self.ended:
            return compact(
                {"since": self.since, "high": self.high, "place": self.place, "pages": self.pages, "at": now}
            )
        kept = {"token": self.place} if spec and spec.keep and self.place is not None else {}
        return compact({"high": self.high, **kept})


def begin(position: str | None, since: int | None, cursor: CursorSpec, now: int) -> tuple[Walk, bool]:
    """Return where a pull begins, and whether it saves how far it came.

    It does not where it begins after what was stored, since what lies between would be left out.
    """
    first = int(now - cursor.start) if isinstance(cursor.start, float) else seconds(cursor.start)
    stored = from_json(position) if position else {}
    if since is not None:
        before = stored.get("since", stored.get("high"))
        return Walk(since, stored.get("high")), not stored or before is None or since <= before
    if "place" in stored:
        walk = Walk(stored["since"], stored["high"])
        # Page numbers mean other pages when the list has changed: after an hour the walk begins again at its cursor.
        if isinstance(stored["place"], int) and now - stored["at"] > FRESH:
            return walk, True
        return walk._replace(place=stored["place"], pages=stored["pages"]), True
    high = stored.get("high")
    return Walk(first if high is None else int(high - cursor.overlap), high, stored.get("token")), True


def _named_next(page: Page, spec: NextSpec) -> str | None:
    if spec.kind == "link":
        next_page = linked(page.link, spec.name)
    else:
        value = lookup(page.answer, spec.name)
        next_page = value if isinstance(value, str) else str(value) if isinstance(value, int) and value else None
    if not next_page:
        return None
    return next_page if spec.kind == "token" else urljoin(page.url, next_page)


def linked(header: str, relation: str) -> str | None:
    """Return the address of this relation in a header `Link`, as it stands there."""
    for address, parameters in LINK.findall(header):
        named = RELATION.search(parameters)
        if named and relation.lower() in (named[1] or named[2] or "").lower().split():
            return str(address)
    return None


def seconds(moment: str) -> int:
    """Return a time of ISO 8601 as seconds since 1970; without a zone it is UTC."""
    return int(to_seconds(moment))


def iso(moment: int) -> str:
    """Return seconds since 1970 as ISO 8601 UTC."""
    return whole_second(datetime.fromtimestamp(moment, UTC))


def put(tree: Any, path: str, value: Any) -> Any:
    """Return a tree of mappings with a value at a dotted path."""
    key, _, rest = path.partition(".")
    inside: Mapping[str, Any] = tree if isinstance(tree, Mapping) else {}
    return {**inside, key: put(inside.get(key), rest, value) if rest else value}


def mistakes(spec: SourceSpec) -> Iterator[tuple[str, str]]:
    """Yield each template that nothing could be rendered with: its place under the source, and why."""
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
    """Return the names below `item`: what an item holds is known when it is there."""
    return frozenset(re.findall(r"\bitem(?:\.\w+)+", template))


class PageRequests:
    """Renders the requests of a source; `proof` is the header that says who asks. Raises `TemplateMistake`."""

    def __init__(self, spec: SourceSpec, proof: tuple[str, str] | None) -> None:
        self._spec = spec
        self._base = spec.url.rstrip("/") + spec.endpoint if spec.endpoint else spec.url
        self._headers = {"user-agent": USER_AGENT, "accept": "application/json"}
        self._headers["accept-encoding"] = "identity"
        if proof:
            self._headers[proof[0].lower()] = proof[1]
        self._query = {key: Template(source, NAMES, f"query.{key}") for key, source in spec.query.items()}
        self._own_headers = {key: Template(source, NAMES, f"headers.{key}") for key, source in spec.headers.items()}
        self._body = compiled(spec.body, NAMES, "body")
        self._detail = Template(spec.details, _names_of_item(spec.details), "details", as_url_part)

    def page(self, walk: Walk) -> HttpRequest:
        """Return the request for the next page. Raises `UsageError` where that is on another host."""
        following, values = self._spec.next, {"cursor": iso(walk.since), "cursor_seconds": walk.since}
        if following and following.kind in ("link", "path") and isinstance(walk.place, str):
            self._check_origin(walk.place)
            return self._request(self._spec.method, walk.place, values)
        token = walk.place if following and following.kind == "token" else None
        query = {
            key: as_text(template.value(values))
            for key, template in self._query.items()
            # A token that is kept from pull to pull stands in the place of the cursor.
            if not (token and following and following.keep and "cursor" in self._spec.query[key])
        }
        body = self._body(values)
        if following and following.kind in ("page", "offset"):
            query[following.name] = str(walk.place if walk.place is not None else 1 if following.kind == "page" else 0)
        elif following and token is not None and following.query:
            query[following.query] = str(token)
        elif following and token is not None:
            body = put(body, following.body, token)
        url = self._base
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query, quote_via=quote)
        return self._request(self._spec.method, url, values, body)

    def details(self, item: Mapping[str, Any]) -> HttpRequest:
        """Return the request for what else there is about an item. Raises `TemplateFailure`."""
        url = self._spec.url.rstrip("/") + self._detail.text({"item": item})
        return HttpRequest("GET", url, self._headers, most=LARGEST)

    def _request(self, method: str, url: str, values: Mapping[str, Any], body: Any = None) -> HttpRequest:
        headers = {**self._headers, **{key.lower(): each.text(values) for key, each in self._own_headers.items()}}
        if body is None:
            return HttpRequest(method, url, headers, most=LARGEST)
        headers["content-type"] = "application/json"
        return HttpRequest(method, url, headers, compact(body).encode("utf-8", "replace"), most=LARGEST)

    def _check_origin(self, url: str) -> None:
        if urlsplit(url)[:2] != urlsplit(self._base)[:2]:
            raise UsageError(
                f"{self._spec.name}: the next page is on another host, which is not handed the key",
                hint="name in url the host that the answers name",
            )
