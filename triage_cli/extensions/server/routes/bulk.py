"""Endpoints for many tickets: drafts, selections and verdicts in, outcomes out as JSON lines.

A dry run previews what would be done: nothing is stored, sent or paid.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, BinaryIO, NamedTuple, cast

from fastapi import Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from triage_cli import domain as dm
from triage_cli.extensions.server import problems
from triage_cli.extensions.server.dependencies import (
    CurrentAnalysis,
    CurrentCaller,
    CurrentServer,
    CurrentTriage,
    json_only,
    media_type,
    new_router,
    other_type_error,
)
from triage_cli.extensions.server.idempotency import BulkRequestLock, key_header
from triage_cli.extensions.server.ndjson import NdjsonResponse
from triage_cli.extensions.server.problems import spoken
from triage_cli.extensions.server.routes.queries import query_time
from triage_cli.extensions.server.schemas import bulk, classification, ticket_selection
from triage_cli.extensions.server.server_log import error_log, request_warnings
from triage_cli.extensions.server.server_state import ServerState
from triage_cli.ports import Triage, wire_format
from triage_cli.readers import ReadOptions, dates, open_table
from triage_cli.service import CategoryNames, LocalTriage, import_dry_run
from triage_cli.wiring import LocalAnalysis

OTHER_VERSION = "the server is of another version, whose answer this program would not understand; nothing was stored"
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
        return self.body_type == wire_format.DRAFTS_MEDIA_TYPE


async def receive_body(request: Request) -> UploadedBody:
    """Receive the whole uploaded body before anything is answered: a client sends all before it reads."""
    body_type = media_type(request.headers)
    is_drafts = body_type.startswith(wire_format.ANY_DRAFTS)
    if body_type not in bulk.TABLE_TYPES and not is_drafts:
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
            raise dm.UsageError("the body broke off", hint="send it again") from error
        raise
    if is_drafts and body_type != wire_format.DRAFTS_MEDIA_TYPE:
        body_file.close()
        raise dm.MediaTypeError(OTHER_VERSION, hint="upgrade triage where this was typed")
    body_size = body_file.tell()
    body_file.seek(0)
    return UploadedBody(body_file, body_size, request_hash.hexdigest(), body_type)


def drafts_of_body(
    uploaded_body: UploadedBody, query: bulk.BatchQuery, labels: tuple[str, ...]
) -> tuple[dm.InputPart, Iterator[dm.TicketDraft | dm.Rejected]]:
    """Return the counts of earlier parts of an input, and the drafts of an uploaded body.

    The columns `labels` hold what people answered to questions. Raises `InputError` if the body is no table.
    """
    if uploaded_body.is_of_client:
        return _drafts_of_client(uploaded_body.file)
    if not uploaded_body.size:
        return dm.WHOLE, iter(())
    table_format = bulk.TABLE_TYPES[uploaded_body.body_type]
    options = ReadOptions(source=query.source, format=table_format, labels=labels)
    return dm.WHOLE, open_table(uploaded_body.file, "the body", options).rows


def _drafts_of_client(body_file: BinaryIO) -> tuple[dm.InputPart, Iterator[dm.TicketDraft | dm.Rejected]]:
    """Return the counts of a body's first line, and the drafts that our own client has read and uploaded."""
    try:
        earlier_part = wire_format.part_of(_json_object(body_file.readline(wire_format.LONGEST_LINE)))
    except dm.ProtocolError as error:
        raise dm.UsageError(f"{error}", hint="send a table, or use this version's client") from error

    def uploaded_drafts() -> Iterator[dm.TicketDraft | dm.Rejected]:
        while body_line := body_file.readline(wire_format.LONGEST_LINE):
            try:
                yield _checked_draft(wire_format.draft_of(_json_object(body_line))._replace(size=len(body_line)))
            except dm.ProtocolError as error:
                raise dm.UsageError(f"{error}", hint="send a table, or use this version's client") from error

    return earlier_part, uploaded_drafts()


def _json_object(body_line: bytes) -> Mapping[str, Any]:
    try:
        json_object = dm.from_json(body_line.decode())
    except (ValueError, RecursionError) as error:
        raise dm.UsageError("a line is no JSON", hint="send one object a line") from error
    if not isinstance(json_object, dict):
        raise dm.UsageError("a line is no JSON object", hint="send one object a line")
    return json_object


def _checked_draft(draft: dm.TicketDraft) -> dm.TicketDraft | dm.Rejected:
    """Return an uploaded draft after the checks that reading a table would have made."""
    subject, description = (draft.subject or "").strip() or None, (draft.description or "").strip() or None
    if not (subject or description):
        return dm.Rejected(draft.row, draft.line, dm.RowError(f"{draft.place}: neither subject nor description"))
    if draft.priority not in (None, *dm.PRIORITIES):
        raise dm.ProtocolError("a draft has a priority that is none")
    if draft.created_at is not None and dates.moment(draft.created_at) != draft.created_at:
        raise dm.ProtocolError("a draft has a time that is none")
    return draft._replace(subject=subject, description=description)


