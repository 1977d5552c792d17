"""What must hold for every table: texts survive any dialect and encoding, no bytes raise anything but our errors."""

import csv
import io
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.table_strategies import ALPHABET, SLOW
from triage_cli import domain as dm
from triage_cli.readers import (
    CsvRecords,
    JsonRecords,
    ReadOptions,
    moment,
    open_table,
    plain,
    priority,
    unique_column_names,
)

LATIN = st.characters(codec="cp1252", exclude_categories=("Cc", "Cs"))
ANY = st.characters(exclude_categories=("Cc", "Cs"))
BREAKS = st.sampled_from(["\n", '"', ";", ",", "\t", "|"])
CELL = st.text(LATIN | BREAKS, max_size=40).map(lambda text: f"text {text} end")
WIDE = st.text(ANY | BREAKS, max_size=40).map(lambda text: f"text {text} end")


@pytest.mark.slow
@SLOW
@given(
    cells=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=20),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    ending=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
)
def test_texts_survive_every_dialect(
    cells: list[tuple[str, str]], delimiter: str, ending: str, quoting: int, encoding: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(["id", "subject", "description"])
    writer.writerows([number, *row] for number, row in enumerate(cells))
    options = ReadOptions(encoding=encoding if encoding == "cp1252" else None)
    rows = list(open_table(io.BytesIO(out.getvalue().encode(encoding)), "t.csv", options).rows)
    assert [(row.subject, row.description) for row in rows if isinstance(row, dm.TicketDraft)] == cells
    assert [row.row for row in rows] == list(range(len(cells)))


@SLOW
@given(rows=st.lists(st.lists(WIDE, min_size=3, max_size=3), min_size=1, max_size=10), size=st.integers(1, 50))
def test_records_do_not_depend_on_where_blocks_end(rows: list[list[str]], size: int) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    text = out.getvalue()
    records = CsvRecords([text[at : at + size] for at in range(0, len(text), size)], ",", 3)
    raws = []
    found = []
    for record in records:
        found.append(record.cells)
        raws.append(records.raw())
    assert found == rows
    assert "".join(raws) == text


VALUE = st.text(ANY, max_size=20) | st.integers() | st.none() | st.lists(st.text(ANY, max_size=5), max_size=2)
ITEM = st.dictionaries(st.text(ANY, max_size=5), VALUE, max_size=4)


@SLOW
@given(items=st.lists(ITEM, min_size=1, max_size=8), size=st.integers(1, 50), indent=st.sampled_from([None, 1]))
def test_json_items_do_not_depend_on_where_blocks_end(
    items: list[dict[str, object]], size: int, indent: int | None
) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=False)
    blocks = [text[at : at + size] for at in range(0, len(text), size)]
    assert [record.item for record in JsonRecords(blocks, (), by_line=False)] == items


@settings(SLOW, max_examples=examples(120, 500).max_examples)
@given(
    start=st.sampled_from([b"", b"id,subject\n", b'[{"subject": "a"},', b'{"subject": "a"}\n']),
    rest=st.binary(max_size=200) | ALPHABET,
)
def test_no_bytes_raise_anything_but_our_errors_and_every_row_is_accounted_for(start: bytes, rest: bytes) -> None:
    rows: list[dm.TicketDraft | dm.Rejected] = []
    with suppress(dm.TriageError):
        rows = list(open_table(io.BytesIO(start + rest), "t", ReadOptions()).rows)
    assert [row.row for row in rows] == list(range(len(rows)))
    lines = [row.line for row in rows]
    assert lines == sorted(lines)
    for row in rows:
        if isinstance(row, dm.Rejected):
            assert row.error.message.startswith((f"line {row.line}: ", f"line {row.line}, record {row.row + 1}: "))
        else:
            assert row.subject or row.description


@SLOW
@given(data=ALPHABET)
def test_no_text_of_a_csv_vanishes(data: bytes) -> None:
    """Every record is yielded with the text it came from, and the texts together are the input without blank lines."""
    text = data.replace(b"\xe9", b"e").decode()
    records = CsvRecords([text], ",", 2)
    raws = "".join(records.raw() for _ in records)
    assert raws.replace("\r", "").replace("\n", "") == text.replace("\r", "").replace("\n", "")


@given(text=st.text(max_size=40))
def test_values_never_raise(text: str) -> None:
    assert priority(text, {}) in (None, "low", "normal", "high", "urgent")
    found = moment(text)
    assert found is None or (len(found) == 20 and moment(found) == found)
    assert plain(plain(text)) == plain(text)


@given(columns=st.lists(st.sampled_from(["a", "a (2)", "", "b", "column 2"]), max_size=8))
def test_every_column_has_a_name_of_its_own(columns: list[str]) -> None:
    names = unique_column_names(columns)
    assert len(set(names)) == len(names) == len(columns)
