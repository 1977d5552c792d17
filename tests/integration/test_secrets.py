"""Which variables a command destination does not get: secrets that the configuration names, and usual ones."""

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from triage_cli.config import (
    KEY_VARIABLES,
    Config,
    ConfigNode,
    Diagnostics,
    Field,
    Node,
    classifiers,
    destinations,
    http_destination,
    load_config,
    secret_variables,
    sources,
    variable,
    webhooks,
)

USUAL = {
    "TRIAGE_API_KEY", "TRIAGE_AUDIT_KEY", "TRIAGE_TOKEN_COMMAND", "TRIAGE_SERVER_KEY", "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY", "OPENAI_ADMIN_KEY", "ANTHROPIC_AUTH_TOKEN", "PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE",
}  # fmt: skip
KEPT = {
    "PATH",
    "HOME",
    "LANG",
    "HTTPS_PROXY",
    "SSL_CERT_FILE",
    "TRIAGE_CONFIG",
    "TRIAGE_OFFLINE",
    "PGHOST",
    "PAGER_URL",
}


def within(check: object) -> Iterator[object]:
    """Yield a check and all it is made of."""
    yield check
    if inspect.isfunction(check):
        for part in inspect.getclosurevars(check).nonlocals.values():
            yield from within(part)


def tables() -> dict[str, Mapping[str, Field]]:
    """Return the tables of keys that the schema has, by their name."""
    modules = (classifiers, destinations, http_destination, sources, webhooks)
    places = [vars(module).items() for module in modules]
    found = {name: value for items in places for name, value in items if isinstance(value, Mapping) and name.isupper()}
    return {name: table for name, table in found.items() if table and isinstance(next(iter(table.values())), Field)}


BEARING = sorted(
    (name, key) for name, table in tables().items() for key, field in table.items() if variable in within(field.check)
)


def test_the_keys_that_name_a_secret_are_known() -> None:
    assert {("CLASSIFIER", "api_key_env"), ("DESTINATION", "secret_env"), ("WEBHOOK", "secret_env")} <= set(BEARING)
    named = {(name, key) for name, table in tables().items() for key in table if key.endswith("_env")}
    assert named <= set(BEARING), "a key that names a variable reads it as one"


@pytest.mark.parametrize(("table", "key"), BEARING)
def test_each_key_that_names_a_secret_has_it_taken_out(table: str, key: str) -> None:
    book = Diagnostics()
    ConfigNode(Node("MY_OWN", 1), key, book).read(tables()[table][key].check)
    assert book.variables == {"MY_OWN"}
    assert book.problems == ()


CONFIG = """
classifiers:
  gpt: {type: openai, model: m, base_url: "http://127.0.0.1:9", api_key_env: MY_GPT}
  own: {type: anthropic, model: m}
  local: {type: local}
destinations:
  mail: {type: mail, host: h, from: a@b, to: c@d, user_env: MAIL_USER, password_env: MAIL_PASSWORD}
  page: {type: command, run: [./page.sh]}
  hook: {type: webhook, url: "http://127.0.0.1:9", secret_env: [HOOK_NEW, HOOK_OLD]}
webhooks:
  desk: {type: hmac, secret_env: DESK, header: X-Sign, fields: {subject: s}}
routes: [{to: page}]
"""
NAMED = {"MY_GPT", "HOOK_NEW", "HOOK_OLD", "DESK", "MAIL_USER", "MAIL_PASSWORD"}


def test_a_command_is_handed_no_secret_and_all_else(fitted: Cli) -> None:
    page = fitted.folder / "page.sh"
    page.write_text("#!/bin/sh\nenv -0 > env.txt\n")
    page.chmod(0o755)
    (fitted.folder / "config.yaml").write_text(CONFIG)
    fitted.fresh = True  # what is set there would be read where Python starts
    secrets = dict.fromkeys(USUAL | NAMED, "canary-4711-canary")
    kept = dict.fromkeys(KEPT - set(fitted.env) - {"TRIAGE_CONFIG", "SSL_CERT_FILE"}, "0") | {"HTTPS_PROXY": ""}
    done = fitted("run", "-", "-q", "--classifier", "local", stdin="subject\nrefund my invoice\n", **secrets, **kept)
    assert done.returncode == 0, done.stderr
    handed = dict(pair.split("=", 1) for pair in (fitted.folder / "env.txt").read_text().split("\0") if pair)
    assert "canary" not in json.dumps(handed)
    assert {*kept, *fitted.env} - {"PYTHONWARNINGS"} <= set(handed)


def loaded(tmp_path: Path, text: str = "", **env: str) -> tuple[Config, dict[str, str]]:
    (tmp_path / "config.yaml").write_text(text or "# the defaults\n")
    given = {"HOME": str(tmp_path), **env}
    return load_config(env=given, cwd=tmp_path), given


def test_only_what_is_set_is_named(tmp_path: Path) -> None:
    config, env = loaded(tmp_path, CONFIG, DESK="x", PGPASSWORD="y", PGHOST="h")
    assert secret_variables(config, env) == {"DESK", "PGPASSWORD"}
    assert set(KEY_VARIABLES.values()) | NAMED == config.secret_variables


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        ("postgresql://u:pw@h/d", True),
        ("postgresql://u@h/d?password=pw", True),
        ("postgresql://u@h/d", False),
        ("x.db", False),
    ],
)
def test_a_password_in_the_address_of_the_database_is_a_secret(tmp_path: Path, address: str, secret: bool) -> None:
    config, env = loaded(tmp_path, TRIAGE_DB=address)
    assert secret_variables(config, env) == ({"TRIAGE_DB"} if secret else set())


def test_each_key_of_a_vendor_is_usual(tmp_path: Path) -> None:
    config, _ = loaded(tmp_path)
    env: dict[str, Any] = dict.fromkeys((*KEY_VARIABLES.values(), *USUAL, *KEPT), "0")
    assert secret_variables(config, env) == USUAL
