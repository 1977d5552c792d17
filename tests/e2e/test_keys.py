"""`triage keys`: made once, never stored as text, listed, revoked."""

import json
import re

import pytest

from tests.support.cli import Cli
from tests.support.commands import rows
from triage_cli import domain as dm


def test_a_key_is_shown_once_and_only_its_hash_is_stored(cli: Cli) -> None:
    made = cli("keys", "create", "ada", "--role", "agent")
    assert made.returncode == 0
    record = json.loads(made.stdout)
    assert list(record) == ["name", "role", "key"]
    assert re.fullmatch(r"trg_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", record["key"])
    assert "only once" in made.stderr
    [(hash_, last_used)] = rows(cli.db, "select hash, last_used_at from api_keys")
    assert (hash_, last_used) == (dm.api_keys.digest(record["key"]), None)
    listed = json.loads(cli("keys", "list").stdout)
    assert (listed["name"], listed["role"], listed["revoked_at"]) == ("ada", "agent", None)
    held = b"".join(path.read_bytes() for path in cli.db.parent.glob("triage.db*"))
    assert record["key"].encode() not in held
    assert [e["action"] for e in map(json.loads, cli("logs").stdout.splitlines())] == ["key_created"]


def test_output_in_its_formats(cli: Cli) -> None:
    assert cli("keys", "create", "a", "--role", "reader", "-o", "id").stdout.startswith("trg_")
    assert cli("keys", "create", "b", "--role", "reader", "-q").stdout.startswith('{"name": "b"')
    assert cli("keys", "create", "c", "--role", "admin", "-o", "csv").stdout.splitlines()[0] == "name,role,key"
    assert cli("keys", "list", "-o", "id").stdout == "a\nb\nc\n"


def test_a_revoked_key_stays_listed_and_its_name_taken(cli: Cli) -> None:
    cli("keys", "create", "ada", "--role", "agent")
    assert json.loads(cli("keys", "revoke", "ada").stdout)["revoked_at"]
    again = json.loads(cli("keys", "revoke", "ada").stdout)
    assert json.loads(cli("keys", "list").stdout) == again
    assert cli("keys", "create", "ada", "--role", "agent").returncode == 2
    assert cli("keys", "revoke", "bob").returncode == 5


@pytest.mark.parametrize(
    "args",
    [
        ("create", "ada"), ("create", "", "--role", "agent"), ("create", "a", "--role", "boss"), ("revoke",),
        ("create", "a", "--role", "agent", "--expires", "0d"), ("create", "a", "--role", "agent", "--expires", "0.5s"),
        ("create", "a\x1b[2J", "--role", "agent"), ("create", "a" * 81, "--role", "agent"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_exit_2(cli: Cli, args: tuple[str, ...]) -> None:
    done = cli("keys", *args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_slip_of_the_hand_is_seen_by_the_checksum() -> None:
    made = dm.api_keys.new_key()
    assert dm.api_keys.key_id_of(made.text) == made.key_id
    for at in range(len(made.text)):
        changed = "A" if made.text[at] != "A" else "B"
        assert dm.api_keys.key_id_of(made.text[:at] + changed + made.text[at + 1 :]) is None
    assert len({dm.api_keys.new_key().text for _ in range(100)}) == 100
