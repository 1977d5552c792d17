"""Zendesk, Freshdesk, ServiceNow and Zammad: what they let a caller do to a ticket that they have."""

import re
from typing import Any

from tests.support.vendors.server import Answer, Call, Vendor, basic, is_text, need


class Zendesk(Vendor):
    """developer.zendesk.com/api-reference/ticketing/ticket-management/tags: PUT adds, POST replaces, DELETE removes.

    Of two changes at the same moment one is lost, unless the request asks for a safe update, which is refused with 409.
    """

    def __init__(self) -> None:
        self.tags: dict[str, list[str]] = {"41": ["vip", "triage_by_hand"]}
        self.conflicts = 0  # requests during which somebody else changes the same ticket
        self.by_agent: list[str] = []  # tags that an agent adds, each at the moment of one request
        self.changes: dict[str, int] = {}
        super().__init__()

    def stamp(self, ticket: str) -> str:
        return f"2026-11-25T10:00:{self.changes.get(ticket, 0):02}Z"

    def change(self, ticket: str, tags: list[str]) -> None:
        if tags != self.tags[ticket]:
            self.tags[ticket] = tags
            self.changes[ticket] = self.changes.get(ticket, 0) + 1

    def answer(self, call: Call) -> Answer:
        allowed = basic("me@example.com/token", "zendesk-secret")
        need(call.headers.get("authorization") == allowed, 401, {"error": "Couldn't authenticate you"})
        way = re.fullmatch(r"api/v2/tickets/(\d+)(/tags)?(\.json)?", "/".join(call.path))
        need(way and way[1] in self.tags, 404, {"error": "RecordNotFound", "description": "Not found"})
        assert way
        if not way[2]:
            need(call.method == "GET", 405, {"error": "method"})
            ticket = {"id": int(way[1]), "updated_at": self.stamp(way[1]), "tags": self.tags[way[1]]}
            return Answer(200, {"ticket": ticket})
        self.conflicts -= 1
        need(self.conflicts < 0, 409, {"error": "Conflict"})
        tags = call.body.get("tags") if isinstance(call.body, dict) else None
        need(isinstance(tags, list) and tags, 400, {"error": "Unprocessable"})
        assert tags is not None
        need(all(re.fullmatch(r"[\w:/-]{1,255}", tag) and tag == tag.lower() for tag in tags), 422, {"error": "tag"})
        before = self.tags[way[1]]
        if self.by_agent:
            self.change(way[1], [*before, self.by_agent.pop(0)])
        if call.body.get("safe_update") == "true":
            conflict = {"error": "UpdateConflict", "description": "Safe Update prevented the update"}
            need(call.body.get("updated_stamp") == self.stamp(way[1]), 409, conflict)
            before = self.tags[way[1]]
        after = {
            "PUT": [*before, *(tag for tag in tags if tag not in before)],
            "POST": tags,
            "DELETE": [tag for tag in before if tag not in tags],
        }
        need(call.method in after, 405, {"error": "method"})
        self.change(way[1], after[call.method])
        self.accepted.append(call.body)
        return Answer(200, {"tags": after[call.method]})


class Freshdesk(Vendor):
    """developers.freshdesk.com/api: #update_ticket (`tags` replaces the list, custom fields are set one by one)."""

    def __init__(self) -> None:
        self.tickets: dict[str, dict[str, Any]] = {
            "41": {"id": 41, "tags": ["vip"], "custom_fields": {"cf_triage": None, "cf_plan": "gold"}}
        }
        super().__init__()

    def answer(self, call: Call) -> Answer:
        allowed = basic("freshdesk-secret", "X")
        need(call.headers.get("authorization") == allowed, 401, {"code": "invalid_credentials"})
        way = re.fullmatch(r"api/v2/tickets/(\d+)", "/".join(call.path))
        need(way and way[1] in self.tickets, 404, None)
        assert way
        ticket = self.tickets[way[1]]
        if call.method == "GET":
            return Answer(200, ticket)
        need(call.method == "PUT", 405, {"message": "method not allowed"})
        body = call.body if isinstance(call.body, dict) else {}
        fields = body.get("custom_fields", {})
        unknown = [name for name in fields if name not in ticket["custom_fields"]] + list(
            body.keys() - {"tags", "custom_fields", "priority", "status", "type"}
        )
        need(body and not unknown, 400, self._invalid(unknown, "Unexpected/invalid field in request", "invalid_field"))
        wrong = [name for name, value in fields.items() if not is_text(value, 0, 255)]
        need(not wrong, 400, self._invalid(wrong, "Has more than 255 characters", "invalid_value"))
        ticket["custom_fields"] |= fields
        ticket["tags"] = body.get("tags", ticket["tags"])
        self.accepted.append(body)
        return Answer(200, ticket)

    @staticmethod
    def _invalid(names: list[str], message: str, code: str) -> Any:
        errors = [{"field": name, "message": message, "code": code} for name in names]
        return {"description": "Validation failed", "errors": errors}


