"""Port of what measures and improves decisions, and foresees what they would be: in this process or on another one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Protocol

from triage_cli.domain import (
    CATEGORY,
    ClassifyPlan,
    Discovery,
    Drift,
    Evaluated,
    Foreseen,
    Labelled,
    Lesson,
    Limits,
    NewConfiguration,
    Outcome,
    Plan,
    Proposal,
    Report,
    SpikeSearch,
    SpikeSending,
    SuspectReport,
    TicketDraft,
    TopicText,
    TrainingReport,
    UtcTime,
)

TellProgress = Callable[[str, float], None]
WEEK, TEN_YEARS = 7 * 86_400, 3652 * 86_400
Window = Annotated[timedelta, Limits(1, WEEK)]
Baseline = Annotated[timedelta, Limits(WEEK, TEN_YEARS)]
Period = Annotated[timedelta, Limits(1, TEN_YEARS)]
MOST_ROWS = 100_000
LabelledRows = Annotated[Sequence[Labelled], Limits(0, MOST_ROWS)]
TopicTexts = Annotated[Iterable[TopicText], Limits(0, MOST_ROWS)]


class Analysis(Protocol):
    """Port of questions about many tickets at once. A light object, made for each command or request."""

    @property
    def spent(self) -> float:
        """An `Analysis` knows what its answers have cost so far, in USD."""

    def foresee(
        self, drafts: Iterable[TicketDraft], plan: ClassifyPlan, *, routes: bool, ask: bool
    ) -> Iterator[Outcome[Foreseen]]:
        """An `Analysis` tells what would become of drafts, in order: classified, and with `routes` also routed.

        Without `ask`, answers that would cost something are left out; with it, those that were paid for are stored, so
        that no later run pays for them again. Nothing else is stored.
        """

    def find_spikes(self, window: Window, baseline: Baseline) -> SpikeSearch:
        """An `Analysis` finds the spikes of the last `window`, against the weeks of the `baseline`."""

    def send_spikes(self, window: Window, baseline: Baseline) -> SpikeSending | None:
        """An `Analysis` sends the spikes that were not sent yet to the configured destination; None if there is none.

        Raises `UnavailableError` if the destination did not take one.
        """

    def drift(self, window: Period, question: str = CATEGORY) -> list[Drift]:
        """An `Analysis` compares the decisions on a question of the last `window` with those of the time before."""

    def report(self, since: datetime) -> Report:
        """An `Analysis` reports what happened since. Raises `UsageError` if that is no period of at most ten years."""

    def suspects(self, rows: LabelledRows, question: str = CATEGORY) -> SuspectReport:
        """An `Analysis` finds wrong labels among the verdicts and these labelled rows, and confused values."""

    def discover(self, tickets: TopicTexts | None, asked: Discovery) -> Proposal:
        """An `Analysis` finds the topics of these tickets (None: of the stored ones), and proposes categories."""

    def learn(self, rows: LabelledRows, tell: TellProgress, question: str | None = None) -> list[Lesson]:
        """An `Analysis` fits the embedded model to verdicts and labelled rows, and uses it if it is better.

        It does so for one question, or the category and each further question with a label; the rows are about the
        first of them. `tell` gets what it does now, and which share of it is done, as far as that is known.
        """

    def roll_back(self) -> TrainingReport:
        """An `Analysis` uses the version of the embedded model before the one in use."""

    def evaluate(
        self, rows: LabelledRows, plan: ClassifyPlan, *, calibrate: bool, question: str = CATEGORY
    ) -> Evaluated:
        """An `Analysis` measures a classifier on labelled rows; one cost limit holds for all that it measures.

        The labels are values of the question. With `calibrate` it stores the labels and a calibration.
        """

    def plan(self, new: NewConfiguration, written_since: str | None, *, ask: bool, max_cost: float | None) -> Plan:
        """An `Analysis` compares a new configuration with the present one on tickets written since.

        With `ask`, answers that are not stored are asked for, at most for `max_cost` USD, and stored.
        """

    def plan_texts(
        self, config: str | None, routes: str | None, written_since: Annotated[str | None, UtcTime()] = None
    ) -> Plan:
        """An `Analysis` compares a configuration that was sent as texts, or its rules alone, and asks nobody.

        It starts no program and names no file of this machine. Raises `UsageError` if neither text is given.
        """

    def stop(self) -> None:
        """An `Analysis` stops taking new work."""
