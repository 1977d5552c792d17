"""Paths into JSON, as sources, webhooks and destinations have them."""

import json

import pytest

from triage_cli import domain as dm


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.0.id", 360012),
        ("a.360012.value", "x"),
        ("a.1.value", "y"),
        ("a.7.value", "y"),
        ("a.9.value", None),
        ("a.-1.value", "y"),
        ("a.-3.value", None),
        ("b.key", None),
        ("c", None),
    ],
)
def test_a_path_picks_by_key_by_index_and_else_by_id(path: str, value: object) -> None:
    assert dm.lookup({"a": [{"id": 360012, "value": "x"}, {"id": "7", "value": "y"}], "b": ["key"]}, path) == value


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
    assert (dm.lookup(DOTTED, path), dm.has_place(DOTTED, path)) == (value, has)


@pytest.mark.parametrize(
    ("document", "mended"),
    [
        (r'"\ud83d"', r'"\ufffd"'),
        (r'"\ud83d\ude00 \ude00\ud83d \uDC80x"', r'"\ud83d\ude00 \ufffd\ufffd \ufffdx"'),
        (r'"\\ud83d \" \n \u00e9 \\"', r'"\\ud83d \" \n \u00e9 \\"'),
        ("{}", "{}"),
    ],
)
def test_half_a_character_is_replaced_in_a_document(document: str, mended: str) -> None:
    assert dm.without_lone_surrogates(document) == mended
    json.dumps(json.loads(mended), ensure_ascii=False).encode()


def test_any_text_can_be_written_as_json_that_means_the_same() -> None:
    for value in ("\ud83d", "\udc80", "\U0001f600 \udfff\ud800", "é"):
        document = dm.writable_text(dm.compact([value]))
        assert document.encode()
        assert json.loads(document) == [value]
