"""A second look over the tickets of a world, by its classifier."""

from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.runtime import StopControl
from triage_cli.service import DecisionRecorder, SecondLook, recorded_run


def look(world: World, **hysteresis: float) -> dm.Looked:
    """Have the world's classifier look again at what it decided."""
    with recorded_run(world.store, "learn", "tester", "learn", StopControl()) as tally:
        recorder = DecisionRecorder(tally.context, world.classifier, [dm.Question("category", world.categories)])
        return SecondLook(iter([recorder]), hysteresis).over_all()
