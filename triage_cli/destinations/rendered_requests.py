"""The requests of a destination of type `http`, rendered from its configuration for one delivery."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from triage_cli.config.http_destination import HttpSpec, UndoSpec
from triage_cli.config.secrets import CONTROL
from triage_cli.config.templates.filters import TemplateFailure, as_query_part, as_text, as_url_part
from triage_cli.config.templates.jinja import (
    Template,
    TemplateMistake,
    check,
    compiled,
    delivery_names,
    is_template,
    leaves,
)
from triage_cli.destinations.http_secrets import Secrets
from triage_cli.destinations.payload import template_values
from triage_cli.domain.deliveries import Delivery, OutgoingDelivery
from triage_cli.domain.serialization import compact, from_json
from triage_cli.runtime.http_exchange import HttpRequest
from triage_cli.runtime.installation import USER_AGENT

REPLACED = frozenset({"replaced.category", "replaced.delivery_id"})
# How many bytes are read of an answer that is looked into: a search may list all new items, and a ticket is long.
EXAMINED = 4_000_000


class _Parts(NamedTuple):
    """A part of a destination with templates: its place, its tree, the allowed names, and how values become text."""

    place: str
    tree: Any
    names: AbstractSet[str]
    finalize: Callable[[Any], str] = as_text


def _parts(spec: HttpSpec) -> Iterator[_Parts]:
    preset_keys, kept_values = frozenset(spec.given), spec.find.keep if spec.find else {}
    public = delivery_names(frozenset([*spec.keep, *kept_values]), preset_keys)
    private = public | {"key"} if spec.key_env else public  # a key may be used in no address and in no header
    yield _Parts("url", spec.url or "", public, as_url_part)
    yield _Parts("endpoint", spec.endpoint, public, as_url_part)
    yield _Parts("query", spec.query, public, as_query_part)
    yield _Parts("headers", spec.headers, public)
    yield _Parts("body", spec.body, private)
    yield _Parts("form", spec.form, private)
    if spec.find:
        yield _Parts("find.get", spec.find.get, delivery_names(frozenset(spec.keep), preset_keys), as_url_part)
    if spec.once:
        yield _Parts("once.get", spec.once.get, public, as_url_part)
        yield _Parts("once.body", spec.once.body, private)
        yield _Parts("once.contains", spec.once.contains, public)
    if spec.undo:
        yield _Parts("undo.endpoint", spec.undo.endpoint, public | REPLACED, as_url_part)
        yield _Parts("undo.body", spec.undo.body, private | REPLACED)


def _extra_addresses(spec: HttpSpec) -> Iterator[tuple[str, str]]:
    """Yield the addresses of the requests other than the delivery itself, each with its place."""
    if spec.find:
        yield "find.get", spec.find.get
    if spec.once and spec.once.get:
        yield "once.get", spec.once.get
    if spec.undo:
        yield "undo.endpoint", spec.undo.endpoint


def mistakes(spec: HttpSpec) -> Iterator[tuple[str, str]]:
    """Yield each invalid template: its place in the destination's configuration, and why it is invalid."""
    for place, address in _extra_addresses(spec):
        if spec.url and not address.startswith(("/", "../")) and _origin(address) != _origin(spec.url):
            yield place, f"leads to another host than url, which would get its secrets; begin with {_origin(spec.url)}/"
    for part in _parts(spec):
        for place, source in leaves(part.tree, part.place):
            try:
                if is_template(source):
                    check(source, part.names)
                    Template(source, part.names, place, part.finalize)
            except TemplateMistake as mistake:
                yield place, str(mistake)


