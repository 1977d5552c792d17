"""The body of a bulk upload: received whole, then read as drafts of tickets."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, NamedTuple, cast

from fastapi import Request
from starlette.requests import ClientDisconnect

from triage_cli.api.dependencies import media_type, other_type_error
from triage_cli.api.schemas import bulk
from triage_cli.client import wire_drafts, wire_format
from triage_cli.domain import (
    PRIORITIES,
    WHOLE,
    InputPart,
    Rejected,
    RowError,
    TicketDraft,
    TooLargeError,
    UsageError,
    from_json,
)
from triage_cli.readers import ReadOptions, dates, open_table

BODY_IN_MEMORY = 1 << 20  # bytes of a body that are kept in memory; a larger one is kept on disk


class UploadedBody(NamedTuple):
    """An uploaded body: its file, its bytes, the hash of the request, and its media type."""

    file: BinaryIO
    size: int
    hash: str
    body_type: str

    @property
    def is_of_client(self) -> bool:
        """Return whether our own client has read and uploaded the drafts."""
        return self.body_type == wire_drafts.DRAFTS_MEDIA_TYPE


async def receive_body(request: Request) -> UploadedBody:
    """Receive the whole uploaded body before anything is answered: a client sends all before it reads."""
    body_type = media_type(request.headers)
    if body_type not in (*bulk.TABLE_TYPES, wire_drafts.DRAFTS_MEDIA_TYPE):
        raise other_type_error(body_type, bulk.TABLE_TYPES)
    body_file = cast("BinaryIO", SpooledTemporaryFile(BODY_IN_MEMORY))  # noqa: SIM115 - closed by whoever reads it
    request_hash = hashlib.sha256(f"{request.url.path}?{request.url.query}\n".encode())
    try:
        async for body_piece in request.stream():
            request_hash.update(body_piece)
            body_file.write(body_piece)
    except BaseException as error:
        body_file.close()
        if isinstance(error, ClientDisconnect):  # only the log and the metrics see this
            raise UsageError("the body broke off", hint="send it again") from error
        raise
    body_size = body_file.tell()
    body_file.seek(0)
    return UploadedBody(body_file, body_size, request_hash.hexdigest(), body_type)


def drafts_of_body(
    uploaded_body: UploadedBody, query: bulk.BatchQuery
) -> tuple[InputPart, Iterator[TicketDraft | Rejected]]:
    """Return the counts of earlier parts of an input, and the drafts of an uploaded body.

    Raises `InputError` if the body is no table.
    """
    if uploaded_body.is_of_client:
        return _drafts_of_client(uploaded_body.file)
    if not uploaded_body.size:
        return WHOLE, iter(())
    options = ReadOptions(source=query.source, format=bulk.TABLE_TYPES[uploaded_body.body_type])
    return WHOLE, open_table(uploaded_body.file, "the body", options).rows


def _drafts_of_client(body_file: BinaryIO) -> tuple[InputPart, Iterator[TicketDraft | Rejected]]:
    """Return the counts of a body's first line, and the drafts that our own client has read and uploaded."""
    try:
        earlier_part = wire_drafts.part_of(_json_object(body_file.readline(wire_format.LONGEST_LINE)))
    except wire_format.ProtocolError as error:
        raise UsageError(f"{error}", hint="send a table, or use this version's client") from error

    def uploaded_drafts() -> Iterator[TicketDraft | Rejected]:
        while body_line := body_file.readline(wire_format.LONGEST_LINE):
            try:
                yield _checked_draft(wire_drafts.draft_of(_json_object(body_line))._replace(size=len(body_line)))
            except wire_format.ProtocolError as error:
                raise UsageError(f"{error}", hint="send a table, or use this version's client") from error

    return earlier_part, uploaded_drafts()


def _json_object(body_line: bytes) -> Mapping[str, Any]:
    try:
        json_object = from_json(body_line.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError("a line is no JSON", hint="send one object a line") from error
    if not isinstance(json_object, dict):
        raise UsageError("a line is no JSON object", hint="send one object a line")
    return json_object


def _checked_draft(draft: TicketDraft) -> TicketDraft | Rejected:
    """Return an uploaded draft after the checks that reading a table would have made."""
    subject, description = (draft.subject or "").strip() or None, (draft.description or "").strip() or None
    if not (subject or description):
        return Rejected(draft.row, draft.line, RowError(f"{draft.place}: neither subject nor description"))
    if draft.priority not in (None, *PRIORITIES):
        raise wire_format.ProtocolError("a draft has a priority that is none")
    if draft.created_at is not None and dates.moment(draft.created_at) != draft.created_at:
        raise wire_format.ProtocolError("a draft has a time that is none")
    return draft._replace(subject=subject, description=description)


def drafts_within_limit(drafts: Iterable[TicketDraft | Rejected], most_rows: int) -> Iterator[TicketDraft | Rejected]:
    """Yield the drafts of an uploaded body up to the limit of rows in one request."""
    for number, draft in enumerate(drafts):
        if number == most_rows:
            hint = "those were stored; send the rest in requests of their own"
            raise TooLargeError(f"the body has more than {most_rows:,} rows", hint=hint)
        yield draft
