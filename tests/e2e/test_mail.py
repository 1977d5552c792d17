"""Mail through the command line: what a kill leaves, what is shown before it is sent, and what is never shown."""

import signal
from collections.abc import Iterator

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows
from tests.support.mail_server import MailStub

PASSWORD = "swordfish-9"  # noqa: S105 - made up
LOGIN = {"SMTP_USER": "desk", "SMTP_PASSWORD": PASSWORD}
TICKETS = "id,subject\n<t1@mail.example.org>,I was charged twice\n<t2@mail.example.org>,Refund my invoice\n"


@pytest.fixture
def server() -> Iterator[MailStub]:
    stub = MailStub(login=("desk", PASSWORD))
    yield stub
    stub.close()


@pytest.fixture
def mailing(cli: Cli, server: MailStub) -> Cli:
    """Two tickets with verdicts that a mail is owed for."""
    (cli.folder / "config.yaml").write_text(
        "destinations:\n"
        f"  desk: {{type: mail, host: 127.0.0.1, port: {server.port}, from: triage@example.com, to: b@example.com,\n"
        "    user_env: SMTP_USER, password_env: SMTP_PASSWORD, retry_schedule: [0], max_attempts: 2}\n"
        "routes: [{to: desk}]\n"
    )
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    for ticket in ("t1", "t2"):
        assert cli("verdict", f"<{ticket}@mail.example.org>", "Billing", "-q").returncode == 0
    return cli


def ids(server: MailStub) -> list[str]:
    return sorted(received.message["message-id"] for received in server.got)


def test_each_ticket_is_mailed_once_and_the_password_stands_nowhere(mailing: Cli, server: MailStub) -> None:
    shown = [mailing(*command, **LOGIN) for command in (
        ("route", "--dry-run"), ("config", "check"), ("config", "show"), ("doctor",), ("route",), ("route",),
        ("why", "<t1@mail.example.org>"), ("logs",), ("config", "show", "-o", "csv"),
    )]  # fmt: skip
    preview = shown[0].stdout
    assert preview.count(f"MAIL 127.0.0.1:{server.port}\nFrom: triage@example.com\nTo: b@example.com\n") == 2
    assert "\nIn-Reply-To: <t1@mail.example.org>\n" in preview
    assert [f"\nMessage-ID: {one}\n" in preview for one in ids(server)] == [True, True]
    assert "mails to b@example.com over 127.0.0.1" in shown[3].stdout
    assert "unencrypted, as SMTP_USER" in shown[3].stdout
    assert rows(mailing.db, "select state, attempts from deliveries") == [("accepted", 1)] * 2
    assert all(PASSWORD not in done.stdout + done.stderr for done in shown)
    assert PASSWORD.encode() not in mailing.db.read_bytes()


def test_a_kill_while_the_server_has_the_mail_loses_none_and_a_repeat_is_recognisable(
    mailing: Cli, server: MailStub
) -> None:
    server.hold.clear()
    mailing.env |= LOGIN
    killed = mailing.start("route", "-q")
    assert server.taking.wait(PATIENCE)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    server.hold.set()
    assert mailing("route", "-q").returncode == 0
    assert rows(mailing.db, "select state from deliveries") == [("accepted",)] * 2
    assert len(set(ids(server))) == 2


def test_a_refusal_is_a_dead_letter_whose_reason_is_told(mailing: Cli, server: MailStub) -> None:
    server.at_data = lambda _: "554 5.7.1 looks like spam"
    done = mailing("route", "-q", **LOGIN)
    assert done.returncode == 3
    assert "desk answered 554" in done.stderr
    assert rows(mailing.db, "select state, attempts from deliveries") == [("dead", 1)] * 2
    assert "looks like spam" in mailing("why", "<t1@mail.example.org>").stdout
    server.at_data = lambda _: None
    assert mailing("route", "--retry-dead", "-q", **LOGIN).returncode == 0
    assert len(server.got) == 2


def test_doctor_sends_one_marked_mail(mailing: Cli, server: MailStub) -> None:
    done = mailing("doctor", "--send", "desk", **LOGIN)
    assert (done.returncode, "accepted the test ticket triage-test-" in done.stdout) == (0, True)
    assert server.got[0].message["subject"] == "[Billing] Test of triage: please ignore"
    assert rows(mailing.db, "select count(*) from deliveries") == [(0,)]
    server.at_data = lambda _: "554 5.7.1 looks like spam"
    done = mailing("doctor", "--send", "desk", **LOGIN)
    assert (done.returncode, "answered 554; it said: 5.7.1 looks like spam" in done.stdout) == (8, True)


def test_what_may_pass_is_tried_again(mailing: Cli, server: MailStub) -> None:
    answers = iter(["451 later", "451 later"])
    server.at_rcpt = lambda _: next(answers, None)
    assert mailing("route", "-q", **LOGIN).returncode == 0
    assert rows(mailing.db, "select state, attempts from deliveries") == [("accepted", 2)] * 2


def test_without_its_login_or_a_network_mail_waits(mailing: Cli, server: MailStub) -> None:
    done = mailing("route", "-q")
    assert done.returncode == 2
    assert "needs the variable SMTP_USER, which is not set" in done.stderr
    assert mailing("route", "--offline", "-q", **LOGIN).returncode == 0
    assert rows(mailing.db, "select state, attempts from deliveries") == [("pending", 0)] * 2
    assert server.got == []


def test_a_mistake_in_a_template_is_told_with_its_line(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(
        "destinations:\n  desk:\n    type: mail\n    host: localhost\n    from: a@b\n    to: c@d\n"
        "    subject: '{{ ticket.subjct }}'\n    text: '{{ x | y }}'\n"
    )
    done = cli("config", "check")
    assert done.returncode == 2
    assert 'config.yaml:7: destinations.desk.subject: name "ticket.subjct" is unknown; did you mean' in done.stderr
    assert "config.yaml:8: destinations.desk.text: " in done.stderr
