"""Destinations of type `http`: the configured request, which answers count as accepted, and what is kept of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from triage_cli import domain as dm
from triage_cli.config import AnswerTest, DestinationSpec, FindSpec, HttpSpec, OnceSpec, TemplateFailure, is_template
from triage_cli.destinations import not_renderable
from triage_cli.extensions.http.http_sender import GONE, WORKERS, HttpSender, Send, beginning_of, refusal, shown_request
from triage_cli.extensions.http.rendered_requests import HttpRequests, hidden_secrets
from triage_cli.runtime import Endpoint, HttpAnswer, HttpRequest, HttpSecrets, Network, host_of

OK = range(200, 300)
UNAUTHORIZED = (401, 403)
# Values in an answer's JSON that say nothing.
EMPTY_VALUES: tuple[object, ...] = (None, False, "", [], {})
# The status of an answer about a label that no longer exists.
NOT_THERE = 404
# How many characters a value may have that is kept of an answer.
LONGEST_KEPT = 500


class HttpDestination:
    """Sends the HTTP requests that the configuration describes, several deliveries at a time."""

    def __init__(
        self, spec: DestinationSpec, http: HttpSpec, secrets: HttpSecrets, network: Network, *, guarded: bool = False
    ) -> None:
        self.name = spec.name
        self.workers = WORKERS
        self.max_attempts = spec.max_attempts
        self.schedule = spec.retry_schedule
        self._http = http
        self._secrets = secrets
        self._requests = HttpRequests(http, secrets)
        self._has_ticket_address = any(map(is_template, (http.url or "", http.endpoint)))
        host = "" if secrets.url else host_of(http.url or "")
        endpoint = Endpoint(spec.name, host, spec.timeout, spec.timeout, guarded)
        self._sender = HttpSender(endpoint, network, tokens=secrets.tokens)

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        return self._sender.deliver(self.name, chunks, self._attempt_requests)

    async def _attempt_requests(self, send: Send, outgoing: dm.OutgoingDelivery) -> dm.Receipt:
        try:
            return await self._send_requests(send, outgoing)
        except TemplateFailure as failure:
            raise not_renderable(self.name, failure) from failure

    async def _send_requests(self, send: Send, outgoing: dm.OutgoingDelivery) -> dm.Receipt:
        find = self._requests.find(outgoing)
        kept = await self._found_values(send, find, outgoing) if find else {}
        search_request = self._requests.search(outgoing, kept) if outgoing.delivery.doubtful else None
        undo_requests = list(self._requests.undos(outgoing, kept))
        delivery_request = self._requests.delivery(outgoing, kept)
        if search_request and (receipt := await self._search_earlier(send, *search_request)):
            return receipt
        for undo_request in undo_requests:
            undo_answer = await self._extra_answer(send, undo_request, usual=(*OK, NOT_THERE))
            if undo_answer.status in OK and self._http.preset and undo_answer.is_page:
                raise self._no_json("undo", undo_answer)
        if find and undo_requests:  # each changes the ticket, so that a stamp of its state is another one now
            delivery_request = self._requests.delivery(outgoing, await self._found_values(send, find, outgoing))
        answer = await send(delivery_request)
        content = _json_content(answer)
        is_accepted = _passes(self._http.ok, answer.status, content, usual=OK)
        if not is_accepted or (self._http.preset and answer.is_page):
            if answer.status in OK and content is None and (answer.body or not answer.complete):
                found = "no JSON" if answer.complete else "more than can be read, or with half of it"
                raise dm.DeliveryError(
                    f"{self.name} answered {answer.status} with {found}, so it is not known whether it accepted",
                    status=answer.status,
                    doubtful=True,
                    answer=self._beginning_of(answer),
                )
            raise self._refusal(answer, content)
        return dm.Receipt(answer.status, kept=self._values_to_keep(content))

    async def _found_values(self, send: Send, find: HttpRequest, outgoing: dm.OutgoingDelivery) -> Mapping[str, Any]:
        """Return the values that the `find` request returned.

        Raises `DeliveryError` if one is missing, or if a person has set the field that the delivery would set.
        """
        answer = await self._extra_answer(send, find)
        if not answer.complete:
            raise dm.DeliveryError(f"{self.name} answered find with more than can be read, or incompletely")
        find_spec = self._http.find or FindSpec("")
        paths, field = find_spec.keep, find_spec.field
        content = _json_content(answer)
        if content is None:  # a page, as while the system is maintained
            raise self._no_json("find", answer)
        kept = {name: dm.lookup(content, path) for name, path in paths.items()}
        missing_paths = [path for name, path in paths.items() if kept[name] is None]
        may_be_absent = find_spec.absent and isinstance(dm.lookup(content, find_spec.place[0]), Mapping)
        if field and not (
            may_be_absent or dm.has_place(content, field)
        ):  # with a mistake in the path it guards nothing
            missing_paths.append(field)
        if missing_paths:
            hint = "correct find.field in the config, or make that field there" if missing_paths == [field] else ""
            error = dm.DeliveryError(
                f"{self.name} has nothing at {missing_paths[0]}, which find asks for", hint=hint, final=True
            )
            error.answer = self._beginning_of(answer)
            raise error
        if field:
            self._check_unset(dm.lookup(content, field), outgoing)
        return kept

    def _check_unset(self, helpdesk_value: Any, outgoing: dm.OutgoingDelivery) -> None:
        """Raise `DeliveryError` if the helpdesk's field holds another value than a category of triage, or its tag."""
        if helpdesk_value in EMPTY_VALUES:
            return
        value_text = helpdesk_value if isinstance(helpdesk_value, str) else dm.compact(helpdesk_value)
        value_text = dm.encodable(self._secrets.hidden_in(value_text))
        known = {dm.as_tag(category) for category in (*outgoing.known, outgoing.delivery.category)}
        if known.isdisjoint(dm.tags_of(value_text)):
            raise dm.DeliveryError(
                f'{self.name}: the ticket there holds "{value_text[:80]}", which somebody has set and which stays; '
                "triage pull takes it in",
                hint="if no source reads that field as its verdict, correct or empty it there",
                final=True,
                refusal=dm.Refusal.SET_BY_A_PERSON,
            )

    async def _search_earlier(self, send: Send, search_request: HttpRequest, contains: str) -> dm.Receipt | None:
        """Search for the result of an earlier attempt whose answer was lost."""
        answer = await self._extra_answer(send, search_request)
        if contains and contains.encode() in answer.body:
            return dm.Receipt(answer.status)
        if not answer.complete:
            raise dm.DeliveryError(
                f"{self.name} answered the search of once with more than can be read, or incompletely"
            )
        once, content = self._http.once or OnceSpec(), _json_content(answer)
        if content is None and (not contains or answer.is_page):
            raise self._no_json("the search of once", answer)
        if contains or dm.lookup(content, once.found) in EMPTY_VALUES:
            if once.partial and dm.lookup(content, once.partial) not in EMPTY_VALUES:
                raise dm.DeliveryError(f"{self.name} answered the search of once before it had looked everywhere")
            return None
        found_object = once.found.rpartition(".")[0]  # what is kept stands in the object that was found
        kept = self._values_to_keep(dm.lookup(content, found_object) if found_object else content)
        return dm.Receipt(answer.status, kept=kept)

    async def _extra_answer(self, send: Send, request: HttpRequest, usual: Sequence[int] = OK) -> HttpAnswer:
        """Make a request other than the one that delivers: find, search or undo.

        If it fails, the delivery is not doubtful and the destination is not gone.
        """
        try:
            answer = await send(request)
            if answer.status not in usual:
                raise self._refusal(answer, _json_content(answer))
        except dm.DeliveryError as error:
            error.doubtful = error.gone = False
            raise
        return answer

    def _refusal(self, answer: HttpAnswer, content: Any) -> dm.DeliveryError:
        retry = self._http.retry
        retried = retry is not None and _passes(retry, answer.status, content)
        error = refusal(self.name, answer, retried=retried, is_secret=bool(self._secrets.url))
        if answer.status in OK:
            error.message += ", which is not what ok in the config asks for"
        # With an address of one ticket, that ticket is gone, not the system.
        error.gone = answer.status == GONE and not self._has_ticket_address
        error.answer = self._beginning_of(answer)
        if error.answer:
            error.hint = error.hint or f"{dm.Step.WHY} shows its answer"
        if answer.status in UNAUTHORIZED and error.final and self._http.auth and self._http.auth.env:
            variables = " and ".join(self._http.auth.env)
            hold = "hold" if " " in variables else "holds"
            error.hint = f"check what {variables} {hold}, then {dm.Step.RETRY_DEAD}"
        return error

    def _no_json(self, request: str, answer: HttpAnswer) -> dm.DeliveryError:
        return dm.DeliveryError(f"{self.name} answered {request} with no JSON", answer=self._beginning_of(answer))

    def _beginning_of(self, answer: HttpAnswer) -> str | None:
        return beginning_of(answer, self._secrets.hidden_in)

    def _values_to_keep(self, content: Any) -> str | None:
        """Return the values to keep, as JSON; a value that is long, a list or an object is not kept."""
        kept = {name: dm.lookup(content, path) for name, path in self._http.keep.items()}
        short = {
            name: dm.encodable(self._secrets.hidden_in(value)) if isinstance(value, str) else value
            for name, value in kept.items()
            if isinstance(value, str | int | float) and len(str(value)) <= LONGEST_KEPT
        }
        return dm.compact(short) if short else None


