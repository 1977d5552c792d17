"""The records everything else speaks in: frozen, standard library only.

They are named tuples because an import makes four of them a row: built by position they cost a seventh of a frozen
dataclass, and a class of them a quarter at start-up. Times are ISO 8601 UTC with `Z`; money is USD.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from triage_cli.domain.errors import TriageError

T = TypeVar("T")

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
ROLES = ("reader", "agent", "admin")  # each may do what those before it may
URGENCY: Mapping[str | None, int] = {"urgent": 0, "high": 1, "normal": 2, None: 2, "low": 3}


# What a classifier did that leaves a ticket to a provider's batch: this, and the name of the step.
POSTPONED = "postponed to "
# What a cascade did that is between two steps: the answers of the first are kept, the ticket stays as it is.
UNFINISHED = "unfinished"


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


class Rule(NamedTuple):
    """A route: the first whose conditions all hold sends the ticket to its destinations.

    `when` maps `category`, `priority`, `customer_id` or `source` to the accepted values; an empty one always holds.
    """

    name: str
    to: tuple[str, ...]
    when: Mapping[str, tuple[str, ...]] = {}
    min_confidence: float | None = None


class TicketDraft(NamedTuple):
    """What an input says of one ticket, before the store has seen it.

    `row` is the record's place in its input and `line` the line it starts on; `cells` are the row as it was, kept for
    `run`; `extra` holds every column that is no field of ours, and texts of ours that could not be understood; `silent`
    names what could stand there, and is there and empty. Of an input that comes in parts, `seen` is how often the parts
    before have shown this draft's identity. `size` is about how many characters its row holds. `origin` is how it came:
    as a row of an input, typed as a command's options, or as a request of its own.
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
    origin: Literal["row", "typed", "request"] = "row"


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

    @property
    def text(self) -> str:
        """Return what a classifier reads: subject and description."""
        if self.subject and self.description:
            return f"{self.subject}\n{self.description}"
        return self.subject or self.description or ""

    @property
    def size(self) -> int:
        """Return about how many characters it holds."""
        return len(self.subject or "") + len(self.description or "") + len(self.extra)


class Classification(NamedTuple):
    """One answer of one classifier (or a person) about one ticket; all are kept.

    `category` is null where it abstained or failed (`error`); `confidence_source` says where the number comes from
    (`decision`, `logprob`, `said`, `model`, `human`), since numbers of different sources do not compare.
    `fingerprint` names what was asked (`Asking`), `answer_key` that and the text; `threshold` is the confidence the
    answer had to reach. Tokens are counts, `cost` is USD. Where the confidence was calibrated, `raw` is what the
    classifier itself said.
    """

    classification_id: str
    ticket_id: str
    run_id: str | None
    step: str
    category: str | None
    confidence: float | None
    confidence_source: str | None
    reason: str | None
    classifier: str
    actor: str
    fingerprint: str
    threshold: float | None
    probabilities: str | None
    answer_key: str
    at: str
    reused: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost: float = 0.0
    redacted: str | None = None
    error: str | None = None
    raw: float | None = None

    @property
    def said(self) -> float | None:
        """Return the confidence as it was given, before it was calibrated."""
        return self.confidence if self.raw is None else self.raw

    @property
    def chances(self) -> Mapping[str, float]:
        """Return the probabilities of the categories, where they are known."""
        known: Mapping[str, float] = json.loads(self.probabilities) if self.probabilities else {}
        return known


class Asking(NamedTuple):
    """What was asked, once per wording: the kind of classifier, its model and prompt, the categories, the options.

    `categories` is a JSON list of lists that begin with a category's name, `options` a JSON object.
    """

    fingerprint: str
    kind: str
    model: str
    endpoint: str
    prompt: str
    categories: str
    options: str
    first_at: str


