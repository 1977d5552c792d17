"""The data of events is hashed as canonical JSON, whatever it holds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage_cli import domain as dm

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=4) | st.sampled_from(("%s", 'a"b', "100 %")), VALUES, max_size=6))
def test_it_is_what_any_json_library_writes_with_sorted_keys(data: dict[str, object]) -> None:
    expected = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert dm.canonical(data) == expected
