"""Endpoints that read: tickets, their history and explanation, the audit log, counts."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Query, Request
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.extensions.server.dependencies import CurrentCaller, CurrentTriage, new_router
from triage_cli.extensions.server.idempotency import reply
from triage_cli.extensions.server.problems import is_for_command_line
from triage_cli.extensions.server.routes.tickets import WITH_ETAG, TicketName
from triage_cli.extensions.server.schemas import administration, classification, ticket_selection, tickets
from triage_cli.extensions.server.schemas.records import described
from triage_cli.ports import Triage
from triage_cli.service import CategoryNames

router = new_router("reads")
PAGE_LINK: dict[int | str, dict[str, Any]] = {200: {"headers": {"Link": {"$ref": "#/components/headers/Link"}}}}


@router.get(
    "/tickets", response_model=list[tickets.Ticket], responses=PAGE_LINK, operation_id="list_tickets", summary="List"
)
def list_(request: Request, query: Annotated[ticket_selection.TicketQuery, Query()], triage: CurrentTriage) -> Response:
    """List tickets, newest first or sorted, a page at a time."""
    if query.order == "review" and query.after and ":" not in query.after:
        raise dm.UsageError("after is a place of another order", hint="take the link to the next page as it is")
    if query.order == "review" and (query.sort or {*query.status} - {"needs_review"}):
        raise dm.UsageError("order=review has an order and a status of its own", hint="leave out sort and status")
    if query.order == "review" and not query.id and query.name is None:
        waiting = triage.review_page(_query_selection(query)._replace(limit=query.limit, after=query.after))
        return _with_next_page_link(
            reply([dm.ticket_record(t) for t in waiting.tickets]), request, waiting.next or None
        )
    named_ids = None if query.name is None else (triage.resolve(query.name),)
    selection = _query_selection(query)._replace(
        ids=tuple(query.id) if query.id else named_ids,
        sort=query.sort,
        limit=len(query.id) or query.limit + 1,
        after=query.after,
    )
    found_tickets = list(triage.find(selection))
    if not found_tickets:
        _check_categories(triage, selection)
    page = found_tickets[: len(query.id) or query.limit]
    answer = reply([dm.ticket_record(t) for t in page])
    has_more = len(found_tickets) > len(page)
    return _with_next_page_link(answer, request, page[-1].ticket_id if has_more else None)


def _check_categories(triage: Triage, selection: dm.Selection) -> None:
    """Raise `UsageError` for a category that there is not, now or in stored tickets; our command line notes that."""
    if not (names := (*selection.categories, *selection.suggestions)) or is_for_command_line.get():
        return
    category_names, stored_names = CategoryNames(triage.categories()), triage.stats().by_category
    for name in names:
        if category_names.match(name, whole=True) is None and name not in stored_names:
            unknown = category_names.unknown(name)
            raise dm.UsageError(unknown.message, hint=unknown.hint)


def _query_selection(query: ticket_selection.TicketConditions) -> dm.Selection:
    """Return the selection of a query: the tickets that meet all its conditions."""
    conditions = {name: getattr(query, name) for name in ticket_selection.TicketConditions.model_fields}
    conditions |= {"since": query_time(query.since), "until": query_time(query.until)}
    repeated = {
        field: tuple(conditions.pop(name)) for field, name in ticket_selection.REPEATED.items() if name in conditions
    }
    return dm.Selection(**conditions | repeated | {"statuses": frozenset(query.status)})


@router.get("/tickets/{ticket_id}", response_model=tickets.Whole, responses={200: WITH_ETAG})
def show(ticket_id: TicketName, triage: CurrentTriage) -> Response:
    """Show one ticket with its whole history."""
    history = triage.history(ticket_id)
    return reply(dm.history_record(history), revision=history.ticket.revision)


@router.get("/tickets/{ticket_id}/why", response_model=described(dm.Why))
def why(ticket_id: TicketName, triage: CurrentTriage) -> Response:
    """Explain in sentences how one ticket was decided, and what happens next."""
    return reply(dm.as_record(triage.why(ticket_id)))


@router.get("/tickets/{ticket_id}/similar", response_model=list[tickets.Similar])
def similar(
    ticket_id: TicketName, query: Annotated[ticket_selection.SimilarQueryIn, Query()], triage: CurrentTriage
) -> Response:
    """Return the tickets with the most similar texts, the most similar first."""
    asked = dm.SimilarQuery(query.decided, query.waiting, query_time(query.since), query.limit)
    return reply([dm.similar_record(each) for each in triage.similar(ticket_id, asked)])


@router.get("/tickets/{ticket_id}/logs", response_model=described(list[dm.LoggedEvent]), responses=PAGE_LINK)
def ticket_logs(
    request: Request,
    ticket_id: TicketName,
    query: Annotated[administration.EventQueryIn, Query()],
    triage: CurrentTriage,
) -> Response:
    """Return one ticket's events, oldest first."""
    return _event_page(request, triage, query, triage.resolve(ticket_id))


