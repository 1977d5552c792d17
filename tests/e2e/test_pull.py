"""`pull`: pages of every kind become tickets, the cursor is stored with them, each oddity is one sentence."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.helpdesk import Helpdesk, moment
from tests.support.http_stub import Got, Reply
from tests.support.watched_terminal import watched
from triage_cli.extensions.pull import MOST_IDLE_PAGES, linked


@pytest.fixture
def desk() -> Iterator[Helpdesk]:
    desk = Helpdesk(25)
    yield desk
    desk.close()


def configure(cli: Cli, sources: dict[str, Any], **more: Any) -> None:
    file = cli.folder / "config.yaml"
    file.write_text(json.dumps({"sources": sources, **more}))
    file.chmod(0o600)


def stored(cli: Cli) -> dict[str, tuple[str, str]]:
    return {
        i: (subject, status) for i, subject, status in rows(cli.db, "select external_id, subject, status from tickets")
    }


def cursor(cli: Cli) -> Any:
    found = rows(cli.db, "select position from source_cursors")
    return json.loads(found[0][0]) if found else None


def test_a_list_that_is_left_out_where_it_is_empty_is_an_empty_page(cli: Cli, desk: Helpdesk) -> None:
    """As Help Scout may leave `_embedded` out; an answer with an error is none, and without the key it is a mistake."""
    answers = iter(['{"page": {"totalElements": 0}}', '{"error": "maintenance"}', "[]"])
    desk.fail = lambda _n, _got: Reply(200, next(answers))
    configure(cli, {"shop": desk.source(items="_embedded.conversations", absent="empty")})
    done = cli("pull")
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "shop: 0 created, 0 updated, 0 unchanged, 0 rejected")
    for _ in range(2):
        assert "shop: the answer has no list at" in cli("pull").stderr


@pytest.mark.parametrize("paging", ["path", "link", "page", "offset", "token"])
def test_pages_of_every_kind_become_tickets_once(cli: Cli, desk: Helpdesk, paging: str) -> None:
    desk.paging = paging
    configure(cli, {"shop": desk.source()})
    first = cli("pull")
    assert (first.returncode, first.stderr) == (0, "shop: 25 created, 0 updated, 0 unchanged, 0 rejected\n")
    # After each page the list is begun again, some items back. Only an empty page ends a list that does not say more.
    assert len(desk.lists) == (6 if paging == "page" else 4)
    assert [json.loads(line)["external_id"] for line in first.stdout.splitlines()] == [str(n) for n in range(25)]
    ticket = json.loads(cli("show", "3").stdout)
    assert (ticket["source"], ticket["customer_id"], ticket["extra"]) == ("shop", "c3@x.example", {"tags": ["vip"]})


def test_a_second_pull_asks_for_what_is_newer_and_changes_nothing(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source()})
    cli("pull")
    before, asked, events = cursor(cli), len(desk.lists), rows(cli.db, "select count(*) from events")
    again = cli("pull", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert desk.lists[asked:] == ["GET /api/issues?updated_after=2026-11-01T00%3A00%3A25Z"]
    assert (cursor(cli), rows(cli.db, "select count(*) from events")) == (before, events)


def test_the_next_step_is_one_for_the_tickets_that_came(fitted: Cli, desk: Helpdesk) -> None:
    def next_step() -> str:
        return watched(fitted, "pull").shown.partition("rejected\n")[2]

    configure(fitted, {"shop": desk.source()})
    assert next_step() == "next: triage classify; triage undo takes this back\n"
    assert fitted("classify", "-q").returncode == 0
    assert fitted("route", "-q").returncode == 0
    desk.change(4, tags=["later"])
    assert next_step() == "next: triage route\n"
    assert next_step() == ""
    given = watched(fitted, "create", "-", given=b"id,subject,team\n1,refund,Billing\n").shown
    assert given.endswith("next: triage classify; triage undo takes this back\n")
    decided = watched(
        fitted, "create", "-", "--map", "verdict=team", given=b"id,subject,team\n2,refund,Billing\n"
    ).shown
    assert decided.endswith("next: triage route; triage undo takes this back\n")


def test_what_changed_is_updated_and_another_text_is_asked_about_again(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source(), "still": desk.source(on_update="keep")})
    cli("pull", "-q")
    cli("verdict", "-", stdin="source,ticket_id,category\n")
    cli("classify", "-q", "--classifier", "local")
    statuses = dict(rows(cli.db, "select ticket_id, status from tickets"))
    assert "new" not in statuses.values()
    desk.change(3, body="now it is about something else")
    desk.change(4, tags=["vip", "later"])
    done = cli("pull")
    assert "shop: 0 created, 2 updated" in done.stderr
    changed = {
        (source, i): status
        for source, i, status, at in rows(cli.db, "select source, external_id, status, ticket_id from tickets")
        if i in ("3", "4") and (status == "new") != (statuses[at] == "new")
    }
    assert changed == {("shop", "3"): "new"}
    assert rows(cli.db, "select distinct description from tickets where external_id = '3'") == [
        ("now it is about something else",)
    ]


def test_most_known_tickets_may_get_another_text(cli: Cli, desk: Helpdesk) -> None:
    """An import of a file would be refused: these would be other tickets under known ids."""
    configure(cli, {"shop": desk.source()})
    cli("pull", "-q")
    for n in range(25):
        desk.change(n, body=f"rewritten {n}")
    assert cli("pull").stderr == "shop: 0 created, 25 updated, 0 unchanged, 0 rejected\n"


def test_overlap_is_read_again_and_costs_nothing(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source(cursor={"field": "updated_at", "start": "2026-11-01", "overlap": "10s"})})
    cli("pull", "-q")
    done = cli("pull")
    assert (done.stdout, done.stderr) == ("", "shop: 0 created, 0 updated, 11 unchanged, 0 rejected\n")


def test_since_full_and_limit(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source()})
    limited = cli("pull", "--limit", "12")
    assert (limited.returncode, limited.stderr) == (0, "shop: 16 created, 0 updated, 0 unchanged, 0 rejected\n")
    assert cursor(cli).keys() == {"high"}, "a time, and no place in the list"
    assert cli("pull").stderr == "shop: 9 created, 0 updated, 4 unchanged, 0 rejected\n"
    end = cursor(cli)
    assert cli("pull", "--since", moment(20)).stderr == "shop: 0 created, 0 updated, 6 unchanged, 0 rejected\n"
    assert cli("pull", "--full").stderr == "shop: 0 created, 0 updated, 25 unchanged, 0 rejected\n"
    desk.add(25)
    assert "shop: 0 created, 0 updated, 0 unchanged" in cli("pull", "--since", moment(100)).stderr
    assert cursor(cli) == end, "what lies between the cursor and --since is still to come"
    assert "shop: 1 created" in cli("pull").stderr


@pytest.mark.parametrize(("start", "back"), [("2d", "2 days back"), (moment(100), f"back to {moment(100)}")])
def test_a_first_pull_that_finds_nothing_says_how_far_it_went_back(
    cli: Cli, desk: Helpdesk, start: str, back: str
) -> None:
    configure(cli, {"shop": desk.source(cursor={"field": "updated_at", "start": start, "overlap": "0"})})
    counts = "shop: 0 created, 0 updated, 0 unchanged, 0 rejected\n"
    further = "triage pull shop --since 365d goes further\n"
    note = f"note: no ticket of shop is stored yet: the first pull goes {back}; {further}"
    for _ in range(2):
        assert cli("pull").stderr == counts + note
    assert "shop: 25 created" in cli("pull", "--since", moment(0)).stderr
    assert cli("pull", "--since", moment(100)).stderr == counts


def test_a_dry_run_shows_the_first_page_and_stores_nothing(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source()})
    done = cli("pull", "--dry-run")
    assert done.stderr == "nothing was stored (--dry-run)\n"
    assert [json.loads(line)["subject"] for line in done.stdout.splitlines()] == [f"Ticket {n}" for n in range(10)]
    assert not cli.db.exists()


def test_items_are_chosen_and_their_parts_are_joined(cli: Cli, desk: Helpdesk) -> None:
    for n in range(25):
        desk.items[n] |= {"repository": "a#b" if n else "a", "pull_request": {"url": "x"} if n > 2 else None}
    desk.items[1]["kind"] = "question"
    fields = {"subject": "title", "external_id": ["repository", "id"]}
    configure(cli, {"shop": desk.source(where={"pull_request": None, "kind": [None, "bug"]}, fields=fields)})
    cli("pull", "-q")
    assert sorted(stored(cli)) == ["a#0", "a%23b#2"]


def test_a_field_of_html_may_hold_plain_text(cli: Cli, desk: Helpdesk) -> None:
    """As an article of Zammad, whose mails are one or the other."""
    plain = "Error from <mailer@example.com>:\n\nif a < b and c > d"
    desk.items[0]["body"], desk.items[1]["body"] = plain, "<div>a &lt; b<br>next</div>"
    configure(cli, {"shop": desk.source(html="description")})
    cli("pull", "-q")
    found = dict(rows(cli.db, "select external_id, description from tickets"))
    assert (found["0"], found["1"]) == (plain, "a < b\nnext")


def test_an_id_written_as_a_whole_number_with_a_fraction_is_the_same_id(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source()})
    for form in (3, 3.0, "3"):
        desk.change(3, id=form)
        cli("pull", "-q")
    assert len(stored(cli)) == 25


def test_an_item_that_is_deleted_before_its_details_are_asked_for_keeps_its_text(cli: Cli, desk: Helpdesk) -> None:
    gone: set[str] = set()

    def answer(_number: int, got: Got) -> Reply | None:
        if not got.path.startswith("/api/issues/"):
            return None
        return Reply(404) if got.path in gone else Reply(200, '[{"text": "as it was"}]')

    desk.fail = answer
    fields = {"subject": "title", "description": "details.0.text", "external_id": "id"}
    template = desk.source(fields=fields, details="/{{ item.id }}/texts")
    configure(cli, {"shop": template})
    cli("pull", "-q")
    gone.add("/api/issues/24/texts")
    done = cli("pull", "-q", "--full")
    assert (done.returncode, done.stderr) == (
        3, 'rejected: shop: item 25 with the id "24" has no details: its request was answered 404\n'
    )  # fmt: skip
    assert rows(cli.db, "select distinct description from tickets") == [("as it was",)]


def test_an_item_that_is_none_is_rejected_and_the_rest_goes_on(cli: Cli, desk: Helpdesk) -> None:
    desk.items[3]["id"] = None
    desk.items[4] |= {"title": " ", "body": None}
    desk.items[5]["body"] = "a\0b"
    desk.items[6]["body"] = "x" * (1 << 20)
    configure(cli, {"shop": desk.source()})
    done = cli("pull", "-q")
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "rejected: shop: item 4 has no id at id",
        'rejected: shop: item 5 with the id "4" has neither subject nor description',
        'rejected: shop: item 6 with the id "5" holds NUL characters',
        'rejected: shop: item 7 with the id "6" has a text over 1 MB',
    ]
    assert len(stored(cli)) == 21
    assert cli("pull", "-q").returncode == 0, "the cursor has gone on"


# -- limits and failures


def test_rejected_items_are_written_as_they_came(cli: Cli, desk: Helpdesk) -> None:
    desk.items[3] |= {"id": None, "body": "=cmd " + "x" * 5000}
    configure(cli, {"shop": desk.source()})
    file = cli.folder / "bad.jsonl"
    file.write_text("of an earlier pull\n")
    assert cli("pull", "-q", "--rejects", str(file)).returncode == 3
    assert cli("pull", "-q", "--rejects", str(file)).returncode == 0
    earlier, *added = file.read_text().splitlines()
    assert earlier == "of an earlier pull"
    assert [json.loads(line) for line in added] == [desk.items[3]]
    own = cli("pull", "--rejects", str(cli.db))
    assert own.returncode == 2
    assert "would be overwritten" in own.stderr


@pytest.mark.parametrize("code_unit", [0xD83D, 0xDC80, 0xDFFF])
def test_half_an_emoji_in_an_item_stops_no_pull(cli: Cli, desk: Helpdesk, code_unit: int) -> None:
    half = chr(code_unit)
    desk.items[3] |= {"title": half, "id": None, "body": f"half {half}", "tags": {half: [half]}}
    desk.items[5] |= {"title": f"whole {half}", "tags": {half: [half]}}
    configure(cli, {"shop": desk.source()})
    done = cli("pull", "-q", "--rejects", "bad.jsonl")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert [json.loads(line) for line in (cli.folder / "bad.jsonl").read_text().splitlines()] == [desk.items[3]]
    assert cli("pull", "-q", "--rejects", "bad.jsonl").returncode == 0
    assert cli("create", "bad.jsonl", "--map", "subject=title", "-q").returncode == 0
    for form in ("jsonl", "json", "csv", "tsv", "table"):
        assert cli("list", "-o", form, "--limit", "100").returncode == 0


def test_limits_are_waited_for_as_told_and_what_breaks_off_is_asked_for_again(cli: Cli, desk: Helpdesk) -> None:
    failures = {
        1: Reply(429, headers={"retry-after": "0"}),
        2: Reply(409),
        3: Reply(503),
        4: Reply(200, b'{"data": [', cut=5),
        6: Reply(cut=-1),
        7: Reply(403, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}),
        8: Reply(400, '{"errors": [{"message": "Slow down", "extensions": {"code": "RATELIMITED"}}]}'),  # as of Linear
    }
    desk.fail = lambda number, _: failures.get(number)
    configure(cli, {"shop": desk.source()})
    done = cli("pull")
    assert (done.returncode, done.stderr) == (0, "shop: 25 created, 0 updated, 0 unchanged, 0 rejected\n")
    assert len(desk.lists) == 4 + len(failures)


def test_a_limit_that_does_not_say_for_how_long_is_waited_for_a_minute(cli: Cli, desk: Helpdesk) -> None:
    """As GitHub's page asks after a secondary limit; when its other limit ends, says nothing about this one."""
    body = '{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}'
    headers = {"x-ratelimit-remaining": "4990", "x-ratelimit-reset": str(int(time.time()) + 3000)}
    replies = [Reply(403, body), Reply(403, body, headers), Reply(429, body, headers)]
    for number, reply in enumerate(replies):
        desk.fail = lambda *_: reply  # noqa: B023 - it is called in the same round
        configure(cli, {f"shop-{number}": desk.source()})
        done = cli("pull", "-q", "--deadline", "30s")
        assert done.returncode == 6
        assert f"answered {reply.status}, and to wait for 60 s is beyond --deadline" in done.stderr


