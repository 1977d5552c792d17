"""`pull` of lists that move: what changes goes to the end, and all behind it move up, while pulls are stopped."""

import json
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows
from tests.support.helpdesk import Helpdesk, moment
from tests.support.http_stub import Got, Reply
from tests.support.pg_server import PgServer, sql
from triage_cli import domain as dm
from triage_cli.extensions.pull import MOST_IDLE_PAGES

STOPS = ("kill", "limit", "deadline")
ANEW = "no place in it is kept: the next pull begins anew\n"


@pytest.fixture
def desk() -> Iterator[Helpdesk]:
    desk = Helpdesk(60)
    yield desk
    desk.close()


@pytest.fixture(params=["sqlite", "postgres"])
def both(request: pytest.FixtureRequest, cli: Cli) -> Cli:
    """The command line on a database of each store."""
    if request.param == "postgres":
        pg_server: PgServer = request.getfixturevalue("pg_server")
        cli.env["TRIAGE_DB"] = pg_server.database(like=pg_server.template)
    return cli


def configure(cli: Cli, source: dict[str, Any]) -> None:
    file = cli.folder / "config.yaml"
    file.write_text(json.dumps({"sources": {"shop": source}}))
    file.chmod(0o600)


def stored(cli: Cli) -> dict[int, list[str]]:
    """Return the tags of each ticket that is stored."""
    query = "select external_id, extra from tickets"
    found = sql(cli.env["TRIAGE_DB"], query) if "TRIAGE_DB" in cli.env else rows(cli.db, query)
    return {int(number): json.loads(extra)["tags"] for number, extra in found}


def at_the_desk(desk: Helpdesk) -> dict[int, list[str]]:
    return {number: item["tags"] for number, item in desk.items.items()}


def moving(desk: Helpdesk) -> Callable[[int, Got], None]:
    """Let the oldest item change before each page but the first, for so long that each pull meets some of it."""

    def move(number: int, _got: Got) -> None:
        if 1 < number < 20:
            oldest = min(desk.items.values(), key=lambda item: (item["updated_at"], item["id"]))
            desk.change(oldest["id"], tags=[f"moved at {number}"])

    return move


def pull_stopped(cli: Cli, desk: Helpdesk, stop: str, at: int) -> None:
    """Pull, and stop it: killed at a request, at a limit under the size of a page, or at a deadline."""
    desk_fail = desk.fail
    process: list[subprocess.Popen[bytes]] = []

    def strike(number: int, got: Got) -> Reply | None:
        reply = desk_fail(number, got)
        if number == at and stop == "kill":
            os.kill(process[0].pid, signal.SIGKILL)
            return Reply(cut=-1)
        return Reply(429, headers={"retry-after": "90"}) if number >= at and stop == "deadline" else reply

    desk.fail = strike
    options = {"kill": [], "limit": ["--limit", "5"], "deadline": ["--deadline", "30s"]}[stop]
    process.append(cli.start("pull", "-q", *options))
    _, err = process[0].communicate(timeout=PATIENCE)
    assert process[0].returncode == {"kill": -signal.SIGKILL, "limit": 0, "deadline": 6}[stop], err
    desk.fail = desk_fail


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("paging", ["path", "link", "page", "offset", "token"])
def test_a_stopped_pull_loses_nothing_that_moves_meanwhile(both: Cli, desk: Helpdesk, paging: str, stop: str) -> None:
    desk.paging = paging
    configure(both, desk.source())
    desk.fail = moving(desk)
    pull_stopped(both, desk, stop, 3)
    for number in range(3, 13):
        desk.change(number, tags=["moved between"])
    assert both("pull", "-q").returncode == 0
    assert stored(both).keys() == desk.items.keys()
    desk.fail = lambda _number, _got: None
    assert both("pull", "-q").returncode == 0
    assert stored(both) == at_the_desk(desk)


