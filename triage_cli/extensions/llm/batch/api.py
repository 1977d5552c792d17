"""The protocol of a provider's batch API, and what its implementations share."""

import json
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import IO, Any, NamedTuple, Protocol

from triage_cli import domain as dm
from triage_cli.config import ClassifierSpec
from triage_cli.extensions.llm import prompt
from triage_cli.extensions.llm.provider import Reply
from triage_cli.extensions.llm.provider_errors import ProviderError, request_failure
from triage_cli.runtime import Network

CLOCK_SKEW = 24 * 3600  # seconds by which our clock and that of a provider's batches may differ


class BatchLine(NamedTuple):
    """One line of a batch's results; `again`: the request was not answered, and is to be repeated."""

    custom_id: str
    reply: Reply | None = None
    error: dm.TriageError | None = None
    again: bool = False


class BatchLimits(NamedTuple):
    """What a provider's batch API takes in one batch."""

    requests: int
    bytes: int


class BatchApi(Protocol):
    """One provider's batch API; awaitables raise what `Provider.ask` raises."""

    address: str
    limits: BatchLimits

    @property
    def options(self) -> dict[str, Any]:
        """Return which features of a request the server refused."""

    def remember_options(self, options: Mapping[str, Any]) -> None:
        """Start with the refused features that an earlier batch found."""

    def record_form(self, *, is_followed: bool) -> None:
        """Record whether the answers of a batch had the form that was asked for."""

    def open(self, network: Network) -> None:
        """Make the client of the batch API."""

    def close(self) -> Awaitable[None]:
        """Close the client of the batch API."""

    def request_line(self, custom_id: str, question: prompt.Question, answer_tokens: int) -> bytes:
        """Return one request of a batch as a line of JSON."""

    async def upload(self, batch_id: str, request_lines: IO[bytes]) -> Any:
        """Upload a batch's requests, if the API has a step for that; the batch is not started yet."""

    async def create(self, batch_id: str, uploaded: Any, /) -> str | None:
        """Start the batch of what `upload` returned, and return the provider's id for it."""

    async def find(self, batch: dm.Batch, known_ids: frozenset[str]) -> str | None:
        """Return the provider's id for a batch, None if it did not arrive; `known_ids` are those of other batches.

        Raises `UnknownOutcomeError` if that cannot be decided yet.
        """

    async def look(self, provider_id: str) -> tuple[dm.BatchLook, Sequence[str]]:
        """Return the progress of a batch at its API, and the ids by which to fetch its results."""

    async def fetch(self, result_ids: Sequence[str], result_file: IO[bytes]) -> bool:
        """Write a batch's results as JSON Lines; return False if the API no longer has some of them."""

    def read_result(
        self, result: Mapping[str, Any], question: prompt.Question, options: Mapping[str, Any]
    ) -> BatchLine:
        """Read one result of a batch; `options` are the refused features when the batch was sent."""


def custom_id(batch_id: str, number: object) -> str:
    """Return the id of a batch's request: at most 64 letters, digits, dashes and underscores, as providers require."""
    return f"{batch_id.replace('-', '')}-{number}"


def batch_line(request: Mapping[str, Any]) -> bytes:
    """Return a batch's request as a line of JSON."""
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def sent_time(batch: dm.Batch) -> float:
    """Return when a batch was sent, in seconds since 1970."""
    return datetime.fromisoformat(batch.sent_at).timestamp() if batch.sent_at else time.time()


def refused_batch(message: str, spec: ClassifierSpec, address: str) -> dm.BatchLook:
    """Return the progress of a batch that the provider refused as a whole, with the error for the run."""
    provider_error = ProviderError.of(400, message, {})
    error = request_failure(provider_error, spec, address)
    if not isinstance(error, dm.RefusedError | dm.ConfigError):
        error = dm.UnavailableError(
            f'the provider refused a batch of classifier "{spec.name}" ({provider_error.summary})',
            hint=f"{dm.Step.LIMIT} N submits fewer; -v shows what it says",
        )
    return dm.BatchLook("failed", 0, error)
