"""What a provider's batch API must offer, and what the modules of all providers share."""

import json
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import IO, Any, NamedTuple, Protocol

from triage_cli.classifiers.llm import prompt
from triage_cli.classifiers.llm.provider import ProviderError, Reply, failure
from triage_cli.config import ClassifierSpec
from triage_cli.domain.batches import Batch, BatchLook
from triage_cli.domain.errors import ConfigError, RefusedError, TriageError, UnavailableError
from triage_cli.runtime.network import Network

SKEW = 24 * 3600  # seconds by which two clocks may differ


class Line(NamedTuple):
    """One request's end, as a provider's file of results has it; `again`: it was never answered, nor its fault."""

    custom_id: str
    reply: Reply | None = None
    error: TriageError | None = None
    again: bool = False


class Limits(NamedTuple):
    """What one batch may hold."""

    requests: int
    bytes: int


class Wire(Protocol):
    """One provider's batch API; awaitables raise what `Provider.ask` raises."""

    address: str
    limits: Limits

    @property
    def options(self) -> dict[str, Any]:
        """Return what the server was found to object to."""

    def remember(self, options: Mapping[str, Any]) -> None:
        """Begin with what was found earlier."""

    def heeded(self, *, form: bool) -> None:
        """Take note whether answers had the form that was asked for."""

    def open(self, network: Network) -> None:
        """Make the client."""

    def close(self) -> Awaitable[None]:
        """Take the client away."""

    def line(self, custom_id: str, question: prompt.Question, budget: int) -> bytes:
        """Return one request as a line of JSON."""

    async def upload(self, batch_id: str, lines: IO[bytes]) -> Any:
        """Bring the requests to the provider, if that is a step of its own; nothing is asked yet."""

    async def create(self, batch_id: str, uploaded: Any) -> str | None:
        """Have them answered, and return the provider's name for the batch."""

    async def find(self, batch: Batch, known: frozenset[str]) -> str | None:
        """Return the provider's name for a batch of ours, None if it has none; `known` are those of others.

        Raises `UnknownOutcomeError` where it cannot tell yet.
        """

    async def look(self, provider_id: str) -> tuple[BatchLook, Sequence[str]]:
        """Return how far a batch is, and what to fetch its results by."""

    async def fetch(self, names: Sequence[str], into: IO[bytes]) -> bool:
        """Write results as lines of JSON; return False where some of them are no longer kept."""

    def read(self, line: Mapping[str, Any], question: prompt.Question, options: Mapping[str, Any]) -> Line:
        """Read one result; `options` are those that the batch was sent with."""


def custom_id(batch_id: str, number: object) -> str:
    """Return the name of a request: at most 64 letters, digits, dashes and underscores, as providers ask."""
    return f"{batch_id.replace('-', '')}-{number}"


def as_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of JSON."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def since(batch: Batch) -> float:
    """Return when a batch was sent, in seconds since 1970."""
    return datetime.fromisoformat(batch.sent_at).timestamp() if batch.sent_at else time.time()


def refused(message: str, spec: ClassifierSpec, address: str) -> BatchLook:
    """Return the look of a batch that the provider refused as a whole, and what that means for the run."""
    complaint = ProviderError.of(400, message, {})
    error = failure(complaint, spec, address)
    if not isinstance(error, RefusedError | ConfigError):
        error = UnavailableError(
            f'the provider refused a batch of classifier "{spec.name}": {complaint.summary}',
            hint="--limit N submits fewer",
        )
    return BatchLook("failed", 0, error)
