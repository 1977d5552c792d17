"""Tickets whose HTML is read as text, or as it is, are the same tickets: on both sides of the wire."""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import running_server
from tests.support.online import ONLINE
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.extensions.remote import Address, RemoteTriage, upload
from triage_cli.ports import Triage
from triage_cli.readers import ReadOptions, open_table

WITH_IDS = (
    "id,subject,description\n1,Refund,<p>charged <b>twice</b></p>\n"
    "2,A &amp; B,<style>p {}</style>late<br>again\n3,x,plain\n"
)
WITHOUT = "\n".join(line.partition(",")[2] for line in WITH_IDS.splitlines()) + "\nx,plain\nRefund,<p>twice</p>\n"


@pytest.fixture(params=["local", "remote"])
def make(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Iterator[Callable[[], Triage]]:
    if request.param == "local":
        yield world.triage
        return
    with ExitStack() as stack:
        running = stack.enter_context(running_server(tmp_path, services=world.services()))

        def remote() -> Triage:
            triage = RemoteTriage(Address(running.url, running.keys["agent"]), ONLINE)
            stack.callback(triage.close)
            return triage

        yield remote


def imported(triage: Triage, table: str, **options: Any) -> list[str]:
    rows = open_table(io.BytesIO(table.encode()), "t.csv", ReadOptions(**options)).rows
    return [outcome.action for outcome in triage.create(rows)]


@pytest.mark.parametrize("table", [WITH_IDS, WITHOUT], ids=["ids", "no ids"])
@pytest.mark.parametrize("first", [True, False])
def test_a_ticket_is_known_whichever_way_its_html_was_read(
    make: Callable[[], Triage], world: World, table: str, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "ROWS", 2)  # so that one input comes in several parts
    number = len(table.splitlines()) - 1
    assert imported(make(), table, html=first) == ["created"] * number
    stored = {ticket.description for ticket in world.store.find(dm.Selection())}
    assert ("<p>charged <b>twice</b></p>" in stored) is not first
    for html in (not first, first, None):
        assert imported(make(), table, html=html) == ["unchanged"] * number
    assert {ticket.description for ticket in world.store.find(dm.Selection())} == stored


def test_another_text_is_an_update_whatever_its_tags(make: Callable[[], Triage]) -> None:
    assert imported(make(), WITH_IDS) == ["created"] * 3
    assert imported(make(), WITH_IDS.replace("again", "again!"), html=False) == ["unchanged", "updated", "unchanged"]


def test_a_forgotten_ticket_does_not_come_back_as_text(make: Callable[[], Triage], world: World) -> None:
    table = "customer_id,description\nC-1,<p>charged twice</p>\n"
    assert imported(make(), table, html=False) == ["created"]
    assert len(list(world.triage().forget("C-1"))) == 1
    assert imported(make(), table, html=True) == ["unchanged"]