def test_a_deadline_that_is_empty_is_a_mistake_and_not_none(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source()})
    done = cli("pull", "--deadline", "")
    assert (done.returncode, done.stderr) == (2, 'error: "" is no duration; write 30s, 2m or 1h\n')
    assert not desk.lists


def test_a_wait_beyond_the_deadline_is_exit_6_and_the_next_pull_goes_on(cli: Cli, desk: Helpdesk) -> None:
    desk.fail = lambda number, _: Reply(429, headers={"retry-after": "90"}) if number == 2 else None
    configure(cli, {"shop": desk.source()})
    done = cli("pull", "--deadline", "30s")
    assert done.returncode == 6
    assert done.stderr == (
        "shop: 10 created, 0 updated, 0 unchanged, 0 rejected\n"
        "error: shop answered 429, and to wait for 90 s is beyond --deadline; "
        "the same command goes on later from there\n"
    )
    assert cli("pull").stderr == "shop: 15 created, 0 updated, 4 unchanged, 0 rejected\n"
    assert len(desk.lists) == 2 + 3


def test_a_deadline_that_passed_before_an_answer_came_is_the_reason(cli: Cli, desk: Helpdesk) -> None:
    desk.fail = lambda *_: Reply(503)
    configure(cli, {"shop": desk.source()})
    done = cli("pull", "-q", "--deadline", "2s")
    assert done.returncode == 6
    reason = r"error: shop answered 503, and (--deadline has passed|to wait for \d+ s is beyond --deadline); "
    assert re.fullmatch(f"{reason}the same command goes on later from there\n", done.stderr)


