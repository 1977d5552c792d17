"""Mail on the command line: files, folders and pipes; what is rejected; a mailbox larger than memory."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.commands import PATIENCE
from tests.support.mails import REPLY, mail, mbox

BOX = mbox(
    mail("I was charged twice, please refund it.\n\nBest regards,\nAnn", name="1@x"),
    mail(REPLY, name="2@x", subject="Re: A matter", after=["1@x"]),
    mail("", name="3@x", subject=None),
    mail("The app crashes\n", name="4@x", sender="bob@x.example"),
)
SUMMARY = "2 created, 1 updated, 0 unchanged, 1 rejected"


def test_a_mailbox_a_maildir_and_single_mails_make_the_same_tickets(cli: Cli) -> None:
    (cli.folder / "box.mbox").write_bytes(BOX)
    (cli.folder / "maildir" / "new").mkdir(parents=True)
    (cli.folder / "mails").mkdir()
    for number, each in enumerate(BOX.split(b"From MAILER-DAEMON Thu Nov 26 10:00:00 2026\n")[1:]):
        (cli.folder / "maildir" / "new" / f"{number}.host").write_bytes(each)
        (cli.folder / "mails" / f"{number}.eml").write_bytes(each)
    single = [f"mails/{number}.eml" for number in range(4)]
    listed = set()
    for number, given in enumerate((["box.mbox"], ["maildir"], ["mails"], single, ["-"])):
        env = {"TRIAGE_DB": f"{number}.db"}
        done = cli("create", *given, stdin=BOX if given == ["-"] else "", **env)
        assert done.returncode == 3
        assert done.stderr.splitlines()[-1] == SUMMARY
        again = cli("create", *given, stdin=BOX if given == ["-"] else "", **env)
        assert again.stderr.splitlines()[-1] == "0 created, 0 updated, 3 unchanged, 1 rejected"
        listed.add(cli("list", "-o", "csv", "--columns", "external_id,subject,description,extra", **env).stdout)
    assert len(listed) == 1


def test_a_dry_run_counts_a_reply_and_a_mail_that_comes_again_as_no_ticket(cli: Cli) -> None:
    done = cli("create", "--dry-run", "-o", "csv", "--columns", "external_id", stdin=BOX + mbox(mail(name="1@x")))
    assert (done.returncode, done.stdout) == (3, "external_id\n1@x\n4@x\n")
    assert "2 tickets, 1 reply, 1 repeated, 1 rejected" in done.stderr


def test_mails_in_are_rows_out(fitted: Cli) -> None:
    done = fitted("run", "-o", "jsonl", stdin=BOX)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["triage_status"] for row in rows] == ["routed", "routed", "rejected", "routed"]
    assert [row["triage_category"] for row in rows] == ["Billing", "Billing", None, "Technical"]
    assert rows[0]["triage_ticket_id"] == rows[1]["triage_ticket_id"]
    assert [row["from"] for row in rows[:2]] == ["Ann <ann@x.example>"] * 2
    assert "line 26: neither subject nor text" in done.stderr


def test_rejected_mails_are_a_mailbox_again(cli: Cli) -> None:
    twice = mail("other", name="4@x", sender="eve@x.example")
    done = cli("create", "--rejects", "rejects.mbox", "--max-rejects", "9", stdin=BOX + mbox(twice))
    assert done.returncode == 0
    assert "the Message-ID 4@x is that of another mail" in done.stderr
    again = cli("create", "rejects.mbox", "--source", "rejected", "--max-rejects", "9")
    assert again.stderr.splitlines()[-1] == "1 created, 0 updated, 0 unchanged, 1 rejected"


def test_why_says_how_much_nobody_was_asked_about(fitted: Cli) -> None:
    assert fitted("run", "-q", stdin=BOX).returncode == 3
    assert "19 of the 57 characters of the mail" in fitted("why", "1@x").stdout


def test_a_folder_is_no_labelled_file_and_mail_has_no_columns(cli: Cli) -> None:
    (cli.folder / "box.mbox").write_bytes(BOX)
    (cli.folder / "mails").mkdir()
    (cli.folder / "mails" / "a.eml").write_bytes(mail())
    for args, why in (
        (("eval", "mails"), "is a folder of mails, which have no label"),
        (("eval", "box.mbox"), "--map is for tables, and box.mbox is mail"),
        (("create", "box.mbox", "--map", "subject=x"), "--map is for tables, and box.mbox is mail"),
        (("create", str(cli.folder / "conf")), "cannot read"),
    ):
        done = cli(*args)
        assert done.returncode == 2
        assert why in done.stderr
    (cli.folder / "empty").mkdir()
    assert "is a folder without mails" in cli("create", "empty").stderr


@pytest.mark.long
def test_a_mailbox_of_five_gigabytes_is_streamed(cli: Cli) -> None:
    """Mails with attachments of 10 MB come through a pipe, and the process stays below 600 MB."""
    kind = 'Content-Type: multipart/mixed; boundary="e"'
    head = "--e\nContent-Type: text/plain\n\nsee it\n--e\nContent-Type: image/png\n"
    blob = ("A" * 76 + "\n") * 137_000
    body = f"{head}Content-Transfer-Encoding: base64\n\n{blob}--e--\n"
    process = cli.start("create", "-q", preexec_fn=_bounded)
    assert process.stdin is not None
    for number in range(500):
        process.stdin.write(mbox(mail(body, name=f"{number}@x", more=[kind])))
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, b"")
    assert len(cli("list", "-o", "id").stdout.splitlines()) == 500


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (600 << 20, 600 << 20))


def test_a_mailbox_comes_through_a_pipe_of_another_program(cli: Cli) -> None:
    (cli.folder / "box.mbox").write_bytes(BOX)
    command = f"cat box.mbox | {sys.executable} -m triage_cli create"
    done = subprocess.run(
        ["sh", "-c", command], cwd=cli.folder, env=cli.env, capture_output=True, check=False, timeout=PATIENCE
    )
    assert done.stderr.decode().splitlines()[-1] == SUMMARY
    assert Path(cli.db).exists()
