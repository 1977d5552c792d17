"""Ports of the classifiers: what answers questions about tickets, what trains, what asks in a provider's batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Protocol

from triage_cli import domain as dm
from triage_cli.runtime import Budget

# The settings that a `Trainer` finds: strength, share of the wording, calibration (temperature, slope, offset).
Settings = Sequence[tuple[float, float, tuple[float, float, float], float]]

# Port that finds categories which are mixtures: from texts, their categories and other texts to these, the worst first,
# and how many of the other texts are near no category.
FindMixtures = Callable[[Sequence[str], Sequence[str], Sequence[str]], tuple[Sequence[dm.Mixture], int]]

# Port that orders texts for review: from texts with their doubts (0 to 1) to indexes, the most informative first.
Ranking = Callable[[Sequence[str], Sequence[float]], Iterable[int]]


class Trainer(Protocol):
    """Port that trains the embedded classifier on its categories and on texts with a verdict."""

    def built_in(self) -> bytes:
        """A trainer makes the model that is trained on the categories alone."""

    def weighed(self, labelled: Sequence[dm.Labelled], texts: Sequence[str]) -> dm.Unlabelled:
        """A trainer weighs texts without a label: those that help to learn beside labelled ones; none if none do."""

    def settings(self, labelled: Sequence[dm.Labelled], more: dm.Unlabelled = dm.NOTHING) -> Settings:
        """A trainer finds the settings with which its `fit` would train; that takes most of the time of a training."""

    def fit(
        self,
        labelled: Sequence[dm.Labelled],
        more: dm.Unlabelled = dm.NOTHING,
        settings: Settings = (),
        *,
        to_use: bool = False,
        start: bytes = b"",
    ) -> bytes:
        """A trainer fits a model to the categories, to labelled texts, and to texts without a label.

        Without `settings`, the trainer finds them first. A model that is `to_use`, and not only to be measured on other
        texts, answers as for new ones about texts with the label of a topic and those without a label. From the model
        `start`, which has learned nearly all of this, it is sooner there.
        """

    def settings_of(self, weights: bytes) -> Settings:
        """A trainer returns the settings with which a model was fitted; none of a model of an earlier release."""

    def answers(self, weights: bytes, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
        """A trainer returns a model's answers about texts: (category, confidence)."""

    def chances(self, weights: bytes, texts: Sequence[str]) -> list[dm.Chances]:
        """A trainer returns a model's likeliest categories for each text, at most ten, with their probabilities."""

    def losses(self, weights: bytes, labelled: Sequence[dm.Labelled]) -> list[float]:
        """A trainer returns a model's log loss on each labelled text, in nats."""

    def seen(self, weights: bytes, texts: Sequence[str]) -> list[bool]:
        """A trainer tells for each text whether a model was trained on exactly this text."""

    def number_learned(self, weights: bytes) -> int:
        """A trainer tells how many labelled texts a model was trained on."""

    def suits(self, weights: bytes) -> bool:
        """A trainer tells whether a model has its categories, under their present or former names."""

    def is_outdated(self, weights: bytes, *, of_file: bool) -> bool:
        """A trainer tells whether a model of an earlier release is better learned again from the same labels.

        It repeats what it guessed, or knows what it learned `of_file` by its exact spelling alone.
        """


class Classifier(Protocol):
    """Port that answers questions about tickets.

    `chunk_size` is the number of tickets that a classifier wants in a chunk.
    """

    name: str
    chunk_size: int

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        """A classifier returns the fingerprints by which its steps ask one of its questions; none of another one.

        A fingerprint names how a question is asked (model, prompt, values), so that an answer can be reused.
        """

    def askings(self) -> tuple[dm.Asking, ...]:
        """A classifier returns how it asks, for the record; a cascade has several ways."""

    def rejudged(self, answer: dm.Classification, text: str) -> dm.Classification:
        """A classifier returns its stored answer about a text with its present confidence and threshold."""

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answered]]]:
        """A classifier yields outcomes as its answers arrive; an empty chunk means that nothing has arrived yet.

        Each outcome is about one of the questions that are `asked` about its ticket; all of them have one in the end.
        Only `service.answers` calls this, since not each of them is final.
        An outcome's `item` is the ticket. An `AnswerError` in an outcome concerns this ticket alone; an error that ends
        the run is raised after the finished outcomes were yielded. Once the budget is stopping, a classifier makes no
        new call. Before a paid call, it reserves the worst-case cost.
        """


