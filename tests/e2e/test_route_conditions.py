"""Rules on columns of the input and on verdicts, through the command line, here and over a remote."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.remotes import instances

CONFIG = """\
destinations:
  gold: {type: file, path: gold.jsonl}
  person: {type: file, path: person.jsonl}
  rest: {type: file, path: rest.jsonl}
routes:
  - {name: gold, when: {extra.Plan Name: [gold, enterprise]}, to: gold}
  - {name: person, when: {verdict: true}, to: person}
  - {to: rest}
"""
TICKETS = "id,subject,Plan Name\nA,I was charged twice please refund my invoice,free\nB,Refund my invoice please,gold\n"


@pytest.fixture(params=["local", "remote"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Cli, Path]]:
    """A command line, and the folder of the instance that does its work."""
    yield from instances(request.param, tmp_path, CONFIG)


def taken(folder: Path, name: str) -> list[tuple[str, str]]:
    """Return external id and rule of what a destination was handed."""
    file = folder / f"{name}.jsonl"
    records = map(json.loads, file.read_text(encoding="utf-8").splitlines() if file.exists() else ())
    return [(record["ticket"]["external_id"], record["rule"]) for record in records]


def test_columns_and_verdicts_decide_where_a_ticket_goes(instance: tuple[Cli, Path]) -> None:
    cli, folder = instance
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    assert cli("classify", "-q").returncode == 0
    assert cli("route", "-q").returncode == 0
    assert taken(folder, "gold") == [("B", "routes.gold")]
    assert taken(folder, "rest") == [("A", "routes[2]")]
    assert "rule routes.gold sent it to " in cli("why", "B").stdout
    assert cli("verdict", "A", "General", "-q").returncode == 0
    assert cli("create", "-q", stdin=TICKETS.replace(",gold", ",free")).returncode == 0
    assert cli("route", "-q").returncode == 0
    assert taken(folder, "person") == [("A", "routes.person")]
    assert taken(folder, "rest") == [("A", "routes[2]"), ("B", "routes[2]")]


def test_a_dry_run_names_the_rule(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(CONFIG)
    cli("create", "-q", stdin=TICKETS)
    cli("classify", "-q")
    shown = [json.loads(line) for line in cli("route", "--dry-run").stdout.splitlines()]
    assert sorted(record["rule"] for record in shown) == ["routes.gold", "routes[2]"]
