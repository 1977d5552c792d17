"""Tickets, drafts of tickets from an input, and selections of tickets.

Records are named tuples, because an import makes four of them per row: built by position, one costs a seventh of a
frozen dataclass, and its class a quarter at start-up. Times are ISO 8601 UTC with `Z`; money is USD.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Self, get_args

from triage_cli.domain.errors import TriageError
from triage_cli.domain.mail import parts
from triage_cli.domain.wire_values import Limits, Pattern, UtcTime

Status = Literal[
    "new", "classified", "needs_review", "failed", "waiting", "routing", "routed", "unroutable", "undeliverable",
    "forgotten", "withdrawn",
]  # fmt: skip
STATUSES: tuple[Status, ...] = get_args(Status)
# Tickets of these statuses have no text any more, and nothing is decided or sent about them; and why that is.
ERASED: Mapping[str, str] = {"forgotten": "its text was forgotten", "withdrawn": "its import was taken back"}
ConfidenceSource = Literal["decision", "logprob", "said", "model", "precedent", "human"]
SourceOfConfidence = Annotated[
    str | None,
    "the source of the confidence; `said` (by a language model) is the least reliable",
    ConfidenceSource | None,
]
# What is to be classified, what to be routed, and what has a category that is to be delivered or was.
TO_CLASSIFY = frozenset({"new", "failed"})
TO_ROUTE = frozenset({"classified", "unroutable"})
DECIDED = TO_ROUTE | {"routing", "routed", "undeliverable"}
Priority = Literal["low", "normal", "high", "urgent"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
MAX_SOURCE = 80  # characters of a source's name
# A tab separates a source's name from the id in identities.
SOURCE_RULE = f"1 to {MAX_SOURCE} characters, no blank first, and no tab or other control character"
SOURCE_NAME = rf"[^\x00-\x20\x7f-\xa0][^\x00-\x1f\x7f-\x9f]{{0,{MAX_SOURCE - 1}}}"
URGENCY: Mapping[str | None, int] = {"urgent": 0, "high": 1, "normal": 2, None: 2, "low": 3}


# The question that each ticket is asked, by its name; further ones stand in the configuration.
CATEGORY = "category"


class Category(NamedTuple):
    """A label a ticket may get; `was` are its former names.

    `root` is its first name in the store (empty: this one), so that a rename does not change the question. `parent` is
    the category that it is below (empty: none).
    """

    name: Annotated[str, "its name"]
    description: Annotated[str, "what belongs to it, as every classifier reads it"] = ""
    examples: Annotated[tuple[str, ...], "texts that belong to it"] = ()
    was: Annotated[tuple[str, ...], "its former names"] = ()
    root: str = ""
    parent: str = ""


def status_words(status: str) -> str:
    """Return a status in the words of a sentence: a ticket is pending while a delivery of it is."""
    return "pending" if status == "routing" else status.replace("_", " ")


def as_tag(name: str) -> str:
    """Return a text as a part of a tag or a list option: lower-case letters and digits of any script, with dashes.

    Accents are left out. A text without letters and digits becomes the beginning of its hash.
    """
    without_accents = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    tag = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", without_accents)).strip("-")
    if not tag:
        from hashlib import sha256  # which most commands need not

        return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return tag


def tags_of(text: str) -> tuple[str, str]:
    """Return a text in the form of a tag, and without the prefix of the tags that triage writes."""
    tag = as_tag(text)
    return tag, tag.removeprefix("triage-")


class Renamed(NamedTuple):
    """A rename of a question's value in a store: `root` is its first name there, `moved` the number of changed tickets.

    `at` is when it was carried out, empty before that.
    """

    old: str
    new: str
    root: str
    moved: int = 0
    at: str = ""
    question: str = CATEGORY


def place_of(line: int, record: int = 0) -> str:
    """Return the place of a record in its input, for a message; its number (0: none) if several may share a line."""
    return f"line {line}, record {record}" if record else f"line {line}"


class TicketDraft(NamedTuple):
    """A ticket as read from an input, before it is stored.

    `row` is its position in the input (from 0), `line` the line on which it starts. `cells` is the original row, for
    `run`. `extra` holds the columns that are no ticket field, and texts of ticket fields that could not be parsed;
    `silent` names the columns of `extra` that are empty. If an input comes in parts, `seen` is how often the earlier
    parts had this identity. `size` is the approximate number of characters of the row. `origin` is a row of an input, a
    mail (whose thread `external_id` names), options typed at a command, or a request of its own.
    `changed_at` is when its source last changed it (ISO 8601 UTC), if known. `record` is its number among the JSON
    records of an input where several may share a line (from 1; 0 elsewhere). `overruled` tells that a person has given
    a later verdict than this one. A row that triage exported has the ticket id as `external_id`, and in `exported` the
    source and the external id, for a store that does not know the ticket. `delivery_ids` are what looks like ids of
    deliveries in an item of a source. `labels` are a source's list in which a verdict may stand (None: it is no list).
    `other_contents` are the hashes of its text with HTML read in other ways.
    """

    row: int = 0
    line: int = 0
    subject: str | None = None
    description: str | None = None
    customer_id: str | None = None
    priority: str | None = None
    created_at: str | None = None
    external_id: str | None = None
    source: str = "import"
    extra: Mapping[str, Any] = {}
    verdict: str | None = None
    cells: Sequence[Any] | None = None
    seen: int = 0
    silent: Sequence[str] = ()
    size: int = 0
    origin: Literal["row", "mail", "typed", "request"] = "row"
    changed_at: str | None = None
    record: int = 0
    overruled: bool = False
    exported: tuple[str, str] | None = None
    delivery_ids: Sequence[str] = ()
    labels: Sequence[str] | None = None
    other_contents: Sequence[str] = ()

    @property
    def place(self) -> str:
        """Return where the draft is in its input, for a message."""
        return place_of(self.line, self.record)

    @property
    def text(self) -> str:
        """Return what a classifier would read of the draft's ticket."""
        mail = parts.mail_of(self.extra)
        return _subject_and_body(self.subject, parts.without(self.description, mail.left_out if mail else ()))


