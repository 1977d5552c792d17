"""Destinations of type `http`: the request as it goes over the wire, and what each answer means."""

import gzip
import html
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.support.http_stub import Got, HttpStub, Reply, a_delivery, a_parcel, opened, sent
from triage_cli import domain as dm

TOKEN = "tok-1234567890"  # noqa: S105 - made up


@pytest.fixture
def stub() -> Iterator[HttpStub]:
    stub = HttpStub()
    yield stub
    stub.close()


def one(destination: Any, outgoing: dm.OutgoingDelivery | None = None) -> dm.Outcome[dm.Receipt]:
    (outcome,) = sent(destination, outgoing or a_parcel())
    return outcome


def failure(outcome: dm.Outcome[dm.Receipt]) -> dm.DeliveryError:
    assert isinstance(outcome.error, dm.DeliveryError)
    return outcome.error


def test_the_request_is_what_the_configuration_says(stub: HttpStub, tmp_path: Path) -> None:
    destination = opened(
        tmp_path,
        f"""
    type: http
    method: PUT
    url: {stub.root}/api/{{{{ ticket.external_id }}}}/x?fixed=1
    query: {{q: "a {{{{ category }}}}&", notify: false}}
    headers: {{X-Subject: "{{{{ ticket.subject | one_line }}}}", X-Team: süd}}
    auth: {{bearer: TOKEN}}
    body:
      summary: "{{{{ ticket.subject }}}}"
      sure: "{{{{ ticket.confidence }}}}"
      n: 3
      labels: [a, "{{{{ attempt }}}}"]
""",
        {"TOKEN": TOKEN},
    )
    outgoing = a_parcel(external_id="a/b ..?é", subject='line\n"two" {{ 7*7 }}\0')
    assert one(destination, outgoing).error is None
    (got,) = stub.got
    assert (got.method, got.path) == ("PUT", "/api/a%2Fb%20..%3F%C3%A9/x?fixed=1&q=a%20Billing%26&notify=false")
    assert got.json == {"summary": 'line\n"two" {{ 7*7 }}\0', "sure": None, "n": 3, "labels": ["a", 1]}
    assert got.headers["authorization"] == f"Bearer {TOKEN}"
    assert got.headers["idempotency-key"] == outgoing.delivery.delivery_id
    assert got.headers["x-subject"] == 'line "two" {{ 7*7 }}'
    assert got.headers["x-team"].encode("latin-1").decode() == "süd"
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ("{basic: [USER, TOKEN]}", "authorization", "Basic bWU6dG9rLTEyMzQ1Njc4OTA="),
        ("{basic: [TOKEN]}", "authorization", "Basic dG9rLTEyMzQ1Njc4OTA6WA=="),
        ("{header: X-Api-Key, env: TOKEN}", "x-api-key", TOKEN),
        ("{header: Authorization, prefix: 'GenieKey '}, key_env: TOKEN", "authorization", f"GenieKey {TOKEN}"),
    ],
)
def test_each_way_to_prove_who_sends(stub: HttpStub, tmp_path: Path, auth: str, name: str, value: str) -> None:
    destination = opened(tmp_path, f"{{type: http, url: '{stub.root}', auth: {auth}}}", {"USER": "me", "TOKEN": TOKEN})
    assert one(destination).error is None
    assert stub.got[0].headers[name] == value
    assert stub.got[0].body == b""


def test_a_key_stands_in_the_body_and_a_form_is_no_json(stub: HttpStub, tmp_path: Path) -> None:
    env = {"TOKEN": TOKEN, "ADDRESS": f"{stub.root}/secret-path-of-it"}
    destination = opened(
        tmp_path,
        "{type: http, url_env: ADDRESS, endpoint: /v1, key_env: TOKEN,"
        " form: {key: '{{ key }}', text: '{{ ticket.subject }}', none: '{{ ticket.extra.none }}'}}",
        env,
    )
    assert one(destination, a_parcel(subject="a&b=ü")).error is None
    assert stub.got[0].path == "/secret-path-of-it/v1"
    assert stub.got[0].body == b"key=tok-1234567890&text=a%26b%3D%C3%BC"
    assert stub.got[0].headers["content-type"] == "application/x-www-form-urlencoded"


