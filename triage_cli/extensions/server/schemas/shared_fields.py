"""Fields, texts and problem documents that several schemas of requests and responses share."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from triage_cli import domain as dm
from triage_cli.extensions.server.schemas.records import request_fields, whole_number

NamedValue = Annotated[str, StringConstraints(max_length=1000, pattern="^[^=]+=")]
ShortText = Annotated[str, StringConstraints(max_length=1000)]
LongText = Annotated[str, StringConstraints(max_length=500_000)]
ShortName = Annotated[str, StringConstraints(min_length=1, max_length=80)]
SourceName = Annotated[str, StringConstraints(pattern=f"^{dm.SOURCE_NAME}$")]

WorkerCount = Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole_number)]
Usd = Annotated[float, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=366 * 86_400)]


def param(default: Any, description: str, example: Any, **limits: Any) -> Any:
    """Return a field of a request, with its description and an example, as most parameters of a query are."""
    return Field(default, description=description, examples=[example], **limits)


def repeatable(example: str, description: str = "") -> Any:
    """Return the field of a query parameter that may be repeated."""
    text = f"{description}; may be repeated" if description else "may be repeated"
    return Field(default_factory=list, description=text, examples=[[example]])


DRY_RUN_FIELD = param(False, "do nothing, and answer what would be done", False)
CLASSIFIER_TEXT = "one of the configuration; else its default"
# Values of the examples of requests. An imported collection sends them, so they fit together.
EXAMPLE_SINCE, EXAMPLE_UNTIL = "2026-11-01T00:00:00Z", "2099-12-31T00:00:00Z"


class QueryParameters(BaseModel):
    """The parameters of a query, all as text; an empty one counts as not given."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value for name, value in parameters.items() if value not in ("", [""]) or name not in cls.model_fields
        }


class RequestBody(BaseModel):
    """The body of a request: an unknown field is an error and not ignored, and 0 is not false.

    It has the fields of the record that it is `of`, and its own.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def __init_subclass__(cls, of: type | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if of:
            cls.__annotations__ = request_fields(of, cls) | cls.__annotations__

    def joined(self, query: QueryParameters, *names: str) -> Self:
        """Return this part of a body with these parameters of the query. Raises `UsageError` if they contradict."""
        given = {name: value for name in names if (value := getattr(query, name)) is not None}
        for name, value in given.items():
            if getattr(self, name) not in (None, value):
                raise dm.UsageError(f"the query gives another {name} than the body", hint="give it once")
        return self.model_copy(update=given)


TICKET_ID_FIELD = Field(description="the ticket's id")


class Problem(BaseModel):
    """An error as RFC 9457 problem details; `hint` says what to do next."""

    type: str = Field(description="about:blank")
    status: int = Field(description="the HTTP status")
    title: str = Field(description="the status in words")
    detail: str = Field(description="what went wrong")
    code: str = Field(description="what went wrong, for programs", json_schema_extra={"enum": [*dm.codes()]})
    hint: str = Field(description="what to do next")


class ItemError(BaseModel):
    """The error of one item."""

    code: str = Field(description="as in a problem")
    message: str = Field(description="what went wrong")
    hint: str = Field(description="what to do next")