@pytest.mark.parametrize("limit", ["1", "7", "50"])
def test_a_limit_below_the_size_of_a_page_gets_on_each_time(cli: Cli, limit: str) -> None:
    desk = Helpdesk(250, size=100)
    configure(cli, desk.source(next={"link": "next"}) | {"cursor": {"field": "updated_at", "start": moment(0)}})
    desk.paging = "link"
    counts: list[int] = []
    while len(counts) < 10:
        done = cli("pull", "-q", "--limit", limit)
        assert (done.returncode, done.stderr) == (0, "")
        counts.append(len(stored(cli)))
        if counts[-1] == 250:
            break
    desk.close()
    assert len(counts) <= 3, counts


@pytest.mark.parametrize("paging", ["link", "page"])
@pytest.mark.parametrize("stop", STOPS)
def test_many_items_of_one_time_hold_no_pull_up(cli: Cli, paging: str, stop: str) -> None:
    """They have no order that a time could tell, so their pages are counted, and what leaves them moves the others."""
    desk = Helpdesk(300, size=100, paging=paging)
    for number in range(20, 270):
        desk.items[number]["updated_at"] = moment(100)
    configure(cli, desk.source())
    move = moving(desk)
    leaving = iter(range(20, 300))
    desk.fail = lambda number, got: desk.change(next(leaving), tags=["left"]) if number in (3, 5) else move(number, got)
    for _ in range(3):
        pull_stopped(cli, desk, stop, len(desk.lists) + 3)
    assert cli("pull", "-q").returncode == 0
    desk.fail = lambda _number, _got: None
    asked = len(desk.lists)
    assert cli("pull", "-q").returncode == 0
    assert len(desk.lists) - asked <= 4
    assert stored(cli) == at_the_desk(desk)
    desk.close()


def test_what_leaves_the_items_of_one_time_while_they_are_counted_hides_no_other(cli: Cli, desk: Helpdesk) -> None:
    """The first of the second page moves onto the first one, which was read already."""
    for number in range(25):
        desk.items[number]["updated_at"] = moment(30)
    configure(cli, desk.source())
    desk.fail = lambda number, _: desk.change(0, tags=["left"]) if number == 2 else None
    assert cli("pull", "-q").returncode == 0
    assert stored(cli) == at_the_desk(desk)


# -- lists in another order


def newest_first(desk: Helpdesk) -> None:
    desk.order = lambda item: (-dm.to_seconds(item["updated_at"]), item["id"])


@pytest.mark.parametrize("stop", STOPS)
def test_a_list_in_another_order_begins_anew_and_tells_that_it_was_stopped(
    both: Cli, desk: Helpdesk, stop: str
) -> None:
    newest_first(desk)
    configure(both, desk.source())
    pull_stopped(both, desk, stop, 4)
    for number in range(50, 60):
        desk.change(number, tags=["moved between"])
    assert both("pull", "-q").returncode == 0
    assert stored(both) == at_the_desk(desk)


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_limit_that_keeps_no_place_is_told_also_when_quiet(cli: Cli, desk: Helpdesk, quiet: tuple[str, ...]) -> None:
    newest_first(desk)
    configure(cli, desk.source())
    for number in (10, 20, 30, 40, 50):
        done = cli("pull", "--limit", "5", *quiet)
        assert (done.returncode, len(stored(cli))) == (0, number)
        assert done.stderr.startswith(f"note: shop: stopped at --limit, and {ANEW}")
    last = cli("pull", *quiet, "--limit", "50")
    assert (last.returncode, "note" in last.stderr, len(stored(cli))) == (0, False, 60)


def test_a_deadline_that_keeps_no_place_says_so(cli: Cli, desk: Helpdesk) -> None:
    newest_first(desk)
    desk.fail = lambda number, _: Reply(429, headers={"retry-after": "90"}) if number > 2 else None
    configure(cli, desk.source())
    done = cli("pull", "-q", "--deadline", "30s")
    assert (done.returncode, done.stderr.endswith(f"is beyond --deadline; {ANEW}")) == (6, True), done.stderr


