"""PagerDuty and Opsgenie: the rules of their alerts."""

from typing import Any

from tests.support.vendors.server import Answer, Call, Vendor, is_text, need


class PagerDuty(Vendor):
    """developer.pagerduty.com/docs/events-api-v2: overview, trigger-events."""

    key = "0123456789abcdef0123456789abcdef"

    def __init__(self) -> None:
        self.alerts: dict[str, Any] = {}
        super().__init__()

    @property
    def url(self) -> str:
        return f"{self.root}/v2/enqueue"

    def answer(self, call: Call) -> Answer:
        need(call.method == "POST" and call.path == ("v2", "enqueue"), 404, "not found")
        need(call.size <= 512 * 1024, 413, "too large")
        body = call.body
        need(isinstance(body, dict) and isinstance(body.get("payload"), dict), 400, self._invalid("payload"))
        payload = body["payload"]
        rules = {
            "routing_key": body.get("routing_key") == self.key,
            "event_action": body.get("event_action") in ("trigger", "acknowledge", "resolve"),
            "dedup_key": is_text(body.get("dedup_key", ""), 0, 255),
            "summary": is_text(payload.get("summary"), 1, 1024),
            "source": is_text(payload.get("source"), 1, 1024),
            "severity": payload.get("severity") in ("critical", "error", "warning", "info"),
            "custom_details": isinstance(payload.get("custom_details", {}), dict),
        }
        for name, held in rules.items():
            need(held, 400, self._invalid(name))
        key = body.get("dedup_key") or str(len(self.alerts))
        self.alerts[key] = body
        self.accepted.append(body)
        return Answer(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    @staticmethod
    def _invalid(what: str) -> Any:
        return {"status": "invalid event", "message": "Event object is invalid", "errors": [what]}


class Opsgenie(Vendor):
    """docs.opsgenie.com: docs/alert-api, docs/alerts-and-alert-fields."""

    key = "opsgenie-secret"

    def __init__(self) -> None:
        self.alerts: dict[str, Any] = {}
        super().__init__()

    def answer(self, call: Call) -> Answer:
        need(call.method == "POST" and call.path == ("v2", "alerts"), 404, {"message": "no such path"})
        need(call.headers.get("authorization") == f"GenieKey {self.key}", 401, {"message": "Key format is not valid!"})
        body = call.body
        need(isinstance(body, dict), 400, {"message": "Could not parse"})
        tags, details = body.get("tags", []), body.get("details", {})
        rules = {
            "message": is_text(body.get("message"), 1, 130),
            "alias": is_text(body.get("alias", ""), 0, 512),
            "description": is_text(body.get("description", ""), 0, 15_000),
            "source": is_text(body.get("source", ""), 0, 100),
            "priority": body.get("priority", "P3") in ("P1", "P2", "P3", "P4", "P5"),
            "tags": len(tags) <= 20 and all(is_text(tag, 1, 50) for tag in tags),
            "details": isinstance(details, dict) and all(isinstance(value, str) for value in details.values()),
        }
        for name, held in rules.items():
            need(held, 422, {"message": "Request body is not processable", "errors": {name: "is not valid"}})
        self.alerts[body.get("alias") or str(len(self.alerts))] = body
        self.accepted.append(body)
        return Answer(202, {"result": "Request will be processed", "took": 0.1, "requestId": "r"})
