"""Destinations of type `http` in config.yaml: each mistake with its line, and presets under what a user gives."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from triage_cli import domain as dm
from triage_cli.config import AnswerTest, AuthSpec, Config, HttpSpec, load_config, no_address, presets, shown
from triage_cli.extensions.http import secrets_of
from triage_cli.wiring import check_templates

URL = "url: 'https://example.com/x'"


def load(folder: Path, *lines: str) -> Config:
    file = folder / "config.yaml"
    file.write_text("destinations:\n  d:\n    type: http\n" + "".join(f"    {line}\n" for line in lines))
    file.chmod(0o600)
    config = load_config(config=str(file), env={"HOME": str(folder)}, cwd=folder)
    check_templates(config)
    return config


def http(folder: Path, *lines: str) -> HttpSpec:
    found = load(folder, *lines).destinations["d"].http
    assert found is not None
    return found


MISTAKES = [
    ([], "2: destinations.d: url is missing"),
    (["url: 'https://{{ category }}.example.com/x'"], "4: destinations.d.url: holds a template in its host"),
    (["url: '{{ category }}'"], "4: destinations.d.url: must be a URL"),
    (["url: http://example.com/"], "4: destinations.d.url: must begin with https://"),
    (["url: 'https://me:pw@example.com/'"], "4: destinations.d.url: holds a user name or password"),
    (["url: 'https://example.com/#x'"], "4: destinations.d.url: holds a #"),
    ([URL, "url_env: HOOK"], "url and url_env exclude each other"),
    ([URL, "url_env: https://hooks.example.com/secret"], "takes the name of an environment variable"),
    ([URL, "body: {a: 1}", "form: {a: '1'}"], "body and form exclude each other"),
    (
        [URL, "body:", "  a:", "    - '{{ ticket.sujet }}'"],
        '7: destinations.d.body.a[0]: name "ticket.sujet"',
    ),
    ([URL, "body: {a: '{{ category | shout }}'}"], '5: destinations.d.body.a: filter "shout" is unknown'),
    ([URL, "body: {a: '{{ category'}"], "5: destinations.d.body.a: is not a valid template"),
    ([URL, "body: {a: '{{ remote.id }}'}"], '5: destinations.d.body.a: name "remote.id" is unknown'),
    ([URL, "body: {a: '{{ key }}'}"], '5: destinations.d.body.a: name "key" is unknown'),
    ([URL, "key_env: K", "query: {a: '{{ key }}'}"], '6: destinations.d.query.a: name "key" is unknown'),
    ([URL, "body: {a: 2026-01-01}"], '5: destinations.d.body.a: is a date or time to YAML; quote it: "2026-01-01"'),
    ([URL, "headers: {Authorization: x}"], "5: destinations.d.headers.Authorization: is set by auth"),
    ([URL, "headers: {Cookie: x}"], "is set by auth"),
    ([URL, "headers: {HOST: x}"], "is set by the program"),
    ([URL, "headers: {Webhook-Id: x}"], "is set by the program"),
    ([URL, "headers: {Idempotency-Key: x}"], "is set by the program"),
    ([URL, 'headers: {X-A: "a\\r\\nb"}'], "holds a line break"),
    ([URL, "headers: {'X A': x}"], "must be the name of an HTTP header"),
    ([URL, "auth: {bearer: T, basic: [A, B]}"], "takes one of basic"),
    ([URL, "auth:"], "auth: must be a mapping"),
    ([URL, "auth: {bearer: sk-123456}"], "takes the name of an environment variable, never the secret itself"),
    ([URL, "auth: {header: X-Key}"], "auth needs env"),
    ([URL, "auth: {token: abc}"], "secrets do not belong in this file"),
    ([URL, "token: abc"], "secrets do not belong in this file"),
    ([URL, "ok: {is: 1}"], "needs status, or path and what is there"),
    ([URL, "ok: {status: 99}"], "from 100 to 599"),
    ([URL, "keep: {'a-b': x}"], "stands in templates as remote.NAME"),
    ([URL, "once: {get: /x}"], "takes one of found and contains"),
    ([URL, "once: {get: 'https://other.example/s', found: a}"], "5: destinations.d.once.get: leads to another host"),
    ([URL, "find: {get: 'http://localhost/s', keep: {a: a}}"], "destinations.d.find.get: leads to another host"),
    ([URL, "undo: {method: DELETE}"], "endpoint is missing"),
    ([URL, "endpoint: x"], "must begin with /"),
    (["url: 'https://example.com/?a=1'", "endpoint: /x"], "url ends with a query"),
    ([URL, "preset: slck"], 'did you mean "slack"?'),
    ([URL, "secret_env: X"], "unknown key"),
    (["preset: slack"], "preset slack needs url"),
]


@pytest.mark.parametrize(("lines", "message"), MISTAKES)
def test_each_mistake_is_told_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(dm.ConfigError) as caught:
        load(tmp_path, *lines)
    assert [problem for problem in caught.value.problems if message in problem], caught.value.problems
    for secret in ("pw@", "sk-123456", "hooks.example.com", "abc"):
        assert secret not in str(caught.value.problems)


@pytest.mark.parametrize(
    ("host", "is_right"),
    [
        ("localhost", True), ("a.localhost", False), ("127.0.0.1", True), ("127.9.9.9", True), ("[::1]", True),
        ("127.1", False), ("localhost.example.com", False), ("10.0.0.1", False), ("0.0.0.0", False),  # noqa: S104
    ],
)  # fmt: skip
def test_http_is_for_this_machine_alone(host: str, is_right: bool) -> None:
    assert (no_address(f"http://{host}:8080/x") == "") == is_right
    assert no_address(f"https://{host}/{{{{ a }}}}?x={{{{ b }}}}") == ""


PRESET = """
source: [https://vendor.example.com/docs]
needs: {url: null, project: null, issue_type: Task, auth: null}
method: PUT
endpoint: /issue
headers: {X-A: a, X-B: b}
body: {project: "{{ project }}", type: "{{ issue_type }}", labels: [a, b], deep: {one: 1, two: 2}}
ok: {status: 201, path: key}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "vendor.yaml").write_text(PRESET)
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    return tmp_path