def drafts_within_limit(
    drafts: Iterable[dm.TicketDraft | dm.Rejected], most_rows: int
) -> Iterator[dm.TicketDraft | dm.Rejected]:
    """Yield the drafts of an uploaded body up to the limit of rows in one request."""
    for number, draft in enumerate(drafts):
        if number == most_rows:
            hint = "those were stored; send the rest in requests of their own"
            raise dm.TooLargeError(f"the body has more than {most_rows:,} rows", hint=hint)
        yield draft


# What an endpoint tells FastAPI that answers by JSON lines.
ANSWERED_BY_LINES: dict[str, Any] = {
    "status_code": 200,
    "response_class": NdjsonResponse,
    "responses": bulk.OUTCOME_LINES,
}


def outcome_line(outcome: dm.Outcome[Any]) -> str:
    """Return an outcome as a line of a stream."""
    record: dict[str, Any] = {"row": outcome.row, "did": outcome.action.value}
    if isinstance(outcome.value, dm.Flip):
        record["flip"] = outcome.value._asdict()
    elif outcome.action == dm.Action.PREVIEWED:
        record["preview"] = outcome.value
    elif (ticket_record := dm.outcome_record(outcome)) is not None:
        record["ticket"] = ticket_record
    if outcome.outdated is not None:
        record["outdated"] = outcome.outdated
    if outcome.as_before:
        record["as_before"] = True
    if outcome.error is not None:
        error_texts = {key: spoken(getattr(outcome.error, key)) for key in ("message", "hint")}
        record["error"] = dm.error_fields(outcome.error) | error_texts
    return dm.compact(record)


def value_line(outcome: dm.Outcome[Any]) -> str:
    """Return an outcome as a line for our own client, which reads it by its type; `show` tells of deliveries."""
    value = dm.Routed(outcome.value.ticket) if isinstance(outcome.value, dm.Routed) else outcome.value
    return dm.compact({"value": dm.to_wire(outcome._replace(item=None, value=value))})


Line = Callable[[dm.Outcome[Any]], str]


def outcome_stream(
    server_state: ServerState, triage: LocalTriage, outcomes: Iterable[dm.Outcome[Any]], line: Line = outcome_line
) -> NdjsonResponse:
    """Return the response that streams a line for each outcome. Raises `OverloadedError`."""
    server_state.stream_slots.take()
    lines = partial(outcome_lines, server_state, triage, outcomes, line=line)
    return NdjsonResponse(server_state.stream_slots, lines, triage.stop, lambda: None)


def outcome_lines(
    server_state: ServerState, triage: LocalTriage | LocalAnalysis, outcomes: Iterable[dm.Outcome[Any]],
    results: Callable[[dm.Outcome[Any]], Iterable[str]] = lambda outcome: (outcome.action,),
    line: Line = outcome_line,
) -> Iterator[str]:  # fmt: skip
    """Yield a line for each outcome, then exactly one `end` or `problem`; `results` is what an outcome counts as."""
    counts: Counter[str] = Counter()
    try:
        for outcome in outcomes:
            counts.update(results(outcome))
            yield line(outcome) + "\n"
        _raise_if_stopping(server_state)
    except dm.TriageError as error:
        end: dict[str, object] = {"problem": problems.problem_details(error)}
    except Exception:  # noqa: BLE001 - the stream's status was sent long ago
        error_log.exception("a bulk request failed")
        hint = "run it again, and look into the server's log"
        unexpected = dm.TriageError("something unexpected went wrong on the server", hint=hint)
        end = {"problem": problems.problem_details(unexpected)}
    else:
        end = {"end": counts}
    warnings = [*map(spoken, request_warnings.get() or ())]
    if isinstance(triage, LocalTriage) and triage.run_id:
        end["run"] = triage.run_id
    yield dm.compact(end | {"cost_usd": triage.paid} | ({"warnings": warnings} if warnings else {})) + "\n"


def _raise_if_stopping(server_state: ServerState) -> None:
    """Raise an error if the outcomes ended because the server is stopping."""
    if server_state.stopping:
        raise dm.UnavailableError("the server is shutting down", hint="what was done is stored; send the same again")


router = new_router("bulk")
JSON_BODY_ONLY = [Depends(json_only)]  # what a bulk endpoint tells FastAPI that reads JSON alone


