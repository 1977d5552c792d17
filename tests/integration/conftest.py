"""What tests share: a receiver of webhooks, a destination that every ticket reaches, the use cases of one server."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.fake_destination import FakeDestination
from tests.support.webhook_receiver import Receiver
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.service import Callers


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as made:
        yield made


@pytest.fixture
def outlet(world: World) -> FakeDestination:
    outlet = FakeDestination("outlet")
    world.rules, world.destinations = (dm.Rule("all", ("outlet",)),), {"outlet": outlet}
    return outlet


@pytest.fixture
def singles(world: World, outlet: FakeDestination) -> Iterator[Callers]:
    del outlet
    singles = Callers(world.services())
    yield singles
    singles.close()
