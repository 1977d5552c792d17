"""What contract tests of both sides share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.api_server import running_server
from tests.support.online import ONLINE
from tests.support.world import World
from triage_cli.extensions.remote import Address, RemoteTriage
from triage_cli.extensions.server import warn
from triage_cli.ports import Triage
from triage_cli.service import LocalTriage


@pytest.fixture(params=["local", "remote"])
def door(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Iterator[tuple[Triage, list[str]]]:
    """The use cases, here or over HTTP, and what they tell beside the outcomes."""
    told: list[str] = []
    if request.param == "local":
        yield LocalTriage(world.services()._replace(warn=told.append), "tester", "test"), told
        return
    with ExitStack() as stack:
        running = stack.enter_context(running_server(tmp_path, services=world.services()._replace(warn=warn)))
        triage = RemoteTriage(Address(running.url, running.keys["admin"]), ONLINE, told.append)
        stack.callback(triage.close)
        yield triage, told