ANSWERS = [
    ("", Reply(204), "accepted"),
    ("", Reply(302, headers={"location": "http://127.0.0.1:9/"}), "final"),
    ("", Reply(404), "final"),
    ("", Reply(429, headers={"retry-after": "7"}), 7.0),
    ("", Reply(500), "again"),
    ("", Reply(502), "doubtful"),
    ("", Reply(200, b"\xff no json" * 10), "accepted"),
    ("", Reply(200, b"x" * 10_000_000), "accepted"),
    ("", Reply(200, b"x" * 100, cut=3), "accepted"),
    ("", Reply(cut=-1), "doubtful"),
    ("ok: {status: [201]}", Reply(200), "final"),
    ("ok: {status: 201}", Reply(201), "accepted"),
    ("ok: {path: data.success, is: true}", Reply(200, '{"data": {"success": true}}'), "accepted"),
    ("ok: {path: data.success, is: true}", Reply(200, '{"data": {"success": 1}}'), "final"),
    ("ok: {path: data.success}", Reply(200, '{"data": {"success": null}}'), "final"),
    ("ok: {path: data.success}", Reply(200), "final"),
    ("ok: {path: data.success}", Reply(200, b"x" * 100, cut=0), "doubtful"),
    ("ok: {path: data.success}", Reply(200, "[" * 60_000), "doubtful"),
    ("ok: {path: data.success}", Reply(200, "<html>We will be back soon</html>"), "doubtful"),
    ("ok: {status: 201}", Reply(200, "<html>We will be back soon</html>"), "doubtful"),
    ("ok: {path: data.success}", Reply(200, b"x" * 10_000_000), "doubtful"),
    ("ok: {path: data.success}", Reply(200, '{"data": {"success": 1}}', cut=5), "doubtful"),
    ("retry: {status: [409]}", Reply(409), "again"),
    ("retry: {status: 400, path: errors.0.code, is: SLOW}", Reply(400, '{"errors": [{"code": "SLOW"}]}'), "again"),
    ("retry: {status: 400, path: errors.0.code, is: SLOW}", Reply(400, '{"errors": [{"code": "BAD"}]}'), "final"),
    ("retry: {status: 403, path: message, contains: rate}", Reply(403, '{"message": "a rate limit"}'), "again"),
    ("retry: {status: 403, path: message, contains: rate}", Reply(403, '{"message": "bad"}'), "final"),
    ("ok: {path: ok, is: true}, retry: {path: error, is: busy}", Reply(200, '{"error": "busy"}'), "again"),
]


@pytest.mark.parametrize(("keys", "reply", "means"), ANSWERS)
def test_what_an_answer_means(stub: HttpStub, tmp_path: Path, keys: str, reply: Reply, means: object) -> None:
    stub.answer = lambda _: reply
    outcome = one(opened(tmp_path, f"{{type: http, url: '{stub.root}', timeout: 60, {keys}}}"))
    error = outcome.error
    if means == "accepted":
        assert error is None
        return
    assert isinstance(error, dm.DeliveryError)
    assert error.final == (means == "final")
    assert error.doubtful == (means == "doubtful")
    assert error.retry_after == (means if isinstance(means, float) else None)
    assert len(stub.got) == 1, "neither followed nor repeated"


