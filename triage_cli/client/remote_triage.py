"""The use cases on another instance, over HTTP: a running `triage serve` carries them out.

`RemoteTriage` has the connection; consultation, API keys and the verification of the audit log are over the same one.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, quote

import httpx

from triage_cli import domain as dm
from triage_cli.client import wire_format
from triage_cli.client.http_connection import (
    TIMEOUT,
    Address,
    Connection,
    Params,
    StreamAbortedError,
    UnreachableError,
    known_to_remote,
)
from triage_cli.client.upload import Upload, UploadPlan
from triage_cli.ports import operations
from triage_cli.runtime import Network

T = TypeVar("T")

PAGE = 500  # tickets or events per page that the remote is asked for
IDS = 100  # ids in the address of one request to the remote
VERDICTS = 500  # verdicts per request to the remote
REVIEW_PAGE = 1000  # tickets in the order of review on one page: as many as the server orders together
RUNS = 1000  # runs that a remote lists
RUN_NAME = re.compile("[0-9A-Za-z-]{1,80}")


class RemoteTriage:
    """Implements `ports.Triage` by requests to a remote; one object per command. A signal handler may call `stop`."""

    def __init__(self, address: Address, network: Network, warn: Callable[[str], None] = lambda _: None) -> None:
        self.connection = Connection(address, network, warn)
        self._import_id = dm.ids.new_id()  # of what this command uploads

    def close(self) -> None:
        """Close the connection to the remote."""
        self.connection.close()

    def stop(self) -> None:
        """Stop sending new work; after a short wait the connections are closed, which stops the server too."""
        self.connection.stop()

    @property
    def spent(self) -> float:
        """Return what the remote has reported as spent, in USD; it does so at the end of each stream."""
        return self.connection.spent

    # -- streams

    def create(
        self, drafts: Iterable[dm.TicketDraft | dm.Rejected], *, same_tickets: bool = False
    ) -> Iterator[dm.Outcome[dm.Ticket]]:
        """Have the remote store drafts; one outcome each, in order: typed ones by a request each, rows by an upload."""
        remaining = iter(drafts)
        for first in remaining:
            if not _is_typed(first):
                plan = UploadPlan(_guard_params(same_tickets), wire_format.ticket_in, self._import_id)
                yield from Upload(self.connection, plan).send(chain([first], remaining))
                return
            yield self._send_typed(first)

    def _send_typed(self, draft: dm.TicketDraft | dm.Rejected) -> dm.Outcome[dm.Ticket]:
        """Send the remote a typed ticket, which is always new; an idempotency key prevents a second one."""
        if isinstance(draft, dm.Rejected):
            return dm.Outcome(draft.row, dm.Action.REJECTED, error=draft.error, item=draft)
        sent_fields = ("subject", "description", "customer_id", "priority", "created_at", "source")
        ticket_body = {field: value for field in sent_fields if (value := getattr(draft, field)) is not None}
        response = self.connection.post("/tickets", ticket_body, dm.ids.new_id())
        return dm.Outcome(draft.row, dm.Action.CREATED, self.converted(wire_format.ticket_in, response), item=draft)

    def run(
        self, drafts: Iterable[dm.TicketDraft | dm.Rejected], plan: dm.ClassifyPlan, *, same_tickets: bool = False
    ) -> Iterator[dm.Outcome[dm.Routed]]:
        plan_params = wire_format.options_record(plan._replace(max_cost=None, deadline=None))
        upload_params = {"do": "classify,route", **_guard_params(same_tickets), **plan_params}
        upload_plan = UploadPlan(upload_params, wire_format.routed_in, self._import_id, plan.max_cost, plan.deadline)
        return Upload(self.connection, upload_plan).send(drafts)

    def classify(self, selection: dm.Selection, plan: dm.ClassifyPlan) -> Iterator[dm.Outcome[dm.Decided]]:
        return self._remote_outcomes("/classify", _request_body(selection, plan), wire_format.decided_in)

    def route(self, selection: dm.Selection, plan: dm.RoutePlan) -> Iterator[dm.Outcome[dm.Routed]]:
        return self._remote_outcomes("/route", _request_body(selection, plan), wire_format.routed_in)

    def reclassify(self, selection: dm.Selection, plan: dm.ReclassifyPlan) -> Iterator[dm.Outcome[dm.Flip]]:
        return self._remote_outcomes("/reclassify", _request_body(selection, plan), wire_format.flip_in)

    def give_verdicts(self, verdicts: Iterable[dm.VerdictDraft]) -> Iterator[dm.Outcome[dm.Ticket]]:
        for verdict_chunk in dm.chunked(verdicts, VERDICTS):
            if self.connection.stopped_at is not None:
                return
            verdicts_body = {"verdicts": [wire_format.verdict_record(draft) for draft in verdict_chunk]}
            for outcome in self._remote_outcomes("/verdicts", verdicts_body, wire_format.ticket_in):
                if not 0 <= outcome.place < len(verdict_chunk):
                    raise self.connection.strange_response("an outcome of a row that was never sent")
                verdict_draft = verdict_chunk[outcome.place]
                yield outcome._replace(row=verdict_draft.row, item=verdict_draft)

    def forget(self, customer_id: str) -> Iterator[dm.Outcome[dm.Routed]]:
        return self._remote_outcomes("/forget", {"customer_id": customer_id}, wire_format.routed_in)

    def imported(self, name: str) -> tuple[dm.Run, ...]:
        """Return the runs of an import at the remote; `last` is that of this key."""
        with known_to_remote("/imports"):
            response = self.connection.get(_import_path(name))[0]
        return tuple(self.converted_rows(wire_format.run_of, response))

    def undo(self, name: str, *, dry_run: bool = False) -> Iterator[dm.Outcome[dm.Routed]]:
        return self._remote_outcomes(f"{_import_path(name)}/undo", {"dry_run": dry_run}, wire_format.routed_in)

    def _remote_outcomes(
        self, path: str, body: Mapping[str, Any], value: Callable[[wire_format.Record], T]
    ) -> Iterator[dm.Outcome[T]]:
        """Yield the outcomes that the remote streams, until the end or a stop; the request is never repeated."""
        outcome_stream = self.connection.stream(path, {"json": body})
        try:
            for remote_outcome in outcome_stream.records(0.0):
                yield self.converted(lambda wire_record: wire_format.outcome_of(wire_record, value), remote_outcome)
        except StreamAbortedError:
            return

    # -- reads

    def find(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        if selection.ids is not None:
            yield from islice(self._tickets_of(selection.ids), selection.limit)
            return
        ticket_params = _query_params(selection)
        if _matches_nothing(ticket_params):
            return
        tickets_left = ticket_params.pop("limit", None)
        most_on_page = REVIEW_PAGE if selection.order == "review" else PAGE
        page_size = most_on_page if tickets_left is None else min(tickets_left, most_on_page)
        if tickets_left != 0:
            ticket_params |= {"after": selection.after} if selection.after else {}
            for remote_ticket in self._remote_pages("/tickets", {**ticket_params, "limit": page_size}):
                yield self.converted(wire_format.ticket_of, remote_ticket)
                tickets_left = None if tickets_left is None else tickets_left - 1
                if tickets_left == 0:
                    return

    def _tickets_of(self, ticket_ids: Sequence[str]) -> Iterator[dm.Ticket]:
        """Yield the remote's tickets with these ids, in their order."""
        for some_ids in dm.chunked(ticket_ids, IDS):
            try:
                response = self.connection.get("/tickets", {"id": some_ids})[0]
            except dm.UsageError:  # an older server, which takes no ids
                response = [self.connection.get(self.path_of(ticket_id))[0] for ticket_id in some_ids]
            yield from self.converted_rows(wire_format.ticket_of, response)

    def resolve(self, ticket_name: str) -> str:
        if _is_awkward_in_path(ticket_name):
            return self._id_of_awkward_name(ticket_name)
        return self.history(ticket_name).ticket.ticket_id

    def _id_of_awkward_name(self, ticket_name: str) -> str:
        """Ask the remote for the id of a ticket whose name cannot be in a path. Raises `NotFoundError`."""
        if not ticket_name:  # the remote would take an empty parameter for none, and list all tickets
            raise dm.unknown_ticket(ticket_name)
        response = self.connection.get("/tickets", {"name": ticket_name})[0]
        for ticket in self.converted_rows(wire_format.ticket_of, response):
            return ticket.ticket_id
        raise self.connection.strange_response("no ticket where there must be one")

    def path_of(self, ticket_name: str) -> str:
        """Return the path at the remote of the only ticket with this name."""
        plain_name = self._id_of_awkward_name(ticket_name) if _is_awkward_in_path(ticket_name) else ticket_name
        return f"/tickets/{quote(dm.encodable(plain_name), safe='')}"

    def history(self, ticket_name: str) -> dm.History:
        return self.converted(wire_format.history_of, self.connection.get(self.path_of(ticket_name))[0])

    def why(self, ticket_name: str) -> dm.Why:
        return self.read(dm.Why, self.path_of(ticket_name) + "/why")

    def similar(self, ticket_name: str, query: dm.SimilarQuery) -> list[dm.SimilarTicket]:
        params = {key: value for key, value in query._asdict().items() if value not in (None, False)}
        path = f"{self.path_of(ticket_name)}/similar"
        with known_to_remote("/similar"):
            response = self.connection.get(path, params)[0]
        return self.converted_rows(wire_format.similar_of, response)

    def events(self, query: dm.EventQuery) -> Iterator[dm.LoggedEvent]:
        query_fields = {wire_format.REPEATED.get(key, key): value for key, value in query._asdict().items()}
        given_fields = {key: value for key, value in query_fields.items() if value not in (None, "", ())}
        log_params = {key: value for key, value in given_fields.items() if key not in ("ticket_id", "after")}
        log_path = "/logs" if query.ticket_id is None else self.path_of(query.ticket_id) + "/logs"
        last_events = log_params.pop("limit", None)
        if last_events == 0 or query.actor == "":
            return
        if last_events is not None and last_events <= PAGE:
            remote_events: Iterable[Any] = self._remote_pages(log_path, {**log_params, "limit": last_events})
        else:
            remote_events = self._remote_pages(log_path, {**log_params, "limit": PAGE, "after": query.after})
            remote_events = remote_events if last_events is None else deque(remote_events, last_events)
        for remote_event in remote_events:
            yield self.converted(wire_format.event_of, remote_event)

    def stats(self) -> dm.Stats:
        return self.read(dm.Stats, "/stats")

    def stats_by(self, query: dm.StatsQuery) -> list[dm.StatsGroup]:
        response = self.connection.get("/stats/groups", {**_query_params(query.where), "by": query.by})[0]
        return self.converted_rows(lambda wire_record: stats_group(wire_record, query.by), response)

    def overruled(self, since: str | None, until: str | None) -> list[dm.Overruled]:
        period = {key: at for key, at in (("since", since), ("until", until)) if at is not None}
        return self.read_all(dm.Overruled, "/stats/overruled", period)

    def audit_head(self) -> dm.Head:
        return self.read(dm.Head, "/audit/head")

    def categories(self) -> tuple[dm.Category, ...]:
        return tuple(self.read_all(dm.Category, "/categories"))

    def questions(self) -> tuple[dm.Question, ...]:
        """Return the questions that tickets are asked at the remote; an older one asks for the category alone."""
        try:
            return tuple(self.read_all(dm.Question, "/questions"))
        except dm.NoEndpointError:
            return (dm.Question(dm.CATEGORY, self.categories()),)

    def last_reading(self, header: str) -> dm.Reading | None:
        return cast("dm.Reading | None", self.operation("last_reading", header))

    def keep_reading(self, header: str, reading: dm.Reading) -> None:
        self.operation("keep_reading", header, reading)

    def operation(self, name: str, *values: Any, timeout: httpx.Timeout = TIMEOUT, **named: Any) -> Any:
        """Have the remote carry out an operation. Raises its error, and `UsageError` if it does not know it."""
        operation = operations.operation(name)
        answer = self.connection.call(operation, operation.arguments_to(*values, **named), timeout=timeout)
        return self.converted(dm.reader(operation.result), answer)

    def runs(self, limit: int | None) -> Iterator[dm.Run]:
        """Yield the remote's bulk commands and requests, the latest first: the last RUNS at most."""
        if limit != 0:
            response = self.connection.get("/runs", {"limit": min(limit or RUNS, RUNS)})[0]
            yield from self.converted_rows(wire_format.run_of, response)

    def _remote_pages(self, path: str, params: Params) -> Iterator[Any]:
        """Yield the records of all pages of the remote. Raises `UnavailableError` if one follows upon itself."""
        response, next_page = self.connection.get(path, params)
        yield from self.converted(wire_format.rows_of, response)
        last_page = None
        while next_page is not None:
            if next_page == last_page:
                raise self.connection.strange_response("a list whose next page is the same page again")
            last_page = next_page
            # Only the query of the link is used, so that it cannot lead to another server or path.
            page_query = parse_qsl(next_page.partition("?")[2].partition("#")[0], keep_blank_values=True)
            response, next_page = self.connection.get(path, page_query)
            yield from self.converted(wire_format.rows_of, response)

    def read(self, kind: type[T], path: str, params: Params | None = None) -> T:
        """Return the remote's record of a kind at a path. Raises as `converted`."""
        return self.converted_to(kind, self.connection.get(path, params)[0])

    def read_all(self, kind: type[T], path: str, params: Params | None = None) -> list[T]:
        """Return the remote's records of a kind at a path. Raises as `converted`."""
        return self.converted_rows(partial(wire_format.named, kind), self.connection.get(path, params)[0])

    def converted(self, make: Callable[[Any], T], record: Any) -> T:
        """Convert a record of the remote. Raises `UnavailableError` if it does not follow the wire format."""
        try:
            return make(record)
        except dm.ProtocolError as error:
            raise self.connection.strange_response(error) from error

    def converted_to(self, kind: type[T], record: Any) -> T:
        """Convert the remote's record to one of a kind, which has the same fields. Raises as `converted`."""
        return self.converted(partial(wire_format.named, kind), record)

    def converted_rows(self, make: Callable[[Any], T], records: Any) -> list[T]:
        """Convert a list of the remote's records. Raises as `converted`."""
        return self.converted(lambda wire_records: [make(one) for one in wire_format.rows_of(wire_records)], records)


