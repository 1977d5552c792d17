"""`--columns`, and TSV: what is chosen, what is refused, and what no text in a cell can break."""

import csv
import io
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.rooms import module_of
from triage_cli import domain as dm
from triage_cli.cli import Printer, output
from triage_cli.readers import ReadOptions, open_table

KNOWN = ("ticket_id", "subject", "extra")
RECORD = {"ticket_id": "1", "subject": "a", "extra": {"plan": "gold", "a.b": {"c": [1, 2]}, "none": None}}


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(
    records: Sequence[dict[str, Any]],
    chosen: str | None,
    output: Any,
    *,
    excel: bool = False,
    stdout: type[io.StringIO] = io.StringIO,
    columns: Sequence[str] = KNOWN,
) -> str:
    with redirect_stdout(stdout(newline="")) as stream:
        Printer(output, chosen, excel=excel).many(records, lambda record: record, columns, lambda _: "")
    return stream.getvalue()


def test_columns_come_in_the_order_typed() -> None:
    assert output.parsed_columns('subject, ticket_id,"a, b"') == ("subject", "ticket_id", "a, b")
    assert output.parsed_columns(None) == ()
    for typed in ("", " ", "a,,b", "a,"):
        with pytest.raises(dm.UsageError, match="names no column"):
            output.parsed_columns(typed)


def test_part_of_a_column_is_found_by_dots() -> None:
    found = output.projected(RECORD, ("extra.plan", "extra.a.b.c", "extra.none", "extra.missing", "subject.x"))
    assert list(found.values()) == ["gold", [1, 2], None, None, None]
    assert output.projected({"a.b": 1, "a": {"b": 2}}, ("a.b",)) == {"a.b": 1}


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("Subject", 'did you mean "subject"?'),
        ("subjct", 'did you mean "subject"?'),
        ("xyz", "the columns are ticket_id, subject, extra"),
        ("xyz.plan", "the columns are ticket_id, subject, extra"),
        ("extra.", 'did you mean "extra"?'),
    ],
)
def test_unknown_column_is_refused_before_the_first_item_is_taken(typed: str, hint: str) -> None:
    def items() -> Any:
        pytest.fail("work was done")
        yield

    with pytest.raises(dm.UsageError) as refused:
        Printer("csv", typed).many(items(), lambda record: record, KNOWN, lambda _: "")
    assert refused.value.message == f'no column "{typed}"'
    assert refused.value.hint == hint


def test_each_format_prints_the_columns_chosen() -> None:
    expected = {
        "csv": "subject,extra.plan\na,gold\n",
        "tsv": "subject\textra.plan\na\tgold\n",
        "jsonl": '{"subject": "a", "extra.plan": "gold"}\n',
        "json": '[\n{"subject": "a", "extra.plan": "gold"}\n]\n',
        "table": "subject  extra.plan\na        gold\n",
    }
    for printed_as, text in expected.items():
        assert printed([RECORD], "subject,extra.plan", printed_as) == text
    with pytest.raises(dm.UsageError, match="does not go with -o id"):
        Printer("id", "subject")


@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_a_record_is_out_before_the_next_message(monkeypatch: pytest.MonkeyPatch, output: Any) -> None:
    """Where stdout and stderr are one file, their order must not depend on how long a command takes."""
    monkeypatch.setattr(module_of(Printer), "FLUSH_SECONDS", float("inf"))
    written = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(written)):
        Printer(output).one(RECORD, lambda _: "", KNOWN)
        assert b"gold" in written.getvalue()


def test_no_text_breaks_a_row_of_tsv() -> None:
    record = {"ticket_id": "1", "subject": 'tab\tline\nreturn\r\\n "quoted", ,', "extra": {"k\t": "v\n"}}
    text = printed([record], None, "tsv")
    assert text.count("\n") == 2
    assert text.splitlines()[1].split("\t") == ["1", 'tab\\tline\\nreturn\\r\\\\n "quoted", ,', r'{"k\\t": "v\\n"}']


def test_name_of_a_column_breaks_no_header_of_tsv() -> None:
    assert printed([RECORD], "ticket_id,extra.a\tb", "tsv") == "ticket_id\textra.a\\tb\n1\t\n"