class ServiceNow(Vendor):
    """servicenow.com/docs: api-reference/rest-apis/c_TableAPI. A field that is not there is passed over silently."""

    sys_id = "9d385017c611228701d22104cc95c371"

    def __init__(self) -> None:
        self.incidents: dict[str, dict[str, Any]] = {
            self.sys_id: {"sys_id": self.sys_id, "number": "INC0000041", "short_description": "s", "work_notes": ""},
            "f" * 32: {"sys_id": "f" * 32, "number": "INC0000042", "short_description": "t", "work_notes": ""},
        }
        super().__init__()

    def answer(self, call: Call) -> Answer:
        allowed = basic("me", "servicenow-secret")
        need(call.headers.get("authorization") == allowed, 401, self._error("User Not Authenticated"))
        need(call.path[:4] == ("api", "now", "table", "incident"), 400, self._error("Invalid table"))
        if len(call.path) == 4:
            need(call.method == "GET", 405, self._error("method"))
            return Answer(
                200, {"result": [self._shown(i, call) for i in self.incidents.values() if self._fits(i, call)]}
            )
        incident = self.incidents.get(call.path[4])
        need(incident and len(call.path) == 5, 404, self._error("No Record found"))
        assert incident
        if call.method == "GET":
            return Answer(200, {"result": self._shown(incident, call)})
        need(call.method in ("PATCH", "PUT") and isinstance(call.body, dict), 400, self._error("no body"))
        for name, value in call.body.items():
            if name == "work_notes":  # a journal: entries are added, the newest first
                incident[name] = f"2026-11-25 10:00:00 - me (Work notes)\n{value}\n\n{incident[name]}"
            elif name in incident:
                incident[name] = value
        self.accepted.append(call.body)
        return Answer(200, {"result": self._shown(incident, call)})

    @staticmethod
    def _fits(incident: dict[str, Any], call: Call) -> bool:
        """Apply an encoded query: `^OR` is an alternative, `^` a further condition."""
        query = call.query.get("sysparm_query", "")
        return any(
            all(incident.get(name) == value for name, _, value in (part.partition("=") for part in group.split("^")))
            for group in query.split("^OR")
        )

    @staticmethod
    def _shown(incident: dict[str, Any], call: Call) -> dict[str, Any]:
        names = call.query.get("sysparm_fields", ",".join(incident)).split(",")
        journal = call.query.get("sysparm_display_value") in ("true", "all")
        return {name: incident[name] if journal or name != "work_notes" else "" for name in names if name in incident}

    @staticmethod
    def _error(message: str) -> Any:
        return {"error": {"message": message, "detail": None}, "status": "failure"}


class Zammad(Vendor):
    """docs.zammad.org/en/latest/api/ticket/tags.html; app/controllers/tags_controller.rb."""

    def __init__(self) -> None:
        self.tags: dict[str, list[str]] = {"41": ["vip"]}
        super().__init__()

    def answer(self, call: Call) -> Answer:
        allowed = "Token token=zammad-secret"
        need(call.headers.get("authorization") == allowed, 401, {"error": "Invalid token"})
        body = call.body if isinstance(call.body, dict) else {}
        need(body.get("object") == "Ticket", 422, {"error": "object"})
        need(str(body.get("o_id")) in self.tags, 404, {"error": "No such object", "error_human": "Not found"})
        need(is_text(body.get("item"), 1, 250), 422, {"error": "item"})
        tags = self.tags[str(body["o_id"])]
        way = (call.method, "/".join(call.path))
        if way == ("POST", "api/v1/tags/add"):
            if body["item"] not in tags:
                tags.append(body["item"])
        else:
            need(way == ("DELETE", "api/v1/tags/remove"), 404, {"error": "no route"})
            if body["item"] in tags:
                tags.remove(body["item"])
        self.accepted.append(body)
        return Answer(201, True)
