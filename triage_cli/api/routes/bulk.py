"""Endpoints for many tickets: drafts, selections and verdicts in, outcomes out as JSON lines."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, BinaryIO, NamedTuple, cast

from fastapi import Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from triage_cli.api import problems
from triage_cli.api.dependencies import (
    CallerHere,
    CurrentServer,
    TriageHere,
    new_router,
)
from triage_cli.api.idempotency import BulkRequestLock, key_header
from triage_cli.api.media_types import json_only, media_type
from triage_cli.api.ndjson import NdjsonResponse
from triage_cli.api.routes.queries import moment
from triage_cli.api.schemas import bulk as shapes
from triage_cli.api.server_log import error_log
from triage_cli.api.server_state import ServerState
from triage_cli.client import wire_errors, wire_format
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.deliveries import RoutePlan
from triage_cli.domain.errors import MediaTypeError, RowError, TooLargeError, TriageError, UnavailableError, UsageError
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.reclassification import ReclassifyPlan
from triage_cli.domain.runs import WHOLE, InputPart
from triage_cli.domain.serialization import compact, from_json
from triage_cli.domain.tickets import PRIORITIES, Rejected, Selection, TicketDraft, VerdictDraft
from triage_cli.ports.triage import Triage
from triage_cli.readers import ReadOptions, dates, open_table
from triage_cli.service.local_triage import LocalTriage

router = new_router("bulk")

# Bytes of a body that are kept in memory; a larger one is kept on disk.
IN_MEMORY = 1 << 20
# What an endpoint tells FastAPI that answers by JSON lines, and one that reads JSON alone.
AS_LINES: dict[str, Any] = {"status_code": 200, "response_class": NdjsonResponse, "responses": shapes.LINES}
OF_JSON = [Depends(json_only)]


class UploadedBody(NamedTuple):
    """A complete body: its file, its bytes, the hash of the request, and its media type."""

    file: BinaryIO
    size: int
    hash: str
    kind: str


@router.post(
    "/tickets/batch", **AS_LINES, openapi_extra={"requestBody": {"required": True, "content": shapes.TABLE_BODIES}}
)
async def batch(
    request: Request,
    server_state: CurrentServer,
    triage: TriageHere,
    caller: CallerHere,
    query: Annotated[shapes.BatchQuery, Query()],
    idempotency_key: Annotated[
        str | None, key_header("while a request runs, others with the same key are refused")
    ] = None,
) -> NdjsonResponse:
    """Store many tickets, and with `do=classify,route` also classify and route them.

    The body is a table with a header, or one JSON object a line; with `application/octet-stream` the format is
    detected. Without a body there are no tickets. A repeated request changes nothing: a ticket is recognised by its
    external id, else by its content and its occurrence number.
    """
    uploaded = await _spooled(request)
    with ExitStack() as undo_stack:
        undo_stack.callback(uploaded.file.close)
        server_state.stream_slots.take()
        undo_stack.callback(server_state.stream_slots.leave)
        lock = BulkRequestLock(server_state, caller.caller_id, idempotency_key, uploaded.hash)
        await run_in_threadpool(lock.take)
        before, drafts = await run_in_threadpool(_drafts, uploaded, query)
        undo_stack.pop_all()
    plan = ClassifyPlan(query.classifier, False, query.workers, query.max_cost, query.max_wait, query.deadline)
    part = before._replace(spent=query.spent_before, parcel=lock.name)
    within = _within(drafts, server_state.limits.rows)
    outcomes: Iterable[Outcome[Any]] = triage.run(within, plan, part) if query.do else triage.create(within, part)

    def made() -> Iterator[str]:
        with uploaded.file, lock:
            yield from _answer_lines(server_state, triage, outcomes)

    return NdjsonResponse(server_state.stream_slots, made, triage.stop, lock.renew)


@router.post("/classify", **AS_LINES, dependencies=OF_JSON)
def classify_many(
    server_state: CurrentServer, triage: TriageHere, body: shapes.ClassifyManyIn | None = None
) -> NdjsonResponse:
    """Ask a classifier about the selected tickets, or about all that are new or failed, urgent ones first."""
    body = body or shapes.ClassifyManyIn()
    return streamed(
        server_state, triage, triage.classify(_selected(triage, body.selection), ClassifyPlan(**dict(body.plan)))
    )


@router.post("/route", **AS_LINES, dependencies=OF_JSON)
def route_many(
    server_state: CurrentServer, triage: TriageHere, body: shapes.RouteManyIn | None = None
) -> NdjsonResponse:
    """Route the selected tickets by the routing map, or all classified ones and deliveries that are due."""
    body = body or shapes.RouteManyIn()
    return streamed(server_state, triage, triage.route(_selected(triage, body.selection), RoutePlan(**dict(body.plan))))


@router.post("/reclassify", **AS_LINES, dependencies=OF_JSON)
def reclassify_many(
    server_state: CurrentServer, triage: TriageHere, body: shapes.ReclassifyManyIn | None = None
) -> NdjsonResponse:
    """Ask again about tickets that a machine decided. The answers are proposals, or are all applied, or none.

    A line's `flip` compares the present category with the new answer.
    """
    body = body or shapes.ReclassifyManyIn()
    asked = dict(body.plan) | {"classify": ClassifyPlan(**dict(body.plan.classify))}
    return streamed(server_state, triage, triage.reclassify(_selected(triage, body.selection), ReclassifyPlan(**asked)))


@router.post("/verdicts", **AS_LINES, dependencies=OF_JSON)
def judge_many(body: shapes.VerdictsIn, server_state: CurrentServer, triage: TriageHere) -> NdjsonResponse:
    """Set people's categories, or remove them; of several for one ticket the last one holds."""
    drafts = [VerdictDraft(row, v.name, v.category, v.note, v.shown, v.source) for row, v in enumerate(body.verdicts)]
    return streamed(server_state, triage, triage.give_verdicts(drafts))


