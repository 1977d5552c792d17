"""The bodies and query parameters of requests, and the types of their fields, which are checked."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from triage_cli.domain import times

ShortText = Annotated[str, StringConstraints(max_length=1000)]
LongText = Annotated[str, StringConstraints(max_length=500_000)]
ShortName = Annotated[str, StringConstraints(min_length=1, max_length=80)]


def _rfc3339_or_as_is(value: object) -> object:
    return times.rfc3339(value) if isinstance(value, str) else value


Moment = Annotated[datetime, BeforeValidator(_rfc3339_or_as_is)]


def whole_number(value: object) -> object:
    """Accept 1.0 in a request as 1, as JSON Schema does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WorkerCount = Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole_number)]
Usd = Annotated[float, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=366 * 86_400)]
CLASSIFIER_TEXT = "one of the configuration; else its default"
# Values of the examples of requests. An imported collection sends them, so they fit together.
EXAMPLE_SINCE, EXAMPLE_UNTIL = "2026-11-01T00:00:00Z", "2099-12-31T00:00:00Z"


class RequestBody(BaseModel):
    """The body of a request: an unknown field is an error and not ignored, and 0 is not false."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class QueryParameters(BaseModel):
    """The parameters of a query, all as text; an empty one counts as not given."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, sent_parameters: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in sent_parameters.items()
            if value not in ("", [""]) or name not in cls.model_fields
        }
