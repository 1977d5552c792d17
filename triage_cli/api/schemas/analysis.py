"""The schemas of analysis: spikes, drift, wrong labels, learning."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from triage_cli import domain
from triage_cli.api.schemas.records import Response
from triage_cli.api.schemas.shared_fields import (
    CLASSIFIER_TEXT,
    EXAMPLE_SINCE,
    ItemError,
    LongText,
    Moment,
    QueryParameters,
    RequestBody,
    Seconds,
    ShortName,
    Usd,
    WorkerCount,
    param,
)
from triage_cli.domain import CATEGORY, FEWEST_TOPICS, MOST_TOPICS, USUAL_TOPICS, LabelCounts

DAY, WEEK, TEN_YEARS = 86_400.0, 7 * 86_400.0, 3652 * 86_400.0
MOST_ROWS = 100_000
SpikeWindow = Annotated[float, Field(ge=1, le=WEEK)]
Baseline = Annotated[float, Field(ge=WEEK, le=TEN_YEARS)]
WINDOW_TEXT, BASELINE_TEXT = "seconds up to now", "seconds: the earlier weeks to compare with"
QUESTION_TEXT = "the name of a question; category without it"


class SpikeQuery(QueryParameters):
    """The window in which spikes are sought, and what it is compared with."""

    window: SpikeWindow = param(7200.0, WINDOW_TEXT, 7200.0)
    baseline: Baseline = param(28 * DAY, BASELINE_TEXT, 28 * DAY)


class SpikesIn(RequestBody):
    """The window whose spikes are to be sent, and what it is compared with."""

    window: SpikeWindow = Field(7200.0, description=WINDOW_TEXT)
    baseline: Baseline = Field(28 * DAY, description=BASELINE_TEXT)


class DriftQuery(QueryParameters):
    """The period that is compared with the time before it."""

    window: Annotated[float, Field(ge=1, le=TEN_YEARS)] = param(7 * DAY, "its seconds, up to now", 7 * DAY)
    question: ShortName = param(CATEGORY, QUESTION_TEXT, "urgency")


class ReportQuery(QueryParameters):
    """The period of a report, up to now."""

    since: Moment | None = param(None, "its beginning; without it, a week ago", EXAMPLE_SINCE)


class LabelledIn(RequestBody):
    """A text with its right category."""

    text: LongText = Field(description="the text of a ticket")
    label: ShortName = Field(description="its category; one that is none is counted and left out")
    label_source: Literal["topic"] | None = Field(
        None, description="topic: the label of a topic, of which the text is typical; it teaches, and proves nothing"
    )


class LabelledRows(RequestBody):
    """Labelled texts; verdicts count beside them."""

    rows: list[LabelledIn] = Field(default_factory=list, max_length=MOST_ROWS, description="labelled texts")


class SuspectsIn(LabelledRows):
    """Labelled texts in which wrong labels are sought."""

    question: ShortName = Field(CATEGORY, description=QUESTION_TEXT)


class TopicTextIn(RequestBody):
    """A ticket in which topics are sought; it is not stored."""

    text: LongText = Field(description="its text, of which the first 2,000 characters are read")
    customer: Annotated[str, Field(max_length=1000)] = Field("", description="who wrote it; empty: unknown")


class DiscoverIn(RequestBody):
    """In which tickets topics are sought, and how many."""

    rows: Annotated[list[TopicTextIn], Field(max_length=MOST_ROWS)] | None = Field(
        None, description="tickets that are not stored; null: the stored ones"
    )
    most: Annotated[int, Field(ge=FEWEST_TOPICS, le=MOST_TOPICS)] = Field(
        USUAL_TOPICS, description="at most so many topics: two to three times as many as categories are wanted"
    )
    written_since: Moment | None = Field(None, description="stored tickets written at this time or later; null: all")
    sources: Annotated[list[ShortName], Field(max_length=100)] = Field(
        default_factory=list, description="stored tickets of these sources alone; empty: of all"
    )
    name_with: ShortName | None = Field(None, description="the classifier whose language model names the topics")
    max_cost: Usd | None = Field(None, description="USD that the names may cost")


class LearnIn(LabelledRows):
    """What to learn from, or that the last learning is taken back."""

    rollback: bool = Field(False, description="take back what was learned last, and learn nothing")
    question: ShortName | None = Field(
        None,
        description="what the labels of the rows answer, and all that is learned; null: the category and the others",
    )


class LearnedQuestion(Response):
    """What was learned about a further question."""

    counts: LabelCounts = Field(description="the labels that were read")
    report: dict[str, Any] = Field(description="as `triage learn -o json` prints it")


class Learned(Response):
    """What was learned."""

    counts: LabelCounts | None = Field(description="the labels that were read; null: nothing was learned from")
    report: dict[str, Any] = Field(description="as `triage learn -o json` prints it")
    questions: dict[str, LearnedQuestion] = Field(description="of further questions, by name")
    warnings: list[str] = Field(description="which promises of an error rate fell by it, and what they need now")


class PlanIn(RequestBody):
    """A new configuration, and the tickets on which it is compared with the present one."""

    config: LongText | None = Field(
        None, description="the text of the new config.yaml, in which paths lead nowhere; null: the present one"
    )
    routes: LongText | None = Field(None, description="the text of a routes file in place of its routing map")
    written_since: Moment | None = Field(None, description="tickets written at this time or later; null: all")


PLAN_KEYS = "tickets older moved share unasked cost_usd destinations matrix escalations accuracy moves"


class Plan(Response, of=domain.Plan, keys=PLAN_KEYS.split()):
    """What a new configuration would change."""

    share: float = Field(description="`moved` of `tickets`")
    escalations: dict[str, int] = Field(description="tickets that each escalation would take up")


class EvalIn(LabelledRows):
    """The labelled texts on which a classifier is measured."""

    classifier: ShortName | None = Field(None, description=CLASSIFIER_TEXT)
    question: ShortName = Field(CATEGORY, description=QUESTION_TEXT)
    calibrate: bool = Field(False, description="store the labels, and fit the confidences to them")
    workers: WorkerCount | None = Field(None, description="calls in flight")
    max_cost: Usd | None = Field(None, description="USD that this may spend")
    max_wait: Seconds = Field(120.0, description="seconds to wait for a provider's outage")


class Evaluated(BaseModel):
    """What was measured."""

    scored: dict[str, Any] = Field(description="the figures, as `triage eval -o json` prints them")
    calibrations: list[dict[str, Any]] = Field(description="the curves that were fitted")
    stopped: ItemError | None = Field(description="why not all were asked about")
    mistakes: list[dict[str, Any]] = Field(description="the surest wrong answers")
    learned: dict[str, int] | None = Field(description="how many of the texts the classifier had learned from")
    first_error: ItemError | None = Field(description="the error of the first text that got no answer")
