"""Tables of tickets as people have them: every file here is made in code, in the shape of one seen in the wild."""

import csv
import io
import time
from contextlib import suppress
from typing import Any

import pytest

from tests.support.read_tables import MB, Pipe, opened, read, reasons, texts
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.readers import HEAD_SIZE, open_table


def test_a_plain_table_gives_whole_drafts() -> None:
    table = opened(
        "id,subject,description,customer_id,priority,created_at,channel\n"
        "#001, Refund ,Where is it?,c1,High,2024-12-15T02:22:38-08:00,web\n"
    )
    assert [replace(row, size=0) for row in table.rows if isinstance(row, dm.TicketDraft)] == [
        dm.TicketDraft(
            0,
            2,
            "Refund",
            "Where is it?",
            "c1",
            "high",
            "2024-12-15T10:22:38Z",
            "#001",
            "import",
            {"channel": "web"},
            None,
            ["#001", " Refund ", "Where is it?", "c1", "High", "2024-12-15T02:22:38-08:00", "web"],
            0,
            ("priority", "created_at"),
        )
    ]
    assert table.columns == ("id", "subject", "description", "customer_id", "priority", "created_at", "channel")
    assert table.unused == ("channel",)
    assert table.taken == (
        "subject ← subject, description ← description, customer_id ← customer_id, priority ← priority, "
        "created_at ← created_at, external_id ← id; utf-8, ','"
    )


GERMAN = "Nummer;Betreff;Beschreibung\r\n7;Straße gesperrt;Größe „M“ fehlt, schade\r\n8;Ölwechsel;Für Jürgen\r\n"


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (GERMAN.encode(), "utf-8, ';'"),
        (GERMAN.encode("utf-8-sig"), "utf-8, ';'"),
        (GERMAN.encode("cp1252"), "cp1252, ';'"),
        (GERMAN.encode("utf-16"), "utf-16, ';'"),
        (GERMAN.encode("utf-16-le"), "utf-16-le, ';'"),
        (GERMAN.encode("utf-16-be"), "utf-16-be, ';'"),
        (b"\xfe\xff" + GERMAN.encode("utf-16-be"), "utf-16, ';'"),
        (GERMAN.replace(";", "\t").encode("utf-16"), "utf-16, TAB"),
        (GERMAN.replace(";", "|").encode(), "utf-8, '|'"),
        (GERMAN.replace("\r\n", "\r").encode("mac-roman"), "mac-roman, ';'"),
        (GERMAN.replace("\r\n", "\n").encode(), "utf-8, ';'"),
        (b"sep=;\r\n" + GERMAN.encode("cp1252"), "cp1252, ';'"),
        (b"\xef\xbb\xbfsep=;\r\n" + GERMAN.encode(), "utf-8, ';'"),
    ],
)
def test_encodings_and_delimiters_are_found(data: bytes, note: str) -> None:
    table = opened(data)
    assert table.taken == f"subject ← Betreff, description ← Beschreibung, external_id ← Nummer; {note}"
    rows = list(table.rows)
    assert texts(rows) == [("Straße gesperrt", "Größe „M“ fehlt, schade"), ("Ölwechsel", "Für Jürgen")]
    assert [row.line for row in rows] == ([3, 4] if b"sep=" in data else [2, 3])


