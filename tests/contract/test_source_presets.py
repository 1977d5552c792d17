"""Each preset of a source reads its vendor's list: pages, cursor, filter, fields; a second pull is short and quiet."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.http_stub import Got, HttpStub, Reply
from tests.support.vendor_lists import CHANGES, MERGED, NUMBER, SIZE, VENDORS, changed, source_of
from triage_cli.config import SOURCE_PRESETS as PRESETS
from triage_cli.config import load_preset, preset_names


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Iterator[tuple[str, HttpStub]]:
    stub = VENDORS[request.param].serve()
    yield request.param, stub
    stub.close()


def configure(cli: Cli, name: str, stub: HttpStub, **keys: object) -> None:
    source = source_of(name, stub.root, **keys)
    (cli.folder / "config.yaml").write_text(json.dumps({"sources": {name: source}}))
    cli.env |= {"DESK_USER": "user", "DESK_TOKEN": "token"}


def test_every_preset_has_its_stub() -> None:
    assert sorted(VENDORS) == sorted(preset_names(PRESETS))


@pytest.mark.slow
def test_a_preset_reads_its_vendor_s_list(cli: Cli, vendor: tuple[str, HttpStub]) -> None:
    name, stub = vendor
    of = VENDORS[name]
    configure(cli, name, stub)
    first = cli("pull")
    assert (first.returncode, f"{name}: {len(of.taken)} created" in first.stderr) == (0, True), first.stderr
    stored = rows(
        cli.db,
        "select external_id, source, subject, description, customer_id, priority, substr(created_at, 1, 19)"
        " from tickets",
    )
    assert sorted(stored) == sorted(
        (of.external_id.format(n=n), name, f"S{n}", f"D{n}", str(n % 2), of.priority, "2026-09-21T14:13:20")
        for n in of.taken
    )
    before = len(stub.got)
    again = cli("pull", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    lists = [call for call in stub.calls[before:] if "articles" not in call]
    # Of the conversations of a whole day, which intercom's overlap is, there are several pages here. The list cannot be
    # begun again within a day, so they are counted, and read twice to see that nothing has moved between them.
    assert len(lists) <= (2 if name != "intercom" else 2 + 2 * (1 + NUMBER // SIZE)), lists


@pytest.mark.slow
def test_zendesk_is_one_request_when_there_is_nothing_new_and_a_field_by_its_id_is_a_verdict(cli: Cli) -> None:
    stub = VENDORS["zendesk"].serve()
    configure(cli, "zendesk", stub, verdict="custom_fields.360012.value")
    cli("pull", "-q")
    assert rows(cli.db, "select external_id, category from tickets where verdict = 1") == [("1", "Billing")]
    before = len(stub.got)
    cli("pull", "-q")
    assert stub.calls[before:] == ["GET /api/v2/incremental/tickets/cursor.json?per_page=1000&cursor=7"]
    stub.close()


@pytest.mark.slow
def test_a_ticket_that_was_merged_in_zammad_keeps_its_text(cli: Cli) -> None:
    stub = VENDORS["zammad"].serve()
    configure(cli, "zammad", stub)
    cli("pull", "-q")
    try:
        MERGED.add(NUMBER - 1)
        CHANGES[NUMBER - 1] = changed(NUMBER) + 60
        cli("pull", "-q")
    finally:
        MERGED.clear()
        CHANGES.clear()
        stub.close()
    last = rows(cli.db, f"select description from tickets where external_id = '{NUMBER - 1}'")
    assert last == [(f"D{NUMBER - 1}",)]


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_names_the_pages_it_was_made_from(path: Path) -> None:
    preset = load_preset(path.stem, PRESETS).value
    assert [node.value for node in preset["source"].value if not node.value.startswith("https://")] == []


@pytest.mark.slow
def test_what_changes_during_a_pull_hides_no_other_ticket(cli: Cli, vendor: tuple[str, HttpStub]) -> None:
    """It moves to the end, and the first of the next page onto the page that was read; tokens may count, too."""
    name, stub = vendor
    configure(cli, name, stub)
    answer, moves = stub.answer, iter((0, 1, 2))

    def moving(got: Got) -> Reply:
        if len(stub.got) > 1 and "articles" not in got.path and (oldest := next(moves, None)) is not None:
            CHANGES[oldest] = changed(NUMBER) + 60 * (oldest + 1)
        return answer(got)

    stub.answer = moving
    try:
        assert cli("pull", "-q", "--limit", "1").returncode == 0
        assert cli("pull", "-q").returncode == 0
    finally:
        CHANGES.clear()
    of = VENDORS[name]
    stored = rows(cli.db, "select external_id from tickets order by external_id")
    assert stored == sorted((of.external_id.format(n=n),) for n in of.taken)
