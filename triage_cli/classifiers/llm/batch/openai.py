"""OpenAI's Batch API: a file of requests is uploaded, a file of answers and one of errors are downloaded."""

from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal

import httpx2
import openai
from openai.types.chat import ChatCompletion

from triage_cli.classifiers.llm.batch.api import (
    CLOCK_SKEW,
    BatchLimits,
    BatchLine,
    batch_line,
    refused_batch,
    sent_time,
)
from triage_cli.classifiers.llm.openai import HOME, OpenAIProvider
from triage_cli.classifiers.llm.prompt import Question
from triage_cli.classifiers.llm.provider_errors import ProviderError
from triage_cli.domain.batches import Batch, BatchLook
from triage_cli.domain.errors import ConfigError, TemporaryError, TriageError

ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MARK = "triage_batch"  # the key in a batch's metadata by which it is found again
LONG = 900.0  # the SDK's timeout for a whole file, in seconds
KEPT = 30 * 24 * 3600  # seconds for which the provider keeps results; requests, a tenth of that
ENDS = ("completed", "expired", "cancelled")
AGAIN = ("batch_expired", "batch_cancelled")


class OpenAIBatchApi(OpenAIProvider):
    """Implements `api.BatchApi`. A batch is found again by its metadata."""

    asks_many = True
    bounded = False  # a file of results is large
    limits = BatchLimits(50_000, 190_000_000)  # the provider allows 200 MB

    def line(self, custom_id: str, question: Question, budget: int) -> bytes:
        """Return one request as a line of JSON."""
        body = self.request(question, budget)
        return batch_line({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body})

    async def upload(self, batch_id: str, lines: IO[bytes]) -> str:
        """Upload the file of requests; an unused one expires."""
        lines.seek(0)
        try:
            file = await self.sdk.files.create(
                file=(f"triage-{batch_id}.jsonl", lines), purpose="batch", timeout=LONG,
                expires_after={"anchor": "created_at", "seconds": KEPT // 10},
            )  # fmt: skip
        except (openai.OpenAIError, ValueError) as error:
            raise self._batch_error(error) from None
        return file.id

    async def create(self, batch_id: str, uploaded: str) -> str:
        """Start the batch."""
        try:
            batch = await self.sdk.batches.create(
                input_file_id=uploaded, endpoint=ENDPOINT, completion_window="24h", metadata={MARK: batch_id},
                output_expires_after={"anchor": "created_at", "seconds": KEPT},
            )  # fmt: skip
        except (openai.OpenAIError, ValueError) as error:
            raise self._batch_error(error) from None
        return batch.id

    async def find(self, batch: Batch, known: frozenset[str]) -> str | None:  # noqa: ARG002 - the metadata suffices
        """Search the provider's newest batches for our metadata."""
        oldest = sent_time(batch) - CLOCK_SKEW
        try:
            async for other in self.sdk.batches.list(limit=100):
                if (other.metadata or {}).get(MARK) == batch.batch_id:
                    return other.id
                if (other.created_at or 0) < oldest:
                    break
        except (openai.OpenAIError, ValueError) as error:
            raise self._batch_error(error) from None
        return None

    async def look(self, provider_id: str) -> tuple[BatchLook, Sequence[str]]:
        """Return the progress of a batch, and the files of its results."""
        try:
            batch = await self.sdk.batches.retrieve(provider_id)
        except openai.NotFoundError as error:
            if ProviderError.of(404, error.body, {}).html:
                raise self.translated(error) from None
            return BatchLook("gone"), ()
        except (openai.OpenAIError, ValueError) as error:
            raise self._batch_error(error) from None
        if batch.status == "failed":
            texts = [f"{e.code or ''} {e.message or ''}" for e in (batch.errors.data if batch.errors else None) or ()]
            return refused_batch(self.masked("; ".join(texts[:3])), self._spec, self.address), ()
        if batch.status not in ENDS:
            return BatchLook("waiting"), ()
        answered = batch.request_counts.completed if batch.request_counts else 1
        return BatchLook("ended", answered), [name for name in (batch.output_file_id, batch.error_file_id) if name]

    async def fetch(self, names: Sequence[str], into: IO[bytes]) -> bool:
        """Write both files of results; return whether they were still available."""
        complete = True
        for name in names:
            try:
                async with self.sdk.files.with_streaming_response.content(name, timeout=LONG) as answer:
                    async for block in answer.iter_bytes():
                        into.write(block)
                into.write(b"\n")
            except openai.NotFoundError:
                complete = False
            except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
                raise self._batch_error(error) from None
        return complete

    def read(self, line: Mapping[str, Any], question: Question, options: Mapping[str, Any]) -> BatchLine:
        """Read one result: a response with its status, or an error of the batch itself."""
        name, response, error = str(line["custom_id"]), line.get("response"), line.get("error")
        if not isinstance(response, Mapping):
            code = str(error.get("code")) if isinstance(error, Mapping) else ""
            return BatchLine(name, error=TemporaryError(f"the request failed ({code})"), again=code in AGAIN)
        status, body = int(response.get("status_code") or 0), response.get("body")
        if status == 200 and isinstance(body, Mapping):
            try:
                return BatchLine(name, self.reply(ChatCompletion.construct(**body), question))
            except TriageError as failed:
                return BatchLine(name, error=failed)
        complaint = ProviderError.of(status, body, {})
        if self.learned(complaint, int(options.get("form", 0)), frozenset(options.get("without", ()))):
            return BatchLine(name, again=True)
        return BatchLine(name, error=self.failure(complaint))

    def _batch_error(self, error: Exception) -> TriageError:
        """Translate an error; a server without this address has no batches."""
        if isinstance(error, openai.NotFoundError) and self.address != HOME:
            return ConfigError(f"{self.address} seems to have no batches (404)", hint="leave out --batch")
        return self.translated(error)