def test_gone_switches_a_destination_off_only_where_its_address_names_no_ticket(stub: HttpStub, tmp_path: Path) -> None:
    stub.answer = lambda _: Reply(410)
    assert failure(one(opened(tmp_path, f"{{type: http, url: '{stub.root}'}}"))).gone
    of_a_ticket = f"{{type: http, url: '{stub.root}', endpoint: '/t/{{{{ ticket.external_id }}}}'}}"
    assert not failure(one(opened(tmp_path, of_a_ticket))).gone


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        (
            "https://u:p@new.example:8443/services/secret?sig=1",
            "sys redirects to https://new.example:8443, which is not followed; name in url where it leads",
        ),
        ("/login", "sys redirects, which is not followed; check url and auth"),
        ("http://[", "sys redirects, which is not followed; check url and auth"),
    ],
)
def test_a_redirect_names_where_it_leads_and_no_secret(
    stub: HttpStub, tmp_path: Path, location: str, sentence: str
) -> None:
    for body in (b"", b"<html>Moved</html>"):
        stub.answer = lambda _: Reply(301, body, {"location": location})  # noqa: B023 - it is called in the same round
        error = failure(one(opened(tmp_path, f"{{type: http, url: '{stub.root}'}}")))
        assert (error.sentence(), error.final) == (sentence, True)
    secret = failure(one(opened(tmp_path, "{type: http, url_env: ADDRESS}", {"ADDRESS": stub.root})))
    assert secret.sentence() == "sys redirects, which is not followed; check url and auth"


def test_the_beginning_of_a_refusal_is_kept_without_secrets(stub: HttpStub, tmp_path: Path) -> None:
    stub.answer = lambda got: Reply(
        400, f"no: {got.headers['authorization']} {got.json['key']} {stub.root}{got.path} \x1b[2J\0 {'x' * 2000}"
    )
    env = {"USER": "user-of-some-length", "TOKEN": TOKEN, "ADDRESS": f"{stub.root}/services/T0001/B00000001/XXXXXXXX"}
    destination = (
        "{type: http, url_env: ADDRESS, auth: {basic: [USER, TOKEN]}, key_env: TOKEN, body: {key: '{{ key }}'}}"
    )
    error = failure(one(opened(tmp_path, destination, env)))
    assert error.answer is not None
    assert error.answer.startswith("no: *** *** ")
    assert "\0" not in error.answer
    assert len(error.answer) == 500
    for secret in (TOKEN, "dXNlci1v", "B00000001", "XXXXXXXX", str(stub.port)):
        assert secret not in error.answer + error.message + error.hint


@pytest.mark.parametrize(
    "written",
    [
        json.dumps,
        lambda text: json.dumps(text).replace("/", "\\/"),  # as PHP does
        lambda text: quote(text, safe=""),
        html.escape,
        lambda text: json.dumps(text).replace("+", "\\u002B").replace("&", "\\u0026"),  # as ASP.NET does
        lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
        lambda text: "".join(f"&#x{ord(character):X};" for character in text),
    ],
)
def test_a_secret_is_hidden_however_an_answer_writes_it(
    stub: HttpStub, tmp_path: Path, written: Callable[[str], str]
) -> None:
    token = 'ab/cd+ef=&"gh<ij'  # noqa: S105 - made up
    stub.answer = lambda got: Reply(400, f"bad: {written(got.headers['authorization'])} {written(got.json['key'])}")
    destination = "{type: http, url: 'URL', auth: {AUTH}, key_env: TOKEN, body: {key: '{{ key }}'}}"
    for auth in ("bearer: TOKEN", "basic: [USER, TOKEN]"):
        configured = destination.replace("URL", stub.root).replace("AUTH", auth)
        error = failure(one(opened(tmp_path, configured, {"TOKEN": token, "USER": "agent>>~?"})))
        assert error.answer is not None
        assert re.fullmatch(r'bad: "?\*\*\*"? "?\*\*\*"?', error.answer)


