"""The schemas of analysis: spikes, drift, wrong labels, learning."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from triage_cli.api.schemas.administration import StatsGroup
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
)
from triage_cli.domain import FEWEST_TOPICS, MOST_TOPICS, USUAL_TOPICS, Measure, SpikeKind

DAY, WEEK, TEN_YEARS = 86_400.0, 7 * 86_400.0, 3652 * 86_400.0
MOST_ROWS = 100_000
SpikeWindow = Annotated[float, Field(ge=1, le=WEEK)]
Baseline = Annotated[float, Field(ge=WEEK, le=TEN_YEARS)]
WINDOW_TEXT, BASELINE_TEXT = "seconds up to now", "seconds: the earlier weeks to compare with"


class SpikeQuery(QueryParameters):
    """The window in which spikes are sought, and what it is compared with."""

    window: SpikeWindow = Field(7200.0, description=WINDOW_TEXT, examples=[7200.0])
    baseline: Baseline = Field(28 * DAY, description=BASELINE_TEXT, examples=[28 * DAY])


class SpikesIn(RequestBody):
    """The window whose spikes are to be sent, and what it is compared with."""

    window: SpikeWindow = Field(7200.0, description=WINDOW_TEXT)
    baseline: Baseline = Field(28 * DAY, description=BASELINE_TEXT)


class SpikeExample(BaseModel):
    """A ticket of a spike."""

    ticket_id: str = Field(description="the ticket's id")
    text: str = Field(description="how its text begins")


class Spike(BaseModel):
    """A category or a group of similar tickets about which far more customers write than in earlier weeks."""

    spike_id: str = Field(description="its id, which stays while it lasts")
    kind: SpikeKind = Field(description="what the tickets have in common: their category, or their words")
    name: str = Field(description="its typical words")
    category: str | None = Field(description="the category of its tickets")
    tickets: int = Field(description="how many there are")
    customers: int = Field(description="how many customers wrote them")
    share: float = Field(description="`customers` of all customers of the window")
    share_before: float = Field(description="the same in the same hours of earlier weeks")
    customers_before: float = Field(description="the mean number of such customers there")
    since: datetime = Field(description="when its first ticket was written")
    examples: list[SpikeExample] = Field(description="tickets of three customers")
    members: list[str] = Field(description="the ids of all its tickets, oldest first")


class SpikeSearch(BaseModel):
    """The spikes of a window, and with how much it was compared."""

    spikes: list[Spike] = Field(description="those with the most customers first")
    tickets: int = Field(description="the tickets in the same hours of earlier weeks")
    weeks: int = Field(description="how many earlier weeks those were")


class SpikeSending(BaseModel):
    """What was sent to the destination of spikes."""

    destination: str | None = Field(description="its name; null: the configuration names none")
    sent: int | None = Field(description="how many spikes it accepted; null: it needs the network, which is off")


class DriftQuery(QueryParameters):
    """The period that is compared with the time before it."""

    window: Annotated[float, Field(ge=1, le=TEN_YEARS)] = Field(
        7 * DAY, description="its seconds, up to now", examples=[7 * DAY]
    )


class Drift(BaseModel):
    """A share of decisions now and before."""

    measure: Measure = Field(description="what is compared")
    name: str = Field(description="of which category or classifier")
    n: int = Field(description="tickets now")
    share: float | None = Field(description="the share now")
    n_before: int = Field(description="tickets before")
    share_before: float | None = Field(description="the share before")
    p_value: float = Field(description="how likely such a difference is by chance")
    moved: bool = Field(description="whether it is more than chance explains")


class ReportQuery(QueryParameters):
    """The period of a report, up to now."""

    since: Moment | None = Field(None, description="its beginning; without it, a week ago", examples=[EXAMPLE_SINCE])


class MeasuredShare(BaseModel):
    """For how many tickets something held, with the 95 % confidence interval of its share."""

    name: str = Field(description="the classifier or category")
    n: int = Field(description="tickets")
    held: int = Field(description="for how many of them it held")
    share: float | None = Field(description="`held` of `n`; null: there are none")
    low: float = Field(description="the interval's lower end")
    high: float = Field(description="its upper end")


class Report(BaseModel):
    """What happened in a period."""

    since: datetime = Field(description="its beginning")
    until: datetime = Field(description="its end")
    volume_key: str = Field(description="by what `volumes` are counted: day, or week")
    volumes: list[StatsGroup] = Field(description="the tickets that were stored in the period, oldest first")
    decided: list[StatsGroup] = Field(description="the same by category and classifier: `verdict` is people")
    sure: MeasuredShare = Field(description="of the tickets that no person decided, those of which a machine was sure")
    right: list[MeasuredShare] = Field(description="the answers of each classifier that verdicts confirm")
    overruled: list[MeasuredShare] = Field(description="the sure answers that people overruled, by category")
    waiting: list[StatsGroup] = Field(description="all tickets that wait, by status and day")
    destinations: list[StatsGroup] = Field(description="the tickets of the period by destination")
    deliveries: dict[str, dict[str, int]] = Field(description="all deliveries, by destination and state")
    spikes: list[Spike] = Field(description="those of the last day, without examples and members")
    spike_window: float = Field(description="the seconds up to `until` in which spikes were sought")
    spike_weeks: int = Field(description="with how many earlier weeks these were compared")
    drift: list[Drift] = Field(description="shares of the period and of the time before it")


class LabelledIn(RequestBody):
    """A text with its right category."""

    text: LongText = Field(description="the text of a ticket")
    label: ShortName = Field(description="its category; one that is none is counted and left out")


class LabelledRows(RequestBody):
    """Labelled texts; verdicts count beside them."""

    rows: list[LabelledIn] = Field(default_factory=list, max_length=MOST_ROWS, description="labelled texts")


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


class Topic(BaseModel):
    """Tickets that are alike: a proposal for a category."""

    name: str = Field(description="made of its typical words")
    parent: str = Field(description="the name of its group; empty: it has none")
    category: str = Field(description="the name of the proposed category: `parent/name`, or `name`")
    words: list[str] = Field(description="its typical words, the most typical first")
    tickets: int = Field(description="how many there are")
    customers: int = Field(description="how many customers wrote them")
    nearest: str | None = Field(description="the nearest category of the configuration; null: none is near")
    examples: list[str] = Field(description="the texts nearest to its middle, personal data masked")


class TopicGroup(BaseModel):
    """Several topics that are alike: a proposal for a parent of categories."""

    name: str = Field(description="made of its most typical word")
    words: list[str] = Field(description="the typical words of its topics")


class Proposal(BaseModel):
    """The topics of tickets, as proposals for categories."""

    topics: list[Topic] = Field(description="the largest first")
    groups: list[TopicGroup] = Field(description="groups of topics that are alike")
    tickets: int = Field(description="how many tickets there were")
    near: int = Field(description="those near a topic, so in it; a person may see some of them elsewhere")
    vague: int = Field(description="those that say too little")
    far: int = Field(description="those near no topic")


class LearnIn(LabelledRows):
    """What to learn from, or that the last learning is taken back."""

    rollback: bool = Field(False, description="use the version before the one in use, and learn nothing")


class LabelCounts(BaseModel):
    """The labelled tickets that were read."""

    by_category: dict[str, int] = Field(description="by category")
    skipped: dict[str, int] = Field(description="those whose label is no category, by label")
    overruled: int = Field(description="texts with two labels, of which the later one counts")


class Suspect(BaseModel):
    """A label that several answers contradict."""

    ticket_id: str = Field(description="the ticket's id; empty: a row of the request")
    label: str = Field(description="the label")
    suggestion: str = Field(description="what it should rather be")
    confidence: float | None = Field(description="how sure that is; null: only another label says so")
    margin: float | None = Field(description="the probability of the suggestion less that of the label")
    against: int = Field(description="how many answers contradict the label")
    voices: dict[str, str] = Field(description="the answers, by who gave them")
    text: str = Field(description="the text")


class Confused(BaseModel):
    """Two categories that are taken for each other."""

    label: str = Field(description="the label")
    guess: str = Field(description="what looks like it")
    n: int = Field(description="how often")
    share: float = Field(description="of the tickets with the label")
    descriptions: list[str] = Field(description="of both categories in the configuration")


class SuspectReport(BaseModel):
    """The labels that are likely wrong."""

    suspects: list[Suspect] = Field(description="those with the largest margin first")
    confused: list[Confused] = Field(description="categories that are confused, the most frequent first")
    counts: LabelCounts = Field(description="the labels that were read")


class Learned(BaseModel):
    """What was learned."""

    counts: LabelCounts | None = Field(description="the labels that were read; null: nothing was learned from")
    report: dict[str, Any] = Field(description="as `triage learn -o json` prints it")


class PlanIn(RequestBody):
    """A new configuration, and the tickets on which it is compared with the present one."""

    config: LongText | None = Field(
        None, description="the text of the new config.yaml, in which paths lead nowhere; null: the present one"
    )
    routes: LongText | None = Field(None, description="the text of a routes file in place of its routing map")
    written_since: Moment | None = Field(None, description="tickets written at this time or later; null: all")


class Volume(BaseModel):
    """How many of the tickets a destination gets."""

    destination: str = Field(description="its name")
    before: int = Field(description="by the present configuration")
    after: int = Field(description="by the new one")
    pages: bool = Field(description="whether it pages somebody")


class PlanAccuracy(BaseModel):
    """How right both classifiers are on tickets with a verdict."""

    labelled: int = Field(description="such tickets")
    right_before: int = Field(description="on how many the present classifier is right")
    right_after: int = Field(description="on how many the new one is")


class Move(BaseModel):
    """A ticket that would get another category or other destinations."""

    ticket_id: str = Field(description="the ticket's id")
    external_id: str | None = Field(description="its id elsewhere")
    status: str = Field(description="its status")
    old: str | None = Field(description="its category")
    new: str | None = Field(description="the category that it would get; null: a person would decide")
    old_to: list[str] = Field(description="its destinations")
    new_to: list[str] = Field(description="the destinations that it would get")
    pages: bool = Field(description="whether a new one of these pages somebody")
    old_confidence: float | None = Field(description="how sure its answer was")
    new_confidence: float | None = Field(description="how sure the new answer is")
    classifier: str | None = Field(description="the classifier that gave the new answer")
    reason: str | None = Field(description="why, in its words")


class Plan(BaseModel):
    """What a new configuration would change."""

    tickets: int = Field(description="the tickets that were compared")
    older: int = Field(description="those written before")
    moved: int = Field(description="those that would move")
    share: float = Field(description="`moved` of `tickets`")
    unasked: int = Field(description="those without a stored answer, which are counted as they are")
    cost_usd: float | None = Field(description="about what asking about them costs; null: unknown")
    destinations: list[Volume] = Field(description="their volumes, those that page somebody first")
    matrix: list[tuple[str | None, str | None, int]] = Field(description="moves by old and new category")
    escalations: dict[str, int] = Field(description="tickets that each escalation would take up")
    accuracy: PlanAccuracy = Field(description="on verdicts")
    moves: list[Move] = Field(description="those that page somebody first")


class EvalIn(LabelledRows):
    """The labelled texts on which a classifier is measured."""

    classifier: ShortName | None = Field(None, description=CLASSIFIER_TEXT)
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
