"""What answers, learns and delivers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Protocol

from triage_cli.domain.batches import Batch, BatchItem, BatchLook, BatchRequest, BatchResult
from triage_cli.domain.decisions import Answer, Labelled, QuestionSpec
from triage_cli.domain.deliveries import OutgoingDelivery, Receipt
from triage_cli.domain.runs import Outcome
from triage_cli.domain.sources import PullPlan, SourcePage
from triage_cli.domain.tickets import Ticket
from triage_cli.runtime.budget import Budget


class Trainer(Protocol):
    """Fits the embedded classifier to its categories and labelled texts."""

    def built_in(self) -> bytes:
        """Return the model of the categories alone."""

    def fit(self, labelled: Sequence[Labelled]) -> bytes:
        """Return a model of the categories and labelled texts."""

    def answers(self, weights: bytes, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
        """Return what a model says of texts: a category and how sure it is."""

    def seen(self, weights: bytes, texts: Sequence[str]) -> list[bool]:
        """Tell of texts whether a model has learned them."""

    def suits(self, weights: bytes) -> bool:
        """Tell whether a model is for these categories, under their present or former names."""


class Classifier(Protocol):
    """Answers which category tickets belong to.

    `fingerprint` names what it asks (model, prompt, categories), so that an answer can be reused, `fingerprints` all
    that its steps ask; `appetite` is how many tickets it wants in a chunk.
    """

    name: str
    fingerprint: str
    appetite: int

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return all that its steps ask by."""

    def askings(self) -> tuple[QuestionSpec, ...]:
        """Describe what is asked, for the record; a cascade asks in several ways."""

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer in whatever order answers come, in chunks that may be empty: nothing yet.

        An outcome's `item` is the ticket. A ticket's own failure is an `AnswerError` in its outcome; what stops the run
        is raised, after what had finished was yielded. Once the budget is stopping, nothing new is begun. A call of a
        provider is made once its worst case is set aside.
        """


class Batcher(Protocol):
    """Has a provider answer many questions within a day, for half the price.

    `labels` are what can be answered, the one for no category last; `options` is what the requests leave out, as JSON;
    `most_requests` and `most_bytes` bound one batch; `has_next` tells whether another paid step follows this one.
    While the provider is waited for, `breathe` is called about once a second.
    """

    name: str
    fingerprint: str
    address: str
    labels: tuple[str, ...]
    most_requests: int
    most_bytes: int
    has_next: bool
    breathe: Callable[[], None]

    @property
    def options(self) -> str:
        """Return what is left out of the requests, since the server objected to it."""

    def remember(self, options: str) -> None:
        """Begin with what an earlier batch has taught."""

    def request(self, ticket: Ticket, batch_id: str, number: int) -> BatchRequest:
        """Return the request about a ticket."""

    def submit(self, batch: Batch, lines: IO[bytes], sending: Callable[[], bool]) -> str:
        """Hand a batch over and return the provider's name for it.

        `sending` is called before the one step that cannot be taken back, and says whether it may be taken. Raises
        `DoubtfulError` where the batch may have arrived all the same; after any other error it has not.
        """

    def find(self, batch: Batch, known: frozenset[str]) -> str | None:
        """Return the provider's name for a batch that may never have arrived; `known` are those of other batches.

        Raises `DoubtfulError` where it cannot be told yet.
        """

    def look(self, batch: Batch) -> BatchLook:
        """Ask how far a batch is."""

    def fetch(self, batch: Batch, into: IO[bytes]) -> None:
        """Fetch the results of a batch that has ended, a line each."""

    def results(self, batch: Batch, lines: Iterable[bytes], *, outage: bool) -> Iterator[BatchResult]:
        """Read results; in an `outage` nothing was answered, so a request that failed is no fault of its ticket."""

    def answer(self, ticket: Ticket, item: BatchItem, batch: Batch, result: BatchResult) -> Outcome[Answer]:
        """Return what a result says of a ticket."""


class Destination(Protocol):
    """Takes deliveries: a file, a command, a webhook. `schedule` is the seconds to wait after each failed attempt.

    `workers` is how many it works on at once; it is handed twice as many.
    """

    name: str
    workers: int
    max_attempts: int
    schedule: tuple[float, ...]

    def deliver(self, chunks: Iterable[Sequence[OutgoingDelivery]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        """Hand over; each outcome's `item` is the parcel. A failure is a `DeliveryError` in the outcome."""


class Pause(Protocol):
    """Lets a source wait: for so many seconds, since something answered as `why` says."""

    def __call__(self, seconds: float, why: str) -> bool:
        """Return True where the pull is to stop. Raises `UnavailableError` where its deadline comes before the end."""


class Source(Protocol):
    """Hands over the tickets of a helpdesk or a mailbox, page by page; each draft has an `external_id`.

    `name` is the source of its tickets; with `keeps_category` a changed text leaves the category that a ticket has.
    """

    name: str
    keeps_category: bool

    def pages(self, position: str | None, plan: PullPlan, pause: Pause) -> Iterator[SourcePage]:
        """Yield pages from a stored position on (None: from the beginning), or from the plan's time.

        A page's position is stored once all drafts up to it are; so a kill loses nothing. What cannot be read is a
        `Rejected` among the drafts; raised is what ends the pull.
        """
