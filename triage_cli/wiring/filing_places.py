"""Tells where destinations make what sources list, from the addresses of both in the configuration."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from triage_cli.config import Config, HttpSpec
from triage_cli.domain import Nearness

DEFAULT_PORTS = {"https": 443, "http": 80}


def nearness(config: Config, source: str, destination: str) -> Nearness:
    """Return how near a destination files to what a source lists.

    Of a destination that is not configured any more, and of a source that is a program, the place is not known.
    """
    source_spec, spec = config.sources.get(source), config.destinations.get(destination)
    if spec is None or (source_spec is not None and source_spec.type == "command"):
        return Nearness.SAME_HOST
    if source_spec is None or spec.http is None or not _makes_items(spec.http):
        return Nearness.ELSEWHERE
    listed_host, listed_path = _place(source_spec.url)
    filed_host, filed_path = _place(spec.http.url or os.environ.get(spec.http.url_env or "", ""))
    if not listed_host or listed_host != filed_host:
        return Nearness.ELSEWHERE
    shared_parts = min(len(listed_path), len(filed_path))
    is_same_place = listed_path[:shared_parts] == filed_path[:shared_parts]
    return Nearness.SAME_PLACE if is_same_place else Nearness.SAME_HOST


def same_place_warnings(config: Config, source: str) -> Iterator[str]:
    """Yield a warning for each destination that makes what a source lists."""
    for name, spec in config.destinations.items():
        if spec.http is None or nearness(config, source, name) != Nearness.SAME_PLACE:
            continue
        place = f"sources.{source} lists what destinations.{name} makes"
        if not any("delivery_id" in text for text in _templates(spec.http)):
            yield (
                f"{place}, and no {{{{ delivery_id }}}} in its body tells it from a ticket: "
                "each run would make one more of what the last run has made; put it into the body"
            )
        elif not spec.http.keep:
            yield (
                f"{place}: whatever holds the id of a delivery there is passed over, also a ticket into which a "
                "person copied one; name in keep where the answer has the new item's id"
            )
        else:
            yield f"{place}: pull passes over what triage has made; where: {{…}} can leave it out of the list"


def _makes_items(http: HttpSpec) -> bool:
    """Return whether a request makes something new: it is a POST that names no ticket of the helpdesk."""
    if http.method != "POST" or "external_id" in f"{http.url or ''}{http.endpoint}":
        return False
    return not any("".join(text.split()) == "{{ticket.external_id}}" for text in _templates(http))


def _templates(http: HttpSpec) -> list[str]:
    """Return the templates of a request's body."""
    from triage_cli.config import leaves

    return [text for tree in (http.body, http.form) for _, text in leaves(tree, "")]


def _place(url: str) -> tuple[str, tuple[str, ...]]:
    """Return host and port of an address, and the parts of its path up to the first template."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(parts.scheme.lower())
    except ValueError:
        return "", ()
    path = []
    for part in parts.path.strip("/").split("/"):
        if not part or "{" in part:
            break
        path.append(part.lower())
    return (f"{host}:{port}" if host else ""), tuple(path)