def test_an_answer_that_drips_is_given_up_at_the_deadline(cli: Cli) -> None:
    """A byte each tenth of a second is less than any timeout between two of them."""
    ends = threading.Event()

    def drip(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            while not ends.wait(0.1):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=lambda: drip(listener.accept()[0]))
        serving.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        fields = {"subject": "title", "external_id": "id"}
        configure(cli, {"shop": {"type": "http", "url": url, "fields": fields, "timeout": 3600}})
        done = cli("pull", "-q", "--deadline", "1s")
        ends.set()
        serving.join()
    late = 'error: source "shop" did not answer in time, and --deadline has passed; '
    assert (done.returncode, done.stderr) == (6, f"{late}the same command goes on later from there\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [("token", "page"), ("token", "path"), ("page", "token"), ("path", "offset")],
)
def test_a_list_that_is_configured_to_go_on_otherwise_begins_at_its_cursor(
    cli: Cli, desk: Helpdesk, before: str, after: str
) -> None:
    desk.after = "x{}".format  # a token is no number
    desk.paging = before
    configure(cli, {"shop": desk.source()})
    cli("pull", "--limit", "10", "-q")
    desk.paging = after
    configure(cli, {"shop": desk.source()})
    assert "15 created" in cli("pull").stderr


def test_a_page_that_is_no_longer_there_is_begun_again_at_the_cursor(cli: Cli, desk: Helpdesk) -> None:
    desk.paging = "token"
    configure(cli, {"shop": desk.source(next={"token": "meta.after", "query": "after", "keep": True})})
    cli("pull", "--limit", "10", "-q")
    assert cursor(cli).keys() == {"high", "token"}
    desk.fail = lambda _, got: Reply(410) if "after=10" in got.path and len(desk.lists) == 2 else None
    assert cli("pull").stderr == "shop: 15 created, 0 updated, 10 unchanged, 0 rejected\n"


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        (Reply(401), 4, "shop answered 401: the key is wrong or may not read this; check what SHOP_TOKEN holds"),
        (Reply(403), 4, "shop answered 403: the key is wrong or may not read this; check what SHOP_TOKEN holds"),
        (
            Reply(403, '{"message": "secret-of-the-shop lacks the scope tickets:read"}'),
            4,
            'or may not read this ({"message": "*** lacks the scope tickets:read"}); check what SHOP_TOKEN holds',
        ),
        (
            Reply(403, '{"message": "s\\u0065cret\\u002Dof%2dthe&#45;shop lacks the scope tickets:read"}'),
            4,
            'or may not read this ({"message": "*** lacks the scope tickets:read"}); check what SHOP_TOKEN holds',
        ),
        (Reply(401, "<html>Please sign in</html>"), 4, "the key is wrong or may not read this; check what"),
        (
            Reply(200, '{"data": [], "links": {}}', {"x-seraph-loginreason": "AUTHENTICATED_FAILED"}),
            4,
            "shop answered 200 (AUTHENTICATED_FAILED): the key is wrong or may not read this; check what SHOP_TOKEN",
        ),
        (
            Reply(200, '{"ok": false, "error": "missing_scope", "needed": "channels:history"}'),
            2,
            'shop: the answer has no list at "data" but an error: "missing_scope"; check auth, query and body',
        ),
        (
            Reply(200, '{"data": null, "errors": [{"message": "Not for secret-of-the-shop"}]}'),
            2,
            'at "data" but an error: [{"message":"Not for ***"}]; check auth',
        ),
        (
            Reply(200, '{"data": [], "error": {"message": "Transaction cancelled: maximum execution time exceeded"}}'),
            6,
            'shop: the list may not be whole, since the answer reports {"message":"Transaction cancelled: maximum',
        ),
        (Reply(404, "no such list"), 2, "shop answered 404: no such list; check url and auth"),
        (Reply(422, "no such query"), 2, "shop answered 422: no such query; check url, query and next"),
        (
            Reply(404, "x" * 180 + " for Bearer secret-of-the-shop"),
            2,
            "shop answered 404: " + "x" * 180 + " for ***; check url and auth",
        ),
        (
            Reply(302, headers={"location": "/no/secret-of-the-shop"}),
            2,
            "shop redirects to /no/***, which is not followed",
        ),
        (Reply(302), 2, "shop redirects, which is not followed; name in url where it leads"),
        (
            Reply(302, headers={"location": "https://user:x@login.example/sso?token=secret-of-the-shop"}),
            2,
            "shop redirects to https://login.example/sso, which is not followed; name in url where it leads",
        ),
        (Reply(302, headers={"location": "http://["}), 2, "shop redirects, which is not followed"),
        (Reply(301, headers={"location": "/v2/issues"}), 2, "shop redirects to /v2/issues, which is not followed"),
        (
            Reply(200, "packed", headers={"content-encoding": "gzip"}),
            2,
            "shop: the answer is packed (gzip), which was not asked for",
        ),
        (Reply(200, "<html>Please sign in</html>"), 2, "shop: the answer is an HTML page; check url and auth"),
        (
            Reply(200, "nonsense", {"content-encoding": "identity"}),
            2,
            "shop: the answer is no JSON; check url and auth",
        ),
        (Reply(200, "nonsense"), 2, "shop: the answer is no JSON; check url and auth"),
        (
            Reply(307, headers={"location": "http://me:secret-of-the-shop@10.0.0.1:8080/v2"}),
            2,
            "shop redirects to http://10.0.0.1:8080/v2, which is not followed",
        ),
        (Reply(200, "null"), 2, 'shop: the answer has no list at "data" (it has null); check items'),
        (
            Reply(200, '{"secret-of-the-shop": 1}'),
            2,
            'shop: the answer has no list at "data" (it has ***); check items',
        ),
        (Reply(200, '{"tickets": []}'), 2, 'shop: the answer has no list at "data" (it has tickets); check items'),
        (
            Reply(200, '{"data": [], "links": {"next": "https://elsewhere.example/"}}'),
            2,
            "the next page is on another host",
        ),
        (
            Reply(200, '{"data": [], "links": {"next": "http://["}}'),
            2,
            "shop: the next page has no address that can be",
        ),
        (
            Reply(200, '{"data": [], "links": {"next": "http://a:99999"}}'),
            2,
            "shop: the next page has no address that can",
        ),
        (Reply(200, '{"data": [], "links": {"next": "/\\u0000"}}'), 2, 'source "shop" has a url that leads nowhere'),
        (
            Reply(200, '{"data": [], "links": {"next": "/api/issues?a"}}'),
            2,
            "the next page is one that was there before",
        ),
        (
            Reply(200, '{"data": [], "links": {"next": {"href": "/a"}}}'),
            2,
            "links.next in the answer is neither a text",
        ),
        (Reply(200, '{"data": [], "links": {"next": true}}'), 2, "links.next in the answer is neither a text nor a"),
    ],
)
def test_an_answer_that_is_no_list_is_one_sentence(
    cli: Cli, desk: Helpdesk, reply: Reply, code: int, message: str
) -> None:
    cli.env |= {"SHOP_TOKEN": "secret-of-the-shop"}
    desk.fail = lambda _number, got: reply if got.headers["authorization"] == "Bearer secret-of-the-shop" else None
    configure(cli, {"shop": desk.source(auth={"bearer": "SHOP_TOKEN"})})
    done = cli("pull", "-q")
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert message in done.stderr
    assert "secret-of-the-shop" not in done.stderr


