"""Ports of the classifiers: questions about tickets, training, and a provider's batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Protocol

from triage_cli.domain.batches import Batch, BatchItem, BatchLook, BatchRequest, BatchResult
from triage_cli.domain.decisions import Answer, Classification, QuestionSpec
from triage_cli.domain.learning import NOTHING, Labelled, Unlabelled
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.tickets import Ticket
from triage_cli.runtime.budget import Budget

# Of a training: strength, share of the wording, and calibration (temperature, slope, offset).
Settings = Sequence[tuple[float, float, tuple[float, float, float]]]

# Orders texts for review: from texts, each with its doubt (0 to 1), to their indexes, the most informative first.
Ranking = Callable[[Sequence[str], Sequence[float]], Iterable[int]]


class Trainer(Protocol):
    """Trains the embedded classifier on its categories and on texts with a verdict."""

    def built_in(self) -> bytes:
        """Return the model that is trained on the categories alone."""

    def weighed(self, labelled: Sequence[Labelled], texts: Sequence[str]) -> Unlabelled:
        """Return the texts without a label that help, beside the labelled ones, to learn; none if they do not help."""

    def settings(self, labelled: Sequence[Labelled], more: Unlabelled = NOTHING) -> Settings:
        """Return the settings with which `fit` would train. Finding them takes most of the time of a training."""

    def fit(self, labelled: Sequence[Labelled], more: Unlabelled = NOTHING, settings: Settings = ()) -> bytes:
        """Return a model that is trained on the categories, on labelled texts, and on texts without a label.

        Without `settings`, they are found first.
        """

    def answers(self, weights: bytes, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
        """Return a model's answers about texts: (category, confidence)."""

    def losses(self, weights: bytes, labelled: Sequence[Labelled]) -> list[float]:
        """Return a model's log loss on each labelled text, in nats."""

    def seen(self, weights: bytes, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether a model was trained on it."""

    def number_learned(self, weights: bytes) -> int:
        """Return how many labelled texts a model was trained on."""

    def suits(self, weights: bytes) -> bool:
        """Return whether a model has these categories, under their present or former names."""

    def lacks_encoder(self, weights: bytes) -> bool:
        """Return whether a model was trained without the encoder that is configured."""


class Classifier(Protocol):
    """Answers which category tickets belong to.

    `fingerprint` names the question (model, prompt, categories), so that an answer can be reused; `chunk_size` is the
    number of tickets that it wants in a chunk.
    """

    name: str
    fingerprint: str
    chunk_size: int

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprints of the questions that its steps ask."""

    def questions(self) -> tuple[QuestionSpec, ...]:
        """Return the questions, for the record; a cascade asks several."""

    def rejudged(self, answer: Classification) -> Classification:
        """Return a stored answer to one of its questions with the confidence and threshold that it would have now."""

    def classify(self, chunks: Iterable[Sequence[Ticket]], budget: Budget) -> Iterator[Sequence[Outcome[Answer]]]:
        """Yield outcomes in the order in which answers arrive; an empty chunk means that nothing has arrived yet.

        An outcome's `item` is the ticket. An `AnswerError` in an outcome concerns this ticket alone; an error that ends
        the run is raised after the finished outcomes were yielded. Once the budget is stopping, no new call is made.
        Before a paid call, its worst-case cost is reserved.
        """


class Batcher(Protocol):
    """Has a provider answer many questions in one batch, within a day and for half the price.

    `labels` are the possible answers, "no category" last. One batch holds at most `most_requests` requests and
    `most_bytes` bytes. `has_next` is true if another paid step of a cascade follows. `heartbeat` is called about once a
    second while the provider is waited for.
    """

    name: str
    fingerprint: str
    address: str
    labels: tuple[str, ...]
    most_requests: int
    most_bytes: int
    has_next: bool
    heartbeat: Callable[[], None]

    @property
    def options(self) -> str:
        """Return which features the server refused, as JSON; requests leave them out."""

    def remember(self, options: str) -> None:
        """Start with the refused features of an earlier batch."""

    def request(self, ticket: Ticket, batch_id: str, number: int) -> BatchRequest:
        """Return the request about a ticket, as a line of the batch."""

    def submit(self, batch: Batch, lines: IO[bytes], mark_sent: Callable[[], bool]) -> str:
        """Send a batch and return the provider's id for it.

        `mark_sent` is called before the step that cannot be undone, and returns whether to take it. Raises
        `UnknownOutcomeError` if the batch may have arrived; after any other error it has not.
        """

    def find(self, batch: Batch, known: frozenset[str]) -> str | None:
        """Return the provider's id for a batch that may not have arrived, or None.

        `known` are the ids of other batches. Raises `UnknownOutcomeError` if it is not certain yet.
        """

    def look(self, batch: Batch) -> BatchLook:
        """Return the progress of a batch."""

    def fetch(self, batch: Batch, into: IO[bytes]) -> None:
        """Write the results of a batch that has ended to a file, one per line."""

    def results(self, batch: Batch, lines: Iterable[bytes], *, outage: bool) -> Iterator[BatchResult]:
        """Yield the results; in an `outage` nothing was answered, so failed requests are to be repeated."""

    def answer(self, ticket: Ticket, item: BatchItem, batch: Batch, result: BatchResult) -> Outcome[Answer]:
        """Return the outcome of a result for a ticket, with tokens and the halved cost."""
