"""Pagination: the requests for the pages of a list, how pages follow one another, and the position that is stored."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urljoin, urlsplit

from triage_cli import domain as dm
from triage_cli.config import (
    NextSpec,
    SourceSpec,
    Template,
    TemplateMistake,
    as_text,
    as_url_part,
    check,
    compiled,
    is_template,
    leaves,
)
from triage_cli.runtime import USER_AGENT, HttpRequest

# One link of the header `Link` (RFC 8288): its address and its parameters.
LINK_HEADER = re.compile(r"<([^<>]*)>((?:\s*;\s*[\w*]+\s*=\s*(?:\"[^\"]*\"|[^\s,;]+))*)")
LINK_RELATION = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s,;]+))", re.IGNORECASE)

# If a time is more than this many seconds ahead, a clock must be wrong.
CLOCK_TOLERANCE = 300

# The names that the templates of a list may use.
TEMPLATE_NAMES = frozenset({"cursor", "cursor_seconds"})
# The largest page, in bytes.
LARGEST_PAGE = 64 << 20


# So many later changes on a page bear witness that its list ascends up to a time: in a list of another order, they
# would hardly stand behind it by chance.
WITNESSES = 3
# A template of a list that is asked for what has changed since a time.
CURSOR_TEMPLATE = re.compile(r"\{\{[^}]*\bcursor")


class Page(NamedTuple):
    """A page as pagination sees it: the answer, its address, the number of items, and the times of their changes.

    The times are seconds since 1970, in the order of the list.
    """

    answer: Any
    url: str
    link: str
    item_count: int
    times: Sequence[int] = ()

    @property
    def newest(self) -> int | None:
        """Return the time of the last change, None if no item has one."""
        return max(self.times, default=None)

    @property
    def ascending(self) -> bool:
        """Return whether the items are in the order of their changes."""
        return all(a <= b for a, b in pairwise(self.times))


class Walk(NamedTuple):
    """The progress of a pull through a list; times are seconds since 1970.

    A place in a list is no position in time: what changes moves to the end, and all behind it move up. So an ascending
    list is begun again after each page, at a time that the page has passed. `since` is the time from which the list is
    requested, `began` the clock when the walk began. `read_until` is the time up to which all changes were read: where
    the next pull begins. `place` is the next page: its number, offset, token or address (None: the first).

    Since the list was last begun at `since`: `pages` counts the pages with items, `stretch_oldest` and `stretch_newest`
    are their first and last change. `newest` is the last one of the whole walk. `has_fallen` tells that an item was
    older than one before it, `has_risen` that a page has shown the list to ascend. `grain` is by how many seconds the
    list began before `since`. `begun_from` is the `since` before, until the list has shown that it goes on from there;
    where it did not, the walk `counts_on` from page to page.
    """

    since: int
    read_until: int | None = None
    began: int = 0
    place: int | str | None = None
    pages: int = 0
    stretch_oldest: int | None = None
    stretch_newest: int | None = None
    newest: int | None = None
    has_fallen: bool = False
    has_risen: bool = False
    grain: int = 0
    begun_from: int | None = None
    counts_on: bool = False
    ended: bool = False

    def after(self, page: Page, spec: SourceSpec, now: int) -> "Walk":
        """Return the walk after a page. Times in the future do not count, else older items would be left out."""
        times = [changed for changed in page.times if changed <= now]
        is_declared = bool(spec.next and spec.next.most)
        falls = not page.ascending
        if times and not is_declared:  # a page of a list that is known to ascend may be out of order for a moment
            falls = falls or self.has_fallen or (self.stretch_newest is not None and times[0] < self.stretch_newest)
        grain = max(self.grain, self.since - min(times)) if times and not self.pages else self.grain
        passed = None if falls or not takes_cursor(spec) else _passed(times, 1 if is_declared else WITNESSES)
        walk = self._replace(
            begun_from=None,
            pages=self.pages + bool(page.item_count),
            stretch_oldest=min(
                (*times, *(() if self.stretch_oldest is None else (self.stretch_oldest,))), default=None
            ),
            stretch_newest=_later(self.stretch_newest, max(times, default=None)),
            newest=_later(self.newest, max(times, default=None)),
            has_fallen=self.has_fallen or falls,
            has_risen=self.has_risen or passed is not None,
            grain=grain,
        )
        keeps_token = bool(spec.next and spec.next.keep)
        place = walk.next_place(page, spec)
        if place is None or (spec.next and spec.next.end and dm.lookup(page.answer, spec.next.end)):
            last_token = (self.place if place is None else place) if keeps_token else None
            return walk._replace(ended=True, place=last_token, read_until=walk.read_at_end())
        if passed is not None and passed > self.since + grain and not keeps_token and not self.counts_on:
            return walk.begun_at(passed)._replace(read_until=_later(self.read_until, passed), begun_from=self.since)
        return walk._replace(place=place)

    def begun_at(self, since: int) -> "Walk":
        """Return the walk with the list begun again at a time."""
        return self._replace(
            since=since, place=None, pages=0, stretch_oldest=None, stretch_newest=None, begun_from=None, ended=False
        )

    def next_place(self, page: Page, source: SourceSpec) -> int | str | None:
        """Return the place of the next page; None after the last one. Raises `UsageError` if that cannot be told."""
        spec = source.next
        if spec is None:
            return None
        if spec.kind not in ("page", "offset"):
            return _next_place(page, spec, source.name)
        # A short page is the last one unless the answer names a next page: rows that the user may not see are left out.
        is_short = page.item_count == 0 or bool(spec.size and page.item_count < spec.size)
        if is_short and not linked(page.link, "next"):
            return None
        place, place_step = (1, 1) if spec.kind == "page" else (0, spec.size or 0)
        return (place if self.place is None else int(self.place)) + place_step

    def read_at_end(self) -> int | None:
        """Return the time up to which all was read, at the end of the list.

        A list of another order shows what was changed after its page was read nowhere: so not later than it was begun.
        """
        newest = self.newest if self.newest is None or not self.has_fallen else min(self.newest, self.began)
        return _later(self.read_until, newest)

    def is_read_anew(self, spec: SourceSpec) -> bool:
        """Return whether the next pull reads all again that was read since the list was last begun."""
        return (
            self.ended
            and not self.counts_on
            and (
                self.stretch_oldest is None
                or self.read_until is None
                or self.stretch_oldest > self.read_until - spec.cursor.overlap
            )
        )

    def keeps_place(self, spec: SourceSpec) -> bool:
        """Return whether the next pull goes on from here; else it begins where this one began."""
        if self.ended or (spec.next and spec.next.keep):
            return True
        return self.has_risen and (not self.has_fallen or bool(spec.next and spec.next.most))

    def position(self, spec: SourceSpec) -> str:
        """Return the position of the walk to be stored, as JSON."""
        kept_token = {"token": self.place} if spec.next and spec.next.keep and self.place is not None else {}
        return dm.compact({"high": self.read_until, **kept_token})


def begin_walk(position: str | None, since: int | None, spec: SourceSpec, now: int) -> tuple[Walk, bool]:
    """Return the walk that a pull begins, and whether it stores its position.

    It does not if it begins after the stored position, since the items between would be left out.
    """
    cursor = spec.cursor
    first_start = int(now - cursor.start) if isinstance(cursor.start, float) else int(dm.to_seconds(cursor.start))
    stored = dm.from_json(position) if position else {}
    # An earlier form has a place in the list, too: only what is before the time it was asked for was surely read.
    read_until = stored.get("since", stored.get("high"))
    if read_until is not None and read_until > now + CLOCK_TOLERANCE:
        read_until = None
    if since is not None:
        return _walk_from(since, None, spec, now), read_until is None or since <= read_until
    begin = first_start if read_until is None else int(read_until - cursor.overlap)
    token = stored.get("token", stored.get("place"))
    is_kept = bool(spec.next and spec.next.keep) and isinstance(token, str)
    return _walk_from(begin, read_until, spec, now)._replace(place=token if is_kept else None), True


def _walk_from(since: int, read_until: int | None, spec: SourceSpec, now: int) -> Walk:
    """Return a walk from a time. A list without items has been read from there, too: the next pull does not skip on."""
    return Walk(since, since if read_until is None and spec.cursor.field else read_until, began=now)


def takes_cursor(spec: SourceSpec) -> bool:
    """Return whether a list is asked for what has changed since a time."""
    return CURSOR_TEMPLATE.search(dm.compact([spec.query, spec.headers, spec.body])) is not None


def _later(first: int | None, second: int | None) -> int | None:
    return max((each for each in (first, second) if each is not None), default=None)


def _passed(times: Sequence[int], witnesses: int) -> int | None:
    """Return the newest time in an ascending page behind which there are so many later changes."""
    if len(times) < 2:
        return None
    first_witness = times[-min(witnesses, len(times) - 1)]
    return max((changed for changed in times if changed < first_witness), default=None)


def _next_place(page: Page, spec: NextSpec, source_name: str) -> str | None:
    next_value = linked(page.link, spec.name) if spec.kind == "link" else dm.lookup(page.answer, spec.name)
    if not next_value:
        return None
    if isinstance(next_value, bool | list | dict):  # as the last page, it would leave the rest of the list behind
        raise dm.UsageError(
            f"{source_name}: {spec.name} in the answer is neither a text nor a number, so the next page is not known",
            hint="correct next in the config; in an object name what holds it, as in links.next.href",
        )
    next_page = str(next_value)
    if spec.kind == "token":
        return next_page
    try:
        return urljoin(page.url, next_page)
    except ValueError:  # as `page` reports
        return next_page


def linked(header: str, relation: str) -> str | None:
    """Return the address of this relation in a header `Link`, unchanged."""
    for address, parameters in LINK_HEADER.findall(header):
        match = LINK_RELATION.search(parameters)
        if match and relation.lower() in (match[1] or match[2] or "").lower().split():
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
        following, values = self._spec.next, {"cursor": dm.from_seconds(walk.since), "cursor_seconds": walk.since}
        if following and following.kind in ("link", "path") and isinstance(walk.place, str):
            self._check_origin(walk.place)
            return self._request(self._spec.method, walk.place, values)
        token = walk.place if following and following.kind == "token" else None
        query = {
            key: as_text(template.value(values))
            for key, template in self._query.items()
            # A token that is kept from pull to pull replaces the cursor.
            if not (token and following and following.keep and "cursor" in self._spec.query[key])
        }
        body = self._body(values)
        if following and following.kind in ("page", "offset"):
            place = 1 if following.kind == "page" else 0
            query[following.name] = str(walk.place if walk.place is not None else place)
        elif following and token is not None and following.query:
            query[following.query] = str(token)
        elif following and token is not None:
            body = dm.placed(body, following.body, token)
        url = self._base
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query, quote_via=quote)
        return self._request(self._spec.method, url, values, body)

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
        return HttpRequest(method, url, headers, dm.compact(body).encode("utf-8", "replace"), most=LARGEST_PAGE)

    def _check_origin(self, url: str) -> None:
        try:
            page_origin = _url_origin(url)
        except ValueError as error:  # a port beyond all ports, half of an IPv6 address
            raise dm.UsageError(
                f"{self._spec.name}: the next page has no address that can be read", hint="check next"
            ) from error
        if page_origin != _url_origin(self._base):
            raise dm.UsageError(
                f"{self._spec.name}: the next page is on another host, which is not handed the key",
                hint="name in url the host that the answers name",
            )


def _url_origin(url: str) -> tuple[str, str | None, int | None]:
    """Return the scheme, host and port of a page's address."""
    page_url = urlsplit(url)
    return page_url.scheme, page_url.hostname, page_url.port or {"http": 80, "https": 443}.get(page_url.scheme)