class Rejected(NamedTuple):
    """A row that cannot become a ticket, with the reason and the original text.

    `raw` is only the beginning of a very long row, and `rest` yields the remainder from a file.
    """

    row: int
    line: int
    error: TriageError
    raw: str = ""
    cells: Sequence[Any] | None = None
    rest: Iterable[str] = ()

    @property
    def size(self) -> int:
        """Return the approximate number of characters of the rejected row in memory."""
        return len(self.raw)


class VerdictDraft(NamedTuple):
    """A person's category for the ticket `name` (None: taken back), or the value of another `question`.

    `row` is its position in the input.

    The same category again keeps its note if `note` is None, and loses it if `note` is empty. With `shown`, the
    `shown_hash_of` the ticket that the person saw, it is rejected if the ticket is another by now. Of several tickets
    with the external id `name`, the one of `source` is meant.
    """

    row: int
    name: Annotated[str, "its id, an ending of it, or its external id"]
    category: Annotated[str | None, "one of the configuration, in any case; null takes the verdict back, without note"]
    note: Annotated[str | None, "why; kept with the verdict, and erased by `forget`"] = None
    shown: Annotated[
        str | None,
        "what the person saw: SHA-256 (hex) of the compact JSON array of subject, description, and the"
        " category (or value of `question`) and reason of the verdict that held (null without one); if"
        " that has changed, the verdict is rejected",
    ] = None
    source: Annotated[str | None, "if several tickets have this external id: the source of the one meant"] = None
    question: Annotated[
        Annotated[str, Limits(1, 80)],
        "what the verdict is on: the category, or a further question, whose value `category` is then",
    ] = CATEGORY