def test_what_is_kept_of_an_answer_is_a_name_in_later_templates(stub: HttpStub, tmp_path: Path) -> None:
    stub.answer = lambda _: Reply(201, '{"key": "SUP-7", "n": [{"x": 5}], "long": "' + "y" * 600 + '", "all": {}}')
    destination = opened(
        tmp_path,
        f"{{type: http, url: '{stub.root}', keep: {{id: key, number: n.0.x, long: long, all: all, no_such: no_such}},"
        " body: {before: '{{ remote.id }}', none: '{{ remote.no_such }}'}}",
    )
    first = one(destination)
    assert first.value is not None
    assert json.loads(first.value.kept or "") == {"id": "SUP-7", "number": 5}
    earlier = (a_delivery(8, state="accepted", kept=first.value.kept), a_delivery(9, state="dead"))
    one(destination, a_parcel(earlier=earlier))
    assert [got.json for got in stub.got] == [{"before": None, "none": None}, {"before": "SUP-7", "none": None}]


ONCE = """{{type: http, url: '{root}', endpoint: /issue, keep: {{id: key}},
    once: {{get: '/search?label={{{{ delivery_id }}}}', found: issues.0.key}}}}"""


def test_a_search_comes_only_before_an_attempt_after_an_unknown_outcome(stub: HttpStub, tmp_path: Path) -> None:
    destination = opened(tmp_path, ONCE.format(root=stub.root))
    found = '{"issues": [{"key": "SUP-1"}]}'
    stub.answer = lambda got: Reply(201, '{"key": "SUP-2"}') if got.method == "POST" else Reply(200, found)
    search = f"GET /search?label={a_delivery().delivery_id}"
    assert one(destination).error is None
    assert one(destination, a_parcel(delivery=a_delivery(attempts=1))).error is None
    assert stub.calls == ["POST /issue"] * 2
    doubtful = a_parcel(delivery=a_delivery(attempts=1, doubtful=1))
    outcome = one(destination, doubtful)
    assert outcome.value is not None
    assert json.loads(outcome.value.kept or "") == {"id": "SUP-1"}
    assert stub.calls[2:] == [search], "what was found is not made again"
    found = '{"issues": []}'
    assert one(destination, doubtful).error is None
    assert stub.calls[3:] == [search, "POST /issue"]


@pytest.mark.parametrize(
    ("there", "absent", "refused"),
    [
        ('{"fields": {"Name": "x"}}', True, ""),
        ('{"fields": {}}', True, ""),
        ('{"fields": {"Triage": "Sales"}}', True, 'the ticket there holds "Sales"'),
        ('{"fields": {"Triage": ""}}', True, ""),
        ('{"fields": {"Name": "x"}}', False, "has nothing at fields.Triage"),
        ('{"record": {"fields": {}}}', True, "has nothing at fields.Triage"),
        ('{"fields": null}', True, "has nothing at fields.Triage"),
        ("[]", True, "has nothing at fields.Triage"),
    ],
)
def test_a_field_that_a_found_record_leaves_out_is_empty_where_the_configuration_says_so(
    stub: HttpStub, tmp_path: Path, there: str, absent: bool, refused: str
) -> None:
    """As Airtable leaves out empty fields: `fields` itself must be there, so that a mistaken path guards something."""
    stub.answer = lambda got: Reply(200, there.encode() if got.method == "GET" else b"")
    destination = f"""{{type: http, url: '{stub.root}', endpoint: /r/1, method: PATCH,
        find: {{get: /r/1, field: fields.Triage{", absent: empty" if absent else ""}}},
        body: {{records: [{{fields: {{Triage: '{{{{ category }}}}'}}}}]}}}}"""
    outcome = one(opened(tmp_path, destination))
    assert stub.calls == ["GET /r/1", *([] if refused else ["PATCH /r/1"])]
    assert refused in failure(outcome).message if refused else outcome.error is None


