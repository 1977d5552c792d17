"""Random sequences of commands over a thousand verdicts: without --force none of them changes."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.examples import examples
from tests.support.outlet import Outlet
from tests.support.world import CATEGORIES, FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.stores import SqliteStore

NUMBER = 1000
pytestmark = pytest.mark.timeout(600)  # a thousand tickets a step: slow on a machine that is shared
NAMES = ("Billing", "Technical", "General")
_prepared: list[tempfile.TemporaryDirectory[str]] = []


def drafts(text: str, verdict: bool) -> list[dm.TicketDraft]:
    return [
        dm.TicketDraft(
            n, n + 2, f"case {n}", text, external_id=str(n), cells=(), verdict=NAMES[n % 3] if verdict else None
        )
        for n in range(NUMBER)
    ]


def prepared() -> Path:
    """Return a database of a thousand verdicts, made once."""
    if not _prepared:
        _prepared.append(tempfile.TemporaryDirectory())
        world = World(SqliteStore(str(Path(_prepared[0].name) / "live.db")))
        list(world.triage().create(drafts("as it was", verdict=True)))
        world.store.backup(Path(_prepared[0].name) / "triage.db")  # type: ignore[union-attr]
    return Path(_prepared[0].name) / "triage.db"


class Machine(RuleBasedStateMachine):
    """Each rule is one command over all tickets, by a classifier that wants every one of them elsewhere."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "triage.db"
        shutil.copy(prepared(), path)
        self.world = World(SqliteStore(str(path)))
        outlets = {name: Outlet(name) for name in ("a", "b")}
        self.world.destinations = dict(outlets)
        self.world.rules = (dm.Rule("billing", ("a",), {"category": ("Billing",)}), dm.Rule("rest", ("b",)))
        self.prints = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.world.store.close()
            self.folder.cleanup()

    def _another_opinion(self, shift: int, confidence: float) -> None:
        self.prints += 1
        self.world.classifier = FakeClassifier(
            lambda t: (NAMES[(int(t.external_id or 0) + shift) % 3], confidence), f"print-{self.prints}"
        )

    @rule(shift=st.integers(0, 2), confidence=st.sampled_from([0.2, 0.9]), named=st.booleans())
    def classifies(self, shift: int, confidence: float, named: bool) -> None:
        self._another_opinion(shift, confidence)
        everything = dm.Selection(ids=tuple(t.ticket_id for t in self.world.store.find(dm.Selection())))
        list(self.world.triage().classify(everything if named else dm.Selection(), dm.ClassifyPlan()))

    @rule(shift=st.integers(0, 2), confidence=st.sampled_from([0.2, 0.9]), apply=st.booleans(), reroute=st.booleans())
    def reclassifies(self, shift: int, confidence: float, apply: bool, reroute: bool) -> None:
        self._another_opinion(shift, confidence)
        list(self.world.triage().reclassify(dm.Selection(), dm.ReclassifyPlan(apply=apply, reroute=reroute)))

    @rule(again=st.booleans())
    def routes(self, again: bool) -> None:
        everything = dm.Selection(ids=tuple(t.ticket_id for t in self.world.store.find(dm.Selection())))
        list(self.world.triage().route(everything if again else dm.Selection(), dm.RoutePlan(again=again)))

    @rule(text=st.sampled_from(["as it was", "another text"]), run=st.booleans())
    def imports(self, text: str, run: bool) -> None:
        rows = drafts(text, verdict=False)[: NUMBER // 3] + drafts("as it was", verdict=False)[NUMBER // 3 :]
        triage = self.world.triage()
        list(triage.run(rows, dm.ClassifyPlan()) if run else triage.create(rows))

    @rule(gone=st.booleans())
    def a_category_goes_or_comes_back(self, gone: bool) -> None:
        self.world.categories = (dm.Category("Billing"), dm.Category("Technical")) if gone else CATEGORIES

    @rule()
    def a_run_is_killed(self) -> None:
        self.prints += 1
        run = self.world.store.runs.begin(dm.Run(f"dead-{self.prints}", "classify", "tester", "", ""))
        self.world.store.runs.claim(dm.Selection(), dm.Lease(run.run_id), NUMBER)
        self.world.store.database.write(
            lambda db: db.execute("update runs set lease_until = 0 where run_id = ?", (run.run_id,))
        )

    @invariant()
    def no_verdict_has_changed(self) -> None:
        if hasattr(self, "world"):
            found = {(t.external_id, t.category, t.verdict) for t in self.world.store.find(dm.Selection())}
            assert found == {(str(n), NAMES[n % 3], 1) for n in range(NUMBER)}


TestVerdicts = Machine.TestCase
TestVerdicts.settings = settings(
    examples(2, 20), stateful_step_count=12, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