@router.post(
    "/tickets/batch",
    **ANSWERED_BY_LINES,
    openapi_extra={"requestBody": {"required": True, "content": bulk.TABLE_BODIES}},
)
async def batch(
    request: Request,
    server_state: CurrentServer,
    triage: CurrentTriage,
    analysis: CurrentAnalysis,
    caller: CurrentCaller,
    query: Annotated[bulk.BatchQuery, Query()],
    idempotency_key: Annotated[
        str | None, key_header("while a request runs, others with the same key are refused")
    ] = None,
) -> NdjsonResponse:
    """Store many tickets, and with `do=classify` or `do=classify,route` also classify and route them.

    The body is a table with a header, or one JSON object a line; with `application/octet-stream` the format is
    detected. Without a body there are no tickets. A repeated request changes nothing: a ticket is recognised by its
    external id, else by its content and its occurrence number.
    """
    uploaded_body = await receive_body(request)
    with ExitStack() as undo_stack:
        undo_stack.callback(uploaded_body.file.close)
        server_state.stream_slots.take()
        undo_stack.callback(server_state.stream_slots.leave)
        request_lock = BulkRequestLock(server_state, caller.caller_id, idempotency_key, uploaded_body.hash)
        await run_in_threadpool(request_lock.take)
        labels = dm.label_columns(server_state.services.further)
        earlier_parts, drafts = await run_in_threadpool(drafts_of_body, uploaded_body, query, labels)
        undo_stack.pop_all()
    plan = dm.ClassifyPlan(**query.model_dump(include={*dm.ClassifyPlan._fields}))
    input_part = earlier_parts._replace(spent=query.spent_before, parcel=request_lock.name)
    drafts = islice(drafts_within_limit(drafts, server_state.limits.table_rows), query.limit)

    def judged() -> None:
        if uploaded_body.is_of_client:  # which sends the next part of its input now
            response.put(wire_format.judged_line(triage.met))

    def make_lines() -> Iterator[str]:
        outcomes: Iterable[dm.Outcome[Any]]
        if query.dry_run:
            read_rows = import_dry_run(drafts, CategoryNames(server_state.services.categories))
            foresee = partial(analysis.foresee, plan=plan, routes="route" in query.do, ask=query.ask)
            outcomes = foreseen_rows(read_rows, foresee) if query.do else map(_previewed_row, read_rows)
        elif query.do:
            routes, same_tickets = "route" in query.do, query.same_tickets
            outcomes = triage.run(drafts, plan, input_part, routes=routes, same_tickets=same_tickets, judged=judged)
        else:
            outcomes = triage.create(drafts, input_part, same_tickets=query.same_tickets, judged=judged)
        with uploaded_body.file, request_lock:
            asked = analysis if query.dry_run else triage
            line = value_line if uploaded_body.is_of_client else outcome_line
            yield from outcome_lines(server_state, asked, outcomes, dm.routing.results, line)

    def stop() -> None:
        triage.stop()
        analysis.stop()

    response = NdjsonResponse(server_state.stream_slots, make_lines, stop, request_lock.renew)
    return response


@router.post("/classify", **ANSWERED_BY_LINES, dependencies=JSON_BODY_ONLY)
def classify_many(
    server_state: CurrentServer,
    triage: CurrentTriage,
    analysis: CurrentAnalysis,
    query: Annotated[classification.ClassifyManyQuery, Query()],
    body: classification.ClassifyManyIn | None = None,
) -> NdjsonResponse:
    """Ask a classifier about the selected tickets, or about all that are new or failed, urgent ones first.

    With `dry_run` nobody is asked; the `preview` of the only line says of how many tickets, and about what that costs.
    """
    body = body or classification.ClassifyManyIn()
    classify_plan = dm.ClassifyPlan(**dict(body.plan.joined(query, "classifier", "max_cost")))
    selection = _bulk_selection(triage, body.selection.joined(query, "limit"))
    if query.dry_run:
        return outcome_stream(server_state, triage, estimate(analysis, triage, selection, classify_plan))
    return outcome_stream(server_state, triage, triage.classify(selection, classify_plan))


@router.post("/route", **ANSWERED_BY_LINES, dependencies=JSON_BODY_ONLY)
def route_many(
    server_state: CurrentServer,
    triage: CurrentTriage,
    query: Annotated[classification.RouteManyQuery, Query()],
    body: classification.RouteManyIn | None = None,
) -> NdjsonResponse:
    """Route the selected tickets by the routing map, or all classified ones and deliveries that are due.

    With `dry_run` nothing is sent; the `preview` of a line says where its ticket would be.
    """
    body = body or classification.RouteManyIn()
    route_plan = dm.RoutePlan(**dict(body.plan))
    selection = _bulk_selection(triage, body.selection.joined(query, "limit"))
    if query.dry_run:
        previews = enumerate(triage.preview_routes(selection, route_plan))
        outcomes = (dm.Outcome(row, dm.Action.PREVIEWED, preview._asdict()) for row, preview in previews)
        return outcome_stream(server_state, triage, outcomes)
    return outcome_stream(server_state, triage, triage.route(selection, route_plan))


