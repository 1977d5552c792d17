"""Labelled texts that are no tickets: kept once, taken back, forgotten; on both stores, here and over HTTP."""

from tests.support.stored_tickets import a_run, ended
from tests.support.use_cases import log_is_whole
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.ports import Triage
from triage_cli.stores import SqlModelRegistry

EVENT = dm.Event("labelled", None, None, "tester", "2026-01-01T00:00:00Z")


def a_text(number: int, label: str = "Billing", *, customer: str | None = None, proves: bool = False) -> dm.Labelled:
    return dm.Labelled(
        f"CANARY {number}",
        label,
        identity=f"{number}\tdesk",
        source="history",
        customer_id=customer,
        written_at=f"2026-01-{number + 1:02}T00:00:00Z",
        proves=proves,
    )


def given(world: World, *texts: dm.Labelled) -> tuple[str, dm.KeptTexts]:
    """Have a run give labelled texts; return its id, and what became of them."""
    lease = a_run(world.store)  # type: ignore[arg-type]
    kept = world.store.labelled_texts.keep(texts, "category", lease, EVENT)
    ended(world.store, lease)  # type: ignore[arg-type]
    return lease.run_id, kept


def taught(world: World, *, proves: bool = False, newest: int | None = None) -> list[tuple[str, str]]:
    held = world.store.labelled_texts.held("category", proves=proves, newest=newest)
    return [(each.text, each.category) for each in held]


def learned(world: World) -> None:
    """Add a version that has learned all texts that teach."""
    registry = SqlModelRegistry(world.store)
    version = dm.ModelVersion(0, '["A"]', b"w", "{}", 1, "ann", EVENT.at, registry.newest())
    teachers = {each.teacher_id: True for each in world.store.labelled_texts.held("category", proves=False)}
    assert registry.add_version(version, EVENT, teachers) is not None


def test_a_text_is_kept_once_and_stays_what_it_was_for(world: World) -> None:
    texts = [a_text(n, proves=n == 3) for n in range(4)]
    assert given(world, *texts)[1] == dm.KeptTexts(4, 0, 0)
    assert given(world, *texts)[1] == dm.KeptTexts(0, 0, 0)
    moved = [a_text(0, "Technical"), a_text(3, "Technical"), a_text(1, proves=True)]
    assert given(world, *moved)[1] == dm.KeptTexts(0, 2, 0)
    assert taught(world) == [("CANARY 0", "Technical"), ("CANARY 1", "Billing"), ("CANARY 2", "Billing")]
    assert taught(world, newest=2) == [("CANARY 1", "Billing"), ("CANARY 2", "Billing")]
    assert taught(world, proves=True) == [("CANARY 3", "Technical")]
    without_id = dm.Labelled("the same words", "General")
    assert given(world, without_id, without_id)[1] == dm.KeptTexts(1, 0, 0)
    assert given(world, dm.Labelled("a \0 and \ud83d", "General", is_typical=True))[1] == dm.KeptTexts(1, 0, 0)
    assert world.store.stats().labelled_texts == {"file": 1, "history": 3, "topic": 1, "proving": 1}
    assert world.store.labelled_texts.held("category", proves=False)[-1].is_typical
    assert log_is_whole(world)


def test_they_are_listed_last_stored_first(world: World, door: tuple[Triage, list[str]]) -> None:
    triage, _ = door
    given(world, *(a_text(n, customer=f"C-{n}", proves=n == 0) for n in range(5)))
    assert [each.text for each in triage.labelled_texts(dm.TextQuery())] == [f"CANARY {n}" for n in (4, 3, 2, 1, 0)]
    (last,) = triage.labelled_texts(dm.TextQuery(limit=1))
    assert (last.source, last.customer_id, last.proves, last.written_at) == (
        "history", "C-4", False, "2026-01-05T00:00:00Z",
    )  # fmt: skip
    assert triage.stats().labelled_texts == {"history": 4, "proving": 1}


