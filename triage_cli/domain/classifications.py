"""Classifications: the answers about tickets, how these were asked, and the options of `classify`."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple, NotRequired, Self

from triage_cli.domain import times
from triage_cli.domain.tickets import CATEGORY, SourceOfConfidence, Ticket
from triage_cli.domain.wire_values import Limits, Usd

# The `step` of a verdict from an import. If a later import repeats it, it does not overrule a person's verdict.
IMPORTED = "import"
# The `classifier` and `confidence_source` of an answer that follows a person's verdict on the same text.
PRECEDENT = "precedent"
# The most calls in flight, and the longest wait in seconds, that another instance may ask for.
MOST_WORKERS, LONGEST_WAIT = 1000, 366 * 86_400
Wait = Annotated[float, Limits(0, LONGEST_WAIT)]
Name = Annotated[str, Limits(1, 80)]  # of a classifier or a question


class Classification(NamedTuple):
    """One answer of a classifier, or a person's.

    All are kept. If the confidence was calibrated, `raw` is the classifier's own number. In an answer to a further
    question, `category` is its value; what a call costs stands with one of its answers. The answer key of a precedent
    is the text's digest.
    """

    classification_id: Annotated[str, "its id"]
    ticket_id: Annotated[str, "the ticket's id"]
    run_id: Annotated[str | None, "the run that did it; null: a single request"]
    step: Annotated[str, "the classifier that was asked, of a cascade the step"]
    category: Annotated[str | None, "the category; null: none"]
    confidence: Annotated[float | None, "how sure, from 0 to 1"]
    confidence_source: SourceOfConfidence
    reason: Annotated[str | None, "why, in the classifier's words"]
    classifier: Annotated[str, "the classifier's name in the configuration"]
    actor: Annotated[str, "who asked"]
    fingerprint: Annotated[str, "a hash of the question: model, prompt, categories and options"]
    threshold: Annotated[float | None, "the confidence at which it is sure"]
    probabilities: Annotated[str | None, "of each category, where they are known", dict[str, float] | None]
    answer_key: Annotated[str, "a hash of the question and the text, by which an answer is reused"]
    at: Annotated[str, "when it came", datetime]
    reused: Annotated[str | None, "the earlier answer that this one repeats"] = None
    input_tokens: Annotated[int, "tokens sent"] = 0
    output_tokens: Annotated[int, "tokens received"] = 0
    cache_read: Annotated[int, "tokens read from the provider's cache"] = 0
    cache_write: Annotated[int, "tokens written to it"] = 0
    cost: Annotated[float, "USD"] = 0.0
    redacted: Annotated[str | None, "what was taken out of the text"] = None
    error: Annotated[str | None, "why it is no answer"] = None
    raw: Annotated[float | None, "the classifier's own number, where the confidence was calibrated"] = None
    question: Annotated[str, "the further question whose answer it is; else no key", NotRequired[str]] = CATEGORY
    nearest: Annotated[
        str | None, "ids of decided tickets that stood in the prompt, as JSON; else no key", NotRequired[str | None]
    ] = None

    @classmethod
    def made(cls, ticket_id: str, *, step: str, classifier: str, actor: str, **given: Any) -> Self:
        """Return an answer of now with a new id; what is not given is unknown, or empty."""
        from triage_cli.domain import ids  # imports hashlib, which most commands need not

        empty = dict.fromkeys(cls._fields[: cls._fields.index("reused")])
        new = {"classification_id": ids.new_id(), "ticket_id": ticket_id, "at": times.now()}
        who = {"step": step, "classifier": classifier, "actor": actor, "fingerprint": "", "answer_key": ""}
        return cls(**{**empty, **new, **who, **given})

    @property
    def raw_confidence(self) -> float | None:
        """Return the confidence of the answer before calibration."""
        return self.confidence if self.raw is None else self.raw

    @property
    def is_sure(self) -> bool:
        """Return whether the answer names a category and reached its threshold."""
        if self.category is None or self.error:
            return False
        if self.confidence is None:
            return self.confidence_source == PRECEDENT
        return self.threshold is None or self.confidence >= self.threshold

    @property
    def is_imported(self) -> bool:
        """Return whether it is a person's verdict from an import; an agent may call itself `import` too."""
        return self.step == IMPORTED and self.confidence_source == "human"

    @property
    def is_paid(self) -> bool:
        """Return whether a language model was asked for the answer; a further one may have come with another's cost."""
        has_come_along = self.question != CATEGORY and self.confidence_source not in (None, "model", "human")
        return self.input_tokens > 0 or (has_come_along and self.reused is None)

    def at_threshold(self, threshold: float | None) -> "Classification":
        """Return the answer with the classifier's own confidence, to be compared with another threshold."""
        return self._replace(confidence=self.raw_confidence, raw=None, threshold=threshold)

    def copy(self, classification_id: str, run_id: str | None, at: str) -> "Classification":
        """Return a free copy of the answer for another run, which names the answer that was paid for."""
        return self._replace(
            classification_id=classification_id,
            run_id=run_id,
            at=at,
            reused=self.reused or self.classification_id,
            input_tokens=0,
            output_tokens=0,
            cache_read=0,
            cache_write=0,
            cost=0.0,
        )

    @property
    def chances(self) -> Mapping[str, float]:
        """Return the probability of each category by this answer; empty if unknown."""
        by_category: Mapping[str, float] = json.loads(self.probabilities) if self.probabilities else {}
        return by_category


