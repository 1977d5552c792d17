"""Anthropic's Message Batches: all requests are sent in one body, all results come as one stream."""

import json
from collections.abc import Mapping, Sequence
from typing import IO, Any

import anthropic
import httpx2
from anthropic.types import Message
from anthropic.types.messages import MessageBatch

from triage_cli.classifiers.llm.anthropic import AnthropicProvider
from triage_cli.classifiers.llm.batch.api import CLOCK_SKEW, BatchLimits, BatchLine, batch_line, custom_id, sent_time
from triage_cli.classifiers.llm.prompt import Question
from triage_cli.classifiers.llm.provider_errors import ProviderError
from triage_cli.domain.batches import Batch, BatchLook
from triage_cli.domain.errors import UnknownOutcomeError

LONG = 900.0  # the SDK's timeout for a whole batch, in seconds
# HTTP statuses by the type of an error, because results have only the type.
STATUS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip


class AnthropicBatchApi(AnthropicProvider):
    """Implements `api.BatchApi`. A batch has no metadata, so only its results show whose it is."""

    asks_many = True
    bounded = False  # the results of a batch are large
    # The provider allows 100,000 requests and 256 MB; ours are smaller, because the body is built in memory.
    limits = BatchLimits(20_000, 60_000_000)

    def line(self, custom_id: str, question: Question, budget: int) -> bytes:
        """Return one request as a line of JSON."""
        return batch_line(
            {"custom_id": custom_id, "params": self.request(question, budget, without_schema=self._without_schema)}
        )

    async def upload(self, batch_id: str, lines: IO[bytes]) -> IO[bytes]:  # noqa: ARG002 - part of the protocol
        """Do nothing: `create` sends the requests."""
        return lines

    async def create(self, batch_id: str, uploaded: IO[bytes]) -> str:  # noqa: ARG002 - a batch has no metadata
        """Send the requests and start the batch."""
        uploaded.seek(0)
        try:
            batch = await self.sdk.messages.batches.create(
                requests=[json.loads(line) for line in uploaded], timeout=LONG
            )
        except (anthropic.AnthropicError, ValueError) as error:
            raise self.translated(error) from None
        return batch.id

    async def find(self, batch: Batch, known: frozenset[str]) -> str | None:
        """Search the newest unknown batches for one with the same number of requests and our request ids."""
        oldest, unclear = sent_time(batch) - CLOCK_SKEW, False
        try:
            async for other in self.sdk.messages.batches.list(limit=100):
                if other.created_at.timestamp() < oldest:
                    break
                if other.id in known or sum(_counts(other)) != batch.requests:
                    continue
                if other.processing_status != "ended":
                    unclear = True
                elif await self._id_prefix(other.id) == custom_id(batch.batch_id, ""):
                    return other.id
        except (anthropic.AnthropicError, httpx2.HTTPError, ValueError) as error:
            raise self.translated(error) from None
        if unclear:
            raise UnknownOutcomeError("a batch that may be ours is still under way", hint="a later run looks again")
        return None

    async def _id_prefix(self, provider_id: str) -> str:
        """Return the prefix of a request id in a batch that has ended."""
        results = await self.sdk.messages.batches.results(provider_id)
        async for row in results:
            await results.close()
            return row.custom_id.rpartition("-")[0] + "-"
        return ""

    async def look(self, provider_id: str) -> tuple[BatchLook, Sequence[str]]:
        """Return the progress of a batch."""
        try:
            batch = await self.sdk.messages.batches.retrieve(provider_id)
        except anthropic.NotFoundError as error:
            if ProviderError.of(404, error.body, {}).html:
                raise self.translated(error) from None
            return BatchLook("gone"), ()
        except (anthropic.AnthropicError, ValueError) as error:
            raise self.translated(error) from None
        if batch.processing_status != "ended":
            return BatchLook("waiting"), ()
        if not batch.results_url:
            return BatchLook("gone"), ()
        return BatchLook("ended", batch.request_counts.succeeded), (provider_id,)

    async def fetch(self, names: Sequence[str], into: IO[bytes]) -> bool:
        """Write the results; return whether they were still available."""
        try:
            for name in names:
                async for row in await self.sdk.messages.batches.results(name):
                    into.write(row.to_json(indent=None).encode() + b"\n")
        except anthropic.NotFoundError:
            return False
        except (anthropic.AnthropicError, httpx2.HTTPError, ValueError) as error:
            raise self.translated(error) from None
        return True

    def read(self, line: Mapping[str, Any], question: Question, options: Mapping[str, Any]) -> BatchLine:  # noqa: ARG002
        """Read one result: succeeded, errored, canceled or expired."""
        name, result = str(line["custom_id"]), line["result"]
        if result["type"] == "succeeded":
            return BatchLine(name, self.reply(Message.construct(**result["message"])))
        if result["type"] != "errored":
            return BatchLine(name, again=True)
        inner = (result.get("error") or {}).get("error") or {}
        complaint = ProviderError.of(STATUS.get(str(inner.get("type")), 500), inner, {})
        if self.learned(complaint, without_schema=bool(options.get("plain"))):
            return BatchLine(name, again=True)
        return BatchLine(name, error=self.failure(complaint))


def _counts(batch: MessageBatch) -> tuple[int, ...]:
    counts = batch.request_counts
    return (counts.canceled, counts.errored, counts.expired, counts.processing, counts.succeeded)