def test_an_encoding_may_change_in_the_middle_and_after_the_sample() -> None:
    plain = "id,subject\n" + "".join(f"{n},nothing special here\n" for n in range(HEAD_SIZE // 20))
    mixed = plain.encode() + "a,Grüße aus Köln\n".encode() + "b,Grüße aus Köln hätte gern\n".encode("cp1252")
    rows = read(mixed)
    assert texts(rows)[-2:] == [("Grüße aus Köln", None), ("Grüße aus Köln hätte gern", None)]
    assert reasons(rows) == []


def test_an_encoding_that_most_of_an_input_is_not_in_is_refused() -> None:
    with pytest.raises(dm.UsageError, match=r"the input is not in utf-8$") as caught:
        opened("id,subject\n1,R\xfcckzahlung\n2,M\xf6bel\n".encode("cp1252"), encoding="utf-8")
    assert not isinstance(caught.value, dm.InputError)
    one_odd_line = "id,subject\n1,Rückzahlung\n2,Möbel\n".encode() + b"3,K\xf6ln\n"
    assert texts(read(one_odd_line, encoding="utf-8"))[2] == ("Köln", None)


def test_options_overrule_what_would_be_found() -> None:
    hello = "\u041f\u0440\u0438\u0432\u0435\u0442"
    data = f"Betreff;x\n{hello};1\nnext;2\n".encode("koi8-r")
    rows = read(data, encoding="koi8-r", delimiter=";", source="shop", limit=1)
    assert texts(rows) == [(hello, None)]
    assert [row.source for row in rows if isinstance(row, dm.TicketDraft)] == ["shop"]


@pytest.mark.parametrize(
    ("written", "named"), [("utf-8-sig", "utf8"), ("utf-16", "U16"), ("utf-16", "utf-16-le"), ("utf-32", "u32")]
)
def test_an_encoding_may_be_named_by_any_of_its_names(written: str, named: str) -> None:
    table = opened("id,subject\n1,Grüße\n2,Köln\n".encode(written), encoding=named)
    assert table.columns == ("id", "subject")
    assert texts(list(table.rows)) == [("Grüße", None), ("Köln", None)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "klingon"}, "there is no encoding"),
        ({"encoding": "base64"}, "there is no encoding"),
        ({"encoding": "punycode"}, "there is no encoding"),
        ({"encoding": "unicode_escape"}, "there is no encoding"),
        ({"encoding": "idna"}, "there is no encoding"),
        ({"encoding": "utf-16"}, "the input is not in utf-16; leave out --encoding"),
        ({"encoding": "utf_32"}, "the input is not in utf_32"),
        ({"delimiter": "ab"}, "cannot delimit"),
        ({"format": "xlsx"}, "there is no format"),
        ({"mapping": {"sujet": "subject"}}, "did you mean subject?"),
        ({"mapping": {"subject": "Titel"}}, "its columns are id, subject"),
        ({"mapping": {"subject": "subjekt"}}, 'did you mean "subject"?'),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(dm.UsageError) as caught:
        opened("id,subject\n1,a\n", **options)
    assert message in caught.value.sentence()
    assert not isinstance(caught.value, dm.InputError)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n \n", "is empty"),
        (b"\n\n<!DOCTYPE html>\n<html><head><title>Log in</title>", "web page"),
        (b"<?xml version='1.0'?><rss/>", "web page or XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "Git LFS pointer"),
        (b"PK\x03\x04\x14\x00\x06\x00", "Excel"),
        (b"\x1f\x8b\x08\x00", "compressed by gzip; unpack it first: gunzip -k FILE"),
        (bytes(range(256)) * 20, "binary"),
        (b"ID,Client,Priority,Status\n#1,Faye,Medium,Open\n", "its columns are ID, Client, Priority, Status; name"),
        (b'"just text"', "no column for a subject"),
        (b"1,2,3\n4,5,6\n", "no header row"),
        (b"1\n2\n3\n", "by its number: --no-header --map description=N"),
    ],
)
def test_what_is_no_table_of_tickets_is_one_sentence_with_the_way_out(data: bytes, message: str) -> None:
    with pytest.raises(dm.InputError) as caught:
        opened(data)
    assert message in caught.value.sentence()
    assert caught.value.hint


def test_a_text_a_line_is_read_when_that_is_asked_for_and_never_guessed() -> None:
    lines = 'I was "charged, twice\r\n\n{"a": 1}\nsep=;\n"where is it'
    rows = read(lines, format="lines")
    assert texts(rows) == [(None, text) for text in ('I was "charged, twice', '{"a": 1}', "sep=;", '"where is it')]
    assert reasons(read("x" * (MB + 1) + "\nshort\n", format="lines")) == ["line 1: over 1 MB"]
    with pytest.raises(dm.InputError, match="has no column") as caught:
        opened("refund\n", "lines")
    assert "if each line is a ticket, add --format lines" in caught.value.hint


def test_json_without_a_text_has_no_hint_about_a_delimiter() -> None:
    with pytest.raises(dm.InputError) as caught:
        opened('[{"a": 1}]')
    assert caught.value.hint == 'name one with --map description="COLUMN"'


def test_a_header_alone_is_a_table_without_rows() -> None:
    assert read("id,subject,description\n") == []
    assert read("id,subject,description") == []


