"""Sources of type `http`: a list is read page by page, and requests are made again until they can be used."""

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import compress
from typing import Any

from triage_cli import domain as dm
from triage_cli.config import SourceSpec, TemplateFailure
from triage_cli.extensions.pull.items import ItemReader, ReadItems
from triage_cli.extensions.pull.pagination import (
    CLOCK_TOLERANCE,
    LARGEST_PAGE,
    Page,
    PageRequests,
    Walk,
    begin_walk,
    takes_cursor,
)
from triage_cli.ports import Pause
from triage_cli.runtime import READ, Exchange, HttpAnswer, HttpRequest, limit_wait, retry_after

# The most retries of a source's request in a row: if the answer says when to retry, and if it does not.
MOST_ASKED_RETRIES, MOST_RETRIES = 100, 8
# Seconds to wait before a retry if the answer does not say.
FIRST_BACKOFF, LONGEST_BACKOFF = 0.25, 60.0
# How many characters of a source's refusal are shown.
SHOWN = 200


class RetriedRequests:
    """Makes the requests of one source with retries.

    `hide` removes the secrets from a text: an answer may repeat its request. `has_answered` is set once a list was
    read, now or at an earlier pull: from then on an HTML page means that the system is down for a while. `until` is the
    monotonic time at which a request is given up, whatever has come of its answer.
    """

    def __init__(self, spec: SourceSpec, hide: Callable[[str], str]) -> None:
        self.has_answered = False
        self.until: float | None = None
        self._name = spec.name
        self._auth = spec.auth
        self._hide = hide

    def answer(self, exchange: Exchange, request: HttpRequest, pause: Pause, *, lenient: bool) -> HttpAnswer | None:
        """Return the answer to a request, with retries until it can be used; None if the pull must stop.

        With `lenient`, an answer that the address does not exist is returned too.
        """
        attempts = 0
        while True:
            asked_wait: float | None = None
            try:
                answer = exchange(request._replace(until=self.until))
            except (dm.DeliveryError, dm.NoTokenError) as error:
                if isinstance(error, dm.DeliveryError) and error.final:
                    raise dm.UsageError(error.message, hint=error.hint) from error
                reason, asked_wait = error.message, error.retry_after
            else:
                is_usable = 200 <= answer.status < 300 and answer.complete
                if is_usable and not (self.has_answered and answer.is_page):
                    self._check_login(answer)
                    return answer
                if lenient and answer.status in (400, 404, 410, 422):
                    return answer
                reason = self._retry_reason(answer)
                asked_wait = self._asked_wait(answer)
            attempts += 1
            if attempts >= (MOST_RETRIES if asked_wait is None else MOST_ASKED_RETRIES):
                failures = f"{reason}, {attempts} times in a row"
                raise dm.UnavailableError(failures, hint="try later: the same command goes on")
            backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(attempts, 10)) * random.uniform(0.5, 1)  # noqa: S311
            if pause(backoff if asked_wait is None else asked_wait, reason):
                return None

    def _retry_reason(self, answer: HttpAnswer) -> str:
        """Return why an answer cannot be used, if a retry may help; raise an error if it cannot."""
        name, status = self._name, answer.status
        if 200 <= status < 300:
            if len(answer.body) >= LARGEST_PAGE:
                raise dm.InputError(
                    f"{name}: a page is larger than {LARGEST_PAGE >> 20} MB", hint="ask for fewer items a page"
                )
            if encoding := answer.headers.get("content-encoding"):
                raise dm.InputError(f"{name}: the answer is packed ({encoding[:40]}), which was not asked for")
            return f"{name} answered {status} with an HTML page" if answer.complete else f"{name}: an answer broke off"
        if answer.is_transient or status == 409 or _is_rate_limited(answer):  # 409: as Zendesk answers while it is busy
            return f"{name} answered {status}"
        text = self._hide(" ".join(answer.body[:READ].decode("utf-8", "replace").split()))[:SHOWN]
        if status in (401, 403):
            raise self._key_refused(f"{status}", "" if text[:1] in ("", "<") else f" ({text})")
        if 300 <= status < 400:
            target = self._hide("".join(answer.target))[:SHOWN]
            raise dm.UsageError(
                f"{name} redirects{target and f' to {target}'}, which is not followed",
                hint="name in url where it leads",
            )
        hint = "check url and auth" if status == 404 else "check url, query and next"  # GitHub's 404 may mean the key
        raise dm.UsageError(f"{name} answered {status}: {text or 'nothing more'}", hint=hint)

    def _check_login(self, answer: HttpAnswer) -> None:
        """Raise `RefusedError` for a list as everybody sees it: so Jira answers a key that has expired."""
        seraph_login = answer.headers.get("x-seraph-loginreason", "")
        if seraph_login.startswith(("AUTHENTICATED_FAILED", "AUTHENTICATION_DENIED")):
            raise self._key_refused(f"{answer.status} ({seraph_login[:40]})")

    def _key_refused(self, status_text: str, reason: str = "") -> dm.RefusedError:
        variables = self._auth.env if self._auth else ()
        hint = f"check what {' and '.join(variables)} hold{'s' if len(variables) == 1 else ''}"
        why = f"{self._name} answered {status_text}: the key is wrong or may not read this{reason}"
        return dm.RefusedError(why, hint=hint if variables else "give it auth")

    def _asked_wait(self, answer: HttpAnswer) -> float | None:
        """Return the seconds that an answer asks to wait: `Retry-After`, else the time until its rate limit ends."""
        now = time.time()
        wait = retry_after(answer.headers, now)
        if wait is None and (answer.status == 429 or _is_rate_limited(answer)):
            return limit_wait(answer.headers, answer.body, now)
        return wait


