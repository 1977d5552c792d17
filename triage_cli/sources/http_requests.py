"""The requests of a source of type `http`, rendered from its configuration."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from triage_cli.config.source_specs import SourceSpec
from triage_cli.config.template_filters import as_text, as_url_part
from triage_cli.config.templates import Template, TemplateMistake, check, compiled, is_template, leaves
from triage_cli.domain.errors import UsageError
from triage_cli.domain.serialization import compact
from triage_cli.runtime.http_exchange import HttpRequest
from triage_cli.runtime.installation import USER_AGENT
from triage_cli.sources.pagination import Walk, iso, put

# What the templates of a list may name.
NAMES = frozenset({"cursor", "cursor_seconds"})
# Of a page, so many bytes are read.
LARGEST = 64 << 20


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