def test_rows_that_are_no_tickets_are_rejected_and_the_rest_goes_on() -> None:
    rows = read(
        "id,subject,description\n"
        "1,good,\n"
        "\n"
        "2,,\n"
        "3,text,more,and more\n"
        "4,text,more,,\n"
        "-,,\n"
        "5,short\n"
        "6,NULL,n/a\n"
        "7,nul\0byte,\n"
        "id,subject,description\n"
        "8,last,\n"
    )
    assert [(row.row, row.line) for row in rows] == [
        (0, 2),
        (1, 4),
        (2, 5),
        (3, 6),
        (4, 7),
        (5, 8),
        (6, 9),
        (7, 10),
        (8, 11),
        (9, 12),
    ]
    assert reasons(rows) == [
        "line 4: neither subject nor description",
        "line 5: 4 cells under 3 columns, and the extra ones hold text",
        "line 7: neither subject nor description",
        "line 9: neither subject nor description",
        "line 10: holds NUL bytes",
        "line 11: the header once more",
    ]
    bad = [row for row in rows if isinstance(row, dm.Rejected)]
    assert bad[1].raw == "3,text,more,and more\n"
    assert bad[1].cells == ["3", "text", "more", "and more"]
    assert [subject for subject, _ in texts(rows)] == ["good", "text", "short", "last"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_an_unclosed_quote_swallows_one_row_only(ending: str) -> None:
    lines = ["id,subject,description", "1,a,b", '2,"open,b', "3,c,d", "4,e,f"]
    rows = read(ending.join(lines) + ending)
    assert texts(rows) == [("a", "b"), ("c", "d"), ("e", "f")]
    assert reasons(rows) == ["line 3: a quote is opened and never closed; reading goes on at line 4"]


def test_an_unclosed_quote_is_found_where_a_later_quote_seems_to_close_it() -> None:
    rows = read('id,subject,description\n1,"open,b\n2,"fine, really",d\n3,"also ""fine""",f\n')
    assert texts(rows) == [("fine, really", "d"), ('also "fine"', "f")]
    assert reasons(rows) == ["line 2: a quote is opened and never closed; reading goes on at line 3"]


@pytest.mark.parametrize("data", ['1,"open,b\n2,"open,d\n', '1,"he said "hi" to me\n'])
def test_a_stray_quote_that_may_have_merged_two_rows_is_not_guessed_at(data: str) -> None:
    rows = read(f"id,subject,description\n{data}3,fine,row\n")
    assert reasons(rows)[0] == "line 2: a stray quote makes it unclear where this row ends"
    assert texts(rows)[-1] == ("fine", "row")


def test_a_file_cut_off_in_the_middle_of_a_text_loses_that_row_only() -> None:
    rows = read('subject,body\na,"one\ntwo"\nb,"Dear team,\n\nI hope, as ever, that\nyou')
    assert texts(rows) == [("a", "one\ntwo")]
    assert [(row.line, row.raw) for row in rows if isinstance(row, dm.Rejected)] == [
        (4, 'b,"Dear team,\n\nI hope, as ever, that\nyou'),
    ]
    assert reasons(rows) == ["line 4: a quote is opened and never closed before the end of the file (4 lines)"]


def test_stray_and_escaped_quotes_inside_a_line_are_read_as_meant() -> None:
    rows = read('id,subject,description\n1,a 5" disk,b\n2,"say "hi" now",c\n3,"say \\"hi, you\\"",d\n4,"x ""y""",z\n')
    assert [subject for subject, _ in texts(rows)] == ['a 5" disk', 'say hi" now"', 'say "hi, you"', 'x "y"']


def test_a_field_of_a_million_characters_is_read_and_a_row_over_one_megabyte_is_rejected() -> None:
    big = "x" * 1_000_000
    huge = "lines of a long l\n" * (2 * MB // 18)
    rows = read(f'id,subject,description\n1,{big},d\n2,"{huge}",d\n3,{"y" * 3 * MB},d\n4,after,d\n')
    assert [len(subject or "") for subject, _ in texts(rows)] == [1_000_000, 5]
    number = 2 * MB // 18
    assert reasons(rows) == [f"line 3: over 1 MB ({number + 1:,} lines)", f"line {4 + number}: over 1 MB"]
    assert rows[-1].line == 5 + 2 * MB // 18
    assert [row.row for row in rows] == [0, 1, 2, 3]


def test_lines_are_those_of_the_file_across_blocks_and_multi_line_fields() -> None:
    lines = ["subject,description"]
    for number in range(16_000):
        two = (f'ticket {number},"first line', f'second, of {number}"')
        lines.extend(two if number % 3 else (f"ticket {number},one", ""))
    data = "\n".join(lines) + "\n"
    assert len(data) > 2 * HEAD_SIZE
    for row in read(data):
        assert isinstance(row, dm.TicketDraft)
        assert lines[row.line - 1].startswith(f"{row.subject},")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "start", "row"),
    [
        ("t.csv", b"id,subject\n", b"7,some text of a ticket\n"),
        ("t.jsonl", b"", b'{"id":7,"subject":"some text"}\n'),
        ("t.json", b"[", b'{"id":7,"subject":"some text"},'),
        ("t.json", b'{"total": 9, "tickets": [', b'{"id":7,"subject":"some text"},'),
    ],
)
@pytest.mark.slow
def test_only_a_bounded_amount_is_read_ahead(name: str, start: bytes, row: bytes) -> None:
    pipe = Pipe(start, row)
    rows = open_table(pipe, name).rows  # type: ignore[arg-type]
    assert pipe.given <= HEAD_SIZE
    for taken in range(1, 24_001):
        next(rows)
        if taken % 4_000 == 0:
            assert pipe.given <= taken * len(row) + 5 * HEAD_SIZE + MB


