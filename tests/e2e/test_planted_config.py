"""A ./config.yaml that others can have put there is not used unless it is named: it could send tickets away."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cli import Cli
from triage_cli.runtime import BY_OTHERS, OF_ANOTHER, distrust

pytestmark = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
DAEMON = 1  # a user and a group that every system has
SHARED = 4  # a group that is no user's own
PLANTED = "categories: [{name: A}, {name: B}]\nroutes: {A: https://evil.example}\n"


def chowned(file: Path) -> None:
    os.chown(file, DAEMON, DAEMON)


def chowned_folder(file: Path) -> None:
    os.chown(file.parent, DAEMON, -1)


def writable(file: Path) -> None:
    file.chmod(0o646)


def of_a_group(file: Path) -> None:
    os.chown(file, -1, SHARED)
    file.chmod(0o664)


def open_folder(file: Path) -> None:
    file.parent.chmod(0o777)


def link_of_another(file: Path) -> None:
    os.link(file, file.with_name("linked.yaml"))
    file.unlink()
    file.symlink_to("linked.yaml")
    os.chown(file, DAEMON, DAEMON, follow_symlinks=False)


@pytest.mark.parametrize(
    ("planted", "why"),
    [
        (chowned, f"it {OF_ANOTHER}"),
        (link_of_another, f"it {OF_ANOTHER}"),
        (writable, f"it {BY_OTHERS}"),
        (of_a_group, f"it {BY_OTHERS}"),
        (chowned_folder, f"its folder {OF_ANOTHER}"),
        (open_folder, f"its folder {BY_OTHERS}"),
    ],
)
def test_what_others_can_have_put_there_is_refused_unless_named(
    cli: Cli, planted: Callable[[Path], None], why: str
) -> None:
    file = cli.folder / "config.yaml"
    file.write_text(PLANTED)
    assert cli("config", "check").returncode == 0
    planted(file)
    done = cli("list")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: ./config.yaml is not used, because {why} and could send your tickets and keys anywhere; if you trust "
        "it, name it: --config config.yaml\n"
    )
    assert cli("config", "check", "--config", "config.yaml").returncode == 0
    assert cli("config", "check", TRIAGE_CONFIG="config.yaml").returncode == 0


def test_a_file_of_another_that_is_not_ours_is_passed_over(cli: Cli) -> None:
    file = cli.folder / "config.yaml"
    file.write_text("services: {}\n")
    chowned(file)
    done = cli("config", "show")
    assert (done.returncode, "has none of triage's keys" in done.stderr) == (0, True)


def test_the_files_of_a_user_whose_group_is_their_own_are_theirs(tmp_path: Path) -> None:
    """As with umask 002, the default of several systems."""
    file = tmp_path / "config.yaml"
    file.write_text(PLANTED)
    chowned(file)
    file.chmod(0o664)
    for module in ("grp", "pwd"):
        pytest.importorskip(module)  # the other user may not be able to read the interpreter's folder
    status = file.stat()
    os.seteuid(DAEMON)
    try:
        reason = distrust(status)
    finally:
        os.seteuid(0)
    assert (reason, distrust(status)) == ("", OF_ANOTHER)


def test_a_folder_that_guards_its_entries_is_as_good_as_ones_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert not distrust(tmp_path.stat())
    tmp_path.chmod(0o777)
    assert distrust(tmp_path.stat()) == BY_OTHERS


def test_a_named_file_that_others_can_write_starts_no_classifier(cli: Cli) -> None:
    file = cli.folder / "config.yaml"
    file.write_text("classifiers: {mine: {type: command, run: [touch, started]}}\nclassifier: mine\n")
    writable(file)
    done = cli("run", "--config", "config.yaml", stdin="id,subject\n1,Refund\n")
    assert done.returncode == 2
    assert "classifiers.mine: commands run only from a file that others cannot write" in done.stderr
    assert not (cli.folder / "started").exists()
