"""The response about the state of the server."""

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """The state of the server."""

    status: Literal["ok", "ready"] = Field(description="as asked: alive, or ready")
