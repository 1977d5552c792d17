"""Lists as helpdesks hand them out: each pages, filters and refuses as its vendor does."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.support.http_stub import Got, HttpStub, Reply
from triage_cli.config import SOURCE_PRESETS as PRESETS
from triage_cli.config import load_preset

NUMBER = 7
SIZE = 3  # a page of every stub, whatever is asked for: so that few tickets are several pages


# When tickets were changed later, in seconds since 1970; a test that sets these clears them.
CHANGES: dict[int, int] = {}


def changed(n: int) -> int:
    """Return when a ticket was changed, in seconds since 1970: two of them at once, at a page's end."""
    return CHANGES.get(n, 1_794_900_000 + 3600 * (n - (n == SIZE)))


def iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def refused(why: str, status: int = 400) -> Reply:
    return Reply(status, json.dumps({"error": why}))


def answered(value: Any, **headers: str) -> Reply:
    return Reply(200, json.dumps(value), headers)


def since(at: int) -> list[int]:
    return sorted((n for n in range(NUMBER) if changed(n) >= at), key=lambda n: (changed(n), n))


def query(got: Got) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(got.path).query).items()}


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


# -- the vendors


def zendesk(got: Got) -> Reply:
    asked = query(got)
    if urlsplit(got.path).path != "/api/v2/incremental/tickets/cursor.json":
        return refused("no such page", 404)
    if ("cursor" in asked) == ("start_time" in asked):
        return refused("one of cursor and start_time")
    found = (
        since(int(asked["start_time"]))
        if "start_time" in asked
        else [n for n in range(NUMBER) if n >= int(asked["cursor"])]
    )
    page = found[:SIZE]
    after = page[-1] + 1 if page else NUMBER
    tickets = [
        {
            "id": n, "subject": f"S{n}", "description": f"D{n}", "requester_id": n % 2, "priority": "high",
            "status": "open",
            "created_at": iso(1_790_000_000), "updated_at": iso(changed(n)), "tags": ["vip"],
            "custom_fields": [{"id": 1, "value": None}, {"id": 360012, "value": "triage_billing" if n == 1 else None}],
        }
        for n in page
    ]  # fmt: skip
    if "start_time" in asked:
        tickets.append({"id": 99, "subject": "gone", "status": "deleted", "updated_at": iso(changed(0))})
    return answered({"tickets": tickets, "after_cursor": str(after), "end_of_stream": after >= NUMBER})


def freshdesk(got: Got) -> Reply:
    asked = query(got)
    if (asked.get("order_by"), asked.get("order_type"), asked.get("include")) != ("updated_at", "asc", "description"):
        return refused("newest first, and no description")
    if int(asked["page"]) > 300:
        return refused("no more than 300 pages")
    at = SIZE * (int(asked["page"]) - 1)
    return answered(
        [
            {
                "id": n, "subject": f"S{n}", "description_text": f"D{n}", "requester_id": n % 2, "priority": 3,
                "status": 2,
                "created_at": iso(1_790_000_000), "updated_at": iso(changed(n)), "tags": ["vip"],
            }
            for n in since(seconds(asked["updated_since"]))[at : at + SIZE]
        ]
    )  # fmt: skip


def jira(got: Got) -> Reply:
    asked = query(got)
    condition = re.fullmatch(r"updated >= (\d+)000 ORDER BY updated ASC, key ASC", asked["jql"])
    if urlsplit(got.path).path != "/rest/api/2/search/jql" or not condition:
        return refused("no bounded query")
    found = since(int(condition[1]))
    at = int(asked.get("nextPageToken", 0))
    chosen = asked["fields"].split(",")
    issues = []
    for n in found[at : at + SIZE]:
        fields = {
            "summary": f"S{n}", "description": f"D{n}", "reporter": {"accountId": str(n % 2)},
            "priority": {"name": "High"},
            "labels": ["vip"], "created": "2026-09-21T14:13:20.000+0000",
            "updated": iso(changed(n)).replace("Z", ".000+0000"),
        }  # fmt: skip
        issues.append({"id": str(10_000 + n), "key": f"SUP-{n}", "fields": {f: fields.get(f) for f in chosen}})
    last = at + SIZE >= len(found)
    return answered({"issues": issues, "isLast": last} | ({} if last else {"nextPageToken": str(at + SIZE)}))


def github(got: Got) -> Reply:
    asked = query(got)
    if (asked.get("sort"), asked.get("direction"), asked.get("state")) != ("updated", "asc", "all"):
        return refused("newest first, and open ones alone")
    at = SIZE * (int(asked["page"]) - 1)
    return answered(
        [
            {
                "number": n, "title": f"S{n}", "body": f"D{n}", "user": {"login": str(n % 2)},
                "labels": [{"name": "vip"}],
                "created_at": iso(1_790_000_000), "updated_at": iso(changed(n)), "state": "open",
            } | ({"pull_request": {"url": "x"}} if n == 4 else {})
            for n in since(seconds(asked["since"]))[at : at + SIZE]
        ]
    )  # fmt: skip


