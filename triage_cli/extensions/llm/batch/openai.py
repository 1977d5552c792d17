"""OpenAI's Batch API: a file of requests is uploaded, a file of answers and one of errors are downloaded."""

from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal

import httpx2
import openai

from triage_cli import domain as dm
from triage_cli.extensions.llm.batch.api import (
    CLOCK_SKEW,
    BatchLimits,
    BatchLine,
    batch_line,
    refused_batch,
    sent_time,
)
from triage_cli.extensions.llm.openai import OPENAI_URL, OpenAIProvider
from triage_cli.extensions.llm.prompt import Question
from triage_cli.extensions.llm.provider_errors import ProviderError, shown_names

ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
METADATA_KEY = "triage_batch"  # in the metadata of OpenAI's batch, by which it is found again
FILE_TIMEOUT = 900.0  # seconds that OpenAI's SDK waits for a whole file
RESULTS_KEPT = 30 * 24 * 3600  # seconds for which OpenAI keeps a file of results; one of requests, a tenth of that
ENDED_STATUSES = ("completed", "expired", "cancelled")
UNPROCESSED_CODES = ("batch_expired", "batch_cancelled")


class OpenAIBatchApi(OpenAIProvider):
    """Implements `BatchApi` with files of OpenAI's. A batch is found again by its metadata."""

    sends_batches = True
    limits = BatchLimits(50_000, 190_000_000)  # OpenAI allows 200 MB

    def request_line(self, custom_id: str, question: Question, answer_tokens: int) -> bytes:
        request_body = self.completion_request(question, answer_tokens)
        return batch_line({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": request_body})

    async def upload(self, batch_id: str, request_lines: IO[bytes]) -> str:
        """Upload the file of requests; OpenAI drops an unused one."""
        request_lines.seek(0)
        try:
            file = await self.sdk.files.create(
                file=(f"triage-{batch_id}.jsonl", request_lines),
                purpose="batch",
                timeout=FILE_TIMEOUT,
                expires_after={"anchor": "created_at", "seconds": RESULTS_KEPT // 10},
            )
        except (openai.OpenAIError, ValueError) as error:
            raise self._openai_batch_error(error) from None
        return file.id

    async def create(self, batch_id: str, input_file_id: str) -> str:
        try:
            openai_batch = await self.sdk.batches.create(
                input_file_id=input_file_id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={METADATA_KEY: batch_id},
                output_expires_after={"anchor": "created_at", "seconds": RESULTS_KEPT},
            )
        except (openai.OpenAIError, ValueError) as error:
            raise self._openai_batch_error(error) from None
        return openai_batch.id

    async def find(self, batch: dm.Batch, known_ids: frozenset[str]) -> str | None:  # noqa: ARG002 - the metadata suffices
        """Search OpenAI's newest batches for our metadata."""
        oldest = sent_time(batch) - CLOCK_SKEW
        try:
            async for other in self.sdk.batches.list(limit=100):
                if (other.metadata or {}).get(METADATA_KEY) == batch.batch_id:
                    return other.id
                if (other.created_at or 0) < oldest:
                    break
        except (openai.OpenAIError, ValueError) as error:
            raise self._openai_batch_error(error) from None
        return None

    async def look(self, provider_id: str) -> tuple[dm.BatchLook, Sequence[str]]:
        try:
            openai_batch = await self.sdk.batches.retrieve(provider_id)
        except openai.NotFoundError as error:
            if ProviderError.of(404, error.body, {}).html:
                raise self.translated_error(error) from None
            return dm.BatchLook("gone"), ()
        except (openai.OpenAIError, ValueError) as error:
            raise self._openai_batch_error(error) from None
        if openai_batch.status == "failed":
            batch_errors = (openai_batch.errors.data if openai_batch.errors else None) or ()
            messages = [f"{error.code or ''} {error.message or ''}" for error in batch_errors[:3]]
            return refused_batch(self.without_key("; ".join(messages)), self._spec, self.address), ()
        if openai_batch.status not in ENDED_STATUSES:
            return dm.BatchLook("waiting"), ()
        answered = openai_batch.request_counts.completed if openai_batch.request_counts else 1
        file_ids = (openai_batch.output_file_id, openai_batch.error_file_id)
        return dm.BatchLook("ended", answered), [file_id for file_id in file_ids if file_id]

    async def fetch(self, result_ids: Sequence[str], result_file: IO[bytes]) -> bool:
        are_available = True
        for file_id in result_ids:
            try:
                async with self.sdk.files.with_streaming_response.content(file_id, timeout=FILE_TIMEOUT) as answer:
                    async for block in answer.iter_bytes():
                        result_file.write(block)
                result_file.write(b"\n")
            except openai.NotFoundError:
                are_available = False
            except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
                raise self._openai_batch_error(error) from None
        return are_available

    def read_result(self, result: Mapping[str, Any], question: Question, options: Mapping[str, Any]) -> BatchLine:
        request_id, response, error = str(result["custom_id"]), result.get("response"), result.get("error")
        if not isinstance(response, Mapping):
            code = str(error.get("code")) if isinstance(error, Mapping) else ""
            again = code in UNPROCESSED_CODES
            return BatchLine(
                request_id, error=dm.TemporaryError(" ".join(("the request failed", *shown_names(code)))), again=again
            )
        status, body = int(response.get("status_code") or 0), response.get("body")
        if status == 200 and isinstance(body, Mapping):
            try:
                return BatchLine(request_id, self.completion_reply(body, question))
            except dm.TriageError as failed:
                return BatchLine(request_id, error=failed)
        provider_error = ProviderError.of(status, body, {})
        if self.leave_out_refused(provider_error, int(options.get("form", 0)), frozenset(options.get("without", ()))):
            return BatchLine(request_id, again=True)
        return BatchLine(request_id, error=self.request_failure(provider_error))

    def _openai_batch_error(self, error: Exception) -> dm.TriageError:
        """Translate an error of OpenAI's SDK; a compatible server without this address has no batches."""
        if isinstance(error, openai.NotFoundError) and self.address != OPENAI_URL:
            return dm.ConfigError(f"{self.address} seems to have no batches (404)", hint="leave out --batch")
        return self.translated_error(error)