@pytest.mark.parametrize(("number", "answered"), [("INC1", True), ("INC2", False)])
def test_a_question_before_the_request_finds_what_its_address_needs(
    stub: HttpStub, tmp_path: Path, number: str, answered: bool
) -> None:
    found = {"/find?n=INC1": '{"result": [{"sys_id": "a/1"}]}', "/find?n=INC2": '{"result": []}'}
    stub.answer = lambda got: Reply(200, found.get(got.path, ""))
    destination = """{{type: http, url: '{root}', endpoint: '/t/{{{{ remote.sys_id }}}}', method: PATCH,
        find: {{get: '/find?n={{{{ ticket.external_id }}}}', keep: {{sys_id: result.0.sys_id}}}}}}"""
    outcome = one(opened(tmp_path, destination.format(root=stub.root)), a_parcel(external_id=number))
    assert stub.calls == [f"GET /find?n={number}", *(["PATCH /t/a%2F1"] if answered else [])]
    if not answered:
        assert failure(outcome).message == "sys has nothing at result.0.sys_id, which find asks for"
        assert failure(outcome).final


def test_a_page_in_place_of_what_find_asks_for_is_tried_again(stub: HttpStub, tmp_path: Path) -> None:
    """As while the system is maintained, or where a proxy answers in its place."""
    stub.answer = lambda _: Reply(200, "<html>We will be back soon</html>")
    find = "{get: /t/1, field: triage}"
    error = failure(one(opened(tmp_path, f"{{type: http, url: '{stub.root}', find: {find}, body: {{triage: x}}}}")))
    assert (error.message, error.final, error.doubtful) == ("sys answered find with no JSON", False, False)
    assert error.answer == "<html>We will be back soon</html>"
    assert len(stub.got) == 1


@pytest.mark.parametrize(
    ("once", "reply", "is_found"),
    [
        ("get: /list, contains: '{{ delivery_id }}'", f'[{{"body": "by {a_delivery().delivery_id}"}}]', True),
        ("get: /list, contains: '{{ delivery_id }}'", "[" + " " * 1_000_000 + "]", False),
        ("get: /list, contains: '{{ delivery_id }}'", "a list in plain text", False),
        ("body: {id: '{{ delivery_id }}'}, found: data.issue", '{"data": {"issue": {"id": 1}}}', True),
        ("body: {id: '{{ delivery_id }}'}, found: data.issue", '{"data": null}', False),
    ],
)
def test_ways_to_search(stub: HttpStub, tmp_path: Path, once: str, reply: str, is_found: bool) -> None:
    stub.answer = lambda _: Reply(200, reply)
    destination = opened(tmp_path, f"{{type: http, url: '{stub.root}', once: {{{once}}}, body: {{new: 1}}}}")
    assert one(destination, a_parcel(delivery=a_delivery(doubtful=1))).error is None
    assert [got.body for got in stub.got[1:]] == ([] if is_found else [b'{"new":1}'])


@pytest.mark.parametrize(
    ("reply", "final"),
    [(Reply(503), False), (Reply(cut=-1), False), (Reply(401), True), (Reply(200, "<html>Back soon</html>"), False)],
)
def test_while_it_cannot_be_known_nothing_is_made_again(
    stub: HttpStub, tmp_path: Path, reply: Reply, final: bool
) -> None:
    stub.answer = lambda _: reply
    error = failure(one(opened(tmp_path, ONCE.format(root=stub.root)), a_parcel(delivery=a_delivery(doubtful=1))))
    assert (error.final, error.doubtful) == (final, False)
    assert [call.partition(" ")[0] for call in stub.calls] == ["GET"]


def test_a_page_in_place_of_a_list_does_not_show_that_nothing_is_there(stub: HttpStub, tmp_path: Path) -> None:
    stub.answer = lambda _: Reply(200, "\n<!DOCTYPE html><title>Hibernating</title>")
    once = "once: {get: /list, contains: '{{ delivery_id }}'}"
    destination = opened(tmp_path, f"{{type: http, url: '{stub.root}', {once}, body: {{new: 1}}}}")
    error = failure(one(destination, a_parcel(delivery=a_delivery(doubtful=1))))
    assert (error.message, error.final) == ("sys answered the search of once with no JSON", False)
    assert [call.partition(" ")[0] for call in stub.calls] == ["GET"]