def test_an_error_in_place_of_a_list_after_good_answers_is_a_failure_that_passes(cli: Cli, desk: Helpdesk) -> None:
    """As of GraphQL, whose errors have status 200."""
    configure(cli, {"shop": desk.source()})
    assert cli("pull", "-q").returncode == 0
    desk.fail = lambda *_: Reply(200, '{"errors": [{"message": "Internal server error"}], "data": null}')
    done = cli("pull", "-q")
    assert done.returncode == 6
    assert done.stderr == (
        'error: shop: the answer has no list at "data" but an error: [{"message":"Internal server error"}]; '
        "try later, and if it lasts check auth, query and body\n"
    )


def test_a_page_in_place_of_an_answer_after_good_ones_is_a_failure_that_passes(cli: Cli, desk: Helpdesk) -> None:
    page = Reply(200, "<html>The instance is hibernating</html>")
    desk.fail = lambda number, _: page if number == 2 else None
    configure(cli, {"shop": desk.source()})
    done = cli("pull")
    assert (done.returncode, done.stderr) == (0, "shop: 25 created, 0 updated, 0 unchanged, 0 rejected\n")
    desk.fail = lambda *_: page
    later = cli("pull", "-q", "--deadline", "2s")
    assert later.returncode == 6
    assert later.stderr.startswith("error: shop answered 200 with an HTML page, and ")


