"""Rows that are too long, and quotes that are never closed: no text is lost, and every row is counted."""

import csv
import io
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.examples import examples
from tests.support.read_tables import Pipe, read, reasons, texts
from tests.support.table_strategies import ALPHABET, SLOW
from triage_cli import domain as dm
from triage_cli.readers import CsvRecords, RowEnd, csv_reader, open_table

MB = 1 << 20
LINES = "".join(f"plain text line number {number} here\n" for number in range(40_000))  # 1.3 MB


def whole(row: dm.TicketDraft | dm.Rejected) -> str:
    assert isinstance(row, dm.Rejected)
    return row.raw + "".join(row.rest)


def test_a_quoted_cell_over_one_megabyte_is_one_row_whatever_its_lines_look_like() -> None:
    log = "a line with, commas\n" * 120_000
    found = read(f'subject,description\na,b\nc,"{log}"\nd,e\n')
    assert texts(found) == [("a", "b"), ("d", "e")]
    assert reasons(found) == ["line 3: over 1 MB (120,001 lines)"]
    assert whole(found[1]) == f'c,"{log}"\n'
    assert found[2].line == 120_004


def test_what_an_unclosed_quote_swallows_is_kept_and_counted() -> None:
    found = read(f'description\nfirst\n"never closed\n{LINES}')
    assert texts(found) == [(None, "first")]
    assert reasons(found) == ["line 3: a quote is opened and never closed before the end of the file (40,001 lines)"]
    assert whole(found[1]) == f'"never closed\n{LINES}'


def test_reading_goes_on_at_the_first_row_behind_an_unclosed_quote_however_far_it_is() -> None:
    found = read(f'id,subject\n1,"open\n{LINES}{LINES}2,a\n3,b\n{LINES * 2}')
    assert texts(found)[:2] == [("a", None), ("b", None)]
    assert reasons(found)[0] == "line 2: a quote is opened and never closed; reading goes on at line 80003"
    assert whole(found[0]) == f'1,"open\n{LINES}{LINES}'
    assert [row.line for row in found[1:3]] == [80_003, 80_004]


def test_a_later_quote_that_closes_no_cell_shows_that_an_earlier_one_was_never_closed() -> None:
    plain = f"7,{'b' * 100}\n" * 12_000
    found = read(f'id,subject\nx,"open\n{plain}y,"quoted, really"\nz,last\n')
    assert reasons(found) == ["line 2: a quote is opened and never closed; reading goes on at line 3"]
    assert len(found) == 12_003
    assert texts(found)[-2:] == [("quoted, really", None), ("last", None)]


def test_an_endless_quote_fills_neither_memory_nor_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "SEARCHED_AHEAD", 4 * MB)
    pipe = Pipe(b'id,subject\n1,"open\n', b"words without an end " * 500)
    found: Iterator[dm.TicketDraft | dm.Rejected] = open_table(pipe, "-").rows  # type: ignore[arg-type]
    row = next(found)
    assert isinstance(row, dm.Rejected)
    assert row.error.message == "line 2: over 1 MB"
    assert len(row.raw) < 2 * MB
    assert pipe.given < 2 * csv_reader.SEARCHED_AHEAD + 3 * MB, (
        "it, and the one after it, since the last row may be a sum"
    )
    goes_on = next(found)
    assert isinstance(goes_on, dm.Rejected)
    assert goes_on.error.message == "line 3: the row of line 2 goes on; over 1 MB"


@pytest.mark.parametrize("layout", ["array", "lines"])
def test_the_rejects_of_a_long_json_item_are_whole(cli: Cli, layout: str) -> None:
    big = json.dumps({"subject": "big", "x": ['a "quoted" [ \\ text'], "description": "z" * 3 * MB})
    items = ['{"subject": "a"}', big, '{"subject": "b"}']
    text = "[" + ",\n".join(items) + "]" if layout == "array" else "\n".join(items)
    done = cli("create", "-q", "--rejects", "bad.jsonl", stdin=text)
    assert (done.returncode, done.stderr) == (3, "rejected: line 2, record 2: over 1 MB\n")
    assert (cli.folder / "bad.jsonl").read_text() == f"{big}\n"
    assert rows(cli.db, "select subject from tickets order by subject") == [("a",), ("b",)]


def test_the_rejects_of_a_long_row_are_whole(cli: Cli) -> None:
    text = f'description\nfirst\n"never closed\n{LINES * 2}'
    done = cli("create", "--rejects", "bad.csv", stdin=text)
    assert done.returncode == 3
    assert done.stderr.endswith("(80,001 lines)\n1 created, 0 updated, 0 unchanged, 1 rejected\n")
    assert (cli.folder / "bad.csv").read_text() == f'description\n"never closed\n{LINES * 2}'


@settings(SLOW, max_examples=examples(100, 400).max_examples)
@given(data=ALPHABET, size=st.integers(1, 40), longest=st.integers(1, 20), ahead=st.integers(1, 60))
def test_no_text_vanishes_however_little_is_held(data: bytes, size: int, longest: int, ahead: int) -> None:
    text = data.replace(b"\xe9", b"e").decode().replace("\r", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "LONGEST", longest)
        patch.setattr(csv_reader, "SEARCHED_AHEAD", max(ahead, longest))
        records = CsvRecords([text[at : at + size] for at in range(0, len(text), size)], ",", 2)
        found = [(record, records.raw() + "".join(record.rest)) for record in records]
    assert "".join(raw for _, raw in found).replace("\n", "") == text.replace("\n", "")
    lines = text.split("\n")
    for record, raw in found:
        assert raw.split("\n")[0] in lines[record.line - 1]


@SLOW
@given(
    cells=st.lists(st.text(st.sampled_from('a",;\n\r'), max_size=12), min_size=1, max_size=5),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    size=st.integers(1, 9),
)
def test_a_record_ends_where_the_csv_module_ends_it(cells: list[str], ending: str, size: int) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=ending, quoting=csv.QUOTE_ALL).writerow(cells)
    record = out.getvalue()
    end, at = RowEnd(","), 0
    text = record + "x,y\n"
    for begin in range(0, len(text), size):
        found = end.feed(text[begin : begin + size])
        if found is not None:
            at = begin + found
            break
    assert (at, end.broken) == (len(record), False)