@router.get("/logs", response_model=described(list[dm.LoggedEvent]), responses=PAGE_LINK)
def logs(request: Request, query: Annotated[administration.EventQueryIn, Query()], triage: CurrentTriage) -> Response:
    """Return events, oldest first: the last ones, or those after a seq."""
    return _event_page(request, triage, query, None)


def _event_page(
    request: Request, triage: Triage, query: administration.EventQueryIn, ticket_id: str | None
) -> Response:
    wanted = dm.EventQuery(
        ticket_id, tuple(query.action), query.actor, query_time(query.since), query_time(query.until)
    )
    if query.after is None:
        return reply([dm.event_record(e) for e in triage.events(wanted._replace(limit=query.limit))])
    found_events = list(islice(triage.events(wanted._replace(after=query.after)), query.limit + 1))
    page = found_events[: query.limit]
    answer = reply([dm.event_record(e) for e in page])
    return _with_next_page_link(answer, request, str(page[-1].seq) if len(found_events) > query.limit else None)


@router.get("/stats", response_model=described(dm.Stats))
def stats(triage: CurrentTriage) -> Response:
    """Count tickets by status, category, classifier and day, and deliveries by destination."""
    return reply(triage.stats()._asdict())


@router.get("/stats/groups", response_model=list[administration.StatsGroup])
def stats_groups(query: Annotated[administration.StatsQueryIn, Query()], triage: CurrentTriage) -> Response:
    """Count tickets in groups, ordered by their keys."""
    stats_query = dm.StatsQuery(_query_selection(query), tuple(dict.fromkeys(query.by)))
    if not (groups := triage.stats_by(stats_query)):
        _check_categories(triage, stats_query.where)
    return reply([dm.group_record(group) for group in groups])


@router.get("/stats/overruled", response_model=described(list[dm.Overruled]))
def stats_overruled(query: Annotated[administration.VerdictPeriod, Query()], triage: CurrentTriage) -> Response:
    """Return how often people overruled sure answers of machines, by week and category."""
    return reply(dm.as_record(triage.overruled(query_time(query.since), query_time(query.until))))


@router.get("/categories", response_model=list[classification.Category])
def categories(triage: CurrentTriage) -> Response:
    """Return the categories that a ticket may get."""
    return reply(_category_records(triage.categories()))


@router.get("/questions", response_model=list[classification.Question])
def questions(triage: CurrentTriage) -> Response:
    """Return the questions that tickets are asked, that for the category first, with their values."""
    keys = classification.Question.model_fields
    records = [{key: getattr(each, key) for key in keys} for each in triage.questions()]
    return reply([record | {"values": _category_records(record["values"])} for record in records])


def _category_records(categories: Iterable[dm.Category]) -> list[dict[str, Any]]:
    """Return the records of categories: `root` is the store's own affair, and `parent` stands where there is one."""
    rows = (category._asdict() for category in categories)
    return [{key: value for key, value in row.items() if key != "root" and (key != "parent" or value)} for row in rows]


@router.get("/me", response_model=administration.Me)
def me(caller: CurrentCaller) -> Response:
    """Return who the caller is to this server, and what they may do."""
    return reply({"name": caller.name, "role": caller.role, "expires": caller.expires})


@router.get("/audit/head", response_model=described(dm.Head))
def head(triage: CurrentTriage) -> Response:
    """Return the head of the audit log, to be kept elsewhere."""
    return reply(triage.audit_head()._asdict())


def _with_next_page_link(answer: Response, request: Request, after: str | None) -> Response:
    """Add a link to the next page of a query, if there is one."""
    if after is not None:
        same_query = [(key, value) for key, value in request.query_params.multi_items() if key != "after"]
        next_query = urlencode([*same_query, ("after", after)])
        answer.headers["link"] = f'<{quote(request.url.path, safe="/%")}?{next_query}>; rel="next"'
    return answer


def query_time(at: datetime | None) -> str | None:
    """Return a time of a query in the form that the store compares."""
    if at is None:
        return None
    try:
        at = at.astimezone(UTC)
    except OverflowError:  # a day before or after all days
        at = at.replace(tzinfo=UTC)
    return dm.timestamp(at)
