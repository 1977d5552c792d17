"""What counts as a breaking change of the API's description."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api_changes import breaking_changes

TICKET = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "status": {"type": "string", "enum": ["new", "done"]},
        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Ticket"}},
    },
    "required": ["id", "note"],
}
JSON = "application/json"
OLD: dict[str, Any] = {
    "paths": {
        "/tickets": {
            "post": {
                "operationId": "create",
                "x-required-role": "agent",
                "parameters": [{"in": "query", "name": "limit", "schema": {"type": "integer"}}],
                "requestBody": {
                    "content": {JSON: {"schema": {"$ref": "#/components/schemas/TicketIn"}}, "text/csv": {"schema": {}}}
                },
                "responses": {
                    "200": {"content": {JSON: {"schema": {"$ref": "#/components/schemas/Ticket"}}}},
                    "201": {},
                    "404": {},
                },
            }
        }
    },
    "components": {"schemas": {"Ticket": TICKET, "TicketIn": copy.deepcopy(TICKET)}},
}
OLD["components"]["schemas"]["TicketIn"]["properties"]["parts"]["items"]["$ref"] = "#/components/schemas/TicketIn"


def operation(found: Any) -> Any:
    return found["paths"]["/tickets"]["post"]


def schema(found: Any, name: str = "Ticket") -> Any:
    return found["components"]["schemas"][name]


BREAKING: list[tuple[Callable[[Any], Any], str]] = [
    (lambda d: d["paths"].clear(), "POST /tickets is gone"),
    (lambda d: operation(d).update(operationId="make"), "its id was create, is make"),
    (lambda d: operation(d).update({"x-required-role": "admin"}), "its role was agent, is admin"),
    (lambda d: operation(d)["parameters"].clear(), "parameter query limit is gone"),
    (lambda d: operation(d)["parameters"][0].update(required=True), "parameter query limit is required now"),
    (lambda d: operation(d)["parameters"][0]["schema"].update(type="string"), "integer is not taken any more"),
    (lambda d: operation(d)["requestBody"].update(required=True), "the body is required now"),
    (lambda d: operation(d)["requestBody"]["content"].pop("text/csv"), "a body of text/csv is not taken any more"),
    (lambda d: schema(d, "TicketIn")["required"].append("status"), "body.status is required now"),
    (lambda d: schema(d, "TicketIn")["properties"].pop("note"), "body.note is gone"),
    (lambda d: schema(d, "TicketIn")["properties"]["status"]["enum"].pop(), "body.status: done is not taken any more"),
    (lambda d: operation(d)["responses"].pop("201"), "201 is gone"),
    (lambda d: operation(d)["responses"]["200"]["content"].clear(), f"200 has no {JSON} any more"),
    (lambda d: schema(d)["properties"].pop("id"), "200.id is gone"),
    (lambda d: schema(d)["required"].remove("id"), "200.id may be missing now"),
    (lambda d: schema(d)["properties"]["status"]["enum"].append("gone"), "200.status: may be gone now"),
    (lambda d: schema(d)["properties"]["status"].pop("enum"), "200.status: may be any value now"),
    (lambda d: schema(d)["properties"]["note"]["anyOf"].append({"type": "integer"}), "200.note: may be integer now"),
]
HARMLESS: list[Callable[[Any], Any]] = [
    lambda d: d["paths"].update({"/more": {"get": {}}}),
    lambda d: operation(d)["parameters"].append({"in": "query", "name": "sort", "schema": {"type": "string"}}),
    lambda d: operation(d)["responses"].pop("404"),
    lambda d: operation(d).update({"x-required-role": "reader"}),
    lambda d: operation(d).update(description="in other words"),
    lambda d: schema(d, "TicketIn")["properties"].update(extra={"type": "object"}),
    lambda d: schema(d, "TicketIn")["required"].clear(),
    lambda d: schema(d, "TicketIn")["properties"]["status"]["enum"].append("open"),
    lambda d: schema(d)["properties"].update(extra={"type": "object"}),
    lambda d: schema(d)["required"].append("status"),
    lambda d: schema(d)["properties"]["status"]["enum"].pop(),
]


@pytest.mark.parametrize(("change", "sentence"), BREAKING, ids=[sentence for _, sentence in BREAKING])
def test_what_a_client_would_notice_is_told(change: Callable[[Any], Any], sentence: str) -> None:
    new = copy.deepcopy(OLD)
    change(new)
    assert any(sentence in found for found in breaking_changes(OLD, new)), breaking_changes(OLD, new)


@pytest.mark.parametrize("change", HARMLESS)
def test_what_no_client_would_notice_is_passed_over(change: Callable[[Any], Any]) -> None:
    new = copy.deepcopy(OLD)
    change(new)
    assert breaking_changes(OLD, new) == []
