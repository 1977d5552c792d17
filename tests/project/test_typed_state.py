"""State is in types: events of the audit log are for readers and proof, and a message names its next steps as data."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.rooms import PACKAGE, room_of
from triage_cli import domain as dm
from triage_cli.extensions.llm import OpenAIBatchApi
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.extensions.server import problems

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


# What names commands on purpose: the command line, agents' tools, the sentences of `why`, what no server does, and the
# advice to send from the command line where a server may not.
ROOMS = ("cli/", "extensions/insight/command.py", "extensions/mcp/", "extensions/pull/", "runtime/network.py")
SPEAKS_OF_COMMANDS = (*ROOMS, *map(room_of, (dm.Step, dm.explain)))
NO_STEP = {"LIMIT", "DEADLINE", "SAME"}  # of `triage pull`, which no server does


def texts(source: str) -> Iterator[str]:
    """Yield the texts of a module, but for its docstrings."""
    for node in ast.walk(ast.parse(source)):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str) and not isinstance(node, ast.Expr):
                yield child.value


def test_a_message_names_what_to_do_next_as_data() -> None:
    steps = re.compile(
        "|".join(rf"(?<![\w.-]){re.escape(step)}(?![\w-])" for step in dm.Step if step.name not in NO_STEP)
    )
    found = {
        f"{name}: {text}"
        for path in PACKAGE.rglob("*.py")
        if not (name := str(path.relative_to(PACKAGE))).startswith(SPEAKS_OF_COMMANDS)
        for text in texts(path.read_text())
        if steps.search(text)
    }
    assert found == set()


def test_a_caller_of_the_api_has_a_request_for_each_step() -> None:
    assert set(problems.REQUESTS) == set(dm.Step)
    for step in dm.Step:
        assert (
            problems.spoken(f"nothing is lost; {step}, or wait")
            == f"nothing is lost; {problems.REQUESTS[step]}, or wait"
        )
    assert (
        problems.spoken("triage route-map, x--limit and triage whyever")
        == "triage route-map, x--limit and triage whyever"
    )