def _selected(triage: Triage, asked: shapes.SelectionIn) -> Selection:
    """Return the selection; its ids may be any ticket names. Raises `NotFoundError` or `AmbiguousError`."""
    named = None if asked.ids is None else tuple(dict.fromkeys(triage.resolve(name) for name in asked.ids))
    since = None if asked.since is None else moment(asked.since)
    plain = asked.model_dump(include={"customer_id", "priority", "classifier", "search", "limit"})
    categories = () if asked.category is None else (asked.category,)
    return Selection(named, frozenset(asked.statuses), categories, since=since, **plain)


def streamed(server_state: ServerState, triage: LocalTriage, outcomes: Iterable[Outcome[Any]]) -> NdjsonResponse:
    """Return the response with a line for each outcome. Raises `OverloadedError`."""
    server_state.stream_slots.take()
    return NdjsonResponse(
        server_state.stream_slots, lambda: _answer_lines(server_state, triage, outcomes), triage.stop, lambda: None
    )


# Requests


async def _spooled(request: Request) -> UploadedBody:
    """Receive the whole body before anything is answered: a client sends all before it reads."""
    kind = media_type(request.headers)
    if kind not in (*shapes.TABLES, wire_format.PARCEL):
        raise MediaTypeError(f'a body of type "{kind}" is not read here', hint=f"send {' or '.join(shapes.TABLES)}")
    file = cast("BinaryIO", SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - closed by whoever reads it
    digest = hashlib.sha256(f"{request.url.path}?{request.url.query}\n".encode())
    try:
        async for piece in request.stream():
            digest.update(piece)
            file.write(piece)
    except BaseException as error:
        file.close()
        if isinstance(error, ClientDisconnect):  # only the log and the metrics see this
            raise UsageError("the body broke off", hint="send it again") from error
        raise
    size = file.tell()
    file.seek(0)
    return UploadedBody(file, size, digest.hexdigest(), kind)


def _drafts(uploaded: UploadedBody, query: shapes.BatchQuery) -> tuple[InputPart, Iterator[TicketDraft | Rejected]]:
    """Return the counts of earlier chunks, and the drafts of a body. Raises `InputError` if it is no table."""
    if uploaded.kind == wire_format.PARCEL:
        return _drafted(uploaded.file)
    if not uploaded.size:
        return WHOLE, iter(())
    options = ReadOptions(source=query.source, format=shapes.TABLES[uploaded.kind])
    return WHOLE, open_table(uploaded.file, "the body", options).rows


def _drafted(file: BinaryIO) -> tuple[InputPart, Iterator[TicketDraft | Rejected]]:
    """Return the counts of the first line, and drafts as the command line has read them."""
    met = _record(file.readline(wire_format.LONGEST)).get("met", [0, 0])
    if not (isinstance(met, list) and len(met) == 2 and all(type(n) is int and 0 <= n < 1 << 53 for n in met)):
        raise UsageError("the first line is not what was agreed on", hint="send a table, or use this version's client")

    def read() -> Iterator[TicketDraft | Rejected]:
        while line := file.readline(wire_format.LONGEST):
            try:
                yield _checked(wire_format.draft_of(_record(line))._replace(size=len(line)))
            except wire_errors.ProtocolError as error:
                raise UsageError(f"{error}", hint="send a table, or use this version's client") from error

    return InputPart(*met), read()


def _record(line: bytes) -> Mapping[str, Any]:
    try:
        record = from_json(line.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError("a line is no JSON", hint="send one object a line") from error
    if not isinstance(record, dict):
        raise UsageError("a line is no JSON object", hint="send one object a line")
    return record


def _checked(draft: TicketDraft) -> TicketDraft | Rejected:
    """Return a draft with the checks that reading a table would have made."""
    subject, description = (draft.subject or "").strip() or None, (draft.description or "").strip() or None
    if not (subject or description):
        return Rejected(draft.row, draft.line, RowError(f"{draft.place}: neither subject nor description"))
    if draft.priority not in (None, *PRIORITIES):
        raise wire_errors.ProtocolError("a draft has a priority that is none")
    if draft.created_at is not None and dates.moment(draft.created_at) != draft.created_at:
        raise wire_errors.ProtocolError("a draft has a time that is none")
    return draft._replace(subject=subject, description=description)


def _within(drafts: Iterable[TicketDraft | Rejected], most: int) -> Iterator[TicketDraft | Rejected]:
    """Yield drafts up to the limit of one request."""
    for number, draft in enumerate(drafts):
        if number == most:
            hint = "those were stored; send the rest in requests of their own"
            raise TooLargeError(f"the body has more than {most:,} rows", hint=hint)
        yield draft


# Responses


def _answer_lines(server_state: ServerState, triage: LocalTriage, outcomes: Iterable[Outcome[Any]]) -> Iterator[str]:
    """Yield a line for each outcome, then exactly one `end` or `problem`."""
    counts: Counter[str] = Counter()
    try:
        for outcome in outcomes:
            counts[outcome.action] += 1
            yield wire_format.outcome_line(outcome) + "\n"
        _check(server_state)
    except TriageError as error:
        problem = problems.problem_details(error)
    except Exception:  # noqa: BLE001 - the stream's status was sent long ago
        error_log.exception("a bulk request failed")
        hint = "run it again, and look into the server's log"
        problem = problems.problem_details(TriageError("something unexpected went wrong on the server", hint=hint))
    else:
        yield compact({"end": counts, "cost_usd": triage.paid, "met": triage.met}) + "\n"
        return
    yield compact({"problem": problem, "cost_usd": triage.paid}) + "\n"


def _check(server_state: ServerState) -> None:
    """Raise if the work ended because the server is stopping."""
    if server_state.stopping:
        raise UnavailableError("the server is shutting down", hint="what was done is stored; send the same again")