def test_a_header_without_an_end_takes_time_by_its_length_only() -> None:
    began = time.process_time()
    assert linked("<" * 99_000, "next") is None
    assert linked("<" * 99_000 + '</b>; rel="next"', "next") == "/b"
    assert time.process_time() - began < 2


def test_one_source_that_fails_does_not_keep_the_others(cli: Cli, desk: Helpdesk) -> None:
    other = Helpdesk(3)
    other.fail = lambda _number, _got: Reply(401)
    configure(cli, {"bad": other.source(), "shop": desk.source()})
    done = cli("pull", "-q", "-o", "json")
    other.close()
    assert (done.returncode, len(stored(cli))) == (4, 25)
    first, last = done.stderr.splitlines()
    assert first == "error: bad answered 401: the key is wrong or may not read this; give it auth"
    assert json.loads(last)["error"]["code"] == "refused"


def test_with_several_sources_each_error_is_printed_once_and_the_gravest_code_counts(cli: Cli, desk: Helpdesk) -> None:
    other = Helpdesk(3)
    other.fail = lambda _number, _got: Reply(401)
    closed = other.source() | {"url": "http://localhost:9/"}
    configure(cli, {"bad": other.source(), "shop": desk.source(), "gone": closed})
    done = cli("pull", "-q", "--deadline", "5s")
    other.close()
    assert (done.returncode, len(stored(cli))) == (4, 25)
    first, second = done.stderr.splitlines()
    assert first.startswith("error: bad answered 401")
    assert second.startswith('error: source "gone" cannot be reached')


