"""How files were read the last time: on both sides of the wire, and in both stores."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.api_server import running_server
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.extensions.remote import Address, RemoteTriage
from triage_cli.ports import Triage, operations

HEADER, OTHER = dm.header_key(["No", "Title"]), dm.header_key(["No"])
FIRST = dm.Reading("shop", {"external_id": "No", "subject": "Title"})
SECOND = dm.Reading("import", {"subject": "Title"})


@pytest.fixture(params=["local", "remote"])
def make(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Iterator[Callable[..., Triage]]:
    if request.param == "local":
        yield lambda _role="agent": world.triage()
        return
    with ExitStack() as stack:
        running = stack.enter_context(running_server(tmp_path, services=world.services()))

        def remote(role: str = "agent") -> Triage:
            triage = RemoteTriage(Address(running.url, running.keys[role]), ONLINE)
            stack.callback(triage.close)
            return triage

        yield remote


def test_the_last_reading_of_a_header_is_known(make: Callable[..., Triage]) -> None:
    assert make().last_reading(HEADER) is None
    for reading in (FIRST, SECOND, SECOND):
        make().keep_reading(HEADER, reading)
        assert make().last_reading(HEADER) == reading
    assert make().last_reading(OTHER) is None


def test_a_reader_may_look_and_not_write(world: World, tmp_path: Path) -> None:
    with running_server(tmp_path, services=world.services()) as running:
        reader = RemoteTriage(Address(running.url, running.keys["reader"]), ONLINE)
        assert reader.last_reading(HEADER) is None
        with pytest.raises(dm.RefusedError):
            reader.keep_reading(HEADER, FIRST)
        reader.close()
        headers = {"authorization": f"Bearer {running.keys['agent']}"}
        wrong = [{"source": "x" * 81}, {"source": 7}, {"source": "x", "columns": {"subject": "a" * 201}}, {}]
        keep, look = (f"{running.url}{operations.PATH}{name}" for name in ("keep_reading", "last_reading"))
        for reading in wrong:
            body = {"header": HEADER, "reading": reading}
            assert httpx.post(keep, json=body, headers=headers, timeout=30).status_code == 422
        assert httpx.post(look, json={"header": "short"}, headers=headers, timeout=30).status_code == 422


def test_the_order_of_columns_and_blanks_around_them_say_nothing() -> None:
    assert dm.header_key([" Title", "No "]) == HEADER != OTHER
    assert FIRST.options_unlike(SECOND) == [("--map", "external_id=No"), ("--source", "shop")]
    labelled = replace(FIRST, columns={**FIRST.columns, "verdict": "Team"})
    assert (FIRST.options_unlike(labelled), labelled.options_unlike(FIRST)) == ([], [("--map", "verdict=Team")])
    assert SECOND.options_unlike(FIRST) == [("--map", "external_id="), ("--source", "import")]
