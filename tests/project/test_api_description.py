"""`openapi.json` is what the server says of itself; after a wanted change: TRIAGE_GOLDEN=write pytest this file.

A change that breaks programs of others is written by TRIAGE_GOLDEN=breaking alone, and wants a line in the changelog.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from tests.support.api_changes import breaking_changes
from tests.support.world import World
from triage_cli import __version__, wiring
from triage_cli import domain as dm
from triage_cli.config import load_config
from triage_cli.extensions.server import ServerState, analysis_opener, create_app

COMMITTED = Path(__file__).parents[2] / "openapi.json"
BREAKS = "programs of others would break; TRIAGE_GOLDEN=breaking accepts that, and the changelog names it:"


def test_the_committed_description_is_that_of_the_server(world: World) -> None:
    parts = world.services()
    server_state = ServerState(
        parts,
        wiring.stores.open_api_access(parts.store),
        lambda _heads: dm.Head("", 0),
        analysis_opener(load_config(db=world.store.path, env={}, cwd=Path.cwd()), parts.store),
    )
    described = create_app(server_state).openapi()
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    mode = os.environ.get("TRIAGE_GOLDEN")
    broken = breaking_changes(json.loads(COMMITTED.read_text()), described)
    assert not broken or mode == "breaking", "\n".join([BREAKS, *broken])
    if mode in ("write", "breaking"):
        COMMITTED.write_text(text)
    assert COMMITTED.read_text() == text, "the server says something else of itself; if that is wanted: just golden"
    assert (described["openapi"][:4], described["info"]["version"]) == ("3.1.", __version__)


@pytest.fixture
def described() -> dict[str, Any]:
    """The committed description, which is that of the server on either store."""
    found: dict[str, Any] = json.loads(COMMITTED.read_text())
    return found


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


def test_no_property_is_null_alone(described: dict[str, Any]) -> None:
    """A generated client in Go has no type for it, and does not compile."""
    shapes = described["components"]["schemas"].items()
    fields = [
        (f"{name}.{field}", each) for name, shape in shapes for field, each in shape.get("properties", {}).items()
    ]
    assert [field for field, each in fields if each.get("type") == "null"] == []


def test_the_description_is_valid(described: dict[str, Any]) -> None:
    validate(described)


def test_everything_has_a_description_and_an_example_that_fits(described: dict[str, Any]) -> None:
    """Importers send the examples, null keys and all; readers see the descriptions."""
    found = []
    schemas = described["components"]["schemas"]
    for name, schema in schemas.items():
        assert schema["description"], name
        is_of_operations = name.endswith("Record")  # whose fields are those of this version's types
        assert is_of_operations or all(field.get("description") for field in schema["properties"].values()), name
        found.append((name, schema, schema.get("example")))
    for path, operation in operations_of(described):
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (path, parameter["name"])
            found.append((path, parameter["schema"], parameter["example"]))
        for message in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in message.get("content", {}).values():
                assert "example" in content, f"{path}: openapi_examples.json has none of {content['schema']}"
                found.append((path, content["schema"], content["example"]))
        for response in operation["responses"].values():
            assert "$ref" in response or response["description"] not in ("", "Successful Response"), path
    for response in described["components"]["responses"].values():
        found += [("an error", one["schema"], one["example"]) for one in response["content"].values()]
    for where, schema, example in found:
        if example is not None:
            checked = jsonschema_rs.Draft202012Validator(schema | {"components": {"schemas": schemas}})
            assert checked.is_valid(example), (where, [error.message for error in checked.iter_errors(example)])


def test_the_description_tells_roles_headers_and_codes(described: dict[str, Any]) -> None:
    for path, operation in operations_of(described):
        if operation["security"]:
            assert f"the role `{operation['x-required-role']}`" in operation["description"]
            assert {"X-Request-Id", "RateLimit"} <= operation["responses"][success(operation)]["headers"].keys(), path
    assert "Retry-After" in described["components"]["responses"]["TOO_MANY_REQUESTS"]["headers"]
    assert "not_found" in described["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]


def operations_of(described: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return each operation with its path."""
    return [(path, operation) for path, there in described["paths"].items() for operation in there.values()]


def success(operation: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the status of an operation that went well."""
    return min(status for status in operation["responses"] if status.startswith("2"))
