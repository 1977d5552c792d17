"""The language of templates: Jinja2 in a sandbox, with closed lists of names, filters and syntax.

Only the configuration holds templates. A ticket's text is a value: it is never parsed as a template. This module is
imported only to check or render templates, since importing Jinja2 takes 30 ms.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache, lru_cache
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import jinja2
from jinja2 import filters, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from triage_cli import domain as dm
from triage_cli.config.key_tables import suggestion

# The longest rendered text, and the longest result of a filter, in characters.
LARGEST = 4_000_000
T = TypeVar("T")
# The most characters of one template.
LONGEST_SOURCE = 20_000
# The names of a delivery's values other than its ticket.
DELIVERY_NAMES = ("category", "suggestion", "confidence", "rule", "delivery_id", "replaces", "attempt")
# Below these names any name is accepted: the columns of a ticket, and the questions of a configuration, are not known.
OPEN_NAMES = ("ticket.extra", "ticket.answers", "answers")
# The syntax that a template may use.
SYNTAX = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Filter, nodes.Test, nodes.Compare,
    nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.If, nodes.List, nodes.Tuple, nodes.Dict,
    nodes.Pair, nodes.Keyword, nodes.Neg,
)  # fmt: skip


class TemplateFailure(ValueError):  # noqa: N818 - it becomes the error of one delivery
    """A template cannot be rendered with the values of this ticket."""


def as_text(value: Any) -> str:
    """Return a template's value as text: empty for null, JSON for lists and objects."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return dm.compact(value) if isinstance(value, bool | list | tuple | dict) else str(value)


def as_query_part(value: Any) -> str:
    """Return a template's value as text. Raises `TemplateFailure` for an empty text, which would change the address."""
    if text := as_text(value):
        return text
    raise TemplateFailure("a value is empty, and the address would be another one without it")


def as_url_part(value: Any) -> str:
    """Return a template's value percent-encoded. Raises `TemplateFailure` as `as_query_part` does."""
    return quote(as_query_part(value), safe="")


