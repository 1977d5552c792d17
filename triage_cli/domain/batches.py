"""Requests that a provider answers together, within a day."""

from typing import NamedTuple

from triage_cli.domain.errors import TriageError


class Batch(NamedTuple):
    """Requests that a provider answers within a day for half the price, from before it is told of them.

    `state` is gathering (the provider knows nothing) | sending (it may know) | submitted (it does) | ended | returned
    (it answers nothing). `labels` is what could be answered, as JSON, the one for no category last; `options` what was
    left out of the requests, as JSON; `paid_by` the run whose money it is; `run_id` the run at work on it.
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


class BatchItem(NamedTuple):
    """A ticket in a batch: the request of this `number` asks about its text, as about others of the same text.

    `was` is the status it came from, empty where the ticket goes on meanwhile and the answer is a proposal; `reserved`
    is the USD it may cost at most, `state` waiting | answered | returned.
    """

    batch_id: str
    ticket_id: str
    number: int
    answer_key: str
    was: str
    reserved: float
    redacted: str | None = None
    state: str = "waiting"


class BatchRequest(NamedTuple):
    """A ticket's request as a line of a batch: its bytes, the USD it may cost at most, what was masked as JSON."""

    line: bytes
    worst: float
    redacted: str | None


class BatchLook(NamedTuple):
    """How far a provider is with a batch: waiting | ended | failed (refused as a whole: `error`) | gone.

    `answered` is how many requests were answered.
    """

    state: str
    answered: int = 0
    error: TriageError | None = None


class BatchResult(NamedTuple):
    """How one request of a batch ended: the provider's reply or an error; `again`: nothing was asked in the end."""

    number: int
    reply: object = None
    error: TriageError | None = None
    again: bool = False