def no_header(rows: int = 5) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(
        [
            f"SUMO-{1000 + n}",
            f"firefox extension does not work {n}",
            f"Hi, I am using version {n} here and it fails.",
            f"u_{n}",
            f"2024-12-{n + 1:02}T02:22:38-08:00",
        ]
        for n in range(rows)
    )
    return out.getvalue()


def test_a_file_without_a_header_is_read_by_its_content_and_says_so() -> None:
    table = opened(no_header())
    assert table.taken == "description ← 3, subject ← 2, external_id ← 1, created_at ← 5; utf-8, ','"
    assert "no header row was found" in table.notes[0]
    rows = list(table.rows)
    assert len(rows) == 5
    first = rows[0]
    assert isinstance(first, dm.TicketDraft)
    assert (first.external_id, first.line, first.created_at) == ("SUMO-1000", 1, "2024-12-01T10:22:38Z")
    assert first.extra == {"4": "u_0"}


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("id;subject;description\n", "the input has a header and no rows"),
        ("id,subject\n\n\n", "the input has a header and no rows"),
        ("[]", "the input has no items"),
        ("id,subject\n1,a\n", ""),
        ('[{"subject": "a", "id": 1}]', ""),
    ],
)
def test_an_input_without_tickets_says_so(content: str, note: str) -> None:
    assert opened(content.encode()).notes == ((note,) if note else ())


def test_no_header_names_the_columns_by_number() -> None:
    table = opened(no_header(), header=False, mapping={"subject": "3", "external_id": "1"})
    assert (table.columns, table.notes) == (("1", "2", "3", "4", "5"), ())
    assert table.taken.startswith("subject ← 3, external_id ← 1;")
    assert len(list(table.rows)) == 5


NO_ID = (
    "no column is an id, so tickets are recognised by their content; "
    "--map external_id=COLUMN names one of the columns without a field: {}"
)


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("Aktenz.,Text,,Wichtigkeit", "Aktenz., Wichtigkeit"),
        ("a,Text,c,d,e,f,g", "a, c, d, e, f, g"),
        ("a,Text,c,d,e,f,g,h", "a, c, d, e, f, g, …"),
        (f"{'x' * 41},Text", f"{'x' * 40}…"),
    ],
)
def test_a_table_without_an_id_column_says_so_and_names_the_columns_left(header: str, shown: str) -> None:
    row = ",".join("1" for _ in header.split(","))
    assert opened(f"{header}\n{row}\n").notes == (NO_ID.format(shown),)


def test_json_without_an_id_names_the_keys_left() -> None:
    assert opened('[{"title": "a", "sys": 1}]', "t.json").notes == (NO_ID.format("sys"),)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("id,subject,more\n1,a,b\n", {}),
        ("subject,more\na,b\n", {"mapping": {"external_id": "more"}}),
        ("id,subject,more\n1,a,b\n", {"mapping": {"external_id": ""}}),  # the caller wants none
        ("subject,description\na,b\n", {}),
        ('[{"title": "a"}]', {}),
        ("From: a@example.com\nMessage-ID: <1@example.com>\nSubject: a\n\nb\n", {"format": "eml"}),
    ],
)
def test_there_is_no_note_where_an_id_is_known_unwanted_or_impossible(text: str, options: dict[str, Any]) -> None:
    assert opened(text, **options).notes == ()


