"""Routes that refuse query parameters which they do not take: a request must never do more than it was asked for."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import get_origin
from urllib.parse import parse_qsl

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.types import Receive, Scope, Send

from triage_cli.domain import UsageError

SHOWN_NAME = 60  # characters of a parameter's name in an error


class CheckedRoute(APIRoute):
    """A route whose query parameters are all known, and repeated only if they are lists."""

    @cached_property
    def _is_list_by_name(self) -> Mapping[str, bool]:
        """Return the names of the query parameters, and which of them may be repeated."""
        return dict(_query_parameters(self.dependant))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises `UsageError` for a parameter that is unknown, or repeated in vain."""
        if scope["query_string"] and scope["method"] in (self.methods or ()):
            self._check_names(scope["query_string"].decode("latin-1"))
        await super().handle(scope, receive, send)

    def _check_names(self, query: str) -> None:
        for name, count in Counter(name for name, _ in parse_qsl(query, keep_blank_values=True)).items():
            is_list = self._is_list_by_name.get(name)
            if is_list is None:
                known_names = ", ".join(self._is_list_by_name)
                raise UsageError(
                    f'"{name[:SHOWN_NAME]}" is no query parameter of {self.path}',
                    hint=f"it takes {known_names}" if known_names else "it takes none; /docs describes what it takes",
                )
            if count > 1 and not is_list:
                raise UsageError(f"{name} is given more than once", hint="give it once, or ask for each by itself")


def _query_parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Yield the name of each query parameter, and whether it is a list; those of a model are its fields."""
    for parameter in dependant.query_params:
        field: FieldInfo = parameter.field_info
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from ((name, get_origin(one.annotation) is list) for name, one in model.model_fields.items())
        else:
            yield parameter.alias, get_origin(model) is list
    for dependency in dependant.dependencies:
        yield from _query_parameters(dependency)
