"""Paths into JSON, as sources, webhooks and destinations have them."""

import pytest

from triage_cli.domain.json_values import has_place, lookup


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.0.id", 360012),
        ("a.360012.value", "x"),
        ("a.1.value", "y"),
        ("a.7.value", "y"),
        ("a.9.value", None),
        ("b.key", None),
        ("c", None),
    ],
)
def test_a_path_picks_by_key_by_index_and_else_by_id(path: str, value: object) -> None:
    assert lookup({"a": [{"id": 360012, "value": "x"}, {"id": "7", "value": "y"}], "b": ["key"]}, path) == value


DOTTED = {"fields": {"System.Title": "t", "Team": {"Rev": 3}, "Custom.Area": [{"id": "7", "v.w": "x"}]}, "a.b": None}


@pytest.mark.parametrize(
    ("path", "value", "has"),
    [
        ("fields.System.Title", "t", True),
        ("fields.Team.Rev", 3, True),
        ("fields.Custom.Area.7.v.w", "x", True),
        ("fields.Custom.Area.0.v.w", "x", True),
        ("a.b", None, True),
        ("fields.System.State", None, False),
        ("fields.Custom", None, False),
        ("fields.Custom.Area.9.v.w", None, False),
        ("a.b.c", None, False),
    ],
)
def test_a_key_of_a_path_may_hold_dots(path: str, value: object, has: bool) -> None:
    """As `System.Title` of Azure DevOps, and `caller_id.email` of ServiceNow."""
    assert (lookup(DOTTED, path), has_place(DOTTED, path)) == (value, has)