def _import_path(run_name: str) -> str:
    """Return the path of the import with this run. Raises `NotFoundError` for a name that no run can have."""
    if not RUN_NAME.fullmatch(run_name):
        raise dm.unknown_run(run_name)
    return f"/imports/{run_name}"


def _guard_params(same_tickets: bool) -> dict[str, Any]:
    return {"same_tickets": True} if same_tickets else {}


def _is_typed(row: dm.TicketDraft | dm.Rejected) -> bool:
    """Return whether a ticket was typed, and so is always new to the remote."""
    return isinstance(row, dm.TicketDraft) and row.origin == "typed" and not row.external_id


def _request_body(selection: dm.Selection, plan: dm.ClassifyPlan | dm.RoutePlan | dm.ReclassifyPlan) -> dict[str, Any]:
    return {"selection": wire_format.selection_record(selection), "plan": wire_format.options_record(plan)}


def _query_params(selection: dm.Selection) -> dict[str, Any]:
    """Return a selection as query parameters; those that may be repeated have names in the singular."""
    wire_record = wire_format.selection_record(selection._replace(categories=())) | {"categories": selection.categories}
    return {wire_format.REPEATED.get(key, key): value for key, value in wire_record.items()}


def _matches_nothing(params: Mapping[str, Any]) -> bool:
    """Return whether a condition has only empty values: no ticket meets it, and for the remote it would be none."""
    conditions = [value for key, value in params.items() if key != "search" and isinstance(value, str | Sequence)]
    return any(value == "" or (value and not any(value)) for value in conditions)


