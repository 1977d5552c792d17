"""Batches: requests that a provider answers together, within a day."""

from typing import NamedTuple

from triage_cli.domain.errors import TriageError
from triage_cli.domain.json_values import from_json


class Batch(NamedTuple):
    """A batch of requests, recorded before it is sent to the provider.

    The batch's `state` is gathering (not sent) | sending (the provider may have it) | submitted (it has it) | ended |
    returned (it will answer nothing). `labels` are the possible answers as JSON, "no category" last; `options` the
    options that were left out of the requests, as JSON; `paid_by` the run whose budget pays; `run_id` the run that
    works on it now. `questions` are the further questions that it may ask: as JSON, of each by its name what
    `fingerprint` and `labels` are of the category.
    """

    batch_id: str
    classifier: str
    address: str
    fingerprint: str
    labels: str
    options: str
    paid_by: str
    opened_at: str
    state: str = "gathering"
    requests: int = 0
    sent_at: str | None = None
    provider_id: str | None = None
    ended_at: str | None = None
    error: str | None = None
    run_id: str | None = None
    questions: str = "{}"


class BatchItem(NamedTuple):
    """A ticket in a batch. Tickets with the same text share one request, by its `number`.

    `answer_key` is that of the first question that is `asked`, as JSON a list; only one that is asked for its category
    waits.
    `was` is the ticket's status before the batch, empty if the answer is a proposal;
    `reserved` is the most that its request may cost, in USD; `state` is waiting | answered | returned.
    """

    batch_id: str
    ticket_id: str
    number: int
    answer_key: str
    was: str
    reserved: float
    redacted: str | None = None
    state: str = "waiting"
    asked: str = '["category"]'

    @property
    def questions(self) -> tuple[str, ...]:
        """Return the questions that are asked about the ticket."""
        return tuple(from_json(self.asked))


class OpenRequest(NamedTuple):
    """A request of a batch that has no answer yet: the questions that it asks, and the ids of the tickets in it."""

    batch_id: str
    number: int
    questions: tuple[str, ...]
    ticket_ids: set[str]


class BatchRequest(NamedTuple):
    """A request as a line of a batch's file: its bytes, its worst-case cost in USD, and what was masked, as JSON."""

    line: bytes
    worst: float
    redacted: str | None


class ExpectedCall(NamedTuple):
    """The estimate of one paid call: its tokens, what it likely costs and costs at most, in USD, and its prompt."""

    tokens: int
    cost: float
    most: float
    prompt: str


class BatchLook(NamedTuple):
    """The progress of a batch at the provider: waiting | ended | failed (refused as a whole: `error`) | gone.

    `answered` is the number of the batch's requests that have an answer.
    """

    state: str
    answered: int = 0
    error: TriageError | None = None


class BatchResult(NamedTuple):
    """How one request of a batch ended: a reply or an error. `again`: the provider did not process it."""

    number: int
    reply: object = None
    error: TriageError | None = None
    again: bool = False