def test_a_clock_that_is_off_is_said_once_and_does_not_hide_what_comes_later(cli: Cli, desk: Helpdesk) -> None:
    desk.change(7, after=10_000_000_000)
    configure(cli, {"shop": desk.source()})
    done = cli("pull")
    assert done.stderr.splitlines()[0].startswith("shop: items are dated later than now (")
    assert "25 created" in done.stderr
    desk.add(30, updated_at=f"{datetime.now(UTC) + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}")
    assert "1 created" in cli("pull").stderr


def test_a_cursor_that_no_item_has_is_named_once(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source(cursor={"field": "updatedAt", "start": "2026-11-01"})})
    assert cli("pull").stderr.splitlines() == [
        "shop: no item has a time at updatedAt, so each pull begins at the same time; check cursor",
        "shop: 25 created, 0 updated, 0 unchanged, 0 rejected",
    ]


@pytest.mark.parametrize(
    ("path", "is_there"),
    [
        ("fields.customfield_10042.value", False),  # not named in the query, so not handed out
        ("fields.empty.value", True),
        ("custom_fields.360012.value", True),
        ("custom_fields.360013.value", False),
        ("u_triage", False),
        ("Custom.Triage", True),
    ],
)
def test_a_verdict_that_no_item_has_a_place_for_is_named(
    cli: Cli, desk: Helpdesk, path: str, *, is_there: bool
) -> None:
    """Else corrections in the helpdesk were never heard, without a word."""
    for item in desk.items.values():
        item |= {"fields": {"empty": None}, "custom_fields": [{"id": 360012, "value": None}], "Custom.Triage": None}
    configure(cli, {"shop": desk.source(verdict=path)})
    warning = f"shop: no item has a field at {path}, so no correction is heard; "
    warning += "check verdict, and whether query asks for it\n"
    expected = "" if is_there else warning
    assert cli("pull").stderr == f"{expected}shop: 25 created, 0 updated, 0 unchanged, 0 rejected\n"
    assert cli("pull", "-q", "--full").stderr == expected
    assert cli("pull", "-q").stderr == ""


def test_a_list_that_ignores_its_page_is_not_read_for_ever(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source(next={"page": "seite"})})
    done = cli("pull", "-q")
    assert (done.returncode, len(desk.lists)) == (2, 6)
    assert "the next page is one that was there before" in done.stderr
    assert len(stored(cli)) == 25, "the list is begun again at a time before a page comes twice"