def test_a_search_that_is_throttled_is_asked_again_like_the_request(stub: HttpStub, tmp_path: Path) -> None:
    stub.answer = lambda _: Reply(400, '{"code": "RATELIMITED"}')
    destination = f"""{{type: http, url: '{stub.root}', retry: {{status: 400, path: code, is: RATELIMITED}},
        once: {{get: /search, found: key}}}}"""
    error = failure(one(opened(tmp_path, destination), a_parcel(delivery=a_delivery(doubtful=1))))
    assert (error.final, error.status) == (False, 400)


@pytest.mark.parametrize(
    ("base", "once", "asked"),
    [
        ("/api/repos/acme/shop", "../../../search?q={{ category }}", "/api/search?q=Billing"),
        ("/api/repos/", "../search", "/api/search"),
        ("/api", "../search", "/search"),
    ],
)
def test_a_search_may_stand_above_the_address(stub: HttpStub, tmp_path: Path, base: str, once: str, asked: str) -> None:
    stub.answer = lambda _: Reply(200, '{"key": "SUP-1"}')
    destination = f"{{type: http, url: '{stub.root}{base}', endpoint: /issues, once: {{get: '{once}', found: key}}}}"
    assert one(opened(tmp_path, destination), a_parcel(delivery=a_delivery(doubtful=1))).error is None
    assert stub.calls == [f"GET {asked}"]


def test_no_secret_goes_to_another_host(stub: HttpStub, tmp_path: Path) -> None:
    """`config check` tells it where the address is known; one that is a secret is compared when it is used."""
    destination = """{{type: http, url_env: ADDRESS, auth: {{bearer: TOKEN}},
        once: {{get: '{root}/search', found: key}}}}"""
    env = {"ADDRESS": f"http://localhost:{stub.port}/hook", "TOKEN": TOKEN}
    outcome = one(opened(tmp_path, destination.format(root=stub.root), env), a_parcel(delivery=a_delivery(doubtful=1)))
    assert failure(outcome).final
    assert "another host" in failure(outcome).message
    assert stub.calls == []


@pytest.mark.parametrize("reply", [Reply(502), Reply(200, '{"a": 1}', cut=3), Reply(410), Reply(200, b"x" * 5_000_000)])
@pytest.mark.parametrize(
    "beside", ["find: {get: /beside, keep: {a: a}}", "once: {get: /beside, found: a}", "undo: {endpoint: /beside}"]
)
def test_a_request_beside_the_delivery_that_fails_leaves_nothing_in_doubt(
    stub: HttpStub, tmp_path: Path, beside: str, reply: Reply
) -> None:
    stub.answer = lambda got: reply if got.path == "/beside" else Reply()
    destination = opened(tmp_path, f"{{type: http, url: '{stub.root}', {beside}}}")
    earlier = (a_delivery(8, category="Tech Support", state="accepted"),)
    outcome = one(destination, a_parcel(delivery=a_delivery(doubtful=1), earlier=earlier))
    if reply.status == 200 and "undo" in beside:
        assert outcome.error is None, "what an undo answers beside its status is nothing to us"
        return
    error = failure(outcome)
    assert (error.doubtful, error.gone, error.final) == (False, False, reply.status == 410)
    assert [got.path for got in stub.got] == ["/beside"]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ('"\\ud800"', {"id": "?"}),
        ('"a\\u0000\\u001b]0;x\\u0007"', {"id": "a\0\x1b]0;x\x07"}),
        ("NaN", None),
        ("9" * 5000, None),
        ("[" * 50_000, None),
        ('{"a": 1}', None),
    ],
)
def test_whatever_an_answer_holds_it_is_accepted_and_can_be_stored(
    stub: HttpStub, tmp_path: Path, value: str, kept: dict[str, str] | None
) -> None:
    stub.answer = lambda _: Reply(200, f'{{"x": {value}}}')
    outcome = one(opened(tmp_path, f"{{type: http, url: '{stub.root}', keep: {{id: x}}}}"))
    assert outcome.value is not None
    assert (outcome.value.kept and json.loads(outcome.value.kept)) == kept
    (outcome.value.kept or "").encode()  # as a store does


