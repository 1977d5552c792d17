"""Requests that select tickets: by conditions, by names, a page at a time."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from triage_cli import domain as dm
from triage_cli.extensions.server.schemas import shared_fields as shared
from triage_cli.extensions.server.schemas.records import Moment, whole_number
from triage_cli.extensions.server.schemas.shared_fields import param, repeatable

# The longest name of a ticket in an address: a character may take twelve of the 64 KB that a request's head may have.
LONGEST_NAME = 4000
PagePosition = Annotated[str, StringConstraints(pattern=f"^{dm.PLACE}$", max_length=120)]
# The name and the id of a ticket in the examples, which an imported collection sends.
EXAMPLE_NAME, EXAMPLE_TICKET_ID = "T-1001", "01a20e9c-1d27-7000-8f6f-e2de12e6ffde"
Count = Annotated[int, Field(ge=0, lt=1 << 53), BeforeValidator(whole_number)]
LIMIT_FIELD = param(None, "the most tickets; as in the body", 100)
MOST_LISTED_IDS = 100  # the most ids that a query may have: its address stays below 8 KB, as gateways want it


# The query parameters that may be repeated, by their fields of a selection.
REPEATED = {
    "statuses": "status",
    "categories": "category",
    "suggestions": "suggestion",
    "sources": "source",
    "languages": "language",
    "destinations": "destination",
    "extras": "extra",
    "answers": "answer",
}


def _known_language(code: str) -> str:
    if code not in dm.LANGUAGES:
        raise ValueError(f"is none of {', '.join(dm.LANGUAGES)}")
    return code


KnownLanguage = Annotated[shared.ShortText, AfterValidator(_known_language)]


class TicketConditions(shared.QueryParameters):
    """A selection of tickets: all conditions must hold."""

    status: list[dm.Status] = repeatable("new")
    category: list[shared.ShortText] = repeatable("Billing")
    suggestion: list[shared.ShortText] = repeatable("Billing", "the guess of a classifier that was not sure")
    customer_id: shared.ShortText | None = param(None, "tickets of this customer", "C-9")
    priority: dm.Priority | None = param(None, "tickets of this priority", "high")
    classifier: shared.ShortText | None = param(None, "tickets that this classifier answered", "local")
    since: Moment | None = param(
        None, "stored at this time or later; a day means its beginning in UTC", shared.EXAMPLE_SINCE
    )
    until: Moment | None = param(
        None, "stored at this time or earlier; a day means its beginning in UTC", shared.EXAMPLE_UNTIL
    )
    source: list[shared.ShortText] = repeatable("shop")
    language: list[KnownLanguage] = repeatable("de", "the language of the text, by its code")
    destination: list[shared.ShortText] = repeatable("billing", "a destination that the ticket has a delivery to")
    extra: Annotated[list[shared.NamedValue], Field(max_length=dm.MOST_EXTRAS)] = repeatable(
        "plan=gold", "a column of the input, or a field, with this value"
    )
    answer: Annotated[list[shared.NamedValue], Field(max_length=dm.MOST_EXTRAS)] = repeatable(
        "urgency=now", "a further question with this answer, or with none (`urgency=`)"
    )
    verdict: bool | None = param(None, "whether a person's category holds", False)
    min_confidence: float | None = param(None, "at least so sure", 0.5, ge=0, le=1)
    max_confidence: float | None = param(None, "at most so sure", 1.0, ge=0, le=1)
    search: shared.ShortText | None = param(None, "a text in subject or description", "refund")


class TicketQuery(TicketConditions):
    """A selection of tickets, with order and limit."""

    name: Annotated[str, StringConstraints(max_length=LONGEST_NAME)] | None = param(
        None, "only the one of this name; here it may hold a slash", EXAMPLE_NAME
    )
    id: Annotated[list[shared.ShortText], Field(max_length=MOST_LISTED_IDS)] = Field(
        default_factory=list,
        description="only those of these ids, in their order and on one page; may be repeated",
        examples=[[EXAMPLE_TICKET_ID]],
    )
    sort: Annotated[str, StringConstraints(pattern=f"^{dm.SORT}$")] = param(
        "", "a key of the record, descending with `:desc`; ties by ticket_id. Default: `order`", "created_at:desc"
    )
    order: Literal["newest", "review"] = param(
        "newest", "`review`: what waits for a person, the most informative first", "newest"
    )
    limit: int = param(50, "tickets on one page", 50, ge=1, le=1000)
    after: PagePosition = param(
        "",
        "the place after which a page begins, as `Link: rel=next` has it: a ticket_id, if `order=newest`",
        EXAMPLE_TICKET_ID,
    )


class SimilarQueryIn(shared.QueryParameters):
    """Which tickets a ticket is compared with."""

    decided: bool = param(False, "those with a verdict", True)
    waiting: bool = param(False, "those that wait for a person", False)
    since: Moment | None = param(
        None,
        f"stored at this time or later; else those of {dm.DAYS} days, and those with a verdict",
        shared.EXAMPLE_SINCE,
    )
    limit: int = param(5, "the most tickets", 5, ge=1, le=dm.MOST_SIMILAR)


class SelectionIn(shared.RequestBody, of=dm.Selection):
    """A selection of tickets: those that meet all conditions, of the named ones or of all."""

    category: shared.ShortText | None = Field(None, description="tickets of this category")
