"""Anthropic's Message Batches: all requests are sent in one body, all results come as one stream."""

import json
from collections.abc import Mapping, Sequence
from typing import IO, Any

import anthropic
import httpx2
from anthropic.types.messages import MessageBatch

from triage_cli import domain as dm
from triage_cli.extensions.llm.anthropic import AnthropicProvider
from triage_cli.extensions.llm.batch.api import CLOCK_SKEW, BatchLimits, BatchLine, batch_line, custom_id, sent_time
from triage_cli.extensions.llm.prompt import Question
from triage_cli.extensions.llm.provider_errors import ProviderError

_BATCH_TIMEOUT = 900.0  # seconds that Anthropic's SDK waits for a whole batch to be sent
# HTTP statuses by the type of an error, because the results of a batch have only the type.
ERROR_STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip


class AnthropicBatchApi(AnthropicProvider):
    """Implements `BatchApi` with Message Batches. These have no metadata, so only the results show whose one is."""

    sends_batches = True
    # Anthropic allows 100,000 requests and 256 MB; our batches are smaller, because the body is built in memory.
    limits = BatchLimits(20_000, 60_000_000)

    def request_line(self, custom_id: str, question: Question, answer_tokens: int) -> bytes:
        params = self.message_request(question, answer_tokens)
        return batch_line({"custom_id": custom_id, "params": params})

    async def upload(self, batch_id: str, request_lines: IO[bytes]) -> IO[bytes]:  # noqa: ARG002 - of the protocol
        """Do nothing: `create` sends all requests of a message batch in its body."""
        return request_lines

    async def create(self, batch_id: str, request_lines: IO[bytes]) -> str:  # noqa: ARG002 - it takes no metadata
        """Send the requests in one body, which starts the message batch."""
        request_lines.seek(0)
        try:
            message_batch = await self.sdk.messages.batches.create(
                requests=[json.loads(line) for line in request_lines], timeout=_BATCH_TIMEOUT
            )
        except (anthropic.AnthropicError, ValueError) as error:
            raise self.translated_error(error) from None
        return message_batch.id

    async def find(self, batch: dm.Batch, known_ids: frozenset[str]) -> str | None:
        """Search the newest unknown message batches for one with as many requests and our request ids."""
        oldest, is_unclear = sent_time(batch) - CLOCK_SKEW, False
        try:
            async for other in self.sdk.messages.batches.list(limit=100):
                if other.created_at.timestamp() < oldest:
                    break
                if other.id in known_ids or sum(_request_counts(other)) != batch.requests:
                    continue
                if other.processing_status != "ended":
                    is_unclear = True
                elif await self._id_prefix(other.id) == custom_id(batch.batch_id, ""):
                    return other.id
        except (anthropic.AnthropicError, httpx2.HTTPError, ValueError) as error:
            raise self.translated_error(error) from None
        if is_unclear:
            raise dm.UnknownOutcomeError("a batch that may be ours is still under way", hint="a later run looks again")
        return None

    async def _id_prefix(self, provider_id: str) -> str:
        """Return the prefix of a request id in a message batch that has ended."""
        results = await self.sdk.messages.batches.results(provider_id)
        async for result in results:
            await results.close()
            return result.custom_id.rpartition("-")[0] + "-"
        return ""

    async def look(self, provider_id: str) -> tuple[dm.BatchLook, Sequence[str]]:
        try:
            message_batch = await self.sdk.messages.batches.retrieve(provider_id)
        except anthropic.NotFoundError as error:
            if ProviderError.of(404, error.body, {}).html:
                raise self.translated_error(error) from None
            return dm.BatchLook("gone"), ()
        except (anthropic.AnthropicError, ValueError) as error:
            raise self.translated_error(error) from None
        if message_batch.processing_status != "ended":
            return dm.BatchLook("waiting"), ()
        if not message_batch.results_url:
            return dm.BatchLook("gone"), ()
        return dm.BatchLook("ended", message_batch.request_counts.succeeded), (provider_id,)

    async def fetch(self, result_ids: Sequence[str], result_file: IO[bytes]) -> bool:
        try:
            for provider_id in result_ids:
                async for result in await self.sdk.messages.batches.results(provider_id):
                    result_file.write(dm.writable_text(result.to_json(indent=None)).encode() + b"\n")
        except anthropic.NotFoundError:
            return False
        except (anthropic.AnthropicError, httpx2.HTTPError, ValueError) as error:
            raise self.translated_error(error) from None
        return True

    def read_result(self, result: Mapping[str, Any], question: Question, options: Mapping[str, Any]) -> BatchLine:  # noqa: ARG002
        request_id, outcome = str(result["custom_id"]), result["result"]
        if outcome["type"] == "succeeded":
            return BatchLine(request_id, self.message_reply(outcome["message"]))
        if outcome["type"] != "errored":
            return BatchLine(request_id, again=True)
        error = (outcome.get("error") or {}).get("error") or {}
        provider_error = ProviderError.of(ERROR_STATUSES.get(str(error.get("type")), 500), error, {})
        if self.leave_out_refused(provider_error, self.features_without(options)):
            return BatchLine(request_id, again=True)
        return BatchLine(request_id, error=self.request_failure(provider_error))


def _request_counts(message_batch: MessageBatch) -> tuple[int, ...]:
    counts = message_batch.request_counts
    return (counts.canceled, counts.errored, counts.expired, counts.processing, counts.succeeded)
