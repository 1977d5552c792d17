"""API keys in requests and responses."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from triage_cli.api.schemas.request_fields import RequestBody
from triage_cli.domain.api_keys import Role

# As service.api_key_ring.NAME has it, which refuses all else: this is for readers of the description.
KEY_NAME_PATTERN = r"^[\w.@+-]([\w .@+-]{0,78}[\w.@+-])?$"
LONGEST_LIFETIME = 100 * 366 * 86_400
KeyLifetime = Annotated[float, Field(ge=1, le=LONGEST_LIFETIME)]
ROLE_TEXT = "what it may do: read the metrics, read, also work on tickets, all"
EXPIRES_IN_TEXT = "seconds until it expires"


class KeyIn(RequestBody):
    """An API key to create."""

    name: str = Field(
        description="who uses it; the audit log shows this name as the actor",
        json_schema_extra={"minLength": 1, "maxLength": 80, "pattern": KEY_NAME_PATTERN},
    )
    role: Role = Field(description=ROLE_TEXT)
    expires_in: KeyLifetime | None = Field(None, description=EXPIRES_IN_TEXT)


class RotateIn(RequestBody):
    """The options for the next key with a name."""

    overlap: float = Field(0.0, ge=0, le=LONGEST_LIFETIME, description="seconds for which the old key stays valid")
    expires_in: KeyLifetime | None = Field(None, description=f"{EXPIRES_IN_TEXT}; null: its expiry stays as it is")


class Key(BaseModel):
    """An API key, without its text."""

    name: str = Field(description="who uses it")
    role: Role = Field(description=ROLE_TEXT)
    key_id: str = Field(description="how its text begins, after `trg_`")
    created_at: datetime = Field(description="when it was made or rotated")
    last_used_at: datetime | None = Field(description="to the minute")
    expires_at: datetime | None = Field(description="when it expires")
    revoked_at: datetime | None = Field(description="when it was revoked")
    old_key_until: datetime | None = Field(description="until when a key of this name from before a rotation is taken")


class IssuedKey(BaseModel):
    """An API key that was just created."""

    name: str = Field(description="who uses it")
    role: Role = Field(description=ROLE_TEXT)
    key: str = Field(description="its text, which is shown only now")
