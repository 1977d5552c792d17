"""Errors in responses: a problem, and the error of one item."""

from pydantic import BaseModel, Field

from triage_cli.domain.errors import codes


class Problem(BaseModel):
    """An error as RFC 9457 problem details; `hint` says what to do next."""

    type: str = Field(description="about:blank")
    status: int = Field(description="the HTTP status")
    title: str = Field(description="the status in words")
    detail: str = Field(description="what went wrong")
    code: str = Field(description="what went wrong, for programs", json_schema_extra={"enum": [*codes()]})
    hint: str = Field(description="what to do next")


class ItemError(BaseModel):
    """The error of one item."""

    code: str = Field(description="as in a problem")
    message: str = Field(description="what went wrong")
    hint: str = Field(description="what to do next")