def test_a_title_above_the_header_is_passed_over() -> None:
    table = opened("Ticket report;;\n\nNummer;Betreff;Beschreibung\n1;a;b\n")
    assert texts(list(table.rows)) == [("a", "b")]
    assert table.notes == ("2 line(s) above the header were passed over",)


def test_one_column_of_text_needs_no_quotes() -> None:
    rows = read("description\nHello, I cannot log in\nplease help\nwell, well, well\n")
    assert [text for _, text in texts(rows)] == ["Hello, I cannot log in", "please help", "well, well, well"]


def test_duplicate_and_nameless_columns_are_all_kept() -> None:
    table = opened("Subject,Comment,Comment,,\nhelp,one,two,three,\n")
    assert table.columns == ("Subject", "Comment", "Comment", "", "")
    (row,) = table.rows
    assert isinstance(row, dm.TicketDraft)
    assert (row.description, row.extra) == ("one", {"Comment (2)": "two", "column 4": "three"})


def test_texts_of_ours_that_mean_nothing_known_are_kept_in_extra() -> None:
    (row,) = read("subject,Priority,Created,customer_id\nhelp,2,yesterday,NULL\n")
    assert isinstance(row, dm.TicketDraft)
    assert (row.priority, row.created_at, row.customer_id) == (None, None, None)
    assert row.extra == {"Priority": "2", "Created": "yesterday"}


def test_the_order_of_day_and_month_is_learned_from_the_column() -> None:
    def created(*values: str) -> list[str | None]:
        rows = read("subject,created\n" + "".join(f"x,{value}\n" for value in values))
        return [row.created_at for row in rows if isinstance(row, dm.TicketDraft)]

    assert created("03/04/2024", "25/04/2024") == ["2024-04-03T00:00:00Z", "2024-04-25T00:00:00Z"]
    assert created("03/04/2024", "04/25/2024") == ["2024-03-04T00:00:00Z", "2024-04-25T00:00:00Z"]
    assert created("03/04/2024", "03/05/2024") == [None, None]


@pytest.mark.parametrize("data", [b'"subject,description\n1,2\n', b'subject,"\n', b'"', b"\r", b'sep=,\n"a'])
def test_a_quote_that_opens_in_the_header_ends_in_no_error_but_ours(data: bytes) -> None:
    with suppress(dm.InputError):
        assert read(data) == []


QUARTER = 256 * 1024
SOON = 4.0  # seconds of this process; by the square of its length each of these took from 7 s to minutes


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", ["1" * QUARTER + "x", "a@" * (QUARTER // 2), "@" * QUARTER + "." * QUARTER, "#" + "a1111" * QUARTER]
)
def test_a_long_cell_of_a_first_row_costs_no_more_than_its_length(cell: str) -> None:
    began = time.process_time()
    with suppress(dm.InputError):
        read(f"{cell},hello\n2,world\n")
    assert time.process_time() - began < SOON


@pytest.mark.slow
@pytest.mark.parametrize("line", ['1,"a"b\n', '1,"ab\n', '1,"a\\"b"c\n', '1,""b\n'])
def test_rows_that_are_refused_cost_no_more_than_others(line: str) -> None:
    number = 2 * QUARTER // len(line)
    began = time.process_time()
    rows = read("id,subject\n" + line * number)
    assert time.process_time() - began < SOON
    assert len(rows) >= number // 2


def test_columns_of_one_name_are_numbered_in_one_go() -> None:
    began = time.process_time()
    (row,) = read("subject" + ",a" * 4000 + "\nhello" + ",x" * 4000 + "\n")
    assert time.process_time() - began < SOON
    assert list(row.extra)[:2] + list(row.extra)[-1:] == ["a", "a (2)", "a (4000)"]  # type: ignore[union-attr]


@pytest.mark.parametrize("start", ["subject", "2024-01-01"])
def test_a_table_of_absurd_width_is_none(start: str) -> None:
    with pytest.raises(dm.InputError, match=r"columns, more than any table|no column for"):
        read(start + ",a" * 5000 + "\n" + "x,y\n" * 1000)