@pytest.mark.parametrize("size", [10, 3])
def test_pages_that_lack_what_the_user_may_not_see_do_not_end_a_list(cli: Cli, desk: Helpdesk, size: int) -> None:
    """As in ServiceNow, which takes rows out of a page that it has cut already, and names the next one all the same."""
    hidden = {3, *range(10, 20)}  # one row of the first page, all of the second

    def answer(_number: int, got: Got) -> Reply:
        at = int(parse_qs(urlsplit(got.path).query)["skip"][0])
        rows = [desk.items[n] for n in range(at, min(at + size, 25)) if n not in hidden]
        more = {"link": f'<{desk.url}?skip={at + size}>;rel="next"'} if at + size < 25 else {}
        return Reply(200, json.dumps({"data": rows}), more)

    desk.fail = answer
    configure(cli, {"shop": desk.source(next={"offset": "skip", "size": size})})
    assert cli("pull", "-q").stderr == ""
    assert set(map(int, stored(cli))) == set(range(25)) - hidden


def test_empty_pages_that_all_name_a_next_one_are_not_read_for_ever(cli: Cli, desk: Helpdesk) -> None:
    desk.fail = lambda number, _: Reply(200, '{"data": []}', {"link": f'<{desk.url}?page={number + 1}>; rel="next"'})
    configure(cli, {"shop": desk.source(next={"page": "page"})})
    done = cli("pull", "-q")
    assert (done.returncode, len(desk.lists) <= MOST_IDLE_PAGES + 2) == (2, True)
    assert "so the list would never end" in done.stderr


def test_what_was_changed_since_a_pull_without_news_is_not_skipped(cli: Cli, desk: Helpdesk) -> None:
    """If the first pull finds nothing, the next one begins where it began, however long ago that was."""
    desk.items.clear()
    configure(cli, {"shop": desk.source()})
    cli("pull", "-q")
    configure(cli, {"shop": desk.source(cursor={"field": "updated_at", "start": "7d", "overlap": "0"})})
    cli("pull", "-q")
    assert desk.lists[1:] == ["GET /api/issues?updated_after=2026-11-01T00%3A00%3A00Z"]


def test_a_position_that_a_wrong_clock_stored_is_not_waited_for(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source(cursor={"field": "updated_at", "start": "2999-01-01"})})
    cli("pull", "-q")
    configure(cli, {"shop": desk.source()})
    assert "25 created" in cli("pull").stderr


def test_the_same_host_in_another_spelling_is_no_other_host(cli: Cli, desk: Helpdesk) -> None:
    configure(cli, {"shop": desk.source(url=desk.url.replace("127.0.0.1", "LOCALHOST"))})
    desk.fail = lambda number, got: _at_localhost(desk, got) if number == 1 else None
    assert "25 created" in cli("pull").stderr


def _at_localhost(desk: Helpdesk, got: Got) -> Reply:
    body = str(desk.page(got).body)
    return Reply(200, body.replace('"/api', f'"{desk.stub.root.replace("127.0.0.1", "localhost")}/api'))


def test_a_window_moves_so_that_no_item_slips_through_while_others_change(cli: Cli, desk: Helpdesk) -> None:
    """An item that changes goes to the end of the list: all behind it move up, the first of the next page, too."""
    desk.paging, moved = "page", iter([0, 11])

    def change(number: int, _got: Got) -> Reply | None:
        if number > 1 and (n := next(moved, None)) is not None:
            desk.change(n, tags=["changed"])
        return None

    desk.fail = change
    configure(cli, {"shop": desk.source(next={"page": "page", "size": 10, "most": 1})})
    cli("pull", "-q")
    assert sorted(map(int, stored(cli))) == list(range(25))


