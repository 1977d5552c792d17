"""The protocol of a provider's batch API, and helpers for its implementations."""

import json
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import IO, Any, NamedTuple, Protocol

from triage_cli.classifiers.llm import prompt
from triage_cli.classifiers.llm.provider import Reply
from triage_cli.classifiers.llm.provider_errors import ProviderError, failure
from triage_cli.config import ClassifierSpec
from triage_cli.domain.batches import Batch, BatchLook
from triage_cli.domain.errors import ConfigError, RefusedError, TriageError, UnavailableError
from triage_cli.runtime.network import Network

CLOCK_SKEW = 24 * 3600  # seconds by which our clock and the provider's may differ


class BatchLine(NamedTuple):
    """One result of a batch; `again`: the request was not answered, and is to be repeated."""

    custom_id: str
    reply: Reply | None = None
    error: TriageError | None = None
    again: bool = False


class BatchLimits(NamedTuple):
    """The limits of one batch."""

    requests: int
    bytes: int


class BatchApi(Protocol):
    """One provider's batch API; awaitables raise what `Provider.ask` raises."""

    address: str
    limits: BatchLimits

    @property
    def options(self) -> dict[str, Any]:
        """Return which features of a request the server refused."""

    def remember(self, options: Mapping[str, Any]) -> None:
        """Start with the refused features that an earlier batch found."""

    def heeded(self, *, form: bool) -> None:
        """Record whether answers had the form that was asked for."""

    def open(self, network: Network) -> None:
        """Make the client."""

    def close(self) -> Awaitable[None]:
        """Close the client."""

    def line(self, custom_id: str, question: prompt.Question, budget: int) -> bytes:
        """Return one request as a line of JSON."""

    async def upload(self, batch_id: str, lines: IO[bytes]) -> Any:
        """Upload the requests, if that is a step of its own; the batch is not started yet."""

    async def create(self, batch_id: str, uploaded: Any) -> str | None:
        """Start the batch, and return the provider's id for it."""

    async def find(self, batch: Batch, known: frozenset[str]) -> str | None:
        """Return the provider's id for a batch, None if it did not arrive; `known` are the ids of other batches.

        Raises `UnknownOutcomeError` if that cannot be decided yet.
        """

    async def look(self, provider_id: str) -> tuple[BatchLook, Sequence[str]]:
        """Return the progress of a batch, and the ids by which to fetch its results."""

    async def fetch(self, names: Sequence[str], into: IO[bytes]) -> bool:
        """Write results as JSON Lines; return False if some of them are no longer available."""

    def read(self, line: Mapping[str, Any], question: prompt.Question, options: Mapping[str, Any]) -> BatchLine:
        """Read one result; `options` are the refused features when the batch was sent."""


def custom_id(batch_id: str, number: object) -> str:
    """Return the id of a request: at most 64 letters, digits, dashes and underscores, as providers require."""
    return f"{batch_id.replace('-', '')}-{number}"


def batch_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of JSON."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def sent_time(batch: Batch) -> float:
    """Return when a batch was sent, in seconds sent_time 1970."""
    return datetime.fromisoformat(batch.sent_at).timestamp() if batch.sent_at else time.time()


def refused_batch(message: str, spec: ClassifierSpec, address: str) -> BatchLook:
    """Return the progress of a batch that the provider refused as a whole, with the error for the run."""
    complaint = ProviderError.of(400, message, {})._replace(about_many=True)
    error = failure(complaint, spec, address)
    if not isinstance(error, RefusedError | ConfigError):
        error = UnavailableError(
            f'the provider refused a batch of classifier "{spec.name}": {complaint.summary}',
            hint="--limit N submits fewer",
        )
    return BatchLook("failed", 0, error)