def test_a_list_in_the_order_of_creation_is_not_taken_for_one_in_that_of_changes(cli: Cli, desk: Helpdesk) -> None:
    """The last two of its first page were changed lately; begun at their time, the list would lack most others."""
    desk.order = lambda item: item["id"]
    desk.change(8)
    desk.change(9)
    configure(cli, desk.source())
    assert cli("pull", "-q").returncode == 0
    assert len(stored(cli)) == 60


# -- lists without an end


@pytest.mark.parametrize("paging", ["path", "link", "token", "page"])
@pytest.mark.parametrize("held", ["nothing", "the same item", "the same items by turns"])
def test_a_list_whose_next_page_is_always_another_one_ends(cli: Cli, desk: Helpdesk, paging: str, held: str) -> None:
    desk.paging = paging

    def answer(number: int, _got: Got) -> Reply:
        items = {"nothing": [], "the same item": [1], "the same items by turns": [number % 3]}[held]
        url = f"{desk.url}?fresh={number}"
        found = [desk.items[n] for n in items]
        body = {"data": found, "links": {"next": url}, "meta": {"after": f"x{number}"}}
        return Reply(200, json.dumps(body), {"link": f'<{url}>; rel="next"'})

    desk.fail = answer
    configure(cli, desk.source())
    done = cli("pull", "-q")
    assert (done.returncode, len(desk.lists) <= MOST_IDLE_PAGES + 5) == (2, True), done.stderr
    assert "so the list would never end; check next in the config" in done.stderr


# -- a campaign


def restless(desk: Helpdesk, chance: random.Random) -> Callable[[int, Got], None]:
    """Let up to three items change before each page, any of them, and sometimes many at one time."""

    def move(number: int, _got: Got) -> None:
        for item in chance.sample(sorted(desk.items), chance.randint(0, 3)):
            desk.change(item, tags=[f"moved at {number}"], body=f"changed at {number}")
        if chance.random() < 0.05:
            bulk = chance.sample(sorted(desk.items), 50)
            desk.clock += 1
            for item in bulk:
                desk.items[item] |= {"updated_at": moment(desk.clock), "tags": [f"all at {number}"]}

    return move


def kill_started(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process, unless it has ended."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


KILLS = 40  # of each kind of list


@pytest.mark.long
@pytest.mark.parametrize("paging", ["path", "link", "page", "offset", "token"])
def test_forty_kills_over_a_restless_list_lose_nothing(cli: Cli, paging: str) -> None:
    """Of five kinds of lists: two hundred in all, each at a random moment of a pull, and stops at a limit between."""
    chance = random.Random(f"38 {paging}")
    desk = Helpdesk(300, size=20, paging=paging)
    configure(cli, desk.source())
    kills = 0
    while kills < KILLS:
        desk.fail = restless(desk, chance)
        last = len(desk.lists) + chance.randint(1, 12)
        process: list[subprocess.Popen[bytes]] = []
        is_waited_for = chance.random() < 0.5  # killed while it waits for an answer, else while it stores one
        move = desk.fail

        def strike(number: int, got: Got) -> Reply | None:
            move(number, got)  # noqa: B023 - it is called in the same round
            if number < last:  # noqa: B023
                return None
            if is_waited_for:  # noqa: B023
                os.kill(process[0].pid, signal.SIGKILL)  # noqa: B023
                return Reply(cut=-1)
            threading.Timer(chance.uniform(0, 0.05), kill_started, (process[0],)).start()  # noqa: B023
            return None

        desk.fail = strike
        process.append(cli.start("pull", "-q"))
        process[0].communicate(timeout=PATIENCE)
        kills += process[0].returncode == -signal.SIGKILL
        if chance.random() < 0.2:
            desk.fail = move
            assert cli("pull", "-q", "--limit", "5").returncode == 0
    desk.fail = lambda _number, _got: None
    assert cli("pull", "-q").returncode == 0
    found, there = stored(cli), at_the_desk(desk)
    bodies = {int(i): text for i, text in rows(cli.db, "select external_id, description from tickets")}
    assert found == there
    assert bodies == {number: item["body"] for number, item in desk.items.items()}
    assert cli("audit", "verify").returncode == 0
    desk.close()