def test_a_search_that_ends_after_so_many_items_is_begun_again_before_that(cli: Cli, desk: Helpdesk) -> None:
    """As HubSpot's, which refuses a page behind 10,000 items."""
    desk.paging = "token"

    def beyond(_number: int, got: Got) -> Reply | None:
        after = parse_qs(urlsplit(got.path).query).get("after", ["x0"])[0]
        return Reply(400, '{"message": "no more than 15 items"}') if int(after.lstrip("x")) >= 15 else None

    desk.fail = beyond
    token = {"token": "meta.after", "query": "after"}
    configure(cli, {"shop": desk.source(next=token, query={"sort": "updated_at"})})
    assert cli("pull", "-q").returncode == 2, "it is not asked for changes since a time, so it cannot be begun there"
    cli.db.unlink()
    configure(cli, {"shop": desk.source(next=token)})
    done = cli("pull", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(map(int, stored(cli))) == list(range(25))


def test_a_page_of_items_changed_in_one_second_is_no_list_without_an_end(cli: Cli, desk: Helpdesk) -> None:
    """As an agent's change of many tickets at once leaves them: the list begun again at their time repeats the page."""
    desk.paging = "page"
    for n in range(15):
        desk.items[n]["updated_at"] = desk.items[9]["updated_at"]
    configure(cli, {"shop": desk.source(next={"page": "page", "size": 10, "most": 1})})
    done = cli("pull", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(map(int, stored(cli))) == list(range(25))


def test_the_doctor_tries_each_source_and_stores_nothing(cli: Cli, desk: Helpdesk) -> None:
    tap = {"type": "command", "run": ["true"], "format": "singer", "fields": {"subject": "s", "external_id": "id"}}
    key = {"auth": {"bearer": "SHOP_TOKEN"}}
    configure(
        cli,
        {
            "shop": desk.source(),
            "tap": tap,
            "closed": desk.source(**key),
            "gone": desk.source(url="http://127.0.0.1:9/"),
        },
    )
    cli.env |= {"SHOP_TOKEN": "secret-canary"}
    desk.fail = lambda _, got: Reply(401) if "authorization" in got.headers else None

    def source_checks(**env: str) -> dict[str, tuple[bool | None, str]]:
        done = cli("doctor", "-o", "jsonl", **env)
        assert "canary" not in done.stdout + done.stderr
        found = [record for record in map(json.loads, done.stdout.splitlines()) if record["what"].startswith("source")]
        return {record["what"].removeprefix("source "): (record["works"], record["said"]) for record in found}

    assert source_checks() == {
        "shop": (True, f"reads 127.0.0.1:{desk.stub.port}, which answers with a list of 0 items"),
        "tap": (None, "runs true; not run"),
        "closed": (False, "closed answered 401: the key is wrong or may not read this"),
        "gone": (False, 'source "gone" cannot be reached at 127.0.0.1:9: it refuses connections'),
    }
    asked = len(desk.lists)
    assert [works for works, _ in source_checks(TRIAGE_OFFLINE="1").values()] == [None] * 4
    assert len(desk.lists) == asked
    assert not cli.db.exists()


# -- without a source, elsewhere, offline


def test_pull_needs_a_source_a_database_here_and_the_network(cli: Cli, desk: Helpdesk) -> None:
    none = cli("pull")
    assert (none.returncode, "no source is configured; name one under sources" in none.stderr) == (2, True)
    configure(cli, {"shop": desk.source()})
    unknown = cli("pull", "shpo")
    assert (unknown.returncode, 'no source "shpo" in the config; did you mean "shop"?' in unknown.stderr) == (2, True)
    remote = cli("pull", "--remote", "http://127.0.0.1:9")
    assert (remote.returncode, "this command works on a database here" in remote.stderr) == (2, True)
    offline = cli("pull", "--offline")
    assert (offline.returncode, 'source "shop" needs the network' in offline.stderr) == (2, True)
    assert not desk.lists


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ('<https://x/?page=2>; rel="next", <https://x/?page=9>; rel="last"', "https://x/?page=2"),
        ('<https://x/?a=1,2>; title="a, b"; rel="prev next"', "https://x/?a=1,2"),
        ("</y>;rel=next", "/y"),
        ('<https://x/>; rel="last"', None),
        ("", None),
    ],
)
def test_the_next_page_of_a_link_header(header: str, address: str | None) -> None:
    assert linked(header, "next") == address


def test_mistakes_of_a_source_have_their_lines(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(
        "sources:\n"
        "  shop:\n"
        "    type: http\n"
        "    url: http://shop.example/issues\n"
        "    fields: {subject: title}\n"
        "    next: {token: after}\n"
        "    cursor: {start: soon}\n"
    )
    mistakes = cli("config", "check").stderr.splitlines()
    assert [line.removeprefix("config.yaml:") for line in mistakes[:-1]] == [
        "4: sources.shop.url: must begin with https://, since http:// is for this machine alone (127.0.0.1, localhost)",
        "5: sources.shop.fields: external_id is missing; without it a repeated ticket is not recognised",
        "6: sources.shop.next: token needs query, the parameter that takes it, or body, the path where it goes",
        "7: sources.shop.cursor.start: must be a duration such as 30s, 5m, 12h, 7d or 4w",
    ]
    (cli.folder / "config.yaml").write_text(
        "sources:\n"
        "  shop:\n"
        "    type: http\n"
        "    url: https://shop.example/issues\n"
        "    query:\n"
        '      since: "{{ cursr }}"\n'
        "    fields: {subject: title, external_id: id}\n"
    )
    assert 'config.yaml:6: sources.shop.query.since: name "cursr" is unknown; did you mean "cursor"?' in (
        cli("config", "check").stderr
    )


def test_a_check_names_the_variables_of_a_source_that_are_not_set(cli: Cli, desk: Helpdesk) -> None:
    inbox = {"type": "imap", "host": "mail.example", "user_env": "MAIL_USER", "password_env": "MAIL_PASSWORD"}
    configure(cli, {"shop": desk.source(auth={"bearer": "SHOP_TOKEN"}), "inbox": inbox})
    done = cli("config", "check", MAIL_USER="ann")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "is not set" in line] == [
        "warning: sources.shop.auth: SHOP_TOKEN is not set here; export SHOP_TOKEN",
        "warning: sources.inbox.password_env: MAIL_PASSWORD is not set here; export MAIL_PASSWORD",
    ]