@router.post("/reclassify", **ANSWERED_BY_LINES, dependencies=JSON_BODY_ONLY)
def reclassify_many(
    server_state: CurrentServer,
    triage: CurrentTriage,
    query: Annotated[classification.ReclassifyManyQuery, Query()],
    body: classification.ReclassifyManyIn | None = None,
) -> NdjsonResponse:
    """Ask again about tickets that a machine decided. The answers are proposals, or are all applied, or none.

    A line's `flip` compares the present category, or the answer to the plan's `question`, with the new answer.
    """
    body = body or classification.ReclassifyManyIn()
    classify_plan = dm.ClassifyPlan(**dict(body.plan.classify.joined(query, "classifier", "max_cost")))
    reclassify_plan = dm.ReclassifyPlan(**dict(body.plan) | {"classify": classify_plan})
    selection = _bulk_selection(triage, body.selection.joined(query, "limit"))
    return outcome_stream(server_state, triage, triage.reclassify(selection, reclassify_plan))


@router.post("/verdicts", **ANSWERED_BY_LINES, dependencies=JSON_BODY_ONLY)
def judge_many(body: classification.VerdictsIn, server_state: CurrentServer, triage: CurrentTriage) -> NdjsonResponse:
    """Set people's categories, or remove them; of several for one ticket the last one holds."""
    drafts = [dm.VerdictDraft(row, **dict(verdict)) for row, verdict in enumerate(body.verdicts)]
    return outcome_stream(server_state, triage, triage.give_verdicts(drafts))


def _bulk_selection(triage: Triage, selection_in: ticket_selection.SelectionIn) -> dm.Selection:
    """Return the tickets that a bulk request selects, also by names. Raises `NotFoundError` or `AmbiguousError`."""
    given = selection_in.model_dump(exclude_unset=True, exclude_none=True)
    if "ids" in given:
        given["ids"] = [*dict.fromkeys(triage.resolve(name) for name in given["ids"])]
    if (category := given.pop("category", None)) is not None:
        given["categories"] = [*given.get("categories", ()), category]
    conditions = {name: query_time(value) if isinstance(value, datetime) else value for name, value in given.items()}
    selection: dm.Selection = dm.reader(dm.Selection)(conditions)
    return selection


Previewed = Iterator[dm.Outcome[Mapping[str, Any]]]
DRAFT_FIELDS = (*wire_format.DRAFT_KEYS[2:], "verdict", "extra")


def _previewed_row(outcome: dm.Outcome[dm.TicketDraft]) -> dm.Outcome[Mapping[str, Any]]:
    """Return how a row of an upload is read, or why it is rejected."""
    if (draft := outcome.value) is None:
        return dm.Outcome(outcome.row, outcome.action, error=outcome.error)
    return dm.Outcome(outcome.row, dm.Action.PREVIEWED, {field: getattr(draft, field) for field in DRAFT_FIELDS})


def foreseen_rows(
    read_rows: Iterable[dm.Outcome[dm.TicketDraft]],
    foresee: Callable[[Iterable[dm.TicketDraft]], Iterable[dm.Outcome[dm.Foreseen]]],
) -> Previewed:
    """Yield also what would become of each row of an upload that would be a new ticket."""
    others: deque[dm.Outcome[Mapping[str, Any]]] = deque()

    def new_drafts() -> Iterator[dm.TicketDraft]:
        for outcome in read_rows:
            if outcome.action == dm.Action.CREATED and outcome.value is not None:
                yield outcome.value
            else:
                others.append(_previewed_row(outcome))

    for foreseen in foresee(new_drafts()):
        if isinstance(foreseen.item, dm.TicketDraft) and foreseen.value is not None:
            while others and others[0].place < foreseen.item.row:
                yield others.popleft()
            preview = _previewed_row(dm.Outcome(foreseen.item.row, dm.Action.CREATED, foreseen.item))
            fields = {key: value for key, value in foreseen.value._asdict().items() if key != "answers" or value}
            yield preview._replace(value={**(preview.value or {}), **fields})
    yield from others


def estimate(analysis: LocalAnalysis, triage: LocalTriage, selection: dm.Selection, plan: dm.ClassifyPlan) -> Previewed:
    """Yield one outcome: how many tickets would be asked about, and about what that costs in USD; null: no price."""
    cost = analysis.estimate_cost(plan, triage.to_ask(selection, plan))
    preview = {"tickets": cost.tickets, "tokens": cost.tokens, "cost_usd": cost.cost, "most_usd": cost.most}
    yield dm.Outcome(0, dm.Action.PREVIEWED, preview)