class Delivery(NamedTuple):
    """What one destination is owed for one decision about one ticket.

    `revision` is the ticket's own that the decision made, and so its place in history; `targets` all destinations that
    the decision named, as a JSON list (null, and revision 0, where an older version decided). `doubtful` is 1 where the
    destination may have it although it accepted nothing: an answer was lost, or a run was cut off at work on it.
    """

    delivery_id: str
    ticket_id: str
    classification_id: str | None
    category: str
    destination: str
    rule: str
    config_hash: str
    replaces: str | None
    state: str  # pending | accepted | dead | superseded
    attempts: int
    due_at: float  # seconds of the database's clock
    last_status: int | None
    last_error: str | None
    run_id: str | None
    at: str
    done_at: str | None = None
    revision: int = 0
    targets: str | None = None
    doubtful: int = 0

    @property
    def arrived(self) -> bool:
        """Tell whether the destination has it, or may have it."""
        return self.state == "accepted" or self.doubtful == 1


class Attempt(NamedTuple):
    """One try at a delivery: what came back, and how long it took in seconds."""

    delivery_id: str
    number: int
    at: str
    status: int | None
    error: str | None
    seconds: float


class Parcel(NamedTuple):
    """What a destination is handed: the delivery and the ticket it is about."""

    delivery: Delivery
    ticket: Ticket


class Receipt(NamedTuple):
    """A destination has taken a delivery."""

    status: int | None = None
    seconds: float = 0.0


class Event(NamedTuple):
    """One line for the audit log; `data` holds names, numbers and hashes, never a ticket's words."""

    action: str
    ticket_id: str | None
    run_id: str | None
    actor: str
    at: str
    data: Mapping[str, Any] = {}


class LoggedEvent(NamedTuple):
    """One line of the audit log as it stands in the chain; `detail` is canonical JSON text."""

    seq: int
    timestamp: str
    action: str
    ticket_id: str | None
    actor: str
    run_id: str | None
    detail: str
    prev: str
    hash: str


class Batch(NamedTuple):
    """Requests that a provider answers within a day for half the price, from before it is told of them.

    `state` is gathering (the provider knows nothing) | sending (it may know) | submitted (it does) | ended | returned
    (it answers nothing). `labels` is what could be answered, as JSON, the one for no category last; `options` what was
    left out of the requests, as JSON; `paid_by` the run whose money it is; `run_id` the run at work on it.
    """

    batch_id: str
    classifier: str
    address: str
    fingerprint: str
    labels: str
    options: str
    paid_by: str
    opened_at: str
    state: str = "gathering"
    requests: int = 0
    sent_at: str | None = None
    provider_id: str | None = None
    ended_at: str | None = None
    error: str | None = None
    run_id: str | None = None


class BatchItem(NamedTuple):
    """A ticket in a batch: the request of this `number` asks about its text, as about others of the same text.

    `was` is the status it came from, empty where the ticket goes on meanwhile and the answer is a proposal; `reserved`
    is the USD it may cost at most, `state` waiting | answered | returned.
    """

    batch_id: str
    ticket_id: str
    number: int
    answer_key: str
    was: str
    reserved: float
    redacted: str | None = None
    state: str = "waiting"


class BatchRequest(NamedTuple):
    """A ticket's request as a line of a batch: its bytes, the USD it may cost at most, what was masked as JSON."""

    line: bytes
    worst: float
    redacted: str | None


class BatchLook(NamedTuple):
    """How far a provider is with a batch: waiting | ended | failed (refused as a whole: `error`) | gone.

    `answered` is how many requests were answered.
    """

    state: str
    answered: int = 0
    error: TriageError | None = None


class BatchResult(NamedTuple):
    """How one request of a batch ended: the provider's reply or an error; `again`: nothing was asked in the end."""

    number: int
    reply: object = None
    error: TriageError | None = None
    again: bool = False


class Spent(NamedTuple):
    """What an answer cost, put on a run's account after the fact, and what was set aside for it `since`, in USD."""

    run_id: str
    usd: float
    released: float = 0.0
    since: str = ""


class Head(NamedTuple):
    """Where the audit log ends: the hash of its last event, and how many events there are."""

    head: str
    events: int