def _json_content(answer: HttpAnswer) -> Any:
    """Return the JSON value of a destination's answer; None if it is no JSON."""
    if not answer.complete:
        return None
    try:
        return dm.from_json(answer.body.decode())
    except (ValueError, RecursionError):
        return None


def _passes(test: AnswerTest, status: int, content: Any, usual: range = range(1000)) -> bool:
    """Return whether an answer passes a configured test; `usual` are the accepted statuses if the test names none."""
    if status not in (test.status or usual):
        return False
    if test.path is None:
        return True
    actual = dm.lookup(content, test.path)
    if test.contains:
        return isinstance(actual, str) and test.contains in actual
    # 1 and true are different values here.
    return actual is not None if not test.value else (type(actual), actual) == (type(test.value[0]), test.value[0])


def http_as_text(http: HttpSpec, outgoing: dm.OutgoingDelivery) -> str:
    """Return the requests of one delivery as `route --dry-run` prints them, with secrets hidden."""
    requests = HttpRequests(http, hidden_secrets(http))
    try:
        find = requests.find(outgoing)
        kept = {name: f"<{name}>" for name in http.find.keep} if http.find else {}
        made = (*([find] if find else ()), *requests.undos(outgoing, kept), requests.delivery(outgoing, kept))
    except TemplateFailure as failure:
        return f"(nothing is sent: {failure})"
    return "\n\n".join(map(shown_request, made))
