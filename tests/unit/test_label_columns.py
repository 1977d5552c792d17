"""Which column of an export says where tickets went: by its name, by its values, and never a person or a status."""

import random
from typing import Any

import pytest

from triage_cli import domain as dm
from triage_cli.readers import candidate_columns, label_column

TEAMS = ["Billing", "Technical", "Sales", "Human Resources"]
# Columns of exports as helpdesks write them, and the one that says where a ticket went.
EXPORTS = {
    "zendesk": ("Group", "Assignee", "Requester", "Status", "Priority", "Via", "Satisfaction Score", "Tags"),
    "freshdesk": ("Group", "Agent", "Status", "Priority", "Source", "Type", "Full name"),
    "servicenow": ("Assignment group", "Assigned to", "State", "Caller", "Opened by", "Urgency", "Impact"),
    "jira": ("Component/s", "Assignee", "Reporter", "Status", "Priority", "Resolution", "Created"),
    "otrs": ("Queue", "Owner", "UserFirstname", "State", "Lock", "Age", "CustomerID"),
    "otrs, German": ("Warteschlange", "Besitzer", "Verantwortlicher", "Status", "Priorität", "Kundennummer"),
    "zammad": ("Gruppe", "Besitzer", "Status", "Priorität"),
    "glpi, French": ("Groupe d'affectation", "Statut", "Priorité", "Demandeur"),
    "topdesk, Dutch": ("Behandelaarsgroep", "Status", "Prioriteit", "Aanvrager"),
    "glpi, by technician": ("Attribué à - Groupe de techniciens", "Attribué à - Technicien", "Statut"),
    "manageengine": ("Technician Group", "Technician", "Request Status"),
    "spanish": ("Departamento", "Asignado a", "Estado", "Prioridad", "Solicitante"),
    "japanese": ("担当グループ", "担当者", "ステータス", "優先度"),
    "zoho": ("Department", "Ticket Owner", "Status", "Channel", "Priority"),
}


def rows(columns: tuple[str, ...], number: int = 400) -> list[dict[str, Any]]:
    chance = random.Random(1)
    return [
        {name: chance.choice(TEAMS if n == 0 else ["Ann Lee", "Bob Kim", "Cy Ray"]) for n, name in enumerate(columns)}
        | {"Constant": "yes", "Reference": f"R-{row}"}
        for row in range(number)
    ]


@pytest.mark.parametrize("desk", EXPORTS)
def test_the_column_of_a_helpdesk_comes_first(desk: str) -> None:
    right, *others = EXPORTS[desk]
    found = [column.name for column in candidate_columns(rows((right, *others)))]
    assert found[0] == right
    assert not {*found} & {"Constant", "Reference", *others} - {"Tags", "Type"}


def test_values_become_categories_in_levels_and_their_most_frequent_spelling() -> None:
    cells = ["Bank > Card"] * 30 + ["Bank > Loan"] * 25 + ["travel"] * 20 + ["Travel"] * 21 + ["Rare"] * 19 + [None] * 5
    column = label_column("Topic", [{"Topic": cell} for cell in cells])
    assert (column.objection, column.empty) == ("", 5)
    assert [(each.name, each.was) for each in column.categories] == [
        ("Bank", ()), ("Travel", ()), ("Bank/Card", ("Bank > Card",)), ("Bank/Loan", ("Bank > Loan",)),
    ]  # fmt: skip
    assert column.label_of("TRAVEL ") == "Travel"


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (["Billing;Refund", "Billing", "Refund"] * 30, "its cells hold several values each"),
        ([["Billing", "Refund"], "Billing", "Refund"] * 30, "its cells hold several values each"),
        (["Billing"] * 50 + ["Refund"] * 5, "fewer than two of its values have 20 tickets"),
    ],
)
def test_what_cannot_be_categories_says_why(cells: list[Any], why: str) -> None:
    assert label_column("Tags", [{"Tags": cell} for cell in cells]).objection == why


def test_the_last_fifth_proves_and_few_tickets_of_a_label_only_prove() -> None:
    texts = [
        dm.Labelled(f"text {n}", "Rare" if n in (2, 98) else "A", written_at=f"2026-01-01T00:{99 - n:02}:00Z")
        for n in range(100)
    ]
    history = dm.split_history(texts, ["A"])
    assert history.by_time
    assert {row.text for row in history.rows if row.proves} == {f"text {n}" for n in range(20)}
    assert [row.text for row in history.rows if row.category == "Rare"] == ["text 2"]
    undated = [dm.Labelled("the very same words" if n % 2 else f"word {chr(97 + n)}x", "A") for n in range(20)]
    history = dm.split_history(undated, ["A"])
    assert not history.by_time
    assert len({row.proves for row in history.rows if row.text == "the very same words"}) == 1