class Change(NamedTuple):
    """One write: an event, the ticket it leaves behind, the rows it adds, and the revision it was decided on.

    `expects` 0 means that the ticket's identity must be free. Without a ticket only rows and the event are added.
    """

    event: Event
    ticket: Ticket | None = None
    expects: int = 0
    adds: tuple[Classification | Delivery | Attempt | BatchItem | Spent, ...] = ()

    @property
    def rewrites(self) -> bool:
        """Tell whether what the customer said changes too: else only the ticket's fields from `status` on are saved."""
        return self.event.action in ("updated", "forgotten")


class Conflict(NamedTuple):
    """A change that was refused because the ticket has moved on; `ticket` is what stands there now."""

    ticket: Ticket | None


class Lease(NamedTuple):
    """A run's hold on the tickets that point to it; the store's clock decides when it is over.

    It carries what the run has spent and set aside, in USD (None: as before), so that a killed run's money counts.
    """

    run_id: str
    seconds: float = 60.0
    spent: float | None = None
    reserved: float | None = None


class Held(NamedTuple):
    """Which tickets a run holds still, and whether its lease was `unbroken` up to now."""

    ticket_ids: frozenset[str]
    unbroken: bool


class Run(NamedTuple):
    """One bulk command; `words` is the command without its secrets. `pid` is 0 for a caller that cannot be probed."""

    run_id: str
    kind: str
    actor: str
    words: str
    started_at: str
    host: str = ""
    pid: int = 0
    max_cost: float | None = None
    spent: float = 0.0
    reserved: float = 0.0
    ended_at: str | None = None
    counts: str = "{}"
    exit_code: int | None = None
    summary: str | None = None
    parcel: str = ""  # names the request that began it, where that may come again


class Outcome(NamedTuple, Generic[T]):
    """How one item ended: its place in the caller's input, what was done, and the value or the error.

    `item` is what was asked, kept for the caller's next step and never sent anywhere.
    """

    row: int
    did: str
    value: T | None = None
    error: TriageError | None = None
    item: object = None

    @property
    def ticket(self) -> Ticket:
        """Return the ticket that was asked about. Raises `TypeError` where something else was."""
        if not isinstance(self.item, Ticket):
            raise TypeError(self)
        return self.item


class Labelled(NamedTuple):
    """A text whose category is known, and where from: a ticket's id, or empty for a row of a file."""

    text: str
    category: str
    ticket_id: str = ""


class ModelVersion(NamedTuple):
    """One fitting of the embedded classifier to labelled tickets; at most one version is active.

    `categories` is a JSON list of their names, `weights` what `classifiers.model.Model.to_bytes` made, `metrics` a JSON
    object of the figures it was taken for. `based_on` is the version that was active when it was compared, 0 for the
    built-in model (null: an older program did not say).
    """

    version: int
    categories: str
    weights: bytes
    metrics: str
    active: int
    actor: str
    at: str
    based_on: int | None = None


class Calibration(NamedTuple):
    """What a classifier's confidence is worth: `curve` is a JSON list of points (confidence, share that is right).

    It holds for one fingerprint: the same model, prompt and categories. `n` labelled answers were fitted; the expected
    calibration error before, and after on answers the curve was not fitted to.
    """

    fingerprint: str
    classifier: str
    curve: str
    method: str
    n: int
    error_before: float
    error_after: float
    at: str


class Answer(NamedTuple):
    """What a classifier returns for one ticket: every step it took; the last one decides, and is sure or not.

    `doubts` is what `Suspicion` found in the text, None where the classifier did not look.
    """

    ticket: Ticket
    steps: tuple[Classification, ...]
    sure: bool
    doubts: tuple[str, ...] | None = None


class Decided(NamedTuple):
    """A ticket after `classify`: what holds now, the answer just given, and whether anyone was asked for it."""

    ticket: Ticket
    now: Classification | None
    asked: bool


class Routed(NamedTuple):
    """A ticket after `route` and what its destinations are owed."""

    ticket: Ticket
    deliveries: tuple[Delivery, ...] = ()


