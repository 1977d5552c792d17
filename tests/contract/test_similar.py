"""Similar tickets: those with the same rare words, found by an index that whoever asks fills in."""

import itertools

from tests.support.use_cases import a_draft, create
from tests.support.world import World
from triage_cli import domain as dm

TEXTS = {
    "P-1": ("Printer broken", "It prints blank pages since yesterday morning"),
    "P-2": ("Printer prints blank pages", "The toner was replaced yesterday"),
    "P-3": ("Invoice wrong", "The amount of my invoice differs from the order"),
    "P-4": ("Cannot sign in", "My password is refused since the update"),
}


def stored(world: World) -> dict[str, dm.Ticket]:
    drafts = [
        a_draft(n, name, subject=subject, description=text, customer_id=f"C-{name}")
        for n, (name, (subject, text)) in enumerate(TEXTS.items())
    ]
    return {o.value.external_id or "": o.value for o in create(world, drafts) if o.value}


def found(world: World, name: str = "P-1", **query: object) -> list[str | None]:
    return [each.ticket.external_id for each in world.triage().similar(name, dm.SimilarQuery(**query))]  # type: ignore[arg-type]


def indexed(world: World) -> int:
    return int(world.store.database.read("select count(*) from ticket_words")[0][0])


def test_the_most_similar_ticket_comes_first_and_no_ticket_is_like_itself(world: World) -> None:
    stored(world)
    similar = world.triage().similar("P-1", dm.SimilarQuery())
    assert similar[0].ticket.external_id == "P-2"
    assert "P-1" not in [each.ticket.external_id for each in similar]
    assert all(0 < each.similarity <= 1 for each in similar)
    assert [each.similarity for each in similar] == sorted((e.similarity for e in similar), reverse=True)
    assert indexed(world) == 4


def test_the_same_text_is_wholly_similar(world: World) -> None:
    stored(world)
    create(world, [a_draft(9, "P-9", subject="PRINTER broken!", description=TEXTS["P-1"][1])])
    (first, *_) = world.triage().similar("P-1", dm.SimilarQuery())
    assert (first.ticket.external_id, round(first.similarity, 3)) == ("P-9", 1.0)


def test_long_texts_that_begin_alike_and_go_on_differently_are_not_the_same(world: World) -> None:
    beginning = " ".join("".join(letters) for letters in itertools.islice(itertools.product("abcdef", repeat=4), 210))
    ends = {
        "P-1": "printer jammed",
        "P-2": "printer jammed!",
        "P-3": "our account was hacked and money is stolen",
    }
    create(world, [a_draft(n, name, description=f"{beginning} {end}") for n, (name, end) in enumerate(ends.items())])
    similar = {each.ticket.external_id: each.similarity for each in world.triage().similar("P-1", dm.SimilarQuery())}
    assert list(similar) == ["P-2", "P-3"]
    assert round(similar["P-2"], 3) == 1.0
    assert similar["P-3"] < 0.98


def test_decided_waiting_and_since_choose_who_is_compared(world: World) -> None:
    tickets = stored(world)
    assert found(world, decided=True) == found(world, waiting=True) == []
    list(world.triage().give_verdicts([dm.VerdictDraft(0, tickets["P-2"].ticket_id, "Technical")]))
    assert found(world, decided=True) == ["P-2"]
    assert found(world, since="2999-01-01T00:00:00Z") == []
    assert found(world, since="2020-01-01T00:00:00Z")[0] == "P-2"
    assert len(found(world, limit=1)) == 1


def test_a_changed_text_and_a_forgotten_one_leave_the_index(world: World) -> None:
    stored(world)
    assert found(world)[0] == "P-2"
    create(world, [a_draft(1, "P-2", subject="Cannot sign in", description="My password is refused")])
    assert found(world, "P-4")[0] == "P-2"
    list(world.triage().forget("C-P-2"))
    assert "P-2" not in found(world, "P-4")
    assert not world.store.database.read(
        "select 1 from ticket_words where words <> ? and ticket_id in "
        "(select ticket_id from tickets where status = 'forgotten')",
        (b"",),
    )


def test_what_was_stored_since_is_filled_in(world: World) -> None:
    stored(world)
    found(world)
    create(world, [a_draft(9, "P-9", subject="Printer broken again", description="blank pages")])
    assert "P-9" in found(world)
    assert indexed(world) == 5


def test_a_ticket_without_words_is_like_none(world: World) -> None:
    stored(world)
    create(world, [a_draft(9, "P-9", subject="12", description="?")])
    assert found(world, "P-9") == []
    assert len(found(world, limit=50)) > 0


def test_a_store_that_is_read_only_finds_them_too(world: World) -> None:
    stored(world)
    world.store.words.read_only = True
    assert found(world)[0] == "P-2"
    assert indexed(world) == 0


def test_why_tells_of_two_that_a_person_decided(world: World) -> None:
    tickets = stored(world)
    list(world.triage().give_verdicts([dm.VerdictDraft(0, tickets["P-2"].ticket_id, "Technical")]))
    (line,) = [line for line in world.triage().why("P-1").why if line.startswith("Similar")]
    assert line.startswith("Similar tickets that a person decided: P-2 is Technical (0.")


def test_scripts_without_blanks_are_compared_by_pairs_of_characters() -> None:
    numbers = dm.word_numbers("", "請求書の金額が間違っています")
    assert len(numbers) > 10
    assert dm.word_numbers("Printer", "Printer broken") != dm.word_numbers("", "Printer broken")
