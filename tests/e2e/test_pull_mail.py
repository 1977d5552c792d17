"""`pull` from a mail server: each mail once, whatever kills it, and nothing where nothing is new."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.commands import rows, until
from tests.support.imap_server import PASSWORD, USER, ImapServer, running_imap_server
from tests.support.mails import mail


@pytest.fixture
def server() -> Iterator[ImapServer]:
    with running_imap_server() as server:
        yield server


def configure(cli: Cli, server: ImapServer, *, beside: dict[str, Any] | None = None, **more: Any) -> None:
    source = {"type": "imap", "host": "127.0.0.1", "port": server.port, "tls": "none"}
    login = {"user_env": "MAIL_USER", "password_env": "MAIL_PASSWORD"}
    sources = {"inbox": {**source, **login, **more}} | ({"beside": beside} if beside else {})
    (cli.folder / "config.yaml").write_text(json.dumps({"sources": sources}))
    cli.env |= {"MAIL_USER": USER, "MAIL_PASSWORD": PASSWORD}


def test_a_pull_stores_what_is_new_and_a_reply_joins_its_thread(cli: Cli, server: ImapServer) -> None:
    configure(cli, server)
    server.put(mail("question", name="1@x"), mail("", subject=None, name="2@x"), mail("other", name="3@x"))
    first = cli("pull", "-q", "-o", "jsonl")
    assert first.returncode == 3
    assert first.stderr.splitlines()[0].startswith("rejected: UID 102: neither subject nor text")
    assert {json.loads(line)["source"] for line in first.stdout.splitlines()} == {"inbox"}
    assert cli("pull").stderr == "inbox: 0 created, 0 updated, 0 unchanged, 0 rejected\n"
    server.put(mail("answer", name="4@x", after=["1@x"]))
    assert cli("pull").stderr.splitlines()[-1] == "inbox: 0 created, 1 updated, 0 unchanged, 0 rejected"
    full = cli("pull", "--full").stderr
    assert full.splitlines()[-1] == "inbox: 0 created, 0 updated, 3 unchanged, 1 rejected"
    ((extra,),) = rows(cli.db, "select extra from tickets where external_id = '1@x'")
    assert [each["text"] for each in json.loads(extra)["thread"]] == ["answer"]


def test_many_mails_of_one_thread_come_in_one_page(cli: Cli, server: ImapServer) -> None:
    configure(cli, server)
    server.put(*[mail(f"text {n}", name=f"{n}@x", after=["0@x"] if n else ()) for n in range(20)])
    assert cli("pull").stderr.splitlines()[-1] == "inbox: 1 created, 19 updated, 0 unchanged, 0 rejected"


def test_rejected_mails_are_written_as_a_mailbox(cli: Cli, server: ImapServer) -> None:
    configure(cli, server)
    server.put(mail("question", name="1@x"))
    assert cli("pull", "-q", "--rejects", "bad.mbox").returncode == 0
    long = "From me " + "x" * 600_000  # two of these are more than a thread holds
    replies = [mail(long, name=name, after=["1@x"]) for name in ("3@x", "4@x")]
    server.put(mail("", subject=None, name="2@x"), *replies)
    assert cli("pull", "-q", "--rejects", "bad.mbox").returncode == 3
    box = (cli.folder / "bad.mbox").read_text()
    assert [name for name in ("2@x", "3@x", "4@x") if f"Message-ID: <{name}>" in box] == ["2@x", "4@x"]
    assert f"\n>{long}\n" in box
    again = cli("create", "bad.mbox", "--db", "other.db")
    assert "1 created, 0 updated, 0 unchanged, 1 rejected" in again.stderr
    fields = {"subject": "title", "external_id": "id"}
    configure(cli, server, beside={"type": "http", "url": "http://127.0.0.1:9/", "fields": fields})
    both = cli("pull", "--rejects", "bad.mbox")
    assert (both.returncode, both.stderr.partition("error: ")[2].partition(",")[0]) == (
        2,
        "--rejects writes mails or items",
    )


def test_the_doctor_logs_in_and_reads_no_mail(cli: Cli, server: ImapServer) -> None:
    configure(cli, server)
    server.put(mail("question", name="1@x"), mail("another", name="2@x"))
    assert "reads INBOX of 127.0.0.1 as ann: 2 mails" in cli("doctor", "-o", "jsonl").stdout
    assert server.unseen() == 2
    cli.env |= {"MAIL_PASSWORD": "wrong-canary"}
    refused = cli("doctor", "-o", "jsonl")
    assert refused.returncode == 8
    assert "refuses the user ann" in refused.stdout
    assert "canary" not in refused.stdout + refused.stderr


def has_stored(cli: Cli, number: int) -> bool:
    tables = rows(cli.db, "select 1 from sqlite_master where name = 'tickets'") if cli.db.exists() else []
    return bool(tables) and rows(cli.db, "select count(*) from tickets")[0][0] >= number


def check_kills(cli: Cli, server: ImapServer, number: int, kills: int) -> None:
    """Pull, and kill it each time once it has stored some pages more; then let it end."""
    configure(cli, server)
    server.put(*[mail(f"text {n} {'word ' * 200}", name=f"{n}@x") for n in range(number)])

    for kill in range(kills):
        process = cli.start("pull", "-q")
        until(partial(has_stored, cli, number * (kill + 1) // (kills + 1)), "pages are stored")
        process.kill()
        process.communicate()
    last = cli("pull", "-q")
    assert (last.returncode, last.stderr) == (0, "")
    assert rows(cli.db, "select count(*), count(distinct external_id) from tickets") == [(number, number)]
    again = cli("pull", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_kills_lose_no_mail_and_store_none_twice(cli: Cli, server: ImapServer) -> None:
    check_kills(cli, server, 400, 2)


@pytest.mark.long
def test_six_thousand_mails_and_twelve_kills(cli: Cli, server: ImapServer) -> None:
    check_kills(cli, server, 6000, 12)


def test_a_limit_and_a_look_store_no_more(cli: Cli, server: ImapServer) -> None:
    configure(cli, server)
    server.put(*[mail(f"text {n}", name=f"{n}@x") for n in range(5)])
    looked = cli("pull", "--dry-run", "-o", "jsonl")
    assert [json.loads(line)["description"] for line in looked.stdout.splitlines()][:2] == ["text 0", "text 1"]
    for created in (2, 2, 1, 0):
        assert f"{created} created" in cli("pull", "--limit", "2").stderr


def test_what_is_wrong_has_its_exit_code_and_shows_no_password(cli: Cli, server: ImapServer) -> None:
    configure(cli, server)
    for env, code in (({"MAIL_PASSWORD": "wrong-canary"}, 4), ({"MAIL_PASSWORD": ""}, 2), ({"TRIAGE_OFFLINE": "1"}, 2)):
        done = cli("pull", **env)
        assert done.returncode == code, done.stderr
        assert "canary" not in done.stderr
    configure(cli, server, folder="Nowhere")
    assert cli("pull").returncode == 2
    configure(cli, server, port=1)
    assert cli("pull").returncode == 6
    assert PASSWORD not in cli("config", "show").stdout