def test_a_preset_fills_what_is_not_given(folder: Path) -> None:
    spec = http(folder, "preset: vendor", URL, "project: SUP", "auth: {bearer: T}")
    assert spec.given == {"project": "SUP", "issue_type": "Task"}
    assert (spec.method, spec.endpoint, spec.auth) == ("PUT", "/issue", AuthSpec("bearer", ("T",)))
    assert spec.ok == AnswerTest((201,), "key")


def test_what_a_user_gives_wins_and_trees_are_merged(folder: Path) -> None:
    spec = http(
        folder, "preset: vendor", URL, "project: SUP", "auth: {bearer: T}", "headers: {X-B: mine}", "ok: {status: 200}",
        "body: {labels: [c], deep: {two: 3}, more: x}",
    )  # fmt: skip
    assert spec.headers == {"X-A": "a", "X-B": "mine"}
    assert spec.ok == AnswerTest((200,))
    assert spec.body == {
        "project": "{{ project }}", "type": "{{ issue_type }}", "labels": ["c"], "deep": {"one": 1, "two": 3},
        "more": "x",
    }  # fmt: skip


def test_a_form_in_place_of_a_presets_body(folder: Path) -> None:
    spec = http(folder, "preset: vendor", URL, "project: SUP", "auth: {bearer: T}", "form: {a: b}")
    assert (spec.body, spec.form) == (None, {"a": "b"})


def test_a_preset_without_what_it_needs_names_each_key(folder: Path) -> None:
    with pytest.raises(dm.ConfigError) as caught:
        load(folder, "preset: vendor")
    assert [problem.partition(": ")[2] for problem in caught.value.problems] == [
        f"destinations.d: preset vendor needs {key}" for key in ("url", "project", "auth")
    ]


def test_what_is_shown_names_variables_alone(folder: Path) -> None:
    config = load(folder, "preset: vendor", "url_env: HOOK", "project: SUP", "auth: {basic: [A, B]}")
    lines: Mapping[str, Any] = {key: value for key, value, _ in shown(config)}
    assert lines["destinations.d.url_env"] == "HOOK"
    assert lines["destinations.d.auth"] == {"kind": "basic", "env": ["A", "B"], "header": "authorization"}
    assert lines["destinations.d.project"] == "SUP"
    assert lines["destinations.d.timeout"] == 15
    assert {"HOOK", "A", "B"} <= config.secret_variables


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, 'destination "d" needs the variable HOOK, which is not set'),
        ({"HOOK": "https://h.example.com/s3cret\nx"}, "HOOK holds a line break"),
        ({"HOOK": "http://h.example.com/s3cret"}, "the address in HOOK must begin with https://"),
        ({"HOOK": "https://h.example.com/{{ s3cret }}"}, "the address in HOOK holds a template"),
        ({"HOOK": "https://h.example.com/"}, 'destination "d" needs the variable TOKEN'),
        ({"HOOK": "https://h.example.com/", "TOKEN": "s3cret\udcff"}, "TOKEN holds a line break"),
    ],
)
def test_a_variable_that_is_missing_or_wrong_is_named_and_not_shown(
    tmp_path: Path, env: dict[str, str], message: str
) -> None:
    spec = http(tmp_path, "url_env: HOOK", "auth: {bearer: TOKEN}")
    with pytest.raises(dm.ConfigError, match=re.escape(message)) as caught:
        secrets_of("d", spec, env)
    assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"
