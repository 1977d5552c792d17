"""Records trials: the paid answers of `eval` and `plan`, which decide nothing and are not paid for again."""

from collections.abc import Sequence

from triage_cli.domain import Answer, Classification, Outcome
from triage_cli.ports import ModelRegistry
from triage_cli.service.answers import EarlierSteps
from triage_cli.service.run_context import RunContext


class TrialRecorder:
    """Saves the paid answers of one run, each once; `saved` is their number."""

    def __init__(self, registry: ModelRegistry, context: RunContext) -> None:
        self.saved = 0
        self._registry = registry
        self._context = context
        self._unfinished_ids: set[str] = set()  # of saved answers that the final ones will repeat

    def save_steps(self, earlier: Sequence[EarlierSteps]) -> None:
        """Save the paid answers of tickets about which a further step is asked."""
        steps = [step for each in earlier for step in each.steps]
        self._save(steps)
        self._unfinished_ids.update(step.classification_id for step in steps)

    def save(self, outcomes: Sequence[Outcome[Answer]]) -> None:
        """Save the paid answers that are not saved yet, and renew the run's lease."""
        self._context.heartbeat()
        steps = [step for outcome in outcomes if outcome.value for step in outcome.value.steps]
        self._save(steps)
        self._unfinished_ids.difference_update(step.classification_id for step in steps)

    def _save(self, steps: Sequence[Classification]) -> None:
        paid_answers = [
            step._replace(confidence=step.raw_confidence)
            for step in steps
            if not (step.confidence_source == "model" or step.error or step.reused)
            and step.classification_id not in self._unfinished_ids
        ]
        if paid_answers:
            with self._context.budget.recording(self._context.lease) as lease:
                self._registry.keep_trials(paid_answers, lease)
            self.saved += len(paid_answers)
