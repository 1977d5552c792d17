"""Values as JSON and back: what another instance reads is what was written, by names, and nothing else."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from triage_cli import domain as dm


class Part(NamedTuple):
    name: Annotated[str, "its name"]
    share: float = 1.0


class Whole(NamedTuple):
    number: int
    parts: tuple[Part, ...] = ()
    by_name: Mapping[str, Part] = {}
    pair: tuple[str | None, int] = (None, 0)
    tags: frozenset[str] = frozenset()
    kind: Literal["a", "b"] = "a"
    since: datetime | None = None
    window: timedelta = timedelta(0)
    at: Annotated[str | None, dm.UtcTime()] = None
    few: Annotated[Sequence[int], dm.Limits(0, 3)] = ()
    flag: bool = False


parts = st.builds(Part, st.text(), st.floats(allow_nan=False, allow_infinity=False))
wholes = st.builds(
    Whole,
    st.integers(),
    st.lists(parts).map(tuple),
    st.dictionaries(st.text(), parts),
    st.tuples(st.none() | st.text(), st.integers()),
    st.frozensets(st.text()),
    st.sampled_from(("a", "b")),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.integers(-(10**9), 10**9).map(lambda seconds: timedelta(seconds=seconds)),
    st.sampled_from((None, "2026-11-23T08:00:00.000Z")),
    st.lists(st.integers(), max_size=3).map(tuple),
    st.booleans(),
)


@given(wholes)
@examples(100, 2000)
def test_what_was_written_is_read(whole: Whole) -> None:
    wire = json.loads(json.dumps(dm.to_wire(whole)))
    assert dm.reader(Whole)(wire) == whole
    assert dm.reader(Whole)(wire | {"of_a_newer_version": [1]}) == whole
    assert not [name for name, default in Whole._field_defaults.items() if name in wire and wire[name] == default]


@pytest.mark.parametrize(
    ("wire", "sentence"),
    [
        ([], "no Whole"),
        ({}, "Whole without all its fields"),
        ({"number": True}, "Whole without a proper number"),
        ({"number": 1.5}, "Whole without a proper number"),
        ({"number": 1, "parts": [{"name": 2}]}, "Part without a proper name"),
        ({"number": 1, "parts": [{"name": "a", "share": 10**400}]}, "Part without a proper share"),
        ({"number": 1, "parts": "abc"}, "Whole without a proper parts"),
        ({"number": 1, "pair": ["a"]}, "Whole without a proper pair"),
        ({"number": 1, "kind": "c"}, "Whole without a proper kind"),
        ({"number": 1, "kind": []}, "Whole without a proper kind"),
        ({"number": 1, "since": "2026-11-23T08:00:00"}, "Whole without a proper since"),
        ({"number": 1, "window": 1e300}, "Whole without a proper window"),
        ({"number": 1, "at": "yesterday"}, "Whole without a proper at"),
        ({"number": 1, "at": "2026-11-23T09:00:00.000+01:00"}, "Whole without a proper at"),
        ({"number": 1, "few": [1, 2, 3, 4]}, "Whole without a proper few"),
        ({"number": 1, "flag": 1}, "Whole without a proper flag"),
        ({"number": 1, "tags": [["a"]]}, "Whole without a proper tags"),
    ],
)
def test_what_is_none_is_refused_by_name(wire: Any, sentence: str) -> None:
    with pytest.raises(dm.ProtocolError, match=f"^{sentence}$"):
        dm.reader(Whole)(wire)


def test_an_error_is_of_the_same_class_and_one_of_a_newer_version_of_the_nearest() -> None:
    error = dm.reader(dm.TriageError)(dm.to_wire(dm.BudgetError("no more", hint="wait")))
    assert (type(error), error.sentence()) == (dm.BudgetError, dm.BudgetError("no more", hint="wait").sentence())
    assert type(dm.reader(dm.TriageError)({"code": "of_next_year", "message": "m", "hint": ""})) is dm.ItemError