@pytest.mark.parametrize(
    ("cell", "extra"),
    [
        ('{""a"": NaN, ""b"": 1e999}', {"a": None, "b": "1e999"}),
        ('{""a"": ' + "[" * 200 + "]" * 200 + "}", {"extra": '{"a": ' + "[" * 200 + "]" * 200 + "}"}),
        ('{""a"": ' + "[" * 5000 + "]" * 5000 + "}", {"extra": '{"a": ' + "[" * 5000 + "]" * 5000 + "}"}),
    ],
)
def test_a_forged_extra_of_an_own_export_can_be_written_again(cell: str, extra: dict[str, Any]) -> None:
    header = ",".join(dm.TICKET_KEYS)
    (row,) = read(f'{header}\n,x,import,help,{"," * 15}"{cell}"\n')
    assert isinstance(row, dm.TicketDraft)
    assert row.extra == extra


def test_files_that_were_joined_have_byte_order_marks_and_headers_inside() -> None:
    one = "\ufeffid,subject\n1,first\n"
    for joined in (one + one.replace("1,first", "2,second"), one + one.replace("id", '"id"').replace("1,f", "2,f")):
        rows = read(joined)
        assert [row.external_id for row in rows if isinstance(row, dm.TicketDraft)] == ["1", "2"]
        assert reasons(rows) == ["line 3: the header once more"]


def test_the_end_of_a_file_of_dos_is_no_row() -> None:
    assert len(read("id,subject\r\n1,a\r\n\x1a")) == 1


@pytest.mark.parametrize(
    ("above", "header"),
    [
        ("Ticket,,,Customer,\n", "ID,Subject,Description,Name,Email\n"),  # groups of columns
        ("Report generated, by Bob, for Al\n\n", "ID,Subject,Description,Name,Email\n"),
    ],
)
def test_the_header_is_found_under_another_line(above: str, header: str) -> None:
    table = opened(above + header + "1,Refund,I want money,Bob,b@x.example\n" * 3)
    assert table.taken.startswith("subject ← Subject, description ← Description, customer_id ← Email")
    assert len(list(table.rows)) == 3


def test_a_row_of_data_is_no_header_under_an_unknown_one() -> None:
    with pytest.raises(dm.InputError, match="its columns are Numer, Temat, Rodzaj, Typ"):
        read("Numer;Temat;Rodzaj;Typ\n1;Logowanie;Question;Request\n2;Faktura;Problem;Issue\n")


def test_a_header_that_is_named_is_the_header_whatever_a_ticket_holds() -> None:
    text = "Temat;Rodzaj;Typ\nLogowanie;subject;description\nFaktura;inne;inne\n"
    for name in ("Temat", " temat"):
        assert texts(read(text, mapping={"subject": name})) == [("Logowanie", None), ("Faktura", None)]


@pytest.mark.parametrize(
    "data", [",".join(f"column {n} {'x' * 200}" for n in range(4000)) + "\n1\n", f'[{{"{"x" * 100_000}": 1}}]']
)
def test_a_wrong_file_does_not_fill_a_screen(data: str) -> None:
    mappings: tuple[dict[str, str], ...] = ({}, {"subject": "zz"})
    for mapping in mappings:
        with pytest.raises((dm.InputError, dm.UsageError)) as refused:
            read(data, mapping=mapping)
        assert len(refused.value.sentence()) < 2000
    *_, again = read(f"id,subject\n{'x' * 9000},a\n")
    assert isinstance(again, dm.TicketDraft)
    assert len(dm.dedup.repeated(dm.dedup.identify(again)).message) < 200


def test_a_key_that_is_no_word_is_in_no_command_that_is_proposed() -> None:
    with pytest.raises(dm.InputError) as refused:
        read('{"x; rm -rf ~;": [{"a": 1}], "other things": [{"a": 1}]}', "t.json")
    assert refused.value.hint == "give one of them alone, for example what jq .NAME prints"


@pytest.mark.parametrize("cell", ['="00042"', '"=""00042"""'])
def test_an_id_that_a_spreadsheet_keeps_as_text_is_the_id(cell: str) -> None:
    (row,) = read(f'id,subject,customer_id\n{cell},="1",{cell}\n')
    assert isinstance(row, dm.TicketDraft)
    assert (row.external_id, row.subject, row.customer_id) == ("00042", '="1"', "00042")


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        ("id^subject^body\n1^Login^cannot\n", "t.csv", "name it with --delimiter"),
        ('[{"id": 1, "fields": {"summary": "x"}}]', "t.json", "must be taken out first, for example by jq"),
    ],
)
def test_the_hint_fits_what_was_found(data: str, name: str, message: str) -> None:
    with pytest.raises(dm.InputError) as refused:
        read(data, name)
    assert message in refused.value.hint