class History(NamedTuple):
    """Everything known of one ticket, oldest first."""

    ticket: Ticket
    classifications: tuple[Classification, ...]
    deliveries: tuple[Delivery, ...]
    attempts: tuple[Attempt, ...]
    events: tuple[LoggedEvent, ...]
    askings: Mapping[str, Asking]


class Why(NamedTuple):
    """How a ticket was decided, in sentences, and what happens next."""

    ticket_id: str
    status: str
    why: tuple[str, ...]


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


class ClassifyPlan(NamedTuple):
    """How to classify: by which classifier, and whether to ask anew and overrule verdicts (`force`).

    `workers` is how many calls are in flight, `max_cost` USD, `max_wait` the seconds an outage is waited for,
    `deadline` the seconds from the start after which nothing new is begun; `batch` leaves paid steps to the provider's
    batches.
    """

    classifier: str | None = None
    force: bool = False
    workers: int | None = None
    max_cost: float | None = None
    max_wait: float = 120.0
    deadline: float | None = None
    batch: bool = False


class ReclassifyPlan(NamedTuple):
    """How to ask again; `apply` makes the flips hold, all or none: none where there are more than `max_flips`.

    `max_flips` is a number, or a share of the tickets compared, such as `2%`. `reroute` sends on what was routed. The
    `force` of `classify` lets the answers overrule verdicts; what was answered before is recalled all the same.
    """

    classify: ClassifyPlan = ClassifyPlan()
    apply: bool = False
    max_flips: str | None = None
    reroute: bool = False


class Flip(NamedTuple):
    """A ticket's category that holds (`old`) beside the one just answered (`new`, None: no sure answer)."""

    ticket_id: str
    external_id: str | None
    status: str
    old: str | None
    new: str | None
    old_confidence: float | None
    new_confidence: float | None
    old_classifier: str | None
    new_classifier: str | None
    old_reason: str | None
    new_reason: str | None
    applied: bool = False


class RoutePlan(NamedTuple):
    """How to route: dead letters again, deliveries anew, for how many seconds to stay for attempts that fall due."""

    retry_dead: bool = False
    again: bool = False
    stay: float = 0.0


class EventQuery(NamedTuple):
    """Which events; `limit` keeps the last ones, `after` those with a higher number."""

    ticket_id: str | None = None
    action: str | None = None
    actor: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int | None = None
    after: int = 0


class Stats(NamedTuple):
    """Counts over the whole store; `deliveries` maps destination to state to count.

    `waiting` maps a classifier to what its provider's batches hold: `tickets`, `batches`, and `since` when. `audited`
    maps a cascade's step to how many of its sure answers the next step was asked to confirm (`asked`), and how often it
    did (`agreed`): where the share falls, the step has drifted.
    """

    tickets: int
    by_status: Mapping[str, int]
    by_category: Mapping[str, int]
    by_classifier: Mapping[str, int]
    by_day: Mapping[str, int]
    deliveries: Mapping[str, Mapping[str, int]]
    cost_usd: float
    events: int
    waiting: Mapping[str, Mapping[str, Any]] = {}
    audited: Mapping[str, Mapping[str, int]] = {}


class ApiKey(NamedTuple):
    """A key of the HTTP API as stored: `hash` is the SHA-256 of the whole key, its text is kept nowhere."""

    key_id: str
    name: str
    hash: bytes
    role: str
    created_at: str
    last_used_at: str | None = None
    revoked_at: str | None = None


class Kept(NamedTuple):
    """What is known of an earlier request under an `Idempotency-Key`; without a status it is still at work."""

    body_hash: str
    status: int | None
    answer: str | None


class Gauges(NamedTuple):
    """What a monitor watches; `deliveries` maps (destination, state), the answers' numbers are by classifier.

    `oldest_new` is when the ticket that waits longest for its classification was stored.
    """

    by_status: Mapping[str, int]
    deliveries: Mapping[tuple[str, str], int]
    answers: Mapping[str, int]
    failures: Mapping[str, int]
    cost_usd: Mapping[str, float]
    oldest_new: str | None
