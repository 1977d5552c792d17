"""What tests of the command line share: databases with three tickets."""

import shutil
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.commands import TICKETS


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path) -> tuple[Path, Path]:
    """Two databases to copy: three new tickets, and the same ones classified and routed."""
    made = []
    for command in ("create", "run"):
        cli = Cli(tmp_path_factory.mktemp(command))
        cli.db.parent.mkdir(parents=True)
        shutil.copy(fitted_database, cli.db)
        assert cli(command, "-q", stdin=TICKETS).returncode == 0
        assert cli("db", "backup", "whole.db").returncode == 0
        made.append(cli.folder / "whole.db")
    return made[0], made[1]


@pytest.fixture
def filled(fitted: Cli, templates: tuple[Path, Path]) -> Cli:
    """Three tickets, not classified."""
    shutil.copy(templates[0], fitted.db)
    return fitted


@pytest.fixture
def routed(fitted: Cli, templates: tuple[Path, Path]) -> Cli:
    """Three tickets, classified and routed."""
    shutil.copy(templates[1], fitted.db)
    return fitted