class Batcher(Protocol):
    """Port that has a provider answer many questions in one batch, within a day and for half the price.

    A batcher's `labels` are the possible answers about the category, "no category" last. One batch holds at most
    `most_requests` requests and `most_bytes` bytes. `has_next` is true if another paid step of a cascade follows. A
    batcher calls `heartbeat` about once a second while it waits for the provider.
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
    def questions(self) -> str:
        """A batcher knows the further questions that it may ask, as `Batch` has them."""

    def fingerprint_of(self, question: str) -> str:
        """A batcher knows the fingerprint by which it asks a question."""

    @property
    def options(self) -> str:
        """A batcher knows which features the server refused, as JSON; its requests leave them out."""

    def remember(self, options: str) -> None:
        """A batcher starts with the refused features of an earlier batch."""

    def request(self, ticket: dm.Ticket, batch_id: str, number: int) -> dm.BatchRequest:
        """A batcher makes the request about a ticket, as a line of the batch."""

    def submit(self, batch: dm.Batch, request_lines: IO[bytes], mark_sent: Callable[[], bool]) -> str:
        """A batcher sends a batch and returns the provider's id for it.

        A batcher calls `mark_sent` before the step that cannot be undone; that returns whether to take it. Raises
        `UnknownOutcomeError` if the batch may have arrived; after any other error it has not.
        """

    def find(self, batch: dm.Batch, known_ids: frozenset[str]) -> str | None:
        """A batcher asks for the provider's id of a batch that may not have arrived, or returns None.

        `known_ids` are those of other batches. Raises `UnknownOutcomeError` if the provider is not certain yet.
        """

    def look(self, batch: dm.Batch) -> dm.BatchLook:
        """A batcher asks the provider for the progress of a batch."""

    def fetch(self, batch: dm.Batch, result_file: IO[bytes]) -> None:
        """A batcher writes the results of a batch that has ended to a file, one per line."""

    def results(self, batch: dm.Batch, result_lines: Iterable[bytes], *, outage: bool) -> Iterator[dm.BatchResult]:
        """A batcher yields a batch's results; in an `outage` nothing was answered, so failed requests are repeated."""

    def answers(
        self, ticket: dm.Ticket, item: dm.BatchItem, batch: dm.Batch, result: dm.BatchResult
    ) -> list[dm.Outcome[dm.Answer]]:
        """A batcher makes the outcomes for a ticket of a batch's result, with tokens and the halved cost.

        There is one for each question that was asked and still is there.
        """


class AskedModel(Classifier, Protocol):
    """Port of a classifier that asks a language model, which costs money."""

    @property
    def constraint(self) -> str:
        """A model knows how its answers are held to the values, as a sentence for `triage doctor`."""

    def batched(self, *, has_next: bool) -> Classifier:
        """A model returns the classifier that leaves its questions to a batch."""

    def batcher(
        self,
        env: Mapping[str, str],
        *,
        has_next: bool,
        calibrate: Callable[[dm.Answer], dm.Answer],
        bound: Callable[[dm.Answer], dm.Answer] | None,
    ) -> Batcher:
        """A model returns its batches; `calibrate` and `bound` are applied to their answers."""

    def expected(self, ticket: dm.Ticket, *, batch: bool) -> dm.ExpectedCall:
        """A model estimates one call about a ticket, without a call."""

    def named(self, proposal: dm.Proposal, budget: Budget) -> tuple[dm.Proposal, int]:
        """A model names the groups and topics of a proposal; it returns how many it has named, too.

        It sees words and examples, whose personal data is masked. Raises `TriageError` as its provider does.
        """