def stats_group(wire_record: Any, keys: Sequence[str]) -> dm.StatsGroup:
    """Return the counts of a group from the remote's record, in which the keys stand beside the counts."""
    if not isinstance(wire_record, dict):
        raise dm.ProtocolError("no StatsGroup")
    return wire_format.named(dm.StatsGroup, {**wire_record, "keys": {key: wire_record.get(key) for key in keys}})


def _is_awkward_in_path(ticket_name: str) -> bool:
    """Return whether a ticket's name cannot be part of a path: a slash divides it, and dots change it."""
    return "/" in ticket_name or not ticket_name.strip(".")


VERIFY_TIMEOUT = httpx.Timeout(3600.0, connect=10.0)  # in seconds; a log of many millions of events takes minutes


class RemoteKeyRing:
    """Manages the API keys of a remote, as `KeyRing` does those of a database.

    A request whose response is lost is not repeated: a key is shown once.
    """

    def __init__(self, remote_triage: RemoteTriage) -> None:
        self._remote = remote_triage

    def create(self, name: str, role: str, seconds: float | None = None) -> dm.CreatedKey:
        return self._created_key("/keys", {"name": name, "role": role, "expires_in": seconds})

    def rotate(self, name: str, overlap: float = 0.0, seconds: float | None = None) -> dm.CreatedKey:
        return self._created_key(f"{_key_path(name)}/rotate", {"overlap": overlap, "expires_in": seconds})

    def list(self) -> list[dm.ApiKey]:
        return self._remote.converted_rows(_api_key, self._remote.connection.get("/keys")[0])

    def revoke(self, name: str) -> dm.ApiKey:
        response = self._remote.connection.request("DELETE", _key_path(name), None)
        return self._remote.converted(_api_key, response)

    def _created_key(self, path: str, key_body: Mapping[str, Any]) -> dm.CreatedKey:
        response = self._remote.connection.request("POST", path, key_body)
        return self._remote.converted_to(dm.CreatedKey, response)


