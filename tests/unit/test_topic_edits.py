"""Editing topics: each edit, what it refuses, and that it can be taken back."""

import pytest

from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.cli import TopicEditor


def editor() -> TopicEditor:
    def topic(name: str, parent: str, tickets: int) -> dm.Topic:
        examples = (f"{name} one", f"{name} two")
        return dm.Topic(name, parent, (name.casefold(), "word"), tickets, tickets, None, examples, f"{parent}/{name}")

    topics = (topic("Late parcel", "", 30), topic("Escrow", "Mortgage", 20), topic("Rate", "Mortgage", 10))
    return TopicEditor.of_proposal(dm.Proposal(topics, (dm.TopicGroup("Mortgage", ("loan", "home")),), 60, 0, 0, 60))


def names(edited: TopicEditor) -> list[str]:
    return [category.name for category in edited.categories()]


def test_without_an_edit_the_categories_are_those_proposed() -> None:
    edited = editor()
    assert names(edited) == ["Late parcel", "Mortgage", "Mortgage/Escrow", "Mortgage/Rate"]
    assert edited.categories()[1] == dm.Category("Mortgage", "loan, home")
    assert edited.categories()[2] == dm.Category("Mortgage/Escrow", "escrow, word", ("Escrow one", "Escrow two"))


def test_each_edit_changes_the_categories_and_is_taken_back() -> None:
    for line, expected in {
        "name 1 Delivery": ["Delivery", "Mortgage", "Mortgage/Escrow", "Mortgage/Rate"],
        "merge 2 3": ["Late parcel", "Mortgage", "Mortgage/Escrow"],
        "drop 2 3": ["Late parcel"],
        "nest 1 Mortgage": ["Mortgage", "Mortgage/Late parcel", "Mortgage/Escrow", "Mortgage/Rate"],
        "nest 2": ["Late parcel", "Escrow", "Mortgage", "Mortgage/Rate"],
        "nest 2 Late parcel": ["Late parcel", "Late parcel/Escrow", "Mortgage", "Mortgage/Rate"],
    }.items():
        edited = editor()
        edited.do(line)
        assert names(edited) == expected, line
        edited.do("undo")
        assert names(edited) == names(editor())


def test_merged_topics_share_their_tickets_and_examples() -> None:
    edited = editor()
    assert edited.do("merge 1 3") == "3 joined 1: describe all of it anew"
    assert edited.topics[0].tickets == 40
    assert edited.topics[0].core == ("Late parcel one", "Rate one", "Late parcel two", "Rate two")
    edited.do("name 1 Both")
    edited.do("text 1 Parcels and rates")
    assert [label for _, label in edited.labels()] == ["Both"] * 4 + ["Mortgage/Escrow"] * 2
    assert edited.categories()[0].description == "Parcels and rates"


@pytest.mark.parametrize(
    "line", ["nonsense", "undo", "name 9 X", "name 1", "name 1 " + "x" * 81, "name 3 Late parcel", "merge 1",
             "merge 1 1", "merge 1 9", "drop", "nest 1 \x07", "nest 2 " + "x" * 80]
)  # fmt: skip
def test_a_mistake_changes_nothing(line: str) -> None:
    edited = editor()
    with pytest.raises(dm.UsageError):
        edited.do(line)
    assert edited.topics == editor().topics


def test_a_configuration_is_edited_again() -> None:
    before = editor().categories()
    parents = {"Mortgage/Escrow": "Mortgage", "Mortgage/Rate": "Mortgage"}
    again = TopicEditor.of_categories([replace(each, parent=parents.get(each.name, "")) for each in before])
    assert again.categories() == before
