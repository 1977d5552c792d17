"""A tap that writes Singer lines is a source: records, states that it is handed back, and what it may do wrong."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows, until

FIELDS = {"subject": "subject", "description": "text", "external_id": "id"}
# Writes a record and a state for each number that its state has not reached, and notes how it was called.
TAP = """#!/usr/bin/env python3
import json, os, sys
from pathlib import Path
state = json.loads(Path(sys.argv[sys.argv.index("--state") + 1]).read_text()) if "--state" in sys.argv else {"next": 0}
with open("calls", "a") as calls:
    print(json.dumps([sys.argv[1:2], state, "SECRET" in os.environ]), file=calls)
print(json.dumps({"type": "SCHEMA", "stream": "tickets", "schema": {}, "key_properties": ["id"]}))
for n in range(state["next"], int(Path("there").read_text())):
    print(json.dumps({"type": "RECORD", "stream": "users", "record": {"id": "u"}}))
    print(json.dumps({"type": "RECORD", "stream": "tickets", "record": {"id": n, "subject": f"S{n}", "text": "hello"}}))
    print(json.dumps({"type": "STATE", "value": {"next": n + 1}}), flush=True)
"""


def configure(cli: Cli, tap: str = TAP, **keys: Any) -> None:
    file = cli.folder / "tap.py"
    file.write_text(tap)
    file.chmod(0o700)
    (cli.folder / "there").write_text("5")
    source = {"type": "command", "run": ["./tap.py", "-c"], "format": "singer", "fields": FIELDS, **keys}
    webhook = {"type": "webhook", "url": "https://x.example", "secret_env": "SECRET"}
    (cli.folder / "config.yaml").write_text(json.dumps({"sources": {"tap": source}, "destinations": {"x": webhook}}))
    (cli.folder / "config.yaml").chmod(0o600)


def test_a_tap_s_records_become_tickets_and_its_state_is_handed_back(cli: Cli) -> None:
    configure(cli)
    cli.env["SECRET"] = "s"  # noqa: S105 - of a destination, which a tap is not to see
    assert cli("pull").stderr == "tap: 5 created, 0 updated, 0 unchanged, 0 rejected\n"
    (cli.folder / "there").write_text("7")
    assert cli("pull", "--offline").stderr == "tap: 2 created, 0 updated, 0 unchanged, 0 rejected\n"
    again = cli("pull", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    calls = [json.loads(line) for line in (cli.folder / "calls").read_text().splitlines()]
    assert calls == [[["-c"], {"next": n}, False] for n in (0, 5, 7)]
    assert rows(cli.db, "select count(*), min(source) from tickets") == [(7, "tap")]


def test_half_an_emoji_in_a_record_and_in_a_state_is_handed_on(cli: Cli) -> None:
    state = {"next": 5, "half": "\ud83d", "low": "\udc80"}
    tap = TAP.replace('{"next": n + 1}', json.dumps(state).replace("5", "n + 1", 1))
    configure(cli, tap.replace('f"S{n}", "text": "hello"', '"S" * n, "text": "", "x": "\\ud83d"'))
    for left in ("4 created, 0 updated, 0 unchanged, 1 rejected", "0 created, 0 updated, 0 unchanged, 0 rejected"):
        assert f"tap: {left}" in cli("pull", "--rejects", "bad.jsonl").stderr
    assert json.loads((cli.folder / "bad.jsonl").read_text())["x"] == "\ud83d"
    assert json.loads((cli.folder / "calls").read_text().splitlines()[-1])[1] == state


def test_a_tap_that_fails_keeps_what_came_before_its_last_state(cli: Cli) -> None:
    configure(cli, TAP + "print('no luck today', file=sys.stderr)\nsys.exit(int(Path('there').read_text()) == 5)\n")
    done = cli("pull", "-q")
    assert done.returncode == 6
    assert done.stderr == (
        f"error: tap: {cli.folder}/tap.py exited with 1: no luck today; what came before is stored; the same command "
        "goes on from there\n"
    )
    (cli.folder / "there").write_text("6")
    assert "tap: 1 created" in cli("pull").stderr


def test_what_is_no_singer_message_and_streams_of_other_names_are_said(cli: Cli) -> None:
    configure(cli, "#!/bin/sh\necho 'Traceback: oh no'\n")
    done = cli("pull", "-q")
    assert (done.returncode, 'tap: "Traceback: oh no" is no Singer message' in done.stderr) == (2, True)
    configure(cli, stream="issues")
    done = cli("pull", "-q")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "no record of the stream issues; it wrote tickets, users" in done.stderr
    configure(cli, run=["./nothing-there"])
    done = cli("pull", "-q")
    assert (done.returncode, "cannot run" in done.stderr) == (2, True)
    configure(cli)
    assert cli("pull", "-q", "--since", "7d").returncode == 2
    (cli.folder / "config.yaml").chmod(0o666)
    done = cli("pull", "-q", "--config", "config.yaml")
    assert (done.returncode, "commands run only from a file that others cannot write" in done.stderr) == (2, True)


def test_what_no_json_can_hold_again_stops_no_pull(cli: Cli) -> None:
    numbers = ("NaN", "-Infinity", "1e999", "9" * 5000)
    values = [*numbers, "[" * 99 + "]" * 99, "[" * 300 + "]" * 300]
    records = "".join(
        f"""echo '{{"type":"RECORD","stream":"tickets","record":{{"id":{n},"subject":"s","x":{value}}}}}'\n"""
        for n, value in enumerate(values)
    )
    configure(cli, "#!/bin/sh\n" + records)
    done = cli("pull", "--rejects", "bad.jsonl")
    assert done.returncode == 3
    assert done.stderr == (
        "rejected: tap: item 6 is nested too deeply\ntap: 5 created, 0 updated, 0 unchanged, 1 rejected\n"
    )
    assert json.loads((cli.folder / "bad.jsonl").read_text())["id"] == 5
    kept = [json.loads(extra) for (extra,) in rows(cli.db, "select extra from tickets order by external_id")]
    assert kept[:4] == [{}, {}, {"x": "1e999"}, {"x": "9" * 5000}]


def test_a_line_over_8_mb_rejects_itself_and_the_next_pull_goes_on_behind_it(cli: Cli) -> None:
    configure(cli, TAP.replace('"hello"', '"hello" if n != 2 else "x" * (9 << 20)'))
    done = cli("pull", "--rejects", "bad.jsonl")
    assert done.returncode == 3
    assert done.stderr == (
        "rejected: tap: item 3 is on a line over 8 MB\ntap: 4 created, 0 updated, 0 unchanged, 1 rejected\n"
    )
    assert (cli.folder / "bad.jsonl").read_text().startswith('{"type": "RECORD"')
    again = cli("pull", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_state_of_null_is_none(cli: Cli) -> None:
    configure(cli, TAP.replace('{"next": n + 1}', '{"next": n + 1} if n < 3 else None'))
    assert cli("pull", "-q").returncode == 0
    assert "tap: 0 created, 0 updated, 2 unchanged" in cli("pull").stderr
    calls = [json.loads(line)[1] for line in (cli.folder / "calls").read_text().splitlines()]
    assert calls == [{"next": 0}, {"next": 3}]


def test_an_item_with_a_megabyte_beside_its_text_is_rejected(cli: Cli) -> None:
    tap = TAP.replace('"text": "hello"', '"text": "hello", "log": "x" * (n << 19)')
    configure(cli, tap)
    done = cli("pull", "--rejects", "bad.jsonl")
    assert done.returncode == 3
    assert 'rejected: tap: item 3 with the id "2" has over 1 MB beside its text; name in extra what' in done.stderr
    assert "tap: 2 created, 0 updated, 0 unchanged, 3 rejected" in done.stderr
    assert [json.loads(line)["id"] for line in (cli.folder / "bad.jsonl").read_text().splitlines()] == [2, 3, 4]
    configure(cli, tap, extra=["priority"])
    (cli.folder / "there").write_text("6")
    assert "tap: 1 created, 0 updated, 0 unchanged, 0 rejected" in cli("pull").stderr


def test_a_record_that_is_older_than_what_is_stored_changes_nothing(cli: Cli) -> None:
    record = '{{"type":"RECORD","stream":"tickets","record":{{"id":1,"subject":"{}","at":"2026-11-01T0{}:00:00Z"}}}}'
    fields = {**FIELDS, "updated_at": "at"}
    for written, subject in (((("new", 3), ("old", 2)), "new"), ((("older", 1),), "new"), ((("newer", 4),), "newer")):
        configure(cli, "#!/bin/sh\n" + "".join(f"echo '{record.format(*each)}'\n" for each in written), fields=fields)
        assert cli("pull", "-q").returncode == 0
        assert rows(cli.db, "select subject from tickets") == [(subject,)], written


def test_a_record_that_says_it_is_a_mail_hides_none_of_its_text(cli: Cli) -> None:
    configure(cli, TAP.replace('"text": "hello"', '"text": "hello", "mail": {"message_id": "m", "left_out": [[0, 4]]}'))
    assert cli("pull", "-q").returncode == 0
    assert json.loads(cli("show", "3", "-o", "json").stdout)["extra"] == {"mail": {"message_id": "m"}}


def is_gone(pid: Path) -> bool:
    return subprocess.run(["kill", "-0", pid.read_text().strip()], capture_output=True, check=False).returncode != 0


def test_ctrl_c_ends_a_tap_that_waits_and_keeps_what_came(cli: Cli) -> None:
    configure(
        cli, TAP + "Path('pid').write_text(str(os.getpid()))\nos.rename('pid', 'waits')\nimport time\ntime.sleep(600)\n"
    )
    process = cli.start("pull")
    until((cli.folder / "waits").exists, "the tap waits")
    until(lambda: rows(cli.db, "select count(*) from tickets") == [(5,)], "what came is stored")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, b"tap: 5 created" in err) == (130, True), err
    until(lambda: is_gone(cli.folder / "waits"), "the tap is gone")


def test_a_tap_that_waits_is_ended_at_the_deadline_and_what_came_is_kept(cli: Cli) -> None:
    """Also where it waits in the middle of a line."""
    waits = "Path('pid').write_text(str(os.getpid()))\nimport time\ntime.sleep(600)\n"
    configure(cli, TAP + "print('{\"type\": \"REC', end='', flush=True)\n" + waits)
    done = cli("pull", "-q", "--deadline", "3s")
    late = "error: tap: stopped at --deadline, after 3 s; the same command goes on from there\n"
    assert (done.returncode, done.stderr) == (6, late)
    assert rows(cli.db, "select count(*) from tickets") == [(5,)]
    assert rows(cli.db, "select position from source_cursors") == [('{"next":5}',)]
    until(lambda: is_gone(cli.folder / "pid"), "the tap is gone")


def test_a_limit_ends_at_a_state_so_that_the_next_pull_gets_on(cli: Cli) -> None:
    """As with a tap that writes one state for many records; a tap without any begins anew, which is told."""
    lines = TAP.splitlines()
    configure(cli, "\n".join([*lines[:-1], lines[-1].lstrip().replace("n + 1", "5")]) + "\n")
    for created in (5, 0):
        done = cli("pull", "--limit", "2")
        assert done.stderr == f"tap: {created} created, 0 updated, 0 unchanged, 0 rejected\n"
    configure(cli, "\n".join(lines[:-1]) + "\n")
    cli.db.unlink()
    done = cli("pull", "-q", "--limit", "2")
    note = "note: tap: stopped at --limit, and no place in it is kept: the next pull begins anew\n"
    assert (done.returncode, done.stderr) == (0, note)
