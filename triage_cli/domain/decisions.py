"""Answers of classifiers and people, what was asked, and what a run of `classify` or `reclassify` is to do."""

import json
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from triage_cli.domain.tickets import Ticket


class Classification(NamedTuple):
    """One answer of one classifier (or a person) about one ticket; all are kept.

    `category` is null where it abstained or failed (`error`); `confidence_source` says where the number comes from
    (`decision`, `logprob`, `said`, `model`, `human`), since numbers of different sources do not compare.
    `fingerprint` names what was asked (`QuestionSpec`), `answer_key` that and the text; `threshold` is the confidence
    the answer had to reach. Tokens are counts, `cost` is USD. Where the confidence was calibrated, `raw` is what the
    classifier itself said.
    """

    classification_id: str
    ticket_id: str
    run_id: str | None
    step: str
    category: str | None
    confidence: float | None
    confidence_source: str | None
    reason: str | None
    classifier: str
    actor: str
    fingerprint: str
    threshold: float | None
    probabilities: str | None
    answer_key: str
    at: str
    reused: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost: float = 0.0
    redacted: str | None = None
    error: str | None = None
    raw: float | None = None

    @property
    def raw_confidence(self) -> float | None:
        """Return the confidence as it was given, before it was calibrated."""
        return self.confidence if self.raw is None else self.raw

    @property
    def chances(self) -> Mapping[str, float]:
        """Return the probabilities of the categories, where they are known."""
        known: Mapping[str, float] = json.loads(self.probabilities) if self.probabilities else {}
        return known


class QuestionSpec(NamedTuple):
    """What was asked, once per wording: the kind of classifier, its model and prompt, the categories, the options.

    `categories` is a JSON list of lists that begin with a category's name, `options` a JSON object.
    """

    fingerprint: str
    kind: str
    model: str
    endpoint: str
    prompt: str
    categories: str
    options: str
    first_at: str


class Labelled(NamedTuple):
    """A text whose category is known, and where from: a ticket's id, or empty for a row of a file."""

    text: str
    category: str
    ticket_id: str = ""


class ModelVersion(NamedTuple):
    """One fitting of the embedded classifier to labelled tickets; at most one version is active.

    `categories` is a JSON list of their names, `weights` what `classifiers.model.Model.to_bytes` made, `metrics` a JSON
    object of the figures it was taken for. `based_on` is the version that was active when it was compared, 0 for the
    built-in model (null: an older program did not say).
    """

    version: int
    categories: str
    weights: bytes
    metrics: str
    active: int
    actor: str
    at: str
    based_on: int | None = None


class Calibration(NamedTuple):
    """What a classifier's confidence is worth: `curve` is a JSON list of points (confidence, share that is right).

    It holds for one fingerprint: the same model, prompt and categories. `n` labelled answers were fitted; the expected
    calibration error before, and after on answers the curve was not fitted to.
    """

    fingerprint: str
    classifier: str
    curve: str
    method: str
    n: int
    error_before: float
    error_after: float
    at: str


class Answer(NamedTuple):
    """What a classifier returns for one ticket: every step it took; the last one decides, and is sure or not.

    `doubts` is what `Suspicion` found in the text, None where the classifier did not look. `batch_of` names the
    classifier of a `Postponed` answer.
    """

    ticket: Ticket
    steps: tuple[Classification, ...]
    sure: bool
    doubts: tuple[str, ...] | None = None
    batch_of: str | None = None


class Postponed(Answer):
    """No answer yet: a provider's batch brings that of the classifier `batch_of`; `steps` are those before it."""

    __slots__ = ()


class Unfinished(Answer):
    """The answers of a cascade's earlier steps, kept while a later one is asked; the ticket stays as it is."""

    __slots__ = ()


class Standing(Enum):
    """What became of a recorded answer. The values are the `outcome` of an event `classified`; "" is not written."""

    HOLDS = ""  # it decided its ticket
    NEXT = "next"  # it is kept, and a later step is asked
    LATE = "late"  # its ticket moved on while it was asked for: it is kept, and decides nothing


class Decision(NamedTuple):
    """What an answer made of its ticket when it was recorded: `status`, and the answer that holds, if one does.

    `suspicious` is what the ticket's text says to the classifier, for which a sure answer waits for a person.
    """

    classification_id: str | None
    status: str
    standing: Standing = Standing.HOLDS
    suspicious: tuple[str, ...] = ()


class Decided(NamedTuple):
    """A ticket after `classify`: what holds now, the answer just given, and whether anyone was asked for it."""

    ticket: Ticket
    now: Classification | None
    asked: bool


class ClassifyPlan(NamedTuple):
    """How to classify: by which classifier, and whether to ask anew and overrule verdicts (`force`).

    `workers` is how many calls are in flight, `max_cost` USD, `max_wait` the seconds an outage is waited for,
    `deadline` the seconds from the start after which nothing new is begun; `batch` leaves paid steps to the provider's
    batches.
    """

    classifier: str | None = None
    force: bool = False
    workers: int | None = None
    max_cost: float | None = None
    max_wait: float = 120.0
    deadline: float | None = None
    batch: bool = False


class ReclassifyPlan(NamedTuple):
    """How to ask again; `apply` makes the flips hold, all or none: none where there are more than `max_flips`.

    `max_flips` is a number, or a share of the tickets compared, such as `2%`. `reroute` sends on what was routed. The
    `force` of `classify` lets the answers overrule verdicts; what was answered before is recalled all the same.
    """

    classify: ClassifyPlan = ClassifyPlan()
    apply: bool = False
    max_flips: str | None = None
    reroute: bool = False


class Flip(NamedTuple):
    """A ticket's category that holds (`old`) beside the one just answered (`new`, None: no sure answer)."""

    ticket_id: str
    external_id: str | None
    status: str
    old: str | None
    new: str | None
    old_confidence: float | None
    new_confidence: float | None
    old_classifier: str | None
    new_classifier: str | None
    old_reason: str | None
    new_reason: str | None
    applied: bool = False
