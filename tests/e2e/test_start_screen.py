"""Bare `triage`: what is there, how many tickets need a person, and what to type next."""

from pathlib import Path

from tests.support.cli import Cli
from tests.support.remotes import RemoteCli

TICKETS = "id,subject\nT-1,refund my invoice please\nT-2,the app crashes with an error\nT-3,qqqq\n"


def commands(lines: list[str]) -> list[str]:
    return [line[6:30].rstrip() for line in lines]


def test_without_a_database_the_first_steps_are_shown_and_none_is_made(cli: Cli) -> None:
    done = cli()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"no tickets in {cli.db} (configuration: the built-in defaults)",
        "",
        "next  triage run FILE         store, classify and route a file of tickets",
        "      triage init             write a configuration with categories of your own",
        "      triage --help           every command",
    ]
    assert not cli.db.exists()


def test_what_is_there_and_who_is_needed_is_shown(fitted: Cli) -> None:
    assert fitted("run", "-q", stdin=TICKETS).returncode == 0
    first, counts, _, *steps = fitted().stdout.splitlines()
    assert first == f"3 tickets in {fitted.db} (configuration: the built-in defaults)"
    assert counts == "2 routed; 1 needs you: triage review"
    assert commands(steps) == ["triage review", "triage list", "triage --help"]
    assert fitted("verdict", "T-3", "General", "-q").returncode == 0
    (fitted.folder / "config.yaml").write_text("classifier: local\n")
    first, counts, _, *steps = fitted().stdout.splitlines()
    assert first.endswith(f"(configuration: {fitted.folder / 'config.yaml'})")
    assert counts == "2 routed, 1 classified"
    assert commands(steps) == ["triage route", "triage list", "triage --help"]


def test_another_database_is_named(cli: Cli) -> None:
    assert cli("--db", "other.db").stdout.startswith(f"no tickets in {cli.folder / 'other.db'} ")
    assert not (cli.folder / "other.db").exists()


def test_a_remote_is_looked_at(tmp_path: Path) -> None:
    remote = RemoteCli(tmp_path).serve()
    try:
        assert remote("create", "-q", "--subject", "hello").returncode == 0
        assert remote().stdout.startswith(f"1 ticket in {remote.env['TRIAGE_REMOTE']} ")
    finally:
        remote.close()


def test_a_remote_s_categories_hold_whatever_a_configuration_here_says(tmp_path: Path) -> None:
    remote = RemoteCli(tmp_path)
    (remote.server.folder / "config.yaml").write_text(
        "categories: [Hardware, Software]\ndestinations: {all: {type: file, path: q.jsonl}}\nroutes: [{to: all}]\n"
    )
    (remote.folder / "config.yaml").write_text("classifier: local\n")
    remote.serve()
    try:
        first, _, *steps = remote().stdout.splitlines()
        assert first == f"no tickets in {remote.env['TRIAGE_REMOTE']} (its categories: Hardware, Software)"
        assert commands(steps) == ["triage run FILE", "triage --help"], "not a configuration here"
    finally:
        remote.close()
