"""The lines that keep a mapping are read as what they keep. Column names are those of hostile files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from triage_cli import domain as dm
from triage_cli.config import import_lines, load_config

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda s: s.strip() and "\0" not in s
)


@examples(50, 2000)
@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), st.sampled_from([None, True, False]))
def test_any_column_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], html: bool | None
) -> None:
    path: Path = tmp_path_factory.mktemp("c") / "config.yaml"
    kept = dm.KeptMapping("shop", tuple(columns), {"subject": columns[0], "priority": ""}, "desk", html=html)
    path.write_bytes(f"imports:\n{import_lines(kept)}".encode())
    assert load_config(config=str(path), env={"HOME": str(path.parent)}, cwd=path.parent).imports["shop"] == kept