def verify(remote_triage: RemoteTriage, heads: Mapping[str, str]) -> dm.Head:
    """Have a remote verify its audit log, and return its head. Raises `CheckError` for the first contradiction.

    The request is never repeated: the remote answers only after it has read the whole log, and would begin again.
    """
    verify_body = {"heads": dict(heads)}
    response = remote_triage.connection.request("POST", "/audit/verify", verify_body, timeout=VERIFY_TIMEOUT)
    return remote_triage.converted_to(dm.Head, response)


def _key_path(key_name: str) -> str:
    return f"/keys/{quote(dm.encodable(key_name), safe='')}"


def _api_key(wire_record: Any) -> dm.ApiKey:
    """Return an API key from the remote's record, which has no hash."""
    return wire_format.named(dm.ApiKey, {**wire_record, "hash": b""} if isinstance(wire_record, dict) else wire_record)


# The errors after which no provider can have been asked, since the remote refused the request or was not reached.
NOT_BEGUN = (dm.UsageError, dm.RefusedError, dm.BusyError, UnreachableError)


class RemoteConsultation:
    """Implements `ports.Consultation` on the connection of a `RemoteTriage`."""

    def __init__(self, remote_triage: RemoteTriage) -> None:
        self._remote = remote_triage
        self.spent = 0.0

    def classify_text(self, question: dm.TextQuestion, plan: dm.ClassifyPlan) -> dm.TextAnswer:
        """Have the remote classify a text without storing it, in its budget. Sent once: each time may cost money.

        If it fails, all that it was permitted to cost counts as spent, unless the remote cannot have begun.
        """
        question_body = {**question._asdict(), "classifier": plan.classifier, "max_cost": plan.max_cost}
        try:
            response = self._remote.connection.request("POST", "/classify/text", question_body)
            text_answer = self._remote.converted_to(dm.TextAnswer, response)
        except NOT_BEGUN:
            raise
        except dm.TriageError:
            self.spent += plan.max_cost or 0.0
            raise
        self.spent += text_answer.cost_usd
        return text_answer

    def preview_route(self, name: str, category: str | None = None) -> dm.RoutePreview:
        params = {"category": category} if category else {}
        return self._remote.read(dm.RoutePreview, f"{self._remote.path_of(name)}/route/preview", params)

    def category_profiles(self) -> list[dm.CategoryProfile]:
        return self._remote.read_all(dm.CategoryProfile, "/categories/profiles")

    def suggest(self, draft: dm.AgentSuggestionDraft) -> dm.AgentSuggestion:
        """Send the remote an agent's suggestion, which it records in the name of the API key."""
        suggestion_body = {"category": draft.category, "agent": draft.agent, "note": draft.note}
        if draft.question != dm.CATEGORY:  # which older servers do not know
            suggestion_body["question"] = draft.question
        suggestions_path = f"{self._remote.path_of(draft.name)}/suggestions"
        response = self._remote.connection.post(suggestions_path, suggestion_body, dm.ids.new_id())
        return self._remote.converted_to(dm.AgentSuggestion, response)
