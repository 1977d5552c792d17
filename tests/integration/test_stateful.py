"""Random sequences of commands: the promises about each ticket and about the log hold after every step."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.chain import first_break
from tests.support.counted_anew import kept_and_anew
from tests.support.examples import examples
from tests.support.outlet import Outlet
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.stores import SqliteStore

NAMES = st.sampled_from(["1", "2", "3", "4"])
CATEGORIES = st.sampled_from(["Billing", "Technical", "General"])
WITHOUT_CATEGORY = {"new", "failed", "needs_review", "waiting"}


class Machine(RuleBasedStateMachine):
    """Imports, verdicts, answers and routes of four tickets over three destinations, two of which come and go."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(SqliteStore(str(Path(self.folder.name) / "triage.db")))
        self.outlets = {name: Outlet(name) for name in ("a", "b", "c")}
        self.world.destinations = dict(self.outlets)
        self.world.rules = (
            dm.Rule("billing", ("a", "b"), {"category": ("Billing",)}),
            dm.Rule("t", ("c",), {"category": ("Technical",)}),
        )
        self.asked_again = False
        self.prints = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            assert isinstance(self.world.store, SqliteStore)
            self.world.store.database.connection().close()
            self.folder.cleanup()

    def _ids(self, name: str) -> dm.Selection:
        return dm.Selection(
            ids=tuple(t.ticket_id for t in self.world.store.find(dm.Selection()) if t.external_id == name)
        )

    @rule(names=st.lists(NAMES, min_size=1, max_size=5), text=st.sampled_from("xy"), verdict=CATEGORIES | st.none())
    def imports(self, names: list[str], text: str, verdict: str | None) -> None:
        rows = [
            dm.TicketDraft(n, n + 2, name, text, external_id=name, cells=(), verdict=verdict)
            for n, name in enumerate(names)
        ]
        outcomes = list(self.world.triage().create(rows, same_tickets=True))
        assert [o.row for o in outcomes] == list(range(len(names)))
        assert {o.action for o in outcomes} <= {"created", "updated", "unchanged"}

    @rule(answer=st.tuples(CATEGORIES | st.just("Unheard of"), st.sampled_from([0.3, 0.9])), force=st.booleans())
    def classifies(self, answer: tuple[str, float], force: bool) -> None:
        self._answer(answer)
        list(self.world.triage().classify(dm.Selection(), dm.ClassifyPlan(force=force)))

    @rule(name=NAMES, answer=st.tuples(CATEGORIES, st.sampled_from([0.3, 0.9])), force=st.booleans())
    def classifies_one(self, name: str, answer: tuple[str, float], force: bool) -> None:
        before = {t.ticket_id: (t.category, t.verdict) for t in self.world.store.find(self._ids(name))}
        self._answer(answer)
        list(self.world.triage().classify(self._ids(name), dm.ClassifyPlan(force=force)))
        for ticket in self.world.store.find(self._ids(name)):
            category, verdict = before[ticket.ticket_id]
            if verdict and not force:
                assert (ticket.category, ticket.verdict) == (category, 1), "a verdict owns its ticket"

    def _answer(self, answer: tuple[str, float]) -> None:
        self.prints += 1
        self.world.classifier = FakeClassifier(lambda _: answer, f"print-{self.prints}")

    @rule(retry_dead=st.booleans())
    def routes(self, retry_dead: bool) -> None:
        list(self.world.triage().route(dm.Selection(), dm.RoutePlan(retry_dead=retry_dead)))

    @rule(name=NAMES, again=st.booleans())
    def routes_one(self, name: str, again: bool) -> None:
        self.asked_again |= again
        list(self.world.triage().route(self._ids(name), dm.RoutePlan(again=again)))

    @rule(name=NAMES, text=st.sampled_from("xy"))
    def runs(self, name: str, text: str) -> None:
        row = dm.TicketDraft(0, 2, name, text, external_id=name, cells=())
        outcomes = list(self.world.triage().run([row], dm.ClassifyPlan()))
        assert [o.row for o in outcomes if o.row is not None] == [0]  # others are dead letters of earlier runs

    @rule(name=st.sampled_from(["a", "c"]))
    def an_outlet_comes_or_goes(self, name: str) -> None:
        self.outlets[name].up = not self.outlets[name].up

    @rule(general=st.booleans())
    def the_map_changes(self, general: bool) -> None:
        self.world.rules = self.world.rules[:2] + ((dm.Rule("rest", ("b",)),) if general else ())

    @rule()
    def a_run_is_killed(self) -> None:
        """It held all there is, and its lease is over: tickets still point to it, but anyone may take them."""
        self.prints += 1
        run = self.world.store.runs.begin(dm.Run(f"dead-{self.prints}", "classify", "tester", "", ""))
        self.world.store.runs.claim(dm.Selection(), dm.Lease(run.run_id), 100)
        self.world.store.database.write(
            lambda db: db.execute("update runs set lease_until = 0 where run_id = ?", (run.run_id,))
        )

    @invariant()
    def the_log_is_whole(self) -> None:
        if hasattr(self, "world"):
            assert first_break(self.world.store.log.events(dm.EventQuery())) is None

    @invariant()
    def the_counts_are_those_of_the_rows(self) -> None:
        if hasattr(self, "world"):
            kept, anew = kept_and_anew(self.world.store)
            assert kept == anew

    @invariant()
    def every_ticket_is_in_one_piece(self) -> None:
        for ticket in self.world.store.find(dm.Selection()) if hasattr(self, "world") else ():
            assert ticket.status in dm.STATUSES
            assert (ticket.category is None) == (ticket.status in WITHOUT_CATEGORY), ticket
            assert ticket.category in {None, "Billing", "Technical", "General"}
            assert ticket.suggestion in {None, "Billing", "Technical", "General"}
            assert ticket.run_id is None or ticket.run_id.startswith("dead-"), "no run lives"
            assert not (ticket.verdict and ticket.category is None)
            deliveries = self.world.store.deliveries.of([ticket.ticket_id]).get(ticket.ticket_id, ())
            if ticket.status in ("routing", "routed", "undeliverable"):
                assert ticket.status == dm.routing.status_of(deliveries, ticket.category)
                assert not [d for d in deliveries if d.state == "pending" and d.category != ticket.category]
            if ticket.status == "unroutable":
                assert not [d for d in deliveries if d.state == "pending"]

    @invariant()
    def nothing_accepted_is_sent_again(self) -> None:
        if not hasattr(self, "world"):
            return
        statement = (
            "select delivery_id, ticket_id, destination, category, state from deliveries order by ticket_id, at, rowid"
        )
        rows: list[Any] = self.world.store.database.read(statement)
        states = {row[0]: row[4] for row in rows}
        assert len(states) == len(rows)
        taken = [delivery_id for outlet in self.outlets.values() for delivery_id in outlet.taken]
        assert len(taken) == len(set(taken))
        assert {i for i, state in states.items() if state == "accepted"} == set(taken)
        if not self.asked_again:
            last: dict[str, tuple[str, set[str]]] = {}
            for _, ticket_id, destination, category, state in rows:
                if state == "accepted":
                    before, where = last.get(ticket_id, ("", set()))
                    assert before != category or destination not in where, "the same category twice in a row"
                    last[ticket_id] = category, (where if before == category else set()) | {destination}


TestStateful = Machine.TestCase
TestStateful.settings = settings(examples(15, 40), stateful_step_count=20, derandomize=True)
