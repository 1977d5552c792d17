"""State is in types: what an event of the audit log says is for readers and proof, never for a decision."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.rooms import PACKAGE, room_of
from triage_cli import domain as dm
from triage_cli.api import problems
from triage_cli.classifiers import OpenAIBatchApi
from triage_cli.stores import PostgresStore

# Who may look into an event: what writes and reads it, what proves it, and what prints it.
READERS = {room_of(thing) for thing in (dm.Event, dm.hash_chain, dm.explain, dm.event_record, PostgresStore)}
# Attributes of the same name that belong to others' records.
OTHERS = {room_of(problems): "error.detail", room_of(OpenAIBatchApi): "openai_batch.errors.data"}


def looks(source: str) -> Iterator[str]:
    """Yield the expressions that read an event's data, before it is logged (`data`) or after (`detail`)."""
    attributes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    for node in attributes:
        if node.attr in ("data", "detail") and isinstance(node.ctx, ast.Load) and ast.unparse(node.value) != "self":
            yield ast.unparse(node)


def test_no_decision_is_read_from_an_event() -> None:
    found = {
        f"{name}: {look}"
        for path in PACKAGE.rglob("*.py")
        if (name := str(path.relative_to(PACKAGE))) not in READERS
        for look in looks(path.read_text())
        if OTHERS.get(name) != look
    }
    assert found == set()


@pytest.mark.parametrize("name", sorted(READERS | OTHERS.keys()))
def test_each_exception_is_needed(name: str) -> None:
    assert list(looks((PACKAGE / name).read_text()))