class HttpSource:
    """Implements `ports.Source` for a list over HTTP. `opened` opens the client, `tell` gets warnings.

    `hide` removes the secrets from a text: an answer may repeat its request.
    """

    def __init__(
        self,
        spec: SourceSpec,
        requests: PageRequests,
        opened: Callable[[], AbstractContextManager[Exchange]],
        tell: Callable[[str], None],
        hide: Callable[[str], str],
    ) -> None:
        self.name = spec.name
        self.keeps_category = spec.on_update == "keep"
        self._spec = spec
        self._requests = requests
        self._opened = opened
        self._tell = tell
        self._hide = hide
        self._item_reader = ItemReader(spec)
        self._reported: set[str] = set()
        self._retried = RetriedRequests(spec, hide)

    def pages(self, position: str | None, plan: dm.PullPlan, pause: Pause) -> Iterator[dm.SourcePage]:
        """Yield the pages of the list from a position on, or from the plan's time.

        Raises `UsageError`, `InputError`, `RefusedError` or `UnavailableError`, depending on the answer.
        """
        since = None if plan.since is None else int(dm.to_seconds(plan.since))
        self._retried.has_answered = position is not None
        self._retried.until = None if plan.deadline is None else time.monotonic() + plan.deadline
        walk, saves = begin_walk(position, since, self._spec, int(time.time()))
        with self._opened() as exchange:
            for after, drafts, progress in self._walked_pages(exchange, walk, pause):
                position = after.position(self._spec) if saves else None
                yield dm.SourcePage(drafts, position, progress, goes_on=saves and after.keeps_place(self._spec))

    def _walked_pages(
        self, exchange: Exchange, walk: Walk, pause: Pause
    ) -> Iterator[tuple[Walk, list[dm.TicketDraft | dm.Rejected], float | None]]:
        walk_began, next_row, is_resumed, has_times = walk.since, 0, walk.place is not None, False
        read_items, is_first = ReadItems(self._spec, self._item_reader), not self._retried.has_answered
        while not walk.ended:
            request = self._requests.page(walk)
            answer = self._retried.answer(exchange, request, pause, lenient=is_resumed)
            if answer is None:
                return
            if answer.status >= 400:  # the stored token is no longer good: begin at the cursor
                walk, is_resumed = walk.begun_at(walk.since), False
                continue
            is_resumed = False
            page, items, times = self._read_page(answer, request.url)
            self._retried.has_answered = True
            item_size = len(answer.body) // (len(items) or 1)
            is_unread = read_items.unread(items)
            unread_items, unread_times = [*compress(items, is_unread)], [*compress(times, is_unread)]
            drafts = self._drafts(exchange, unread_items, unread_times, item_size, next_row, pause)
            if drafts is None:
                return
            next_row, has_times = next_row + len(drafts), has_times or page.newest is not None
            read_at = int(time.time())
            self._warn_about(page, read_at)
            walk = self._walk_on(walk, page, read_at, read_items)
            progress = None
            if walk.newest and not walk.has_fallen and read_at > walk_began:
                progress = (walk.newest - walk_began) / (read_at - walk_began)
            yield walk, drafts, progress
        if next_row and not has_times and self._spec.cursor.field:
            cursor_field = self._spec.cursor.field
            self._tell(
                f"{self.name}: no item has a time at {cursor_field}, so each pull begins at the same time; check cursor"
            )
        if next_row and is_first and self._item_reader.lacks_verdicts:  # later, none of the few new ones may have it
            self._tell(
                f"{self.name}: no item has a field at {self._spec.verdict}, so no correction is heard; "
                "check verdict, and whether query asks for it"
            )

    def _walk_on(self, walk: Walk, page: Page, now: int, read_items: ReadItems) -> Walk:
        """Return the walk after a page. Raises `UsageError` if the list would never end.

        Pages that were counted, since many items have one time, are read again until nothing has moved between them.
        """
        if (
            walk.begun_from is not None and not read_items.is_page_known
        ):  # the list does not begin at the time asked for
            read_items.begin_next()
            return walk.begun_at(walk.begun_from)._replace(counts_on=True)
        later = walk.after(page, self._spec, now)
        if not later.ended and later.since == walk.since:
            read_items.check_goes_on(walk.place, later.place)
            return later
        is_counted = walk.pages + bool(page.item_count) > 1
        is_unordered = not takes_cursor(self._spec) or (later.ended and later.has_fallen)
        keeps_token = bool(self._spec.next and self._spec.next.keep)
        if not is_counted or is_unordered or keeps_token or later.is_read_anew(self._spec) or read_items.is_complete():
            read_items.begin_next()
            return later
        read_items.begin_again()
        return later._replace(read_until=walk.read_until).begun_at(walk.since)

    def _read_page(self, answer: HttpAnswer, url: str) -> tuple[Page, list[Any], list[str | None]]:
        """Return a page of the list, its items, and the time of each item's last change."""
        try:
            value = dm.foreign(answer.body)
        except ValueError as error:
            answer_kind = "an HTML page" if answer.is_page else "no JSON"
            hint = "check url and auth: it may be a login page instead of the list"
            raise dm.InputError(f"{self.name}: the answer is {answer_kind}", hint=hint) from error
        items = dm.lookup(value, self._spec.items) if self._spec.items else value
        is_mapping = isinstance(value, Mapping)
        reported_error = (value.get("errors") or value.get("error")) if is_mapping else None
        problem = self._hide(dm.compact(reported_error)[:READ])[:SHOWN] if reported_error else ""
        if items is None and self._spec.absent and is_mapping and not problem:  # as Help Scout leaves it out
            items = []
        if isinstance(items, list) and problem:  # as ServiceNow writes one behind what it had read until then
            raise dm.UnavailableError(
                f"{self.name}: the list may not be whole, since the answer reports {problem}",
                hint="try later, or ask for fewer items a page in query",
            )
        if not isinstance(items, list):
            beginning = ", ".join(list(value)[:10]) if is_mapping else dm.compact(value)
            there = self._hide(beginning[:READ])[:SHOWN]
            items_place = f'at "{self._spec.items}"' if self._spec.items else "at the top"
            if problem:
                list_problem = f"{self.name}: the answer has no list {items_place} but an error: {problem}"
                if self._retried.has_answered:  # as GraphQL says of what may pass
                    raise dm.UnavailableError(
                        list_problem, hint="try later, and if it lasts check auth, query and body"
                    )
                raise dm.InputError(list_problem, hint="check auth, query and body")
            list_problem = f"{self.name}: the answer has no list {items_place} (it has {there})"
            raise dm.InputError(list_problem, hint="check items")
        times = [self._item_reader.changed(item) for item in items]
        change_seconds = [int(dm.to_seconds(at)) for at in times if at]
        link_header = answer.headers.get("link", "")
        page = Page(value, url, link_header, len(items), change_seconds)
        return page, items, times

    def _drafts(
        self,
        exchange: Exchange,
        items: Sequence[Any],
        times: Sequence[str | None],
        item_size: int,
        row: int,
        pause: Pause,
    ) -> list[dm.TicketDraft | dm.Rejected] | None:
        """Return the drafts of a page; None if the pull must stop before all details are known."""
        drafts: list[dm.TicketDraft | dm.Rejected] = []
        for item, changed in zip(items, times, strict=True):
            if not self._item_reader.takes(item):
                continue
            number = row + len(drafts)
            if isinstance(item, Mapping) and self._item_reader.id_of(item) is not None:
                detailed = self._with_details(exchange, item, pause)
                if detailed is None:
                    return None
                if isinstance(detailed, int):  # it was deleted since the list was read: a known ticket stays
                    drafts.append(self._item_reader.without_details(item, number, detailed))
                    continue
                drafts.append(self._item_reader.read(detailed, number, item_size, changed))
            else:
                drafts.append(self._item_reader.read(item, number, item_size, changed))
        return drafts

    def _with_details(
        self, exchange: Exchange, item: Mapping[str, Any], pause: Pause
    ) -> Mapping[str, Any] | int | None:
        """Return an item with the answers to its further requests.

        Else return the status by which one was refused, or None if the pull must stop.
        """
        try:
            requests = dict(self._requests.details(item))
        except TemplateFailure as failure:
            raise dm.UsageError(f"{self.name}: {failure}", hint="check details in the config") from failure
        answers = {}
        for name, request in requests.items():
            answer = self._retried.answer(exchange, request, pause, lenient=True)
            if answer is None or answer.status >= 400:
                return None if answer is None else answer.status
            try:
                answers[name] = dm.foreign(answer.body)
            except ValueError as error:
                raise dm.InputError(
                    f"{self.name}: the answer about an item is no JSON", hint="check details"
                ) from error
        return {**item, **answers} if answers else item

    def _warn_about(self, page: Page, now: int) -> None:
        if page.newest and page.newest > now + CLOCK_TOLERANCE:
            self._tell_once(
                f"{self.name}: items are dated later than now ({dm.from_seconds(page.newest)}), so a clock is off; "
                "these are read again by each pull"
            )
        if self._spec.next and self._spec.next.most and not page.ascending:
            self._tell_once(
                f"{self.name}: the list is not in ascending order of {self._spec.cursor.field}, "
                "so its pages are counted on; ask for that order in query"
            )

    def _tell_once(self, odd_answer: str) -> None:
        if odd_answer.partition("(")[0] not in self._reported:
            self._reported.add(odd_answer.partition("(")[0])
            self._tell(odd_answer)


def _is_rate_limited(answer: HttpAnswer) -> bool:
    """Return whether a refusal means too many requests, as 403 with GitHub and 400 with Linear."""
    has_limit_header = "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining", "").strip() == "0"
    names_rate_limit = re.search(rb"rate ?limit", answer.body[:1000], re.IGNORECASE) is not None
    if answer.status == 403:
        return has_limit_header or names_rate_limit
    return answer.status == 400 and names_rate_limit
