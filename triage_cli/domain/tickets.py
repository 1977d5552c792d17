"""Tickets: what an input says of one, what the store keeps of one, and which ones a command is about.

Records are named tuples because an import makes four of them a row: built by position they cost a seventh of a frozen
dataclass, and a class of them a quarter at start-up. Times are ISO 8601 UTC with `Z`; money is USD.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

from triage_cli.domain import mail
from triage_cli.domain.errors import TriageError

Status = Literal[
    "new", "classified", "needs_review", "failed", "waiting", "routing", "routed", "unroutable", "undeliverable",
    "forgotten",
]  # fmt: skip


STATUSES: tuple[Status, ...] = (
    "new",
    "classified",
    "needs_review",
    "failed",
    "waiting",
    "routing",
    "routed",
    "unroutable",
    "undeliverable",
    "forgotten",
)


PRIORITIES = ("low", "normal", "high", "urgent")


URGENCY: Mapping[str | None, int] = {"urgent": 0, "high": 1, "normal": 2, None: 2, "low": 3}


class Category(NamedTuple):
    """A label a ticket may get; description and examples are what every classifier reads, `was` its former names.

    `root` is the name under which the store first knew it (empty: this one), so that a rename changes no question.
    """

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    was: tuple[str, ...] = ()
    root: str = ""


class Renamed(NamedTuple):
    """A category's rename as carried out in a store: its first name there, and how many tickets followed."""

    old: str
    new: str
    root: str
    moved: int = 0


class TicketDraft(NamedTuple):
    """What an input says of one ticket, before the store has seen it.

    `row` is the record's place in its input and `line` the line it starts on; `cells` are the row as it was, kept for
    `run`; `extra` holds every column that is no field of ours, and texts of ours that could not be understood; `silent`
    names what could stand there, and is there and empty. Of an input that comes in parts, `seen` is how often the parts
    before have shown this draft's identity. `size` is about how many characters its row holds. `origin` is how it came:
    as a row of an input, as a mail (whose thread `external_id` names), typed as a command's options, or as a request of
    its own. `changed_at` is when its source last changed it, as ISO 8601 UTC, where that is known.
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

    @property
    def text(self) -> str:
        """Return what a classifier would read of it."""
        found = mail.mail_of(self.extra)
        return text_of(self.subject, mail.without(self.description, found.left_out if found else ()))


class Rejected(NamedTuple):
    """A row that cannot become a ticket: why, and the row as it was; of one that is very long, `raw` is its beginning.

    `rest` yields what follows `raw`, from a file.
    """

    row: int
    line: int
    error: TriageError
    raw: str = ""
    cells: Sequence[Any] | None = None
    rest: Iterable[str] = ()

    @property
    def size(self) -> int:
        """Return about how many characters it holds in memory."""
        return len(self.raw)


class VerdictDraft(NamedTuple):
    """A person's category for the ticket of this name (None: taken back); `row` is its place in the input."""

    row: int
    name: str
    category: str | None
    note: str | None = None


class Ticket(NamedTuple):
    """One ticket as stored; the order of the fields is that of the table's columns.

    `identity` is what makes an import recognise it, `revision` grows with each change, `run_id` is the run that holds
    it, `extra` a JSON object. `verdict` is 1 where a human's category holds.
    """

    ticket_id: str
    identity: str
    source: str
    external_id: str | None
    content_hash: str
    subject: str | None
    description: str | None
    customer_id: str | None
    priority: str | None
    urgency: int
    created_at: str | None
    stored_at: str
    extra: str = "{}"
    status: str = "new"
    category: str | None = None
    suggestion: str | None = None
    confidence: float | None = None
    confidence_source: str | None = None
    classifier: str | None = None
    reason: str | None = None
    verdict: int = 0
    routed_to: str | None = None
    cost_usd: float = 0.0
    error: str | None = None
    failures: int = 0
    decision_id: str | None = None
    revision: int = 1
    run_id: str | None = None

    @classmethod
    def of_text(cls, text: str, *, ticket_id: str, source: str) -> Self:
        """Return a ticket that is a text alone and is stored nowhere: for asking a classifier about it."""
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
        return mail.without(self.description, mail.left_out(self.extra))

    @property
    def text(self) -> str:
        """Return what a classifier reads: subject and body."""
        return text_of(self.subject, self.body)

    @property
    def size(self) -> int:
        """Return about how many characters it holds."""
        return len(self.subject or "") + len(self.description or "") + len(self.extra)


class Selection(NamedTuple):
    """Which tickets: by id, or all that match; `after` continues an ordered walk where it stopped.

    `order` is `newest`, `urgent` (then the oldest), or `review`: what waits for a person, the most informative first.
    """

    ids: tuple[str, ...] | None = None
    statuses: frozenset[str] = frozenset()
    category: str | None = None
    customer_id: str | None = None
    priority: str | None = None
    classifier: str | None = None
    since: str | None = None
    search: str | None = None
    limit: int | None = None
    after: str = ""
    order: str = "newest"


def text_of(subject: str | None, body: str | None) -> str:
    """Return a ticket's text, of which one part may be missing."""
    return f"{subject}\n{body}" if subject and body else subject or body or ""
