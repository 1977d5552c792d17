"""Every command in a console block of docs/ is run, and prints what the page shows under it.

What differs from run to run (ids, times, hashes, last digits) may differ. After a wanted change write the pages anew
and read the diff: `TRIAGE_GOLDEN=write pytest tests/e2e/test_documented_commands.py && git diff docs`.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.support import llm_server
from tests.support.forked_cli import forked
from tests.support.helpdesk import BEGAN, Helpdesk
from tests.support.pages import PAGES, ROOT, WRITES, blocks, environment, name_of, normalised, printed_anew
from tests.support.pg_server import PgServer
from triage_cli import domain as dm

SESSIONS = [page for page in PAGES if any(block.language == "console" for block in blocks(page))]
# The page that shows the first fit of the embedded model; the others begin with a database that holds it.
UNFITTED = ("docs/tutorial.md",)
# What a page for scripts may show although not every machine has it.
TOOLS = ("curl", "jq", "sqlite3")


@contextmanager
def api(folder: Path) -> Iterator[Mapping[str, str]]:
    """Serve the reader's own database, as the page tells the reader to do in another terminal."""
    env = environment(folder, Path(sys.executable).parent)
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with forked().start(("serve", "--port", "0"), folder, env, **streams) as server:
        try:
            assert server.stderr
            address = next(found[1] for line in server.stderr if (found := re.search(rb"serving (\S+),", line)))
            yield {"http://127.0.0.1:8000": address.decode()}
        finally:
            server.terminate()


@contextmanager
def provider(_folder: Path) -> Iterator[Mapping[str, str]]:
    """Answer in the place of a language model on the reader's machine."""
    with llm_server.running_llm_server() as server:
        yield {"http://localhost:11434/v1": server.url}


@contextmanager
def helpdesk(_folder: Path) -> Iterator[Mapping[str, str]]:
    """Be the reader's helpdesk, whose clock is that of this machine."""
    desk = Helpdesk(12)
    desk.now = lambda: int(dm.to_seconds(dm.now())) - BEGAN.timestamp()
    try:
        yield {"http://127.0.0.1:8090": desk.stub.root}
    finally:
        desk.close()


def nothing(_folder: Path) -> AbstractContextManager[Mapping[str, str]]:
    """Serve nothing: most pages need no other process."""
    return nullcontext({})


SERVICES: Mapping[str, Callable[[Path], AbstractContextManager[Mapping[str, str]]]] = {
    "docs/howto/server.md": api,
    "docs/reference/http.md": api,
    "docs/howto/pull.md": helpdesk,
    "docs/howto/language-models.md": provider,
}


@pytest.mark.parametrize("page", SESSIONS, ids=name_of)
def test_every_command_prints_what_the_page_shows(
    page: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    fitted_database: Path,
    request: pytest.FixtureRequest,
) -> None:
    commands = [command for block in blocks(page) for command in block.commands]
    missing = [tool for tool in TOOLS if any(f"{tool} " in each for each in commands) and not shutil.which(tool)]
    if missing:
        pytest.skip(f"this machine has no {missing[0]}")
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    programs = forked().program(tmp_path_factory.mktemp("programs"))
    if name_of(page) not in UNFITTED:
        data = tmp_path / ".local" / "share" / "triage"
        data.mkdir(parents=True)
        shutil.copy(fitted_database, data / "triage.db")
        shutil.copy(f"{fitted_database}.head", data / "triage.db.head")
    places = {}
    if name_of(page) == "docs/howto/postgresql.md":
        server: PgServer = request.getfixturevalue("pg_server")
        places = {"postgresql://ada@db/triage": server.database()}
    env = environment(tmp_path, programs)
    with SERVICES.get(name_of(page), nothing)(tmp_path) as served:
        now = printed_anew(page, tmp_path, env, {**places, **served})
    if WRITES:
        page.write_text(now, encoding="utf-8")
    shown = page.read_text(encoding="utf-8")
    assert normalised(now, shown) == normalised(shown, shown)
