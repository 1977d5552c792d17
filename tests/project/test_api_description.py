"""`openapi.json` is what the server says of itself; after a wanted change: TRIAGE_GOLDEN=write pytest this file."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.world import World
from triage_cli import __version__, wiring
from triage_cli.api.application import create_app
from triage_cli.api.dependencies import ServerState

COMMITTED = Path(__file__).parents[2] / "openapi.json"


@pytest.fixture
def described(world: World) -> dict[str, Any]:
    parts = world.triage()._parts
    found: dict[str, Any] = create_app(ServerState(parts, wiring.open_gate(parts.store))).openapi()
    return found


def test_the_committed_description_is_that_of_the_server(described: dict[str, Any]) -> None:
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("TRIAGE_GOLDEN") == "write":
        COMMITTED.write_text(text)
    assert COMMITTED.read_text() == text
    assert (described["openapi"][:4], described["info"]["version"]) == ("3.1.", __version__)


def test_the_contracts_endpoints_are_there(described: dict[str, Any]) -> None:
    there = {f"{method.upper()} {path}" for path, ops in described["paths"].items() for method in ops}
    assert there >= {
        "POST /tickets", "GET /tickets", "GET /tickets/{ticket_id}", "GET /tickets/{ticket_id}/why",
        "POST /tickets/{ticket_id}/classify", "POST /tickets/{ticket_id}/route", "POST /tickets/{ticket_id}/verdict",
        "GET /tickets/{ticket_id}/logs", "GET /logs", "GET /stats", "GET /audit/head", "POST /webhooks/{source}",
        "GET /health", "GET /ready", "GET /metrics",
    }  # fmt: skip


def test_every_operation_has_words_an_id_of_its_own_and_says_who_may(described: dict[str, Any]) -> None:
    operations = [op for ops in described["paths"].values() for op in ops.values()]
    assert len({op["operationId"] for op in operations}) == len(operations)
    for op in operations:
        assert op["description"]
        assert op["security"] or not {"401", "403"} <= op["responses"].keys()
    assert all(
        shape.get("additionalProperties") is False
        for name, shape in described["components"]["schemas"].items()
        if name.endswith("In")
    )