class Ticket(NamedTuple):
    """A stored ticket; the fields are in the order of the table's columns.

    By its `identity` an import recognises it; `revision` grows with each change; `extra` is a JSON object. `answers` is
    a JSON object of the answers to further questions, `unanswered` 1 if one of these is to be asked. The last fields
    are no columns: `run_id` is the run that holds it, `asked` the questions that this run asks about it now, and
    `decided_at` what a remote said; here the time stands in the id of the decision.
    """

    ticket_id: Annotated[str, "the ticket's id"]
    identity: str
    source: Annotated[str, "where it comes from"]
    external_id: Annotated[str | None, "its id where it comes from"]
    content_hash: str
    subject: Annotated[str | None, "what it is about, in a line"]
    description: Annotated[str | None, "its text"]
    customer_id: Annotated[str | None, "whose ticket it is"]
    priority: Annotated[str | None, "null where none was given, or one that is not known", Priority | None]
    urgency: int
    created_at: Annotated[str | None, "when it was written", datetime | None]
    stored_at: Annotated[str, "when it was stored", NotRequired[datetime]]
    extra: Annotated[str, "what else came with it", dict[str, Any]] = "{}"
    status: Annotated[str, "where it stands", Status] = "new"
    category: Annotated[str | None, "what holds; null if nothing does"] = None
    suggestion: Annotated[str | None, "the machine's unsure guess"] = None
    confidence: Annotated[float | None, "how sure, from 0 to 1"] = None
    confidence_source: SourceOfConfidence = None
    classifier: Annotated[str | None, "who decided: a classifier's name, `verdict` or `precedent`"] = None
    reason: Annotated[str | None, "why, in the classifier's words"] = None
    verdict: Annotated[int, "whether a person's category holds", bool] = 0
    routed_to: Annotated[str | None, "its destinations; whether they have accepted it, `status` tells"] = None
    cost_usd: Annotated[float, "what its answers have cost"] = 0.0
    error: Annotated[str | None, "the last error of a classifier; `deliveries` have those of destinations"] = None
    failures: int = 0
    decision_id: str | None = None
    revision: int = 1
    answers: str = "{}"
    unanswered: int = 0
    language: Annotated[
        str | None,
        "the language of its text; null before a classifier was asked, and where it is not clear",
        NotRequired[str | None],
    ] = None
    run_id: str | None = None
    asked: tuple[str, ...] = (CATEGORY,)
    decided_at: Annotated[
        str | None, "when the category was decided that holds; null if none does", NotRequired[datetime | None]
    ] = None

    @classmethod
    def of_text(cls, text: str, *, ticket_id: str, source: str) -> Self:
        """Return a ticket that is not stored and has only a text, to ask a classifier about it."""
        return cls(
            ticket_id=ticket_id,
            identity="",
            source=source,
            external_id=None,
            content_hash="",
            subject=None,
            description=text,
            customer_id=None,
            priority=None,
            urgency=URGENCY[None],
            created_at=None,
            stored_at="",
        )

    @property
    def body(self) -> str | None:
        """Return what a classifier reads of the description: of a mail no quotes, no signature and no banner."""
        return parts.without(self.description, parts.left_out(self.extra))

    @property
    def text(self) -> str:
        """Return what a classifier reads of the ticket: subject and body."""
        return _subject_and_body(self.subject, self.body)

    @property
    def is_erased(self) -> bool:
        """Return whether the ticket's text was erased."""
        return self.status in ERASED

    @property
    def size(self) -> int:
        """Return the approximate number of characters of the ticket."""
        return len(self.subject or "") + len(self.description or "") + len(self.extra)


SORTS = (
    *("ticket_id", "external_id", "source", "subject", "customer_id", "priority", "created_at", "status", "category"),
    *("confidence", "classifier", "routed_to", "cost_usd"),
)


# The most columns of the input that a selection may ask for, so that no query grows beyond what a database takes.
MOST_EXTRAS = 20
MOST_NAMED = 100_000  # tickets that one selection names
SORT = f"(?:(?:{'|'.join(SORTS)})(?::(?:asc|desc))?)?"
_ID = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"  # of a ticket, as the store makes it
_CONFIDENCE = r"-?[0-9](\.[0-9]{1,20})?(e-[0-9]{1,3})?"
# Behind which ticket a page begins: an id; in the order of review a place of its queue.
PLACE = f"({_ID}|(({_CONFIDENCE}:{_ID})?|gone):({_ID})?)?"
WholeNumber = Annotated[int, Limits(0, (1 << 53) - 1)]
StatusName = Annotated[str, Pattern("|".join(STATUSES))]
Short = Annotated[str, Limits(0, 1000)]
NamedValue = Annotated[Short, Pattern("[^=]+=(?s:.*)")]
Time = Annotated[str, UtcTime()]