def test_a_run_is_taken_back_with_the_texts_that_no_other_gave_and_with_what_learned_them(
    world: World, door: tuple[Triage, list[str]]
) -> None:
    triage, told = door
    given(world, a_text(0))
    learned(world)
    wrong, _ = given(world, *(a_text(n, "General") for n in range(3)))
    learned(world)

    list(triage.undo(wrong, dry_run=True))
    assert told.pop(0) == "note: 2 labelled texts of this run would be erased"
    assert told == [
        "note: learned model version 2 has learned the labels of 2 of these labelled texts and would be out of use"
    ]
    told.clear()
    assert not list(triage.undo(wrong[-8:]))
    assert told[0] == "note: 2 labelled texts of this run were erased"
    assert "learned model version 2 had learned the labels of 2 of these labelled texts, so version 1" in told[1]
    active = SqlModelRegistry(world.store).active()
    assert active is not None
    assert active.version == 1
    assert taught(world) == [("CANARY 0", "General")]
    assert not world.store.database.read("select 1 from labelled_texts where text like '%CANARY 2%'")

    assert given(world, *(a_text(n, "General") for n in range(3)))[1] == dm.KeptTexts(0, 0, 2), "it comes no more"
    assert given(world, *(a_text(n, "Technical") for n in range(3)))[1] == dm.KeptTexts(2, 1, 0), "a mended one does"
    assert log_is_whole(world)


def test_a_customer_is_forgotten_with_labelled_texts_which_never_come_back(
    world: World, door: tuple[Triage, list[str]]
) -> None:
    triage, told = door
    spelled = ("Ann@x.example", "Ann <ann@x.example>", "ann@x.example")
    mine = [a_text(n, customer=name, proves=n == 0) for n, name in enumerate(spelled)]
    given(world, *mine, a_text(3, customer="bob"), a_text(4))
    learned(world)
    assert not list(triage.forget("ann@x.example"))
    assert told == [
        "note: 3 labelled texts of this customer were erased",
        "note: 1 labelled texts have no customer, and stay",
        (
            "note: learned model version 1 has learned from 2 of these labelled texts, and keeps no word; "
            "next: triage learn makes one without them"
        ),
    ]
    assert taught(world) == [("CANARY 3", "Billing"), ("CANARY 4", "Billing")]
    assert given(world, *(each._replace(category="General") for each in mine))[1] == dm.KeptTexts(0, 0, 3)
    erased = world.store.database.read("select text, label, customer_id from labelled_texts where status <> 'held'")
    assert {tuple(row) for row in erased} == {(None, None, None)}
    assert log_is_whole(world)


def test_rows_that_taught_are_history_and_no_tickets_unless_they_are_tickets_already(
    world: World, door: tuple[Triage, list[str]]
) -> None:
    triage, _ = door
    with_id = [dm.TicketDraft(n, description=f"CANARY {n}", external_id=f"T-{n}") for n in range(3)]
    with_id[2] = with_id[2]._replace(description="CANARY 2 has been rewritten since")
    without_id = dm.TicketDraft(3, description="the same words", customer_id="C-1")
    another = without_id._replace(row=4, customer_id="C-2")
    assert [each.action for each in triage.create(with_id[:1])] == ["created"]
    taught_with = [*with_id[:2], with_id[2]._replace(description="CANARY 2"), without_id]
    given(world, *(dm.labelled_draft(dm.identify(each), "Billing", "history") for each in taught_with))
    outcomes = [*triage.create([*with_id, without_id, another])]
    assert [each.action for each in outcomes] == ["unchanged", "history", "created", "history", "created"]
    assert [each.value is None for each in outcomes] == [False, True, False, True, False]
    ran = [*triage.run([with_id[1], without_id], dm.ClassifyPlan())]
    assert [each.action for each in ran] == ["history", "history"]
