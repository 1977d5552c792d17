"""What the embedded model learns from, the versions that come of it, and what the search for wrong labels reports."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from triage_cli.domain.errors import TriageError
from triage_cli.domain.evaluation.measured_thresholds import MeasuredThreshold
from triage_cli.domain.evaluation.recommendations import Forecast, Recommendation
from triage_cli.domain.json_values import as_record, from_json
from triage_cli.domain.tickets import CATEGORY, WholeNumber
from triage_cli.domain.wire_values import Limits

# The column of a labelled file, and its cell, that say: this is the label of a topic, of which the text is typical.
LABEL_SOURCE, TOPIC_LABEL = "label_source", "topic"


def is_typical(columns: Mapping[str, object]) -> bool:
    """Return whether the label of a row with these further columns is that of a topic."""
    label_source = columns.get(LABEL_SOURCE)
    return isinstance(label_source, str) and label_source.strip().casefold() == TOPIC_LABEL


LabelSource = Literal["history", "file", "topic", "teacher"]
UNPROVING: frozenset[LabelSource] = frozenset(("topic", "teacher"))  # nobody looked at their labels


def identity_of_ticket(ticket_id: str) -> str:
    """Return the identity of a labelled text that is the text of a stored ticket."""
    return f"ticket\0{ticket_id}"


class Labelled(NamedTuple):
    """A text to learn from, with its known category, and the id of its ticket (empty: it is of none).

    `is_typical` if it is the label of a topic, of which the text is typical, or of a teacher. Nobody has looked at it:
    a model learns from it, and nothing is measured on it. `identity` says which row of which source it is
    (empty: its text does), `source` where its label is from, `written_at` when a customer wrote it. What `proves`
    judges versions, and none learns it. A stored one has a `text_id`.
    """

    text: str
    category: str
    ticket_id: str = ""
    is_typical: bool = False
    identity: str = ""
    source: LabelSource = "file"
    customer_id: str | None = None
    written_at: str | None = None
    proves: bool = False
    text_id: str = ""

    @property
    def teacher_id(self) -> str:
        """Return the id under which a version that learned from it says so; empty without one."""
        return self.ticket_id or self.text_id


class KeptTexts(NamedTuple):
    """How many labelled texts that were given are new, have another text or label now, or were erased before.

    What was erased stays out.
    """

    new: int = 0
    changed: int = 0
    erased: int = 0


class TextQuery(NamedTuple):
    """Which labelled texts are listed: those behind an id (empty: from the first on), at most `limit`."""

    after: Annotated[str, Limits(0, 36)] = ""
    limit: WholeNumber | None = None


class TextCounts(NamedTuple):
    """How many labelled texts are stored: of each source those that teach, and all that prove."""

    teaching: Annotated[Mapping[str, int], "those that teach, by the source of their label"] = {}
    proving: Annotated[int, "those that judge versions and are never learned"] = 0

    @property
    def by_use(self) -> Mapping[str, int]:
        """Return those that teach by their source, and those that prove; empty without any."""
        return {**self.teaching, **({"proving": self.proving} if self.proving else {})}


NO_TEACHERS: Mapping[str, bool] = {}


class TeacherReport(NamedTuple):
    """What a teacher has labelled: texts that it was asked about, labels that are new, and answers that failed.

    Of `judged` decisions of people it agrees with `agreed`. `stopped` is the limit that ended it, if one did.
    """

    teacher: str
    asked: int
    labelled: int
    failed: int
    judged: int
    agreed: int
    cost_usd: float
    stopped: TriageError | None = None


class Unlabelled(NamedTuple):
    """Texts to learn from without a known category, and the weight of a guess about one; a labelled text has 1."""

    texts: tuple[str, ...] = ()
    weight: float = 0.0


NOTHING = Unlabelled()


class ModelVersion(NamedTuple):
    """A version of the embedded model that was learned from labelled tickets; at most one version is active.

    `categories` is a JSON list of names, `weights` comes from `to_bytes` of the model, `metrics` is a JSON object with
    the figures for which it was accepted. `based_on` is the version that was active when it was added, 0 for the
    built-in model (None: written by an older program). A version answers one question; others are answered by the last
    of those that it is based on. What one run has learned is taken back together.
    """

    version: int
    categories: str
    weights: bytes
    metrics: str
    active: int
    actor: str
    at: str
    based_on: int | None = None
    question: str = CATEGORY
    run_id: str | None = None

    @property
    def is_measured(self) -> bool:
        """Return whether it was measured on held-out labels, which those of topics are not."""
        held_out: int | None = from_json(self.metrics).get("held_out")
        return held_out != 0

    @property
    def sure_from(self) -> MeasuredThreshold | None:
        """Return from which confidence on it is sure where no threshold is configured; None: an earlier release."""
        measured: list[Any] | None = from_json(self.metrics).get("sure_from")
        return MeasuredThreshold(*measured) if measured else None

    @property
    def forecast(self) -> Forecast | None:
        """Return what more labels would do, as it was when the version was learned."""
        foreseen: list[Any] | None = from_json(self.metrics).get("forecast")
        return Forecast(*foreseen) if foreseen else None


class Taught(NamedTuple):
    """A version, the question that it answers, how many of some tickets it has learned from, and how many labels."""

    version: int
    question: str
    tickets: int
    labels: int


class LabelCounts(NamedTuple):
    """The labelled tickets that were read."""

    by_category: Annotated[Mapping[str, int], "by category"]
    skipped: Annotated[Mapping[str, int], "those whose label is no category, by label"]
    overruled: Annotated[int, "texts with two labels, of which the later one counts"]

    @property
    def total(self) -> int:
        """Return the number of labelled tickets that count."""
        return sum(self.by_category.values())


class Figures(NamedTuple):
    """A model's figures on held-out tickets; `log_loss` is the mean in nats."""

    n: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float
    log_loss: float