class Selection(NamedTuple):
    """A selection of tickets, by ids or conditions; `after` continues behind the last ticket of an earlier page.

    `order` is `newest`, `urgent` (then the oldest first), or `review` (the most informative for a person first).
    Without ids and statuses, withdrawn tickets are left out.
    `suggestions` are guesses of classifiers that were not sure. `extras` are `NAME=VALUE` of columns of the input and
    fields, all of which a ticket has. With `unanswered`, a further question is to be asked about them. `answers`
    are `QUESTION=VALUE` of further questions, all of which hold; an empty value is that of an open question.
    `sort` replaces it: one of `SORTS`, descending with `:desc` after it. `destinations` are those that a ticket has a
    delivery to. `since` and `until` are times at which a ticket was stored; `written_since` is one at which it was
    written (`created_at`, or when it was stored if that is unknown).
    """

    ids: Annotated[
        Annotated[tuple[str, ...], Limits(0, MOST_NAMED)] | None,
        "ids, unambiguous endings of 6 or more characters, or external ids",
    ] = None
    statuses: Annotated[frozenset[StatusName], "any of these", frozenset[Status]] = frozenset()
    categories: Annotated[tuple[Short, ...], "any of these categories"] = ()
    customer_id: Annotated[Short | None, "tickets of this customer"] = None
    priority: Annotated[str | None, "tickets of this priority", Priority | None] = None
    classifier: Annotated[Short | None, "tickets that this classifier answered"] = None
    since: Annotated[Time | None, "stored at this time or later; a day means its beginning in UTC", datetime | None] = (
        None
    )
    search: Annotated[Short | None, "a text in subject or description"] = None
    limit: Annotated[WholeNumber | None, "the most tickets"] = None
    after: Annotated[str, Pattern(PLACE)] = ""
    order: Annotated[str, Pattern("newest|urgent|review")] = "newest"
    until: Annotated[
        Time | None, "stored at this time or earlier; a day means its beginning in UTC", datetime | None
    ] = None
    sources: Annotated[tuple[Short, ...], "where their ids come from"] = ()
    destinations: Annotated[tuple[Short, ...], "a destination that the ticket has a delivery to"] = ()
    verdict: Annotated[bool | None, "whether a person's category holds"] = None
    min_confidence: Annotated[Annotated[float, Limits(0, 1)] | None, "at least so sure"] = None
    max_confidence: Annotated[Annotated[float, Limits(0, 1)] | None, "at most so sure"] = None
    sort: Annotated[str, Pattern(SORT)] = ""
    suggestions: Annotated[tuple[Short, ...], "the guess of a classifier that was not sure"] = ()
    written_since: Annotated[Time | None, "written at this time or later", datetime | None] = None
    extras: Annotated[
        Annotated[tuple[NamedValue, ...], Limits(0, MOST_EXTRAS)], "a column of the input, or a field, with this value"
    ] = ()
    languages: Annotated[tuple[Short, ...], "the language of the text, by its code"] = ()
    unanswered: Annotated[bool, "whether a further question is to be asked about them"] = False
    answers: Annotated[
        Annotated[tuple[NamedValue, ...], Limits(0, MOST_EXTRAS)],
        "a further question with this answer, or with none (`urgency=`)",
    ] = ()


class ReviewPage(NamedTuple):
    """Tickets in the order of review, and the place at which the next page begins; empty after the last one."""

    tickets: list[Ticket]
    next: str


# What a ticket has without a decision on its category.
UNDECIDED: Mapping[str, Any] = {
    **dict.fromkeys(("category", "suggestion", "confidence", "confidence_source", "reason")),
    "verdict": 0,
}


def text_of(subject: str | None, description: str | None, extra: str) -> str:
    """Return what a classifier reads of a stored ticket with these fields, as `Ticket.text` does."""
    return _subject_and_body(subject, parts.without(description, parts.left_out(extra)))


def _subject_and_body(subject: str | None, body: str | None) -> str:
    return f"{subject}\n{body}" if subject and body else subject or body or ""