def test_an_answer_that_repeats_the_secret_address_is_kept_without_it(stub: HttpStub, tmp_path: Path) -> None:
    stub.answer = lambda got: Reply(400, f"no {got.path} and no {unquote(got.path)} and no https:\\/\\/h\\/hook-12345")
    env = {"ADDRESS": f"{stub.root}/hook-12345/x?sig=abc%2Bdef%3D12"}
    error = failure(one(opened(tmp_path, "{type: http, url_env: ADDRESS}", env)))
    assert error.answer
    assert "hook-12345" not in error.answer
    assert "abc" not in error.answer


def test_a_packed_answer_is_not_unpacked(stub: HttpStub, tmp_path: Path) -> None:
    bomb = gzip.compress(b'{"x": "' + b" " * 50_000_000 + b'"}')
    stub.answer = lambda _: Reply(200, bomb, {"content-encoding": "gzip"})
    destination = opened(tmp_path, f"{{type: http, url: '{stub.root}', keep: {{id: x}}}}")
    tracemalloc.start()
    outcome = one(destination)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.value is not None
    assert outcome.value.kept is None
    assert most < 5_000_000


def test_a_search_never_leaves_the_host(stub: HttpStub, tmp_path: Path) -> None:
    for once in ("../search", "../../evil.example/search", "../../../x"):
        destination = f"{{type: http, url: '{stub.root}', once: {{get: '{once}', found: key}}}}"
        error = failure(one(opened(tmp_path, destination), a_parcel(delivery=a_delivery(doubtful=1))))
        assert error.final
        assert "fewer parts than ../ leaves out" in error.message
    assert stub.calls == []


UNDO = """{{type: http, url: '{root}', endpoint: '/t/{{{{ ticket.external_id }}}}/tags', method: PUT,
    body: {{tags: ['triage_{{{{ category | slug }}}}']}},
    undo: {{endpoint: '/t/{{{{ ticket.external_id }}}}/tags',
        body: {{tags: ['triage_{{{{ replaced.category | slug }}}}']}}}}}}"""


@pytest.mark.parametrize(
    ("earlier", "taken_back"),
    [
        ((), []),
        ((a_delivery(7, category="Billing", state="accepted"),), []),
        ((a_delivery(7, category="Tech Support", state="dead"),), []),
        ((a_delivery(7, category="Tech Support", state="accepted"),), ["triage_tech-support"]),
        (
            (
                a_delivery(5, category="Oldest", state="accepted"),
                a_delivery(6, category="General", state="accepted"),
                a_delivery(7, category="Tech Support", state="superseded", doubtful=1),
            ),
            ["triage_tech-support", "triage_general"],
        ),
    ],
)
def test_only_what_triage_had_added_is_taken_back(
    stub: HttpStub, tmp_path: Path, earlier: Any, taken_back: list[str]
) -> None:
    stub.answer = lambda got: Reply(404) if got.method == "DELETE" else Reply(200)
    assert one(opened(tmp_path, UNDO.format(root=stub.root)), a_parcel(earlier=earlier)).error is None
    *before, last = stub.got
    assert [got.json for got in before] == [{"tags": [tag]} for tag in taken_back]
    assert {got.method for got in before} <= {"DELETE"}
    assert (last.method, last.json) == ("PUT", {"tags": ["triage_billing"]})
    assert len({got.headers["idempotency-key"] for got in stub.got}) == len(stub.got)


def test_a_label_that_cannot_be_taken_back_is_tried_again_with_the_rest(stub: HttpStub, tmp_path: Path) -> None:
    stub.answer = lambda got: Reply(503) if got.method == "DELETE" else Reply(200)
    earlier = (a_delivery(7, category="General", state="accepted"),)
    error = failure(one(opened(tmp_path, UNDO.format(root=stub.root)), a_parcel(earlier=earlier)))
    assert (error.final, error.doubtful, len(stub.got)) == (False, False, 1)


