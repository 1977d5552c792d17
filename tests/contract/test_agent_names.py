"""Whatever name an agent gives itself, its suggestions count for nobody's verdict, on both kinds of store."""

import pytest

from tests.support.records import replace
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.service import LocalConsultation
from triage_cli.stores import SqliteStore

DRAFT = dm.TicketDraft(0, 2, "Charged twice", "Text", external_id="A-1", cells=("A-1",))
AGENTS = pytest.mark.parametrize("agent", ["import", "verdict"])


@pytest.fixture
def machine_s(world: World) -> World:
    """A world with one ticket, which a machine made Billing."""
    list(world.triage().create([DRAFT]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    return world


def suggest(world: World, agent: str, category: str) -> None:
    LocalConsultation(world.services(), "tester").suggest(dm.AgentSuggestionDraft("A-1", category, agent))


def imported(world: World, category: str) -> tuple[str, str | None, int]:
    (outcome,) = world.triage().create([replace(DRAFT, verdict=category)])
    assert outcome.value is not None
    return outcome.action, outcome.value.category, outcome.value.verdict


@AGENTS
def test_a_person_s_verdict_of_an_import_counts_where_an_agent_has_suggested_the_same(
    machine_s: World, agent: str
) -> None:
    suggest(machine_s, agent, "Technical")
    assert imported(machine_s, "Technical") == ("updated", "Technical", 1)


@AGENTS
def test_a_suggestion_does_not_let_an_import_overrule_a_person(machine_s: World, agent: str) -> None:
    list(machine_s.triage().give_verdicts([dm.VerdictDraft(0, "A-1", "General")]))
    suggest(machine_s, agent, "Billing")
    assert imported(machine_s, "Technical") == ("updated", "General", 1)


@AGENTS
def test_a_correction_in_the_helpdesk_counts_where_an_agent_has_suggested_the_same(
    machine_s: World, agent: str
) -> None:
    suggest(machine_s, agent, "Technical")
    corrections = machine_s.services().corrections(lambda _: None)
    (applied,) = corrections.applied([dm.identify(replace(DRAFT, verdict="Technical"))])
    assert applied.draft.verdict == "Technical"


def test_a_key_that_invents_names_fills_no_ticket(machine_s: World) -> None:
    for number in range(20):
        suggest(machine_s, f"agent-{number}", "Technical")
    with pytest.raises(dm.RowError, match="20 agents suggest something for it already") as refused:
        suggest(machine_s, "agent-20", "Technical")
    assert refused.value.hint == "suggest under one of their names, or let a person decide: triage review"
    suggest(machine_s, "agent-3", "General")
    assert len(machine_s.triage().why("A-1").agent_suggestions) == 20


def test_forgetting_reads_no_ticket_s_history(
    world: World, store: SqliteStore | PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(world.triage().create([replace(DRAFT, row=n, external_id=str(n), customer_id="C-1") for n in range(3)]))

    def history(ticket_id: str) -> None:
        raise AssertionError(ticket_id)

    monkeypatch.setattr(store, "history", history)
    assert len(list(world.triage().forget("C-1"))) == 3
