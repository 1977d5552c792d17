"""The schemas of administration: API keys, the audit log, erasure, runs, statistics, and the server's health."""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from triage_cli import domain as dm
from triage_cli.extensions.server.schemas import shared_fields as shared
from triage_cli.extensions.server.schemas.records import Moment, Response
from triage_cli.extensions.server.schemas.shared_fields import param, repeatable
from triage_cli.extensions.server.schemas.ticket_selection import TicketConditions

QUESTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}(\.[A-Za-z0-9][A-Za-z0-9_-]{0,38})?")


def _group_key(key: str) -> str:
    if key not in dm.STATS_KEYS and not QUESTION_NAME.fullmatch(key):
        raise ValueError("is neither a key of a group nor a question; repeat by for several keys")
    return key


GroupKey = Annotated[str, AfterValidator(_group_key)]
HeadHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PlacesByHead = Annotated[
    dict[HeadHash, Annotated[str, StringConstraints(max_length=5000)]],
    Field(max_length=10_000, json_schema_extra={"additionalProperties": False}),
]


class VerifyIn(shared.RequestBody):
    """Heads that must be in the audit log."""

    heads: Annotated[list[HeadHash], Field(max_length=10_000)] | PlacesByHead = Field(
        default_factory=list,
        description="heads that were kept elsewhere; in an object each has where it was kept, which an error repeats",
    )


class EventQueryIn(shared.QueryParameters):
    """A selection of events: all conditions must hold."""

    action: list[shared.ShortText] = repeatable("created", "what happened")
    actor: shared.ShortText | None = param(None, "who did it", "zendesk-bot")
    since: Moment | None = param(
        None, "recorded at this time or later; a day means its beginning in UTC", shared.EXAMPLE_SINCE
    )
    until: Moment | None = param(
        None, "recorded at this time or earlier; a day means its beginning in UTC", shared.EXAMPLE_UNTIL
    )
    limit: int = param(100, "events on one page", 100, ge=1, le=1000)
    after: int | None = param(None, "the seq after which a page begins; without it: the last ones", 0, ge=0, le=1 << 53)


class Me(BaseModel):
    """The caller, as a key or token makes it known."""

    name: str = Field(description="as the audit log names the caller")
    role: dm.Role = Field(description="what the caller may do")
    expires: datetime | None = Field(description="when the key or token does; null: never")


class Health(BaseModel):
    """The state of the server."""

    status: Literal["ok", "ready"] = Field(description="as asked: alive, or ready")


class ForgetIn(shared.RequestBody):
    """The customer whose text is erased."""

    customer_id: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)] = Field(
        description="the customer"
    )


class UndoIn(shared.RequestBody):
    """How an import is taken back."""

    dry_run: bool = Field(False, description="take nothing back, and answer what would be")


# As service.api_keys.NAME has it, which refuses all else: this is for readers of the description.
KEY_NAME_PATTERN = r"^[\w.@+-]([\w .@+-]{0,78}[\w.@+-])?$"
LONGEST_LIFETIME = 100 * 366 * 86_400
KeyLifetime = Annotated[float, Field(ge=1, le=LONGEST_LIFETIME)]
ROLE_TEXT = "what it may do: read the metrics, read, also work on tickets, all"
EXPIRES_IN_TEXT = "seconds until it expires"


class KeyIn(shared.RequestBody):
    """An API key to create."""

    name: str = Field(
        description="who uses it; the audit log shows this name as the actor",
        json_schema_extra={"minLength": 1, "maxLength": 80, "pattern": KEY_NAME_PATTERN},
    )
    role: dm.Role = Field(description=ROLE_TEXT)
    expires_in: KeyLifetime | None = Field(None, description=EXPIRES_IN_TEXT)


class RotateIn(shared.RequestBody):
    """The options for the next key with a name."""

    overlap: float = Field(0.0, ge=0, le=LONGEST_LIFETIME, description="seconds for which the old key stays valid")
    expires_in: KeyLifetime | None = Field(None, description=f"{EXPIRES_IN_TEXT}; null: its expiry stays as it is")


KEY_KEYS = ("name", "role", "key_id", "created_at", "last_used_at", "expires_at", "revoked_at", "old_key_until")


class Key(Response, of=dm.ApiKey, keys=KEY_KEYS):
    """An API key, without its text."""


class StatsGroup(Response, of=dm.StatsGroup):
    """The counts of a group of tickets, with the requested keys; a key is null if the tickets have no value.

    What was grouped by a question has the question's name as its key.
    """

    model_config = ConfigDict(json_schema_extra={"additionalProperties": {"type": ["string", "null"]}})

    category: str | None = Field(None, description="the group's category")
    category_1: str | None = Field(None, alias="category:1", description="the first level of its category")
    status: str | None = Field(None, description="its status")
    day: str | None = Field(None, description="the day its tickets were stored")
    week: str | None = Field(None, description="the Monday of the week in which they were stored")
    month: str | None = Field(None, description="the month in which they were stored")
    classifier: str | None = Field(None, description="its classifier")
    destination: str | None = Field(None, description="its destination")
    priority: str | None = Field(None, description="its priority")
    customer_id: str | None = Field(None, description="its customer")
    source: str | None = Field(None, description="where its external ids come from")
    actor: str | None = Field(None, description="who gave the verdict, or had the classifier asked")
    language: str | None = Field(None, description="the language of its texts")
    tickets: int = Field(description="tickets in the group")
    sure: int = Field(description="how many of them have a category")
    needs_review: int = Field(description="how many of them wait for a person")
    cost_usd: float = Field(description="what their answers have cost")


class StatsQueryIn(TicketConditions):
    """The tickets to count, and the keys of groups."""

    by: list[GroupKey] = repeatable(
        "category", f"a key of the groups: {', '.join(dm.STATS_KEYS)}, or a question's name"
    )


class VerdictPeriod(shared.QueryParameters):
    """The verdicts to count."""

    since: Moment | None = param(None, "given at this time or later", shared.EXAMPLE_SINCE)
    until: Moment | None = param(None, "given at this time or earlier", shared.EXAMPLE_UNTIL)


class RunQuery(shared.QueryParameters):
    """The number of runs."""

    limit: int = param(50, "runs in the answer", 50, ge=1, le=1000)


class Run(Response, of=dm.Run, keys=dm.RUN_KEYS):
    """One bulk command or request. Without `ended_at` it still runs, or was killed (`exit_code` 137)."""

    words: str = Field(description="as it was called")
    seconds: float | None = Field(description="how long it took")
    cost_usd: float = Field(description="what its answers have cost")