class Looked(NamedTuple):
    """How many tickets were looked at again, and what became of those whose answer is another one now.

    `doubted` had a category and wait for a person, `settled` waited and have a category, `flipped` have another one,
    `waiting` still wait, with a new guess; `held` were left alone, because another run holds them.
    """

    tickets: int = 0
    doubted: int = 0
    settled: int = 0
    flipped: int = 0
    waiting: int = 0
    held: int = 0


class TrainingReport(NamedTuple):
    """The result of `learn`: the version in use, why, and the figures of the old and new model on the same tickets.

    `gain` is by how much the new log loss is lower, in nats, and `gain_interval` its 95 % interval. `looked` is what
    the second look of the version in use changed; None if the built-in model stays in use. `unlabelled` is how many
    stored tickets without a verdict were learned from, each with `unlabelled_weight` (a labelled one has 1). `missing`
    is how many labels the version in use before had learned from that are not among these, where no file was named.
    `recommendation` and `forecast` are about the version in use, if it was compared; stored tickets without a verdict
    are those of the forecast.
    """

    version: int | None
    outcome: str  # learned | kept | rolled_back
    reason: str
    labelled: int
    from_verdicts: int
    skipped: int
    contradictory: int
    before: Figures | None = None
    after: Figures | None = None
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None
    looked: Looked | None = None
    unlabelled: int = 0
    unlabelled_weight: float = 0.0
    missing: int = 0
    recommendation: Recommendation | None = None
    forecast: Forecast | None = None


class Lesson(NamedTuple):
    """What was learned about one question: the labels that were read, and the result."""

    question: str
    counts: LabelCounts
    report: TrainingReport


class Suspect(NamedTuple):
    """A label that several answers contradict.

    The margin is that of a model trained on the other labels; None if that model does not make the suggestion.
    """

    ticket_id: Annotated[str, "the ticket's id; empty: a row of the request"]
    label: Annotated[str, "the label"]
    suggestion: Annotated[str, "what it should rather be"]
    confidence: Annotated[float | None, "how sure that is; null: only another label says so"]
    margin: Annotated[float | None, "the probability of the suggestion less that of the label"]
    against: Annotated[int, "how many answers contradict the label"]
    voices: Annotated[Mapping[str, str], "the answers, by who gave them"]
    text: Annotated[str, "the text"]


class Confused(NamedTuple):
    """Two categories that are taken for each other."""

    label: Annotated[str, "the label"]
    guess: Annotated[str, "what looks like it"]
    n: Annotated[int, "how often"]
    share: Annotated[float, "of the tickets with the label"]
    descriptions: Annotated[tuple[str, str], "of both categories in the configuration", list[str]]


class ExpectedPromise(NamedTuple):
    """What is to be expected with a promise, as labelled texts that prove have it: shares, and how many are missing."""

    max_error: float
    proven: bool
    sent: float
    wrong: float
    missing: int


class Expectation(NamedTuple):
    """What is to be expected of a new version: by promise, and the two categories that are confused most.

    `suspects` are labels that a sure answer contradicts.
    """

    promises: tuple[ExpectedPromise, ...]
    confused: Confused | None
    suspects: int = 0


class SuspectReport(NamedTuple):
    """The labels that are likely wrong."""

    suspects: Annotated[tuple[Suspect, ...], "those with the largest margin first"]
    confused: Annotated[tuple[Confused, ...], "categories that are confused, the most frequent first"]
    counts: Annotated[LabelCounts, "the labels that were read"]


def lesson_record(lessons: Sequence[Lesson]) -> dict[str, Any]:
    """Return the JSON record of the first lesson's report, with those of further questions below `questions`."""
    first, *further = lessons
    of_questions = {lesson.question: as_record(lesson.report) for lesson in further}
    record: dict[str, Any] = as_record(first.report)
    return record | ({"questions": of_questions} if further else {})