class HttpRequests:
    """Renders the requests of a destination, with these secrets.

    Raises `TemplateMistake`. Its methods raise `TemplateFailure` if a template cannot be rendered with a delivery's
    values, or the result is no valid request. `kept_values` are what the answer to the request of `find` gave.
    """

    def __init__(self, spec: HttpSpec, secrets: Secrets) -> None:
        self._spec = spec
        self._secrets = secrets
        self._render = {part.place: _renderer(part) for part in _parts(spec)}

    def find(self, outgoing: OutgoingDelivery) -> HttpRequest | None:
        """Return the `find` request, whose answer the other requests use, if there is one."""
        if self._spec.find is None:
            return None
        values = self._values(outgoing, {})
        url = self._url(self._render["find.get"](values), values, query=False)
        return self._request("GET", url, {}, None)._replace(most=EXAMINED)

    def delivery(self, outgoing: OutgoingDelivery, kept_values: Mapping[str, Any]) -> HttpRequest:
        """Return the request that delivers."""
        values = self._values(outgoing, kept_values)
        body, kind = None, None
        if self._spec.form:
            fields = self._render["form"](values).items()
            body = urlencode({key: as_text(value) for key, value in fields if value is not None}).encode()
            kind = "application/x-www-form-urlencoded"
        elif self._spec.body is not None:
            body, kind = _encoded(self._render["body"](values)), "application/json"
        own = outgoing.request_headers | ({"content-type": kind} if kind else {})
        headers = own | {name.lower(): _header(name, each) for name, each in self._render["headers"](values).items()}
        request = self._request(self._spec.method, self._own_url(values), headers, outgoing.delivery.delivery_id, body)
        return request._replace(most=EXAMINED) if self._spec.ok.path or self._spec.keep else request

    def search(self, outgoing: OutgoingDelivery, kept_values: Mapping[str, Any]) -> tuple[HttpRequest, str] | None:
        """Return the request that searches for an earlier attempt's result, and the text that shows that it arrived."""
        once = self._spec.once
        if once is None:
            return None
        values = self._values(outgoing, kept_values)
        contains = self._render["once.contains"](values)
        if once.body is None:
            url = self._url(self._render["once.get"](values), values, query=False)
            return self._request("GET", url, {}, None)._replace(most=EXAMINED), contains
        headers, url = {"content-type": "application/json"}, self._own_url(values)
        body = _encoded(self._render["once.body"](values))
        return self._request("POST", url, headers, None, body)._replace(most=EXAMINED), contains

    def undos(self, outgoing: OutgoingDelivery, kept_values: Mapping[str, Any]) -> Iterator[HttpRequest]:
        """Yield the requests that undo earlier deliveries of other categories to this destination.

        These are the delivery accepted last, and later ones that may have arrived.
        """
        undo = self._spec.undo
        for before in reversed(outgoing.earlier) if undo else ():
            if undo and before.arrived and before.category != outgoing.delivery.category:
                yield self._undo(undo, outgoing, before, kept_values)
            if before.state == "accepted":
                return

    def _undo(
        self, spec: UndoSpec, outgoing: OutgoingDelivery, before: Delivery, kept_values: Mapping[str, Any]
    ) -> HttpRequest:
        replaced = {"category": before.category, "delivery_id": before.delivery_id}
        values = {**self._values(outgoing, kept_values), "replaced": replaced}
        body, headers = None, {}
        if spec.body is not None:
            body, headers = _encoded(self._render["undo.body"](values)), {"content-type": "application/json"}
        url = self._url(self._render["undo.endpoint"](values), values, query=False)
        return self._request(spec.method, url, headers, f"{before.delivery_id}-undo", body)

    def _values(self, outgoing: OutgoingDelivery, kept_values: Mapping[str, Any]) -> Mapping[str, Any]:
        key = {"key": self._secrets.key} if self._secrets.key else {}
        remote = {**_remote(outgoing.earlier), **kept_values}
        return template_values(outgoing, remote=remote, **self._spec.given, **key)

    def _own_url(self, values: Mapping[str, Any]) -> str:
        return self._url(self._render["endpoint"](values), values)

    def _url(self, endpoint: str, values: Mapping[str, Any], *, query: bool = True) -> str:
        url = _joined(self._secrets.url or self._render["url"](values), endpoint)
        if self._spec.query and query:
            url += ("&" if "?" in url else "?") + urlencode(self._render["query"](values), quote_via=quote)
        if {".", ".."} & set(url.partition("?")[0].split("/")):
            raise TemplateFailure("url: a value is . or .., and the address would be another one with it")
        return url

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], key: str | None, body: bytes | None = None
    ) -> HttpRequest:
        sent = {"user-agent": USER_AGENT, "accept-encoding": "identity"}
        if key:
            sent["idempotency-key"] = key
        if self._secrets.auth:
            sent[self._secrets.auth[0].lower()] = self._secrets.auth[1]
        return HttpRequest(method, url, {**sent, **headers}, body)


def _renderer(part: _Parts) -> Callable[[Mapping[str, Any]], Any]:
    """Return the renderer of a part. In an address every value becomes text, since it is percent-encoded."""
    if part.finalize is as_text:
        return compiled(part.tree, part.names, part.place)
    if isinstance(part.tree, str):
        return Template(part.tree, part.names, part.place, part.finalize).text
    fields = {
        key: Template(source, part.names, f"{part.place}.{key}", part.finalize).text
        for key, source in part.tree.items()
    }
    return lambda values: {key: render(values) for key, render in fields.items()}


def _origin(url: str) -> str:
    return "/".join(url.lower().split("/", 3)[:3])


def _joined(base: str, endpoint: str) -> str:
    """Return an address with an endpoint appended; each leading ../ removes one part of the address."""
    if not endpoint.startswith(("/", "../")):
        if endpoint and _origin(endpoint) != _origin(base):
            raise TemplateFailure(f"{_origin(endpoint)} is another host than the url's, and gets none of its secrets")
        return endpoint or base
    base = base.rstrip("/")
    while endpoint.startswith("../"):
        base, _, left_out = base.rpartition("/")
        if base.endswith("/") or not left_out:
            raise TemplateFailure("the url has fewer parts than ../ leaves out")
        endpoint = endpoint[3:] if endpoint.startswith("../../") else endpoint[2:]
    return base + endpoint


def _remote(earlier: tuple[Delivery, ...]) -> Mapping[str, Any]:
    """Return the values that were kept from the newest answer about this ticket at this destination."""
    kept = next((d.kept for d in reversed(earlier) if d.kept), None)
    return from_json(kept) if kept else {}


def _encoded(tree: Any) -> bytes:
    try:
        return compact(tree).encode()
    except (ValueError, TypeError) as error:  # NaN, or half of a surrogate pair
        raise TemplateFailure(f"body: JSON cannot hold it: {error}") from error


def _header(name: str, value: Any) -> str:
    text = as_text(value)
    if CONTROL.search(text):
        raise TemplateFailure(f"headers.{name}: holds a line break or another control character; use | one_line")
    return text.strip()
