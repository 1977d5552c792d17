"""Values of options that need no conversion: for the others typer imports pydantic, a third of what a start takes."""

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, get_args, get_origin


def spare_conversions(params: Iterable[Any]) -> None:
    """Let typer's parameters take values that have their type already as they are."""
    for param in params:
        if "process_value" not in vars(param):
            param.process_value = partial(_process, param, param.process_value)


def _process(param: Any, convert: Any, ctx: Any, value: Any) -> Any:
    """Return the value of a parameter, by typer's own way where it must be converted or is missing."""
    several = param.multiple or param.nargs == -1
    if value is None:
        quick, value = True, () if several else None
    else:
        quick = _is_typed(param.type_descriptor.annotation, value, several=several)
        quick = quick and param.type_descriptor.parameter_info.parser is None
        value = list(value) if several else value
    if not quick or (param.required and param.value_is_missing(value)):
        return convert(ctx, value)
    return param.callback(ctx, param, value) if param.callback else value


def _is_typed(annotation: Any, value: Any, *, several: bool) -> bool:
    """Return whether a value, which is text if it was typed, has its type already."""
    if several:
        return bool(annotation == list[str])
    return annotation is type(value) or (get_origin(annotation) is Literal and value in get_args(annotation))
