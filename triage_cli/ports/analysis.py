"""Port of what measures and improves decisions, and foresees what they would be: in this process or on another one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Protocol

from triage_cli import domain as dm

TellProgress = Callable[[str, float], None]
WEEK, TEN_YEARS = 7 * 86_400, 3652 * 86_400
Window = Annotated[timedelta, dm.Limits(1, WEEK)]
Baseline = Annotated[timedelta, dm.Limits(WEEK, TEN_YEARS)]
Period = Annotated[timedelta, dm.Limits(1, TEN_YEARS)]
MOST_ROWS = 100_000
LabelledRows = Annotated[Sequence[dm.Labelled], dm.Limits(0, MOST_ROWS)]
MostTaught = Annotated[int, dm.Limits(1, 2000)]
TopicTexts = Annotated[Iterable[dm.TopicText], dm.Limits(0, MOST_ROWS)]


class Analysis(Protocol):
    """Port of questions about many tickets at once. A light object, made for each command or request."""

    @property
    def spent(self) -> float:
        """An `Analysis` knows what its answers have cost so far, in USD."""

    def foresee(
        self, drafts: Iterable[dm.TicketDraft], plan: dm.ClassifyPlan, *, routes: bool, ask: bool
    ) -> Iterator[dm.Outcome[dm.Foreseen]]:
        """An `Analysis` tells what would become of drafts, in order: classified, and with `routes` also routed.

        Without `ask`, answers that would cost something are left out; with it, those that were paid for are stored, so
        that no later run pays for them again. Nothing else is stored.
        """

    def find_spikes(self, window: Window, baseline: Baseline) -> dm.SpikeSearch:
        """An `Analysis` finds the spikes of the last `window`, against the weeks of the `baseline`."""

    def send_spikes(self, window: Window, baseline: Baseline) -> dm.SpikeSending | None:
        """An `Analysis` sends the spikes that were not sent yet to the configured destination; None if there is none.

        Raises `UnavailableError` if the destination did not take one.
        """

    def drift(self, window: Period, question: str = dm.CATEGORY) -> list[dm.Drift]:
        """An `Analysis` compares the decisions on a question of the last `window` with those of the time before."""

    def report(self, since: datetime) -> dm.Report:
        """An `Analysis` reports what happened since. Raises `UsageError` if that is no period of at most ten years."""

    def suspects(self, rows: LabelledRows, question: str = dm.CATEGORY) -> dm.SuspectReport:
        """An `Analysis` finds wrong labels among the verdicts and these labelled rows, and confused values."""

    def category_changes(
        self, rows: LabelledRows, tell: TellProgress, question: str = dm.CATEGORY
    ) -> dm.CategoryReport:
        """An `Analysis` proposes changes of a list of values, with what each would gain, and changes nothing.

        They follow from verdicts and these labelled rows; `tell` is as of `learn`.
        """

    def discover(self, tickets: TopicTexts | None, asked: dm.Discovery) -> dm.Proposal:
        """An `Analysis` finds the topics of these tickets (None: of the stored ones), and proposes categories."""

    def learn(self, rows: LabelledRows, tell: TellProgress, question: str | None = None) -> list[dm.Lesson]:
        """An `Analysis` fits the embedded model to verdicts and labelled rows, and uses it if it is better.

        It does so for one question, or the category and each further question with a label; the rows are about the
        first of them. `tell` gets what it does now, and which share of it is done, as far as that is known.
        """

    def teach(self, plan: dm.ClassifyPlan, most: MostTaught, question: str = dm.CATEGORY) -> dm.TeacherReport:
        """An `Analysis` has a classifier label at most so many texts of stored tickets, for `learn` to learn from.

        What was paid for is stored. Raises `UsageError` for the embedded model, and without a limit of the cost.
        """

    def roll_back(self) -> dm.TrainingReport:
        """An `Analysis` uses the version of the embedded model before the one in use."""

    def evaluate(
        self, rows: LabelledRows, plan: dm.ClassifyPlan, *, calibrate: bool, question: str = dm.CATEGORY
    ) -> dm.Evaluated:
        """An `Analysis` measures a classifier on labelled rows; one cost limit holds for all that it measures.

        The labels are values of the question. With `calibrate` it stores the labels and a calibration.
        """

    def plan(
        self, new: dm.NewConfiguration, written_since: str | None, *, ask: bool, max_cost: float | None
    ) -> dm.Plan:
        """An `Analysis` compares a new configuration with the present one on tickets written since.

        With `ask`, answers that are not stored are asked for, at most for `max_cost` USD, and stored.
        """

    def plan_texts(
        self, config: str | None, routes: str | None, written_since: Annotated[str | None, dm.UtcTime()] = None
    ) -> dm.Plan:
        """An `Analysis` compares a configuration that was sent as texts, or its rules alone, and asks nobody.

        It starts no program and names no file of this machine. Raises `UsageError` if neither text is given.
        """

    def stop(self) -> None:
        """An `Analysis` stops taking new work."""