class Asking(NamedTuple):
    """How a question was asked: the kind of classifier, its model and prompt, the values, the options.

    `categories` is a JSON list of lists, each beginning with a category's name; `options` is a JSON object.
    """

    fingerprint: str
    kind: str
    model: str
    endpoint: str
    prompt: str
    categories: str
    options: str
    first_at: str


class Answer(NamedTuple):
    """A classifier's final answer to a question about a ticket: those of all its steps, of which the last one decides.

    `doubts` is what `Suspicion` found in the text, None if the classifier did not look. `language` is that of the text,
    None if it is not clear or the classifier did not look.
    """

    ticket: Ticket
    steps: tuple[Classification, ...]
    sure: bool
    doubts: tuple[str, ...] | None = None
    question: str = CATEGORY
    language: str | None = None


class Postponed(NamedTuple):
    """No answer yet: the classifier `batch_of` answers in a provider's batch; `steps` are the answers before it."""

    steps: tuple[Classification, ...]
    batch_of: str
    question: str = CATEGORY


class Unfinished(NamedTuple):
    """The paid answers of a cascade's earlier steps, to be saved while a later step is asked; they decide nothing."""

    steps: tuple[Classification, ...]

    @property
    def question(self) -> str:
        """Return the question that the steps answer."""
        return self.steps[0].question if self.steps else CATEGORY


Answered = Answer | Postponed | Unfinished  # what a classifier yields about a ticket


class Decided(NamedTuple):
    """A ticket that `classify` decided: the answer about its category that was given now, if that was asked.

    `asked` tells whether a classifier was asked now, about the category or a further question.
    """

    ticket: Ticket
    now: Classification | None
    asked: bool


class ClassifyPlan(NamedTuple):
    """The options of `classify`. `force` asks again about classified tickets, and overrules verdicts.

    `workers` is the number of concurrent calls, `max_cost` is USD, `max_wait` how many seconds an outage is waited for,
    `deadline` after how many seconds nothing new is begun; with `batch`, paid steps go to the provider's batches.
    """

    classifier: Annotated[Name | None, "one of the configuration; else its default"] = None
    force: Annotated[bool, "ask anew, and overrule verdicts"] = False
    workers: Annotated[Annotated[int, Limits(1, MOST_WORKERS)] | None, "calls in flight"] = None
    max_cost: Annotated[Usd | None, "USD that this request may spend"] = None
    max_wait: Annotated[Wait, "seconds to wait for a provider's outage"] = 120.0
    deadline: Annotated[Wait | None, "seconds after which nothing new is begun"] = None
    batch: Annotated[bool, "leave paid steps to the provider's batches: answers within a day"] = False
