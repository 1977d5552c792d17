"""Paths into JSON, as sources, webhooks and destinations have them."""

import pytest

from triage_cli.domain.json_paths import lookup


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