@pytest.mark.parametrize("output", ["csv", "tsv"])
@pytest.mark.parametrize("formula", ["=1+1", "@SUM(A1)", "+1", "-1", "\t=1", " =1"])
def test_formula_is_disarmed_for_a_spreadsheet(output: str, formula: str) -> None:
    text = printed([{"ticket_id": formula, "subject": "a"}], "ticket_id,extra.x", output, excel=True)
    assert text.startswith("\ufeffticket_id")
    assert text.split("\r\n")[1].lstrip('"').startswith("'")


@pytest.mark.parametrize("output", ["csv", "tsv"])
@examples(100, 20_000)
@given(texts=st.lists(st.text("=+-@;,'\" \t\r\na)", max_size=9), min_size=2, max_size=2))
def test_no_separator_of_a_spreadsheet_finds_a_formula(output: str, texts: list[str]) -> None:
    """A spreadsheet of another country takes semicolons for commas; it ends a cell at them and a row at a line."""
    record = {"ticket_id": texts[0], "extra": {"x": texts[1]}}
    text = printed([record], None, output, excel=True).removeprefix("\ufeff")
    for separator in ",;" if output == "csv" else "\t":
        cells = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for cell in row]
        assert [cell for cell in cells if re.match(r"[ \t\r]*(?:[=+@]|-(?!\)))", cell)] == []


@pytest.mark.parametrize(("output", "excel"), [("csv", False), ("csv", True), ("tsv", False), ("tsv", True)])
@examples(100, 20_000)
@given(texts=st.lists(st.text("=+-@;,'\" \\\t\r\nntNa)", min_size=1, max_size=9), min_size=3, max_size=3))
def test_an_export_comes_back_in_as_the_same_texts(output: str, *, excel: bool, texts: list[str]) -> None:
    """Words around the texts, because blanks at their ends and texts that mean nothing are not kept."""
    start, inside, alone = (f"{text} w" for text in texts)
    plain = dict.fromkeys(dm.TICKET_KEYS)
    record = plain | {"ticket_id": start, "subject": alone, "description": f"w {inside}", "extra": {"a": texts[0]}}
    written = printed([record], None, output, excel=excel, columns=dm.TICKET_KEYS)
    (row,) = open_table(io.BytesIO(written.encode()), "export", ReadOptions()).rows
    assert isinstance(row, dm.TicketDraft)
    assert (row.external_id, row.subject, row.description) == (start.strip(), alone.strip(), f"w {inside}")
    assert row.extra == {"a": texts[0]}


@pytest.mark.parametrize("output", ["csv", "tsv", "json", "jsonl"])
@pytest.mark.parametrize("text", ["-", "?", "N/A", "null", "\\N"])
def test_a_text_that_means_nothing_elsewhere_is_a_text_in_an_export(output: str, text: str) -> None:
    record = dict.fromkeys(dm.TICKET_KEYS) | {"ticket_id": "1", "subject": text, "customer_id": text}
    written = printed([record], None, output, columns=dm.TICKET_KEYS)
    (row,) = open_table(io.BytesIO(written.encode()), "export", ReadOptions()).rows
    assert isinstance(row, dm.TicketDraft)
    assert (row.subject, row.description, row.customer_id) == (text, None, text)


def test_formula_in_a_header_is_disarmed_for_a_spreadsheet() -> None:
    assert printed([RECORD], "extra.=1,ticket_id", "tsv", excel=True) == "\ufeffextra.=1\tticket_id\r\n\t1\r\n"
    with redirect_stdout(io.StringIO(newline="")) as stream:
        Printer("tsv", excel=True).delimited(["=1"], [])
    assert stream.getvalue() == "\ufeff'=1\r\n"


def test_terminal_keeps_the_tabs_of_tsv_and_shows_what_hides() -> None:
    record = {"ticket_id": "\x1b[31m", "subject": "a\tb"}
    text = printed([record], "ticket_id,subject", "tsv", stdout=Terminal)
    assert text == "ticket_id\tsubject\n\\x1b[31m\ta\\tb\n"