@pytest.mark.parametrize(
    ("keys", "fields", "message"),
    [
        ("endpoint: '/t/{{ ticket.external_id }}/tags'", {"external_id": None}, "endpoint: a value is empty"),
        ("endpoint: '/t/{{ ticket.external_id }}/tags'", {"external_id": ".."}, "url: a value is . or .."),
        ("query: {q: '{{ ticket.extra.none }}'}", {}, "query.q: a value is empty"),
        ("headers: {X-S: '{{ ticket.subject }}'}", {"subject": "a\r\nHost: b"}, "headers.X-S: holds a line break"),
        ("body: {n: '{{ ticket.extra.n | float }}'}", {"extra": '{"n": "nan"}'}, "body: JSON cannot hold it"),
        ("body: {n: '{{ ticket.extra.n > 1 }}'}", {}, "body.n: "),
    ],
)
def test_what_would_be_no_request_is_not_sent_and_is_final(
    stub: HttpStub, tmp_path: Path, keys: str, fields: dict[str, Any], message: str
) -> None:
    error = failure(one(opened(tmp_path, f"{{type: http, url: '{stub.root}', {keys}}}"), a_parcel(**fields)))
    assert error.final
    assert error.message.startswith(f"sys cannot be sent this ticket: {message}")
    assert stub.got == []


def test_a_private_address_is_refused_where_addresses_are_guarded(stub: HttpStub, tmp_path: Path) -> None:
    plain = one(opened(tmp_path, f"{{type: http, url: '{stub.root}'}}", guarded=True)).error
    assert isinstance(plain, dm.PrivateAddressError)
    assert plain.message.startswith("sys: 127.0.0.1 leads to a private or special address")
    secret = one(opened(tmp_path, "{type: http, url_env: A}", {"A": f"{stub.root}/x"}, guarded=True)).error
    assert isinstance(secret, dm.PrivateAddressError)
    assert secret.message.startswith("the address of sys leads to a private or special address")
    assert stub.got == []


def test_an_address_that_is_a_secret_is_in_no_error(tmp_path: Path) -> None:
    error = failure(one(opened(tmp_path, "{type: http, url_env: A}", {"A": "http://127.0.0.1:9/hook-secret"})))
    assert error.message == "sys cannot be reached: it refuses connections"
    assert not error.doubtful


def test_the_same_id_over_all_attempts(stub: HttpStub, tmp_path: Path) -> None:
    replies = iter([Reply(500), Reply(429), Reply(200)])
    stub.answer = lambda _: next(replies)
    destination = opened(tmp_path, f"{{type: http, url: '{stub.root}', body: ['{{{{ attempt }}}}']}}")
    for attempts in range(3):
        one(destination, a_parcel(delivery=a_delivery(attempts=attempts)))
    assert {got.headers["idempotency-key"] for got in stub.got} == {a_delivery().delivery_id}
    assert [got.json for got in stub.got] == [[1], [2], [3]]


def test_answers_by_request(stub: HttpStub, tmp_path: Path) -> None:
    """Many at once, each with its own outcome."""

    def answer(got: Got) -> Reply:
        return Reply(200 if got.json["n"] % 2 else 400)

    stub.answer = answer
    destination = opened(tmp_path, f"{{type: http, url: '{stub.root}', body: {{n: '{{{{ ticket.extra.n }}}}'}}}}")
    outcomes = sent(destination, *(a_parcel(n, extra=json.dumps({"n": n})) for n in range(100)))
    accepted = {o.item.ticket.ticket_id for o in outcomes if not o.error and isinstance(o.item, dm.OutgoingDelivery)}
    assert accepted == {f"t{n}" for n in range(1, 100, 2)}