def null_safe(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that leaves null unchanged, and whose result is bounded."""

    def filtered(value: Any, *args: Any, **options: Any) -> Any:
        if value is None:
            return None
        result = function(value, *args, **options)
        if isinstance(result, str) and len(result) > LARGEST:
            raise TemplateFailure(f"a filter's text is longer than {LARGEST:,} characters")
        return result

    return filtered


def default(value: Any, instead: Any = "", boolean: bool = False) -> Any:
    """Return another value for null, and with `boolean` also for an empty value, 0 or false."""
    is_missing = value is None or isinstance(value, jinja2.Undefined)
    return instead if is_missing or (boolean and not value) else value


def _truncate(value: Any, length: int) -> str:
    """Shorten a text to so many UTF-16 units, as most receivers count: an emoji is two."""
    text = as_text(value)
    units = text[: length + 1].encode("utf-16-le", "surrogatepass")
    if len(units) // 2 <= length:
        return text
    truncated = units[: 2 * max(0, length - 1)].decode("utf-16-le", "ignore")  # removes half a character at the end
    return truncated + "…"[:length]


_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")


def _one_line(value: Any) -> str:
    return " ".join(as_text(value).translate(_CONTROLS).split())


def _uuid(value: Any) -> str:
    """Return a UUID in the form of version 4, the same for the same text: some receivers require one."""
    return str(UUID(bytes=hashlib.sha256(as_text(value).encode("utf-8", "surrogatepass")).digest()[:16], version=4))


def _replace(value: Any, old: str, new: str) -> str:
    text = as_text(value)
    if len(text) + text.count(old) * len(new) > LARGEST:
        raise TemplateFailure(f"replace would make more than {LARGEST:,} characters")
    return text.replace(old, new)


def _join(value: Any, between: str = "") -> str:
    joined_texts = [as_text(each) for each in value]
    if sum(map(len, joined_texts)) + len(joined_texts) * len(between) > LARGEST:
        raise TemplateFailure(f"join would make more than {LARGEST:,} characters")
    return between.join(joined_texts)


TESTS = frozenset({"none", "defined", "string", "number", "mapping", "sequence", "boolean", "in", "true", "false"})
FILTERS: Mapping[str, Callable[..., Any]] = {
    "truncate": _truncate,
    "slug": lambda template_value: dm.as_tag(as_text(template_value)),
    "one_line": _one_line,
    "uuid": _uuid,
    "default": default,
    "json": dm.compact,
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


class TemplateMistake(ValueError):  # noqa: N818 - a mistake in the configuration, told with others
    """An invalid template; the message continues a sentence that begins with its place."""


def delivery_names(kept: AbstractSet[str] = frozenset(), others: AbstractSet[str] = frozenset()) -> frozenset[str]:
    """Return the names that a destination's templates may use: `kept` values of earlier answers, and `others`."""
    fields = ["answers", "ticket.answers", *(f"ticket.{key}" for key in dm.TICKET_KEYS)]
    return frozenset([*DELIVERY_NAMES, *fields, *(f"remote.{name}" for name in kept), *others])


def is_template(source: str) -> bool:
    """Return whether a text has template syntax."""
    return any(mark in source for mark in ("{{", "{%", "{#"))


def leaves(tree: Any, setting: str) -> Iterator[tuple[str, str]]:
    """Yield the templates of a YAML tree, each with its place."""
    if isinstance(tree, str):
        yield setting, tree
    elif isinstance(tree, Mapping):
        for key, inner in tree.items():
            yield from leaves(inner, f"{setting}.{key}")
    elif isinstance(tree, list | tuple):
        for number, inner in enumerate(tree):
            yield from leaves(inner, f"{setting}[{number}]")


def compiled(tree: Any, allowed: AbstractSet[str], setting: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return a renderer of a YAML tree: its string leaves are templates, other values stay unchanged.

    Raises `TemplateMistake`; the renderer raises `TemplateFailure`, with the place of the leaf.
    """
    if isinstance(tree, str):
        return Template(tree, allowed, setting).value
    if isinstance(tree, Mapping):
        renderers = {key: compiled(inner, allowed, f"{setting}.{key}") for key, inner in tree.items()}
        return lambda values: {key: render(values) for key, render in renderers.items()}
    if isinstance(tree, list | tuple):
        item_renderers = [compiled(inner, allowed, f"{setting}[{n}]") for n, inner in enumerate(tree)]
        return lambda values: [render(values) for render in item_renderers]
    return lambda _: tree


class Template:
    """One compiled template.

    Raises `TemplateMistake` for an unknown name. `finalize` converts each expression's value to text.
    """

    def __init__(
        self, source: str, allowed: AbstractSet[str], setting: str, finalize: Callable[[Any], str] | None = None
    ) -> None:
        self._setting = setting
        self._text: jinja2.Template | None = None
        self._expression: Callable[..., Any] | None = None
        self._source = source
        if not is_template(source):
            return
        self._text, self._expression = _parsed(source, frozenset(allowed), finalize or as_text)

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the typed value of a template that is a single expression; else the text."""
        if self._expression is None:
            return self.text(values)
        typed_expression = self._expression
        value = self._rendered(lambda: typed_expression(**values))
        if isinstance(value, jinja2.Undefined):
            raise TemplateFailure(f"{self._setting}: {value._undefined_message}")  # noqa: SLF001 - it has no other way
        return value

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the rendered text."""
        if self._text is None:
            return self._source
        pieces = self._text.generate(**values)
        return self._rendered(lambda: "".join(_bounded_pieces(pieces)))

    def _rendered(self, render: Callable[[], T]) -> T:
        try:
            return render()
        except (jinja2.TemplateError, RecursionError, *_FAULTS) as error:
            raise TemplateFailure(f"{self._setting}: {_error_text(error)}") from error


@lru_cache(maxsize=1024)  # a configuration is checked as a whole before a destination compiles its part
def _parsed(
    source: str, allowed: frozenset[str], finalize: Callable[[Any], str]
) -> tuple[jinja2.Template, Callable[..., Any] | None]:
    node = check(source, allowed)
    environment = _environment(finalize)
    try:
        text = environment.from_string(source)
        if not _is_expression(node):
            return text, None
        expression = re.sub(r"^\{\{[-+]?|[-+]?\}\}$", "", source)
        return text, environment.compile_expression(expression, undefined_to_none=False)
    except (jinja2.TemplateError, RecursionError, *_FAULTS) as error:  # what is constant is worked out at once
        raise TemplateMistake(f"is not a valid template: {_error_text(error)}") from error


# The errors of operators and filters for unsuitable values; our own filters raise ValueError, too.
_FAULTS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


def _error_text(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]


def _bounded_pieces(pieces: Iterator[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > LARGEST:
            raise TemplateFailure(f"the text is longer than {LARGEST:,} characters")
        yield piece


# Checking


def check(source: str, allowed: AbstractSet[str]) -> nodes.Template:
    """Parse a template and check each name, filter and statement in it. Raises `TemplateMistake`."""
    if len(source) > LONGEST_SOURCE:
        raise TemplateMistake(f"is longer than {LONGEST_SOURCE:,} characters")
    try:
        node = _environment(as_text).parse(source)
        _check(node, allowed)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateMistake(f"is not a valid template: {error.message}") from error
    except RecursionError as error:
        raise TemplateMistake("is nested too deeply") from error
    return node


def _check(node: nodes.Node, allowed: AbstractSet[str]) -> None:
    if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem):
        if dotted := _dotted_name(node):
            _check_name(dotted, allowed)
            return
    elif not isinstance(node, SYNTAX):
        raise TemplateMistake(f"holds what no template needs ({type(node).__name__.lower()}); use names, filters, if")
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise TemplateMistake(_unknown("filter", node.name, FILTERS.keys()))
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        raise TemplateMistake(_unknown("test", node.name, TESTS))
    for inner in node.iter_child_nodes():
        _check(inner, allowed)


def _dotted_name(node: nodes.Node) -> tuple[str, ...]:
    """Return the parts of a dotted name; empty if the template's expression does not begin with a name."""
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Getattr) and (name_before := _dotted_name(node.node)):
        return (*name_before, node.attr)
    if isinstance(node, nodes.Getitem) and (name_before := _dotted_name(node.node)):
        if not isinstance(node.arg, nodes.Const):
            raise TemplateMistake(f"{'.'.join(name_before)}[…] takes a name in quotes or a number")
        return (*name_before, str(node.arg.value))
    return ()


def _check_name(dotted: tuple[str, ...], allowed: AbstractSet[str]) -> None:
    name = ".".join(dotted)
    is_open = any(name.startswith(f"{each}.") for each in OPEN_NAMES if each in allowed)
    if name not in allowed and not is_open:
        raise TemplateMistake(_unknown("name", name, allowed))


def _unknown(kind: str, name: str, known: AbstractSet[str]) -> str:
    correction = suggestion(name, known) or f"; known are {', '.join(sorted(known))}"
    return f'{kind} "{name}" is unknown{correction}'


def _is_expression(node: nodes.Template) -> bool:
    (*_, last_node) = node.body
    return (
        len(node.body) == 1
        and isinstance(last_node, nodes.Output)
        and len(last_node.nodes) == 1
        and not isinstance(last_node.nodes[0], nodes.TemplateData)
    )


# The language


class _Environment(ImmutableSandboxedEnvironment):
    """Looks up keys and indexes of JSON values, never attributes of Python objects; a missing value is null."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if obj is None:
            return None
        if isinstance(obj, Mapping):
            return obj.get(argument)
        if isinstance(obj, list) and isinstance(argument, int):
            return obj[argument] if -len(obj) <= argument < len(obj) else None
        return self.undefined(obj=obj, name=argument)


@cache
def _environment(finalize: Callable[[Any], str]) -> _Environment:
    environment = _Environment(undefined=jinja2.StrictUndefined, finalize=finalize, keep_trailing_newline=True)
    environment.globals.clear()
    environment.tests = {name: environment.tests[name] for name in TESTS}
    environment.filters = {**{name: null_safe(function) for name, function in FILTERS.items()}, "default": default}
    return environment
