"""Fields that patterns find in texts: stored, shown, routed, sent and forgotten as columns of an input are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.remotes import RemoteCli, instances

CONFIG = """\
fields:
  order_no: '(?i)(?:\\border|#)\\s*(\\d{6,})'
  code: 'CODE-\\w+'
destinations:
  orders: {type: file, path: orders.jsonl}
  mail: {type: http, url: https://d.example, body: {order: "{{ ticket.extra.order_no }}"}}
  rest: {type: file, path: rest.jsonl}
routes:
  - {when: {extra.order_no: {over: 500000}}, to: orders}
  - {to: rest}
"""
TICKETS = """\
id,subject,description,code
A,Refund my invoice please,I was charged twice for order 600001 and #600002,
B,Refund my order 400000 please,"the invoice is wrong, code CODE-7",own
"""


@pytest.fixture(params=["local", "remote"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Cli, Path]]:
    """A command line, and the folder of the instance that does its work."""
    yield from instances(request.param, tmp_path, CONFIG)


def extra_of(cli: Cli, name: str) -> Any:
    return json.loads(cli("show", name, "-o", "json").stdout)["extra"]


def test_fields_are_stored_shown_routed_and_sent(instance: tuple[Cli, Path]) -> None:
    cli, folder = instance
    assert cli("run", "-q", stdin=TICKETS).returncode == 0
    assert extra_of(cli, "A") == {"order_no": "600001"}
    assert extra_of(cli, "B") == {"code": "own", "order_no": "400000"}, "a column of the input wins"
    sent = json.loads((folder / "orders.jsonl").read_text())
    assert sent["ticket"]["extra"] == {"order_no": "600001"}
    listed = cli("list", "-o", "csv", "--columns", "external_id,extra.order_no").stdout
    assert listed.splitlines() == ["external_id,extra.order_no", "B,400000", "A,600001"]
    made = cli("create", "--subject", "order 700000: CODE-9", "-o", "json")
    assert json.loads(made.stdout)["extra"] == {"code": "CODE-9", "order_no": "700000"}
    assert "600001" not in cli("logs", "-o", "jsonl").stdout


def test_only_another_text_brings_other_fields(instance: tuple[Cli, Path]) -> None:
    cli, folder = instance
    cli("create", "-q", stdin=TICKETS)
    if isinstance(cli, RemoteCli):
        cli.close()
    (folder / "config.yaml").write_text(CONFIG.replace("(\\d{6,})", "(\\d{5})"))
    if isinstance(cli, RemoteCli):
        cli.serve()
    assert cli("create", stdin=TICKETS).stderr.splitlines()[-1] == "0 created, 0 updated, 2 unchanged, 0 rejected"
    assert extra_of(cli, "A") == {"order_no": "600001"}
    changed = TICKETS.replace("600001 and #600002", "812345").replace("400000", "4")
    assert cli("create", stdin=changed).stderr.splitlines()[-1] == "0 created, 2 updated, 0 unchanged, 0 rejected"
    assert extra_of(cli, "A") == {"order_no": "81234"}
    assert extra_of(cli, "B") == {"code": "own"}, "the former field is gone"


def test_a_field_is_short_seen_before_it_is_stored_and_forgotten_with_the_text(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text("fields: {long: 'x+', blank: 'a( )b'}\n")
    row = f"id,subject,customer_id\n1,{'x' * 300} a b,c1\n"
    shown = json.loads(cli("create", "--dry-run", stdin=row).stdout)
    assert shown["extra"] == {"long": "x" * 200}
    cli("create", "-q", stdin=row)
    assert extra_of(cli, "1") == shown["extra"]
    assert cli("forget", "--customer-id", "c1", "--yes", "-q").returncode == 0
    assert b"x" * 20 not in cli.db.read_bytes()
