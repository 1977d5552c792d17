"""The requests of a destination of type `http`, rendered from its configuration for one delivery, and its secrets."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from triage_cli import domain as dm
from triage_cli.config import (
    FORBIDDEN_IN_HEADERS,
    AuthSpec,
    HttpSpec,
    Template,
    TemplateFailure,
    TemplateMistake,
    UndoSpec,
    as_query_part,
    as_text,
    as_url_part,
    auth_header_value,
    check,
    compiled,
    delivery_names,
    is_template,
    leaves,
    no_address,
    secret,
)
from triage_cli.destinations import template_values
from triage_cli.runtime import USER_AGENT, HttpRequest, HttpSecrets

REPLACED = frozenset({"replaced.category", "replaced.delivery_id"})
# How many bytes are read of an answer that is looked into: a search may list all new items, and a ticket is long.
EXAMINED = 4_000_000


def secrets_of(name: str, spec: HttpSpec, env: Mapping[str, str]) -> HttpSecrets:
    """Read an HTTP destination's secrets, without tokens.

    Raises `ConfigError` for a variable that is not set or unusable.
    """

    def secret_in(variable: str) -> str:
        return secret(f'destination "{name}"', variable, env)

    url = secret_in(spec.url_env) if spec.url_env else None
    if url and (objection := "holds a template" if is_template(url) else no_address(url)):
        raise dm.ConfigError(f'destination "{name}": the address in {spec.url_env} {objection}', hint="export it again")
    key = secret_in(spec.key_env) if spec.key_env else None
    if not isinstance(spec.auth, AuthSpec):
        return HttpSecrets(url, None, key)
    auth = [secret_in(variable) for variable in spec.auth.env or ((spec.key_env,) if spec.key_env else ())]
    return HttpSecrets(url, (spec.auth.header, auth_header_value(spec.auth, auth)), key, tuple(auth))


def hidden_secrets(spec: HttpSpec) -> HttpSecrets:
    """Return the placeholders that replace the secrets when a request is shown."""
    url = f"${spec.url_env}" if spec.url_env else None
    hidden_auth = None
    if isinstance(spec.auth, AuthSpec):
        scheme = {"basic": "Basic ", "bearer": "Bearer ", "header": spec.auth.prefix}[spec.auth.kind]
        hidden_auth = (spec.auth.header, f"{scheme}{dm.HIDDEN}")
    elif spec.auth:
        hidden_auth = ("authorization", f"Bearer {dm.HIDDEN}")
    return HttpSecrets(url, hidden_auth, dm.HIDDEN if spec.key_env else None)


class _RequestPart(NamedTuple):
    """A part of a request with templates: its key, its tree, the allowed names, and how values become text."""

    key: str
    tree: Any
    names: AbstractSet[str]
    finalize: Callable[[Any], str] = as_text


def _request_parts(spec: HttpSpec) -> Iterator[_RequestPart]:
    preset_keys, kept = frozenset(spec.given), spec.find.keep if spec.find else {}
    public_names = delivery_names(frozenset([*spec.keep, *kept]), preset_keys)
    # A key may be used in no address and in no header.
    private_names = public_names | {"key"} if spec.key_env else public_names
    yield _RequestPart("url", spec.url or "", public_names, as_url_part)
    yield _RequestPart("endpoint", spec.endpoint, public_names, as_url_part)
    yield _RequestPart("query", spec.query, public_names, as_query_part)
    yield _RequestPart("headers", spec.headers, public_names)
    yield _RequestPart("body", spec.body, private_names)
    yield _RequestPart("form", spec.form, private_names)
    if spec.find:
        yield _RequestPart("find.get", spec.find.get, delivery_names(frozenset(spec.keep), preset_keys), as_url_part)
    if spec.once:
        yield _RequestPart("once.get", spec.once.get, public_names, as_url_part)
        yield _RequestPart("once.body", spec.once.body, private_names)
        yield _RequestPart("once.contains", spec.once.contains, public_names)
    if spec.undo:
        yield _RequestPart("undo.endpoint", spec.undo.endpoint, public_names | REPLACED, as_url_part)
        yield _RequestPart("undo.body", spec.undo.body, private_names | REPLACED)


def _extra_addresses(spec: HttpSpec) -> Iterator[tuple[str, str]]:
    """Yield the addresses of the requests other than the delivery itself, each with its key."""
    if spec.find:
        yield "find.get", spec.find.get
    if spec.once and spec.once.get:
        yield "once.get", spec.once.get
    if spec.undo:
        yield "undo.endpoint", spec.undo.endpoint


def request_mistakes(spec: HttpSpec) -> Iterator[tuple[str, str]]:
    """Yield each invalid template of an HTTP destination: its key in the configuration, and why it is invalid."""
    for key, address in _extra_addresses(spec):
        if spec.url and not address.startswith(("/", "../")) and _url_origin(address) != _url_origin(spec.url):
            beginning = f"{_url_origin(spec.url)}/"
            yield key, f"leads to another host than url, which would get its secrets; begin with {beginning}"
    for part in _request_parts(spec):
        for key, source in leaves(part.tree, part.key):
            try:
                if is_template(source):
                    check(source, part.names)
                    Template(source, part.names, key, part.finalize)
            except TemplateMistake as mistake:
                yield key, str(mistake)


class HttpRequests:
    """Renders the requests of an HTTP destination, with these secrets.

    Raises `TemplateMistake`. Its methods raise `TemplateFailure` if a template cannot be rendered with a delivery's
    values, or the result is no valid request. `kept_values` are what the answer to the request of `find` gave.
    """

    def __init__(self, spec: HttpSpec, secrets: HttpSecrets) -> None:
        self._spec = spec
        self._secrets = secrets
        self._render = {part.key: _renderer(part) for part in _request_parts(spec)}

    def find(self, outgoing: dm.OutgoingDelivery) -> HttpRequest | None:
        """Return the `find` request, whose answer the other requests use, if there is one."""
        if self._spec.find is None:
            return None
        values = self._template_values(outgoing, {})
        url = self._url(self._render["find.get"](values), values, query=False)
        return self._request("GET", url, {}, None)._replace(most=EXAMINED)

    def delivery(self, outgoing: dm.OutgoingDelivery, kept: Mapping[str, Any]) -> HttpRequest:
        """Return the request that delivers, rendered with the delivery's values."""
        values = self._template_values(outgoing, kept)
        body, content_type = None, None
        if self._spec.form:
            form = self._render["form"](values).items()
            body = urlencode({key: as_text(value) for key, value in form if value is not None}).encode()
            content_type = "application/x-www-form-urlencoded"
        elif self._spec.body is not None:
            body, content_type = _json_body(self._render["body"](values)), "application/json"
        own = outgoing.request_headers | ({"content-type": content_type} if content_type else {})
        rendered = self._render["headers"](values).items()
        headers = own | {name.lower(): _header_value(name, value) for name, value in rendered}
        request = self._request(self._spec.method, self._own_url(values), headers, outgoing.delivery.delivery_id, body)
        return request._replace(most=EXAMINED) if self._spec.ok.path or self._spec.keep else request

    def search(self, outgoing: dm.OutgoingDelivery, kept: Mapping[str, Any]) -> tuple[HttpRequest, str] | None:
        """Return the request that searches for an earlier attempt's result, and the text that shows that it arrived."""
        once = self._spec.once
        if once is None:
            return None
        values = self._template_values(outgoing, kept)
        contains = self._render["once.contains"](values)
        if once.body is None:
            url = self._url(self._render["once.get"](values), values, query=False)
            return self._request("GET", url, {}, None)._replace(most=EXAMINED), contains
        headers, url = {"content-type": "application/json"}, self._own_url(values)
        body = _json_body(self._render["once.body"](values))
        return self._request("POST", url, headers, None, body)._replace(most=EXAMINED), contains

    def undos(self, outgoing: dm.OutgoingDelivery, kept: Mapping[str, Any]) -> Iterator[HttpRequest]:
        """Yield the requests that undo earlier deliveries of other categories to this destination.

        These are the delivery accepted last, and later ones that may have arrived.
        """
        undo = self._spec.undo
        for earlier in reversed(outgoing.earlier) if undo else ():
            if undo and earlier.arrived and earlier.category != outgoing.delivery.category:
                yield self._undo(undo, outgoing, earlier, kept)
            if earlier.state == "accepted":
                return

    def _undo(
        self, spec: UndoSpec, outgoing: dm.OutgoingDelivery, earlier: dm.Delivery, kept: Mapping[str, Any]
    ) -> HttpRequest:
        replaced = {"category": earlier.category, "delivery_id": earlier.delivery_id}
        values = {**self._template_values(outgoing, kept), "replaced": replaced}
        body, headers = None, {}
        if spec.body is not None:
            body, headers = _json_body(self._render["undo.body"](values)), {"content-type": "application/json"}
        url = self._url(self._render["undo.endpoint"](values), values, query=False)
        return self._request(spec.method, url, headers, f"{earlier.delivery_id}-undo", body)

    def _template_values(self, outgoing: dm.OutgoingDelivery, kept: Mapping[str, Any]) -> Mapping[str, Any]:
        key = {"key": self._secrets.key} if self._secrets.key else {}
        remote_values = {**_remote_values(outgoing.earlier), **kept}
        return template_values(outgoing, remote=remote_values, **self._spec.given, **key)

    def _own_url(self, values: Mapping[str, Any]) -> str:
        return self._url(self._render["endpoint"](values), values)

    def _url(self, endpoint: str, values: Mapping[str, Any], *, query: bool = True) -> str:
        url = _joined_address(self._secrets.url or self._render["url"](values), endpoint)
        if self._spec.query and query:
            url += ("&" if "?" in url else "?") + urlencode(self._render["query"](values), quote_via=quote)
        if {".", ".."} & set(url.partition("?")[0].split("/")):
            raise TemplateFailure("url: a value is . or .., and the address would be another one with it")
        return url

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], idempotency_key: str | None, body: bytes | None = None
    ) -> HttpRequest:
        own = {"user-agent": USER_AGENT, "accept-encoding": "identity"}
        if idempotency_key:
            own["idempotency-key"] = idempotency_key
        if self._secrets.auth:
            own[self._secrets.auth[0].lower()] = self._secrets.auth[1]
        return HttpRequest(method, url, {**own, **headers}, body)