def servicenow(got: Got) -> Reply:
    asked = query(got)
    condition = re.fullmatch(r"sys_updated_on>=(.{19})\^ORDERBYsys_updated_on\^ORDERBYsys_id", asked["sysparm_query"])
    found = since(seconds(condition[1])) if condition else since(0)  # what is wrong is passed over
    at = int(asked["sysparm_offset"])
    rows = [
        {
            "number": f"INC{n:07}", "sys_id": f"{n:032x}", "short_description": f"S{n}", "description": f"D{n}",
            "caller_id": str(n % 2), "priority": "2", "state": "1", "opened_at": "2026-09-21 14:13:20",
            "sys_updated_on": iso(changed(n)).replace("T", " ").replace("Z", ""),
        }
        for n in found[at : at + SIZE]
    ]  # fmt: skip
    return answered({"result": [{k: row[k] for k in asked["sysparm_fields"].split(",") if k in row} for row in rows]})


# Tickets that were merged into others; a test that sets these clears them.
MERGED: set[int] = set()


def zammad(got: Got) -> Reply:
    path = urlsplit(got.path).path
    if path.startswith("/api/v1/ticket_articles/by_ticket/"):
        n = path.rpartition("/")[2]
        if int(n) in MERGED:  # its articles are those of the other ticket now
            return answered([{"body": "merged", "type": "note"}])
        return answered([{"body": f"<div>D{n}<br></div>", "type": "web"}, {"body": "a reply", "type": "note"}])
    asked = query(got)
    condition = re.fullmatch(r"updated_at:\[(\S+) TO \*\]( AND NOT state.name:merged)?", asked["query"])
    if not condition or (asked.get("sort_by"), asked.get("order_by")) != ("updated_at", "asc"):
        return refused("newest first")
    at = SIZE * (int(asked["page"]) - 1)
    listed = [n for n in since(seconds(condition[1])) if not (condition[2] and n in MERGED)]
    found = listed[at : at + SIZE]
    tickets = [
        {
            "id": n, "number": f"4{n}", "title": f"S{n}", "customer": str(n % 2), "priority": "3 high", "state": "open",
            "created_at": "2026-09-21T14:13:20.119Z", "updated_at": iso(changed(n)).replace("Z", ".119Z"),
        }
        for n in found
    ]  # fmt: skip
    return answered(tickets if asked.get("expand") == "true" else {"tickets": found, "assets": {}})


def intercom(got: Got) -> Reply:
    asked = got.json
    if got.method != "POST" or "intercom-version" not in got.headers or asked["query"]["field"] != "updated_at":
        return refused("no search")
    if not isinstance(asked["query"]["value"], int) or asked["pagination"]["per_page"] > 150:
        return refused("a time is a number of seconds, a page has 150 conversations")
    found = [n for n in since(0) if changed(n) // 86_400 > asked["query"]["value"] // 86_400]
    at = int(asked["pagination"].get("starting_after", 0))
    conversations = [
        {
            "id": str(n), "title": None, "state": "open", "created_at": 1_790_000_000, "updated_at": changed(n),
            "source": {"type": "email", "subject": f"S{n}", "body": f"<p>D{n}</p>", "author": {"id": str(n % 2)}},
        }
        for n in found[at : at + SIZE]
    ]  # fmt: skip
    following = {"next": {"starting_after": str(at + SIZE)}} if at + SIZE < len(found) else {}
    return answered(
        {"type": "conversation.list", "conversations": conversations, "pages": {"type": "pages", **following}}
    )


class Vendor(NamedTuple):
    """A vendor's list: how it is configured beside its preset, what proves who asks, and how its ids look."""

    answer: Callable[[Got], Reply]
    auth: Mapping[str, Any]
    proof: str
    external_id: str
    taken: frozenset[int] = frozenset(range(NUMBER))
    path: str = ""
    priority: str | None = "high"

    def serve(self) -> HttpStub:
        """Serve the list to whoever proves who asks."""
        return HttpStub(lambda got: self.answer(got) if got.headers.get("authorization") == self.proof else Reply(401))


BASIC = {"basic": ["DESK_USER", "DESK_TOKEN"]}
VENDORS: Mapping[str, Vendor] = {
    "zendesk": Vendor(zendesk, BASIC, basic("user", "token"), "{n}"),
    "freshdesk": Vendor(freshdesk, {"basic": ["DESK_TOKEN"]}, basic("token", "X"), "{n}"),
    "jira": Vendor(jira, BASIC, basic("user", "token"), "SUP-{n}"),
    "github": Vendor(
        github,
        {"bearer": "DESK_TOKEN"},
        "Bearer token",
        "{n}",
        frozenset(range(NUMBER)) - {4},
        "/repos/acme/shop/issues",
        None,
    ),
    "servicenow": Vendor(servicenow, BASIC, basic("user", "token"), "INC{n:07}"),
    "zammad": Vendor(
        zammad, {"header": "Authorization", "env": "DESK_TOKEN", "prefix": "Token token="}, "Token token=token", "{n}"
    ),
    "intercom": Vendor(intercom, {"bearer": "DESK_TOKEN"}, "Bearer token", "{n}", priority=None),
}


def source_of(name: str, root: str, **keys: Any) -> dict[str, Any]:
    """Return the configuration of a source by its preset: it reads all of a stub's list, in the stub's pages."""
    vendor, preset = VENDORS[name], load_preset(name, PRESETS).value
    following = {key: node.value for key, node in preset["next"].value.items()}
    if "size" in following:
        following["size"] = SIZE
    cursor = {"field": preset["cursor"].value["field"].value, "start": "2026-01-01"}
    if name == "intercom":
        cursor["overlap"] = "1d"
    read = {"auth": vendor.auth, "next": following, "cursor": cursor}
    return {"preset": name, "url": root + vendor.path, **read, **keys}
