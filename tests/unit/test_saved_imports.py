"""A kept mapping is added to a configuration of any form: the rest of the file stays, and the entry is read as it was.

Column names are those of hostile files.
"""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.config_files import EXAMPLE
from tests.support.examples import examples
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.config import STARTER, load_config, with_import

KEPT = dm.KeptMapping(
    "shop", ("No", "Title"), {"external_id": "No", "subject": "Title", "priority": ""}, "desk", html=True
)
OTHER = "columns: [a], map: {subject: a}"
FORMS = {
    "nothing": "",
    "comments alone": "# mine\n",
    "no end of line": "offline: true",
    "the starter": STARTER,
    "the example": EXAMPLE.read_text(encoding="utf-8").replace("\n  shop:\n    columns", "\n  other:\n    columns"),
    "an entry": f"imports:\n  a: {{{OTHER}}}   # of a\n\n# of offline\noffline: true  # end\n",
    "an entry in lines": "imports:\n    a:\n        columns:\n        - b\n        html: no\n    # next\noffline: no\n",
    "an entry at the end": "imports:\n  a:\n    columns: [b]\n    encoding: >-\n      utf-8\n  # that was all",
    "an entry in braces": f"imports: {{a: {{{OTHER}}}, }} # c\noffline: true\n",
    "braces over lines": f"imports: {{\n  a: {{{OTHER}}}, # of a\n}}\n",
    "empty braces": "imports: {}  # none\n",
    "an empty key": "imports:   # none yet\noffline: true\n",
    "an empty key at the end": "offline: true\nimports:",
    "all in braces": "{offline: true}\n",
    "all in braces, with entries": f"{{imports: {{a: {{{OTHER}}}}}, offline: true}}",
    "lines of Windows": f"# c\r\nimports:\r\n  a: {{{OTHER}}}\r\noffline: true\r\n",
    "a byte order mark": "\ufeffoffline: true\n",
    "indented": "  offline: true\n  # c\n",
    "JSON": '{"offline": true, "imports": {}}',
}


def kept_in(path: Path) -> dm.KeptMapping:
    return load_config(config=str(path), env={"HOME": str(path.parent)}, cwd=path.parent).imports["shop"]


@pytest.mark.parametrize("form", FORMS)
def test_an_entry_is_added_and_the_rest_stays_as_it_is(tmp_path: Path, form: str) -> None:
    path, text = tmp_path / "config.yaml", FORMS[form]
    path.write_bytes(text.encode())
    before = yaml.safe_load(text) or {}
    saved = with_import(path, tmp_path, KEPT)
    assert path.read_bytes() == text.encode(), "nothing is written yet"
    saved.write()
    written = path.read_bytes().decode()
    assert kept_in(path) == KEPT
    after = yaml.safe_load(written)
    assert after["imports"].pop("shop")
    assert after == before | {"imports": before.get("imports") or {}}
    words = iter(written.split())
    assert all(word in words or word.strip(",{}") in written for word in text.split()), "no word is lost"
    for comment in (line for line in text.splitlines() if "#" in line):
        assert comment.rstrip()[comment.index("#") :] in written
    assert written.count("\r\n") in (0, written.count("\n"))
    with_import(path, tmp_path, KEPT).write()
    assert path.read_bytes().decode() == written, "once is enough"
    with pytest.raises(dm.ConfigError, match=r"imports.shop is in .* already, and says something else"):
        with_import(path, tmp_path, replace(KEPT, source="other"))


@pytest.mark.parametrize("text", ["a: &x {b: c}\nimports: *x\n", "offline: true\n...\n", "imports: ~\n"])
def test_a_file_that_nothing_can_be_added_to_says_what_to_add(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(dm.ConfigError, match="nothing can be added to") as raised:
        with_import(path, tmp_path, KEPT)
    assert '{"shop": {"columns": ["No", "Title"]' in (raised.value.hint or "")
    assert path.read_text() == text


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda s: s.strip() and "\0" not in s
)


@examples(50, 2000)
@given(
    st.lists(NAMES, min_size=1, max_size=4, unique=True),
    st.sampled_from(["", "{offline: true}", "imports:\n  a: {columns: [b]}\n"]),
)
def test_any_column_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], text: str
) -> None:
    path = tmp_path_factory.mktemp("c") / "config.yaml"
    path.write_bytes(text.encode())
    kept = dm.KeptMapping("shop", tuple(columns), {"subject": columns[0]})
    with_import(path, path.parent, kept).write()
    assert kept_in(path) == kept


def test_a_new_file_is_private_and_an_old_one_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    with_import(None, tmp_path, KEPT).write()
    made = tmp_path / "config.yaml"
    assert made.stat().st_mode & 0o777 == 0o600
    assert kept_in(made) == KEPT
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("offline: true\n")
    real.chmod(0o640)
    link.symlink_to(real)
    with_import(link, tmp_path, KEPT).write()
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert kept_in(real) == KEPT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "link.yaml", "real.yaml"]


def test_somebody_elses_file_and_a_folder_of_others_are_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(dm.ConfigError, match="would not be used, because this folder can be written by others"):
        with_import(None, tmp_path, KEPT)
    tmp_path.chmod(0o700)
    (tmp_path / "config.yaml").write_text("theirs: 1\n")
    with pytest.raises(dm.ConfigError, match="has none of triage's keys"):
        with_import(None, tmp_path, KEPT)


def test_a_change_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("offline: true\n")
    saved = with_import(path, tmp_path, KEPT)
    path.write_text("offline: false\n")
    with pytest.raises(dm.ConfigError, match="was changed meanwhile"):
        saved.write()
    assert path.read_text() == "offline: false\n"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_may_not_be_written_is_told_before_anything_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("offline: true\n")
    path.chmod(0o400)
    with pytest.raises(dm.ConfigError, match=r"cannot write .*, which would keep the mapping"):
        with_import(path, tmp_path, KEPT)