def _renderer(part: _RequestPart) -> Callable[[Mapping[str, Any]], Any]:
    """Return the renderer of a request's part. In an address every value becomes text, since it is percent-encoded."""
    if part.finalize is as_text:
        return compiled(part.tree, part.names, part.key)
    if isinstance(part.tree, str):
        return Template(part.tree, part.names, part.key, part.finalize).text
    renderers = {
        key: Template(source, part.names, f"{part.key}.{key}", part.finalize).text for key, source in part.tree.items()
    }
    return lambda values: {key: render(values) for key, render in renderers.items()}


def _url_origin(url: str) -> str:
    return "/".join(url.lower().split("/", 3)[:3])


def _joined_address(url: str, endpoint: str) -> str:
    """Return a request's address: the url with an endpoint appended; each leading ../ removes one part of the url."""
    if not endpoint.startswith(("/", "../")):
        if endpoint and _url_origin(endpoint) != _url_origin(url):
            origin = _url_origin(endpoint)
            raise TemplateFailure(f"{origin} is another host than the url's, and gets none of its secrets")
        return endpoint or url
    url = url.rstrip("/")
    while endpoint.startswith("../"):
        url, _, removed_part = url.rpartition("/")
        if url.endswith("/") or not removed_part:
            raise TemplateFailure("the url has fewer parts than ../ leaves out")
        endpoint = endpoint[3:] if endpoint.startswith("../../") else endpoint[2:]
    return url + endpoint


def _remote_values(earlier: tuple[dm.Delivery, ...]) -> Mapping[str, Any]:
    """Return the values that were kept from the newest answer about this ticket at this destination."""
    kept = next((delivery.kept for delivery in reversed(earlier) if delivery.kept), None)
    return dm.from_json(kept) if kept else {}


def _json_body(tree: Any) -> bytes:
    try:
        return dm.compact(tree).encode()
    except (ValueError, TypeError) as error:  # NaN, or half of a surrogate pair
        raise TemplateFailure(f"body: JSON cannot hold it: {error}") from error


def _header_value(name: str, value: Any) -> str:
    text = as_text(value)
    if FORBIDDEN_IN_HEADERS.search(text):
        raise TemplateFailure(f"headers.{name}: holds a line break or another control character; use | one_line")
    return text.strip()
