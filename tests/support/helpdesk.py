"""A helpdesk on 127.0.0.1: a list of tickets in pages of every kind, limits, failures, and labels that are added."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.http_stub import Got, HttpStub, Reply

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
TEXTS = ("I was charged twice this month", "the app crashes when I log in", "how do I change my address")


def moment(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Helpdesk:
    """Holds items by id. `fail` may answer in its place; it is asked with the number of the request, from 1."""

    def __init__(self, number: int = 0, *, size: int = 10, paging: str = "path") -> None:
        self.items: dict[int, dict[str, Any]] = {}
        self.size = size
        self.paging = paging
        self.fail: Callable[[int, Got], Reply | None] = lambda _number, _got: None
        self.clock = 0
        self.now: Callable[[], float] = lambda: 0.0  # seconds since it began: no change is before it
        self.after: Callable[[int], str] = str  # the token of a page that begins at an item
        self.order: Callable[[dict[str, Any]], Any] = lambda item: (item["updated_at"], item["id"])
        self.shown: Callable[[int], None] = lambda _n: None  # called when an item was shown
        self.lost_tags: list[str] = []  # tags of people that a request took away
        self.stub = HttpStub(self._answer)
        for n in range(number):
            self.add(n)

    @property
    def url(self) -> str:
        return f"{self.stub.root}/api/issues"

    @property
    def lists(self) -> list[str]:
        """Return the requests for pages."""
        return [call for call in self.stub.calls if call.startswith("GET /api/issues")]

    def close(self) -> None:
        self.stub.close()

    def _tick(self) -> None:
        self.clock = max(self.clock, int(self.now())) + 1

    def add(self, n: int, **fields: Any) -> None:
        self._tick()
        self.items[n] = {
            "id": n,
            "title": f"Ticket {n}",
            # With a letter: texts that differ by a number alone are the same to a precedent.
            "body": f"{TEXTS[n % 3]}, number {chr(ord('a') + n % 26)}{n}",
            "user": {"email": f"c{n % 7}@x.example"},
            "created_at": moment(self.clock),
            "updated_at": moment(self.clock),
            "tags": ["vip"],
            "field": None,
            **fields,
        }

    def change(self, n: int, *, after: float | None = None, **fields: Any) -> None:
        """Change an item, now or at a time of the helpdesk's own clock."""
        self._tick()
        self.items[n] |= {"updated_at": moment(self.clock if after is None else after), **fields}

    def source(self, **keys: Any) -> dict[str, Any]:
        """Return the configuration of a source that reads this helpdesk."""
        following: dict[str, Any] = {
            "path": {"path": "links.next"},
            "link": {"link": "next"},
            "page": {"page": "page"},
            "offset": {"offset": "skip", "size": self.size},
            "token": {"token": "meta.after", "query": "after"},
        }
        return {
            "type": "http",
            "url": self.url,
            "query": {"updated_after": "{{ cursor }}"},
            "items": "data",
            "next": following[self.paging],
            "cursor": {"field": "updated_at", "start": "2026-11-01T00:00:00Z", "overlap": "0"},
            "fields": {
                "subject": "title", "description": "body", "external_id": "id", "customer_id": "user.email",
                "created_at": "created_at",
            },
            "extra": ["tags"],
            **keys,
        }  # fmt: skip

    def _answer(self, got: Got) -> Reply:
        with self.stub.lock:
            number = len(self.lists)
        if failure := self.fail(number, got):
            return failure
        path = urlsplit(got.path).path
        if path == "/api/issues":
            return self.page(got)
        return self._labelled(got, int(path.split("/")[-2 if path.endswith("tags") else -1]))

    def page(self, got: Got) -> Reply:
        """Return a page of the list."""
        query = {key: values[0] for key, values in parse_qs(urlsplit(got.path).query).items()}
        since = query.get("updated_after", "")
        found = sorted((i for i in self.items.values() if i["updated_at"] >= since), key=self.order)
        at = int(
            query.get("skip") or query.get("after", "").lstrip("x") or self.size * (int(query.get("page") or 1) - 1)
        )
        more = at + self.size < len(found)
        url = f"/api/issues?updated_after={since}&skip={at + self.size}"
        body: dict[str, Any] = {"data": found[at : at + self.size]}
        body["links"] = {"next": url if more and self.paging == "path" else None}
        body["meta"] = {"after": self.after(at + self.size) if more else None}
        link = (
            {"link": f'<{self.stub.root}/>; rel="first", <{url}>; rel="next"'} if more and self.paging == "link" else {}
        )
        return Reply(200, json.dumps(body), link)

    def _labelled(self, got: Got, n: int) -> Reply:
        """Show an item, add tags, as `PUT …/tags` does, or take what a request sets; each change bumps the item's time.

        As in Zendesk, a request with `safe_update` is refused if the item was changed after its `updated_stamp`.
        """
        item = self.items[n]
        if got.method == "GET":
            reply = Reply(200, json.dumps(item))
            self.shown(n)
            return reply
        before = set(item["tags"])
        sent = got.json if got.body else {}
        stamp = sent.pop("updated_stamp", None)
        if sent.pop("safe_update", False) and stamp != item["updated_at"]:
            return Reply(409, json.dumps({"error": "UpdateConflict"}))
        if urlsplit(got.path).path.endswith("tags"):
            gone = set(sent.get("tags", ())) if got.method == "DELETE" else set()
            item["tags"] = sorted((before | set(sent.get("tags", ()))) - gone)
        else:
            item.update(sent)
        self.lost_tags += sorted(tag for tag in before - set(item["tags"]) if not tag.startswith("triage_"))
        self.change(n)
        return Reply(200, json.dumps(item))
