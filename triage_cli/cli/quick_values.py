"""Quick values of options, which need no conversion: to convert, typer imports pydantic, a third of a start's time."""

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, get_args, get_origin


def use_quick_values(params: Iterable[Any]) -> None:
    """Let typer's parameters take quick values, which have their type already, without a conversion."""
    for param in params:
        if "process_value" not in vars(param):
            param.process_value = partial(_quick_value, param, param.process_value)


def _quick_value(param: Any, convert: Any, ctx: Any, typed_value: Any) -> Any:
    """Return the value of a parameter, by typer's own way where it must be converted or is missing."""
    is_list = param.multiple or param.nargs == -1
    if typed_value is None:
        is_quick, typed_value = True, () if is_list else None
    else:
        is_quick = _has_type_already(param.type_descriptor.annotation, typed_value, is_list=is_list)
        is_quick = is_quick and param.type_descriptor.parameter_info.parser is None
        typed_value = list(typed_value) if is_list else typed_value
    if not is_quick or (param.required and param.value_is_missing(typed_value)):
        return convert(ctx, typed_value)
    return param.callback(ctx, param, typed_value) if param.callback else typed_value


def _has_type_already(annotation: Any, typed_value: Any, *, is_list: bool) -> bool:
    """Return whether a value, which is text if it was typed, has its type already."""
    if is_list:
        return bool(annotation == list[str])
    is_choice = get_origin(annotation) is Literal and typed_value in get_args(annotation)
    return is_choice or annotation is type(typed_value)
