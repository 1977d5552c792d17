"""The exports of six helpdesks: how each is recognised, its columns for the ticket fields, its priority numbers."""

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple


class Helpdesk(NamedTuple):
    """The columns of a helpdesk's export; names are compact (`createdat`).

    It is recognised by one column of each set in `needs`, and at least `marks_needed` columns of `marks`.
    """

    name: str
    needs: Sequence[AbstractSet[str]]
    marks: AbstractSet[str]
    marks_needed: int
    fields: Mapping[str, Sequence[str]]
    numbers: Mapping[str, str] = {}


HELPDESKS = [
    Helpdesk(
        desk["name"],
        [{*words.split()} for words in desk["needs"]],
        {*" ".join(desk["marks"]).split()},
        desk["marks_needed"],
        {ticket_field: words.split() for ticket_field, words in desk["fields"].items()},
        desk.get("numbers", {}),
    )
    for desk in json.loads(Path(__file__).with_name("helpdesks.json").read_text("utf-8"))
]


def recognised_helpdesk(column_names: AbstractSet[str]) -> Helpdesk | None:
    """Return the helpdesk whose export has these (compact) column names."""
    for desk in HELPDESKS:
        if all(needed & column_names for needed in desk.needs) and len(desk.marks & column_names) >= desk.marks_needed:
            return desk
    return None
