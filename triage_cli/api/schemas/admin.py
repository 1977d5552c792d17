"""Requests and responses of the endpoints for administrators, for the API's description."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from triage_cli.api.schemas.requests import Asked, In
from triage_cli.domain.api_keys import Role

# As service.api_keys.NAME has it, which refuses all else: this is for readers of the description.
NAME = r"^[\w.@+-]([\w .@+-]{0,78}[\w.@+-])?$"
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Places = Annotated[
    dict[Hash, Annotated[str, StringConstraints(max_length=5000)]],
    Field(max_length=10_000, json_schema_extra={"additionalProperties": False}),
]
LONGEST = 100 * 366 * 86_400
Lifetime = Annotated[float, Field(ge=1, le=LONGEST)]
ROLE = "what it may do: read the metrics, read, also work on tickets, all"
EXPIRES_IN = "seconds until it expires"


class KeyIn(In):
    """An API key to create."""

    name: str = Field(
        description="who uses it; the audit log shows this name as the actor",
        json_schema_extra={"minLength": 1, "maxLength": 80, "pattern": NAME},
    )
    role: Role = Field(description=ROLE)
    expires_in: Lifetime | None = Field(None, description=EXPIRES_IN)


class RotateIn(In):
    """The options for the next key with a name."""

    overlap: float = Field(0.0, ge=0, le=LONGEST, description="seconds for which the old key stays valid")
    expires_in: Lifetime | None = Field(None, description=f"{EXPIRES_IN}; null: its expiry stays as it is")


class Key(BaseModel):
    """An API key, without its text."""

    name: str = Field(description="who uses it")
    role: Role = Field(description=ROLE)
    key_id: str = Field(description="how its text begins, after `trg_`")
    created_at: datetime = Field(description="when it was made or rotated")
    last_used_at: datetime | None = Field(description="to the minute")
    expires_at: datetime | None = Field(description="when it expires")
    revoked_at: datetime | None = Field(description="when it was revoked")
    old_key_until: datetime | None = Field(description="until when a key of this name from before a rotation is taken")


class IssuedKey(BaseModel):
    """An API key that was just created."""

    name: str = Field(description="who uses it")
    role: Role = Field(description=ROLE)
    key: str = Field(description="its text, which is shown only now")


class ForgetIn(In):
    """The customer whose text is erased."""

    customer_id: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)] = Field(
        description="the customer"
    )


class RunQuery(Asked):
    """The number of runs."""

    limit: int = Field(50, ge=1, le=1000, description="runs in the answer", examples=[50])


class VerifyIn(In):
    """Heads that must be in the audit log."""

    heads: Annotated[list[Hash], Field(max_length=10_000)] | Places = Field(
        default_factory=list,
        description="heads that were kept elsewhere; as an object, by where each was kept, which an error repeats",
    )
