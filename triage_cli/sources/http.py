"""A source of type `http`: reads a list of items page by page."""

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

from triage_cli.config.sources import SourceSpec
from triage_cli.config.templates.filters import TemplateFailure
from triage_cli.domain.errors import DeliveryError, InputError, RefusedError, UnavailableError, UsageError
from triage_cli.domain.json_paths import lookup
from triage_cli.domain.serialization import compact, foreign
from triage_cli.domain.sources import PullPlan, SourcePage
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.domain.times import from_seconds, to_seconds
from triage_cli.ports.sources import Pause
from triage_cli.runtime.http_exchange import READ, Exchange, HttpAnswer, HttpRequest
from triage_cli.runtime.retry import limit_wait, retry_after
from triage_cli.sources.items import ItemReader
from triage_cli.sources.pagination import AHEAD, LARGEST, Page, PageRequests, Walk, begin

# The most retries of a request in a row: if the answer says when to retry, and if it does not.
TOLD, UNTOLD = 100, 8
FIRST_DELAY, LONGEST_DELAY = 0.25, 60.0
# How many characters of a refusal are shown.
SHOWN = 200
# The most pages in a row without items, after which a list that still names a next page is taken to have no end.
EMPTY = 100


class HttpSource:
    """Implements `ports.Source`. `opened` opens the client; `tell` gets warnings about odd answers.

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
        self._items = ItemReader(spec)
        self._reported: set[str] = set()
        self._has_answered = False  # with a list, now or at an earlier pull

    def pages(self, position: str | None, plan: PullPlan, pause: Pause) -> Iterator[SourcePage]:
        """Yield the pages of the list from a position on, or from the plan's time.

        Raises `UsageError`, `InputError`, `RefusedError` or `UnavailableError`, depending on the answer.
        """
        since = None if plan.since is None else int(to_seconds(plan.since))
        self._has_answered = position is not None
        walk, saves = begin(position, since, self._spec.cursor, self._spec.next, int(time.time()))
        with self._opened() as exchange:
            for after, drafts, progress in self._walked(exchange, walk, pause):
                position = after.position(self._spec.next, int(time.time())) if saves else None
                yield SourcePage(drafts, position, progress)

    def _walked(
        self, exchange: Exchange, walk: Walk, pause: Pause
    ) -> Iterator[tuple[Walk, list[TicketDraft | Rejected], float | None]]:
        began, row, resumed, has_times = walk.since, 0, walk.place is not None, False
        passed, is_first = set[object](), not self._has_answered
        while not walk.ended:
            request = self._requests.page(walk)
            answer = self._answer(exchange, request, pause, lenient=resumed)
            if answer is None:
                return
            if answer.status >= 400:  # the stored page no longer exists: begin at the cursor
                walk, resumed = walk._replace(place=None, pages=0), False
                continue
            resumed = False
            page, items, change_times = self._page(answer, request.url)
            self._has_answered = True
            size = len(answer.body) // (len(items) or 1)
            drafts = self._drafts(exchange, items, change_times, size, row, pause)
            if drafts is None:
                return
            row, has_times = row + len(drafts), has_times or page.newest is not None
            now = int(time.time())
            self._look_at(page, now)
            before, walk = walk, walk.after(page, self._spec.next, now)
            self._check_repeated(before, walk, items, passed)
            progress = (page.newest - began) / (now - began) if page.newest and page.ascending and now > began else None
            yield walk, drafts, progress
        if row and not has_times and self._spec.cursor.field:
            place = self._spec.cursor.field
            self._tell(
                f"{self.name}: no item has a time at {place}, so each pull begins at the same time; check cursor"
            )
        if row and is_first and self._items.lacks_verdicts:  # later, none of the few new ones may have it
            self._tell(
                f"{self.name}: no item has a field at {self._spec.verdict}, so no correction is heard; "
                "check verdict, and whether query asks for it"
            )

    # -- one answer

    def _answer(self, exchange: Exchange, request: HttpRequest, pause: Pause, *, lenient: bool) -> HttpAnswer | None:
        """Return the answer to a request, with retries; None if the pull must stop.

        With `lenient`, an answer that the address does not exist is returned too.
        """
        tries = 0
        while True:
            wait: float | None = None
            try:
                answer = exchange(request)
            except DeliveryError as error:
                if error.final:
                    raise UsageError(error.message, hint=error.hint) from error
                why = error.message
            else:
                is_whole = 200 <= answer.status < 300 and answer.complete
                if is_whole and not (self._has_answered and answer.is_page):
                    self._check_login(answer)
                    return answer
                if lenient and answer.status in (400, 404, 410, 422):
                    return answer
                why = self._refusal(answer)
                wait = self._told_wait(answer)
            tries += 1
            if tries >= (UNTOLD if wait is None else TOLD):
                raise UnavailableError(f"{why}, {tries} times in a row", hint="try later: the same command goes on")
            backoff = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(tries, 10)) * random.uniform(0.5, 1)  # noqa: S311
            if pause(backoff if wait is None else wait, why):
                return None

    def _refusal(self, answer: HttpAnswer) -> str:
        """Return why an answer cannot be used, if a retry may help; raise an error if it cannot."""
        name, status = self.name, answer.status
        if 200 <= status < 300:
            if len(answer.body) >= LARGEST:
                raise InputError(f"{name}: a page is larger than {LARGEST >> 20} MB", hint="ask for fewer items a page")
            if content_encoding := answer.headers.get("content-encoding"):
                raise InputError(f"{name}: the answer is packed ({content_encoding[:40]}), which was not asked for")
            return f"{name} answered {status} with an HTML page" if answer.complete else f"{name}: an answer broke off"
        if answer.is_transient or status == 409 or _is_limited(answer):  # 409: as Zendesk answers while it is busy
            return f"{name} answered {status}"
        shown_text = self._hide(_beginning(answer.body))[:SHOWN]
        if status in (401, 403):
            raise self._refused(f"{status}", "" if shown_text[:1] in ("", "<") else f" ({shown_text})")
        if 300 <= status < 400:
            target = self._hide("".join(answer.target))[:SHOWN]
            raise UsageError(
                f"{name} redirects{target and f' to {target}'}, which is not followed",
                hint="name in url where it leads",
            )
        hint = "check url and auth" if status == 404 else "check url, query and next"  # GitHub's 404 may mean the key
        raise UsageError(f"{name} answered {status}: {shown_text or 'nothing more'}", hint=hint)

    def _check_login(self, answer: HttpAnswer) -> None:
        """Raise `RefusedError` for a list as everybody sees it: so Jira answers a key that has expired."""
        login = answer.headers.get("x-seraph-loginreason", "")
        if login.startswith(("AUTHENTICATED_FAILED", "AUTHENTICATION_DENIED")):
            raise self._refused(f"{answer.status} ({login[:40]})")

    def _refused(self, how: str, reason: str = "") -> RefusedError:
        variables = " and ".join(self._spec.auth.env) if self._spec.auth else ""
        hint = f"check what {variables} hold{'s' if ' ' not in variables else ''}" if variables else "give it auth"
        return RefusedError(f"{self.name} answered {how}: the key is wrong or may not read this{reason}", hint=hint)

    def _told_wait(self, answer: HttpAnswer) -> float | None:
        """Return the seconds that an answer asks to wait: `Retry-After`, else the time until its rate limit ends."""
        now = time.time()
        wait = retry_after(answer.headers, now)
        if wait is None and (answer.status == 429 or _is_limited(answer)):
            return limit_wait(answer.headers, answer.body, now)
        return wait

    def _page(self, answer: HttpAnswer, url: str) -> tuple[Page, list[Any], list[str | None]]:
        """Return a page, its items, and the time of each item's last change."""
        try:
            value = foreign(answer.body)
        except ValueError as error:
            kind = "an HTML page" if answer.is_page else "no JSON"
            hint = "check url and auth: it may be a login page instead of the list"
            raise InputError(f"{self.name}: the answer is {kind}", hint=hint) from error
        items = lookup(value, self._spec.items) if self._spec.items else value
        reported = (value.get("errors") or value.get("error")) if isinstance(value, Mapping) else None
        problem = self._hide(compact(reported))[:SHOWN] if reported else ""
        if isinstance(items, list) and problem:  # as ServiceNow writes one behind what it had read until then
            raise UnavailableError(
                f"{self.name}: the list may not be whole, since the answer reports {problem}",
                hint="try later, or ask for fewer items a page in query",
            )
        if not isinstance(items, list):
            there = ", ".join(list(value)[:10]) if isinstance(value, Mapping) else self._hide(compact(value))[:SHOWN]
            place = f'at "{self._spec.items}"' if self._spec.items else "at the top"
            if problem:
                why = f"{self.name}: the answer has no list {place} but an error: {problem}"
                if self._has_answered:  # as GraphQL says of what may pass
                    raise UnavailableError(why, hint="try later, and if it lasts check auth, query and body")
                raise InputError(why, hint="check auth, query and body")
            raise InputError(f"{self.name}: the answer has no list {place} (it has {there})", hint="check items")
        change_times = [self._items.changed(listed) for listed in items]
        changed = [int(to_seconds(at)) for at in change_times if at]
        ascending = all(a <= b for a, b in pairwise(changed))
        newest = max(changed, default=None)
        return Page(value, url, answer.headers.get("link", ""), len(items), newest, ascending), items, change_times

    def _drafts(
        self, exchange: Exchange, items: Sequence[Any], change_times: Sequence[str | None], size: int, row: int,
        pause: Pause,
    ) -> list[TicketDraft | Rejected] | None:  # fmt: skip
        """Return the drafts of a page; None if the pull must stop before all details are known."""
        drafts: list[TicketDraft | Rejected] = []
        for listed, changed in zip(items, change_times, strict=True):
            if not self._items.takes(listed):
                continue
            at = row + len(drafts)
            if not (self._spec.details and isinstance(listed, Mapping) and self._items.id_of(listed) is not None):
                drafts.append(self._items.read(listed, at, size, changed))
                continue
            answer = self._details_of(exchange, listed, pause)
            if answer is None:
                return None
            if answer.status >= 400:  # it was deleted since the list was read: a ticket that is known keeps its text
                drafts.append(self._items.without_details(listed, at, answer.status))
            else:
                drafts.append(self._items.read({**listed, "details": self._json(answer)}, at, size, changed))
        return drafts

    def _details_of(self, exchange: Exchange, listed: Mapping[str, Any], pause: Pause) -> HttpAnswer | None:
        """Return the answer to an item's own request, also that there is none; None if the pull must stop."""
        try:
            request = self._requests.details(listed)
        except TemplateFailure as failure:
            raise UsageError(f"{self.name}: {failure}", hint="check details in the config") from failure
        return self._answer(exchange, request, pause, lenient=True)

    def _json(self, answer: HttpAnswer) -> Any:
        try:
            return foreign(answer.body)
        except ValueError as error:
            raise InputError(f"{self.name}: the answer about an item is no JSON", hint="check details") from error

    # -- what is odd

    def _look_at(self, page: Page, now: int) -> None:
        if page.newest and page.newest > now + AHEAD:
            self._tell_once(
                f"{self.name}: items are dated later than now ({from_seconds(page.newest)}), so a clock is off; "
                "these are read again by each pull"
            )
        if self._spec.next and self._spec.next.most and not page.ascending:
            self._tell_once(
                f"{self.name}: the list is not in ascending order of {self._spec.cursor.field}, "
                "so its pages are counted on; ask for that order in query"
            )

    def _tell_once(self, text: str) -> None:
        if text.partition("(")[0] not in self._reported:
            self._reported.add(text.partition("(")[0])
            self._tell(text)

    def _check_repeated(self, before: Walk, walk: Walk, items: Sequence[Any], passed: set[object]) -> None:
        """Raise `UsageError` if the list repeats a page, since it would never end."""
        if walk.ended or self._spec.next is None:
            return
        if self._spec.next.kind in ("page", "offset"):
            # After a change of the cursor the same page may come again, if many items were changed within one second.
            page_key = before.since, tuple(self._items.id_of(listed) for listed in items) or before.place
            is_repeated = (before.since == walk.since and page_key in passed) or len(passed) > EMPTY
            if items:
                passed.clear()
            passed.add(page_key)
        else:
            passed.add((before.since, before.place))  # where a list is begun again, its tokens are other ones
            is_repeated = (walk.since, walk.place) in passed
        if is_repeated:
            raise UsageError(
                f"{self.name}: the next page is one that was there before, so the list would never end",
                hint="check next in the config",
            )


def _is_limited(answer: HttpAnswer) -> bool:
    """Return whether a refusal means too many requests, as 403 with GitHub and 400 with Linear."""
    is_limit = "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining", "").strip() == "0"
    is_named = re.search(rb"rate ?limit", answer.body[:1000], re.IGNORECASE) is not None
    return (answer.status == 403 and (is_limit or is_named)) or (answer.status == 400 and is_named)


def _beginning(body: bytes) -> str:
    return " ".join(body[:READ].decode("utf-8", "replace").split())
