"""Filters of templates, and the conversion of values to text. Results are bounded, and null stays null."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

import jinja2
from jinja2 import filters

from triage_cli.domain import as_tag, compact

# The longest rendered text, and the longest result of a filter, in characters.
LARGEST = 4_000_000


class TemplateFailure(ValueError):  # noqa: N818 - it becomes the error of one delivery
    """A template cannot be rendered with the values of this ticket."""


def as_text(template_value: Any) -> str:
    """Return a template's value as text: empty for null, JSON for lists and objects."""
    if isinstance(template_value, str):
        return template_value
    if template_value is None:
        return ""
    return compact(template_value) if isinstance(template_value, bool | list | tuple | dict) else str(template_value)


def as_query_part(template_value: Any) -> str:
    """Return a template's value as text. Raises `TemplateFailure` for an empty text, which would change the address."""
    if text := as_text(template_value):
        return text
    raise TemplateFailure("a value is empty, and the address would be another one without it")


def as_url_part(template_value: Any) -> str:
    """Return a template's value percent-encoded. Raises `TemplateFailure` as `as_query_part` does."""
    return quote(as_query_part(template_value), safe="")


def bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that leaves null unchanged, and whose result is bounded."""

    def filtered(template_value: Any, *args: Any, **options: Any) -> Any:
        if template_value is None:
            return None
        result = function(template_value, *args, **options)
        if isinstance(result, str) and len(result) > LARGEST:
            raise TemplateFailure(f"a filter's text is longer than {LARGEST:,} characters")
        return result

    return filtered


def default(template_value: Any, instead: Any = "", boolean: bool = False) -> Any:
    """Return another value for null, and with `boolean` also for an empty value, 0 or false."""
    is_missing = template_value is None or isinstance(template_value, jinja2.Undefined)
    return instead if is_missing or (boolean and not template_value) else template_value


def _truncate(template_value: Any, length: int) -> str:
    """Shorten a text to so many UTF-16 units, as most receivers count: an emoji is two."""
    template_text = as_text(template_value)
    units = template_text[: length + 1].encode("utf-16-le", "surrogatepass")
    if len(units) // 2 <= length:
        return template_text
    truncated = units[: 2 * max(0, length - 1)].decode("utf-16-le", "ignore")  # removes half a character at the end
    return truncated + "…"[:length]


_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")


def _one_line(template_value: Any) -> str:
    return " ".join(as_text(template_value).translate(_CONTROLS).split())


def _uuid(template_value: Any) -> str:
    """Return a UUID in the form of version 4, the same for the same text: some receivers require one."""
    return str(
        UUID(bytes=hashlib.sha256(as_text(template_value).encode("utf-8", "surrogatepass")).digest()[:16], version=4)
    )


def _replace(template_value: Any, old: str, new: str) -> str:
    template_text = as_text(template_value)
    if len(template_text) + template_text.count(old) * len(new) > LARGEST:
        raise TemplateFailure(f"replace would make more than {LARGEST:,} characters")
    return template_text.replace(old, new)


def _join(template_value: Any, between: str = "") -> str:
    joined_texts = [as_text(each) for each in template_value]
    if sum(map(len, joined_texts)) + len(joined_texts) * len(between) > LARGEST:
        raise TemplateFailure(f"join would make more than {LARGEST:,} characters")
    return between.join(joined_texts)


TESTS = frozenset({"none", "defined", "string", "number", "mapping", "sequence", "boolean", "in", "true", "false"})
FILTERS: Mapping[str, Callable[..., Any]] = {
    "truncate": _truncate,
    "slug": lambda template_value: as_tag(as_text(template_value)),
    "one_line": _one_line,
    "uuid": _uuid,
    "default": default,
    "json": compact,
    "lower": lambda template_value: as_text(template_value).lower(),
    "upper": lambda template_value: as_text(template_value).upper(),
    "capitalize": lambda template_value: as_text(template_value).capitalize(),
    "title": lambda template_value: as_text(template_value).title(),
    "trim": lambda template_value: as_text(template_value).strip(),
    "replace": _replace,
    "join": _join,
    "length": len,
    "first": lambda template_value: next(iter(template_value), None),
    "last": lambda template_value: next(reversed(template_value), None),
    "int": filters.do_int,
    "float": filters.do_float,
    "round": filters.do_round,
    "abs": abs,
    "string": as_text,
    "urlencode": lambda template_value: quote(as_text(template_value), safe=""),
}
