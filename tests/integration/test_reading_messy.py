"""Messy files: broken bytes, empty columns, rows of totals, escapes, dates that can be read in two ways."""

import json
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.read_tables import opened, read, reasons, texts
from triage_cli import domain as dm
from triage_cli.readers import HEAD_SIZE


def decoded(data: bytes) -> tuple[list[str | None], list[str], str]:
    table = opened(b"id,subject\n" + data)
    found = [row.subject for row in table.rows if isinstance(row, dm.TicketDraft)]
    return found, table.remarks(), table.taken.partition("; ")[2]


def test_a_broken_byte_is_mended_alone_and_the_row_stays_what_it_is() -> None:
    good = "1,it said “hello”\n".encode()
    found, remarks, taken = decoded(good * 3 + b"2,it said \xe2\x80\x9chello\x94 and won\x92t\n")
    assert found == ["it said “hello”"] * 3 + ["it said “hello” and won\u2019t"]
    assert taken == "utf-8, ','"
    assert remarks == ["1 line(s) hold bytes that are not utf-8; these were read as cp1252"]


def test_a_character_that_lost_its_end_is_shown_as_lost() -> None:
    good = "1,it said “hello”\n".encode()
    found, remarks, _ = decoded(good * 3 + b"2,it said \xe2\x80\x9chello\xe2\x80 \n3,cut \xe2\x80\n")
    assert found[3:] == ["it said “hello\ufffd", "cut \ufffd"]
    (remark,) = remarks
    assert remark.startswith("2 line(s) hold bytes that are not utf-8; these were read as cp1252; in 2 of them ")
    assert remark.endswith("a character had lost its end and is \ufffd now")


@pytest.mark.parametrize("odd", [b"\xff", b"\xe9", b"\xc0"])
def test_one_odd_byte_tells_of_no_encoding(odd: bytes) -> None:
    """A detector takes it for Greek, Cyrillic or Hebrew."""
    _, remarks, taken = decoded(b"1,plain words\n" * 50 + "2,café\n".encode() + b"3,oops " + odd + b" here\n")
    assert taken == "utf-8, ','"
    assert remarks == ["1 line(s) hold bytes that are not utf-8; these were read as cp1252"]
    assert decoded(b"1,plain words\n" * 50 + b"3,oops " + odd + b" here\n")[1:] == ([], "cp1252, ','")


@pytest.mark.parametrize(
    ("encoding", "text", "often"),
    [
        ("cp1251", "нет связи: «ЯЩЖЮ» текст заявки", 9),
        ("cp1250", "Zażółć gęślą jaźń: Łódź i Kraków PÓŁNOC", 9),
        ("cp932", "ログインできません。助けてください", 9),
        ("cp1252", "Grüße aus Köln hätte gern", 9),
    ],
)
def test_a_whole_file_of_another_encoding_is_read_by_lines(encoding: str, text: str, often: int) -> None:
    """Two of its bytes may be one good character of UTF-8 by chance."""
    found, remarks, taken = decoded(f"1,{text}\n".encode(encoding) * often)
    assert (found, remarks, taken) == ([text] * often, [], f"{encoding}, ','")


def test_another_encoding_after_the_sample_is_told_too() -> None:
    plain = b"1,nothing special here\n" * (HEAD_SIZE // 20)
    found, remarks, taken = decoded(plain + "2,Grüße aus Köln hätte gern\n".encode("cp1252"))
    assert (found[-1], taken) == ("Grüße aus Köln hätte gern", "utf-8, ','")
    assert remarks == ["1 line(s) hold bytes that are not utf-8; these were read as cp1252"]


FRESHDESK = "Ticket ID,Subject,Status,Priority,Created time,Resolved time,Due by Time,Contact ID,Full name,Email"


def taken(data: str) -> dict[str, str]:
    note = opened(data).taken.partition(";")[0]
    return dict(pair.split(" ← ") for pair in note.split(", "))


@pytest.mark.parametrize("nothing", ["", "NULL", " - "])
def test_a_column_is_taken_only_if_it_holds_something(nothing: str) -> None:
    assert taken(f"{FRESHDESK}\n1,a,Open,2,,,,71,Ann,{nothing}\n2,b,Open,2,,,,72,Ben,{nothing}\n")["customer_id"] == (
        "Contact ID"
    )
    assert taken(f"{FRESHDESK}\n1,a,Open,2,,,,71,Ann,ann@example.com\n")["customer_id"] == "Email"
    assert taken(f"{FRESHDESK}\n1,a,Open,2,,,,,,{nothing}\n")["customer_id"] == "Email", "the best, where all are empty"
    assert taken(f"{FRESHDESK}\n")["customer_id"] == "Email"


@pytest.mark.parametrize(
    ("field", "header", "row", "column"),
    [
        ("subject", "subject,title,description", ",x,y", "title"),
        ("description", "subject,description,body", "x,,y", "body"),
        ("priority", "subject,priority,urgency", "x,,high", "urgency"),
        ("created_at", "subject,created_at,date", "x,,2024-01-02", "date"),
        ("external_id", "subject,ticket_id,number", "x,,7", "number"),
        ("customer_id", "subject,customer_id,email", "x,,a@example.com", "email"),
    ],
)
def test_every_field_passes_over_an_empty_column(field: str, header: str, row: str, column: str) -> None:
    assert taken(f"{header}\n{row}\n")[field] == column
    items = [dict(zip(header.split(","), row.split(","), strict=True))]
    assert taken(json.dumps(items))[field] == column


def test_otrs_is_known_in_portuguese() -> None:
    table = opened(
        "Número;Idade;Criado;Fechado;Titulo;Estado;Prioridade;Fila;Bloqueio;Proprietário;ID do Cliente;Solicitante;"
        "Observações\n20241;1 d;2024-03-05 10:00;;Erro;novo;3 normal;Suporte;livre;root;C-1;;Não abre\n"
    )
    assert table.taken == (
        "subject ← Titulo, description ← Observações, customer_id ← ID do Cliente, priority ← Prioridade, "
        "created_at ← Criado, external_id ← Número; otrs export, utf-8, ';'"
    )
    assert table.source == "otrs"


@pytest.mark.parametrize(
    "line",
    [
        "Total,5,",
        "Grand total,,5",
        ",Total: 1 234,",
        "Gesamt,5,17",
        "TOTAL,5.5,33 %",
        "Summe:,5,\n\n",
        "Gesamtsumme,2 Tickets,",
        ",Total: 1 ticket,",
        "Total général,,€ 12.50",
        "Summe,,5",  # without text, so rejected before
        "Total:,,",
    ],
)
def test_a_last_row_of_totals_is_no_ticket(line: str) -> None:
    found = read(f"id,subject,priority\n1,printer is broken,high\n{line}\n")
    assert [type(row) for row in found] == [dm.TicketDraft, dm.Rejected]
    assert reasons(found) == ["line 3: the totals of the rows above, not a ticket"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Total,5,", "2,more,low"],  # not the last
        ["Total,it is wrong,high"],
        ["Total,5,high"],
        ["7,Total,"],
        ["7,Total 5 is wrong,"],
        ["Total loss,5,"],
        ["Total,2 errors,"],
        ["Total,2024-05-01,"],
        [",Total: 2 tickets are lost,"],
        ["Total,5 tickets,", "2,more,low"],
    ],
)
def test_a_row_that_only_looks_like_totals_is_a_ticket(lines: list[str]) -> None:
    found = read("\n".join(["id,subject,priority", "1,printer is broken,high", *lines]) + "\n")
    assert [type(row) for row in found] == [dm.TicketDraft] * (1 + len(lines))
    assert [row.row for row in found] == list(range(1 + len(lines)))


def test_several_last_rows_of_totals_are_no_tickets() -> None:
    found = read("id;subject;priority\n1;printer is broken;high\nSubtotal;1;\nSumme;;5\nTotal:;;\n")
    assert [row.row for row in found] == [0, 1, 2, 3]
    assert reasons(found) == [f"line {line}: the totals of the rows above, not a ticket" for line in (3, 4, 5)]
    assert [row.raw for row in found if isinstance(row, dm.Rejected)] == ["Subtotal;1;\n", "Summe;;5\n", "Total:;;\n"]


def test_a_text_of_one_column_is_never_totals() -> None:
    assert texts(read("description\nhello there\ntotal 50\n"))[-1] == (None, "total 50")


@pytest.mark.parametrize(
    "again", ["ID,Subject,Created", " id , subject,created ", "id,subject,created,,", "id,SUBJECT"]
)
def test_a_header_that_is_repeated_in_another_writing_is_no_ticket(again: str) -> None:
    header, more = ("id,subject", "") if again.count(",") == 1 else ("id,subject,created", ",x")
    found = read(f"{header}\n1,printer is broken{more}\n{again}\n2,it is still broken{more}\n")
    assert [type(row) for row in found] == [dm.TicketDraft, dm.Rejected, dm.TicketDraft]
    assert reasons(found) == ["line 3: the header once more"]


@pytest.mark.parametrize(
    "lines",
    [
        ["id,subject,created", "7,subject,created"],
        ["id,subject,created", ",subject,"],
        ["subject", "Subject"],
        ["id,subject,created", "id,subject,created,2024"],
    ],
)
def test_a_row_that_only_has_a_word_of_the_header_is_not_taken_for_it(lines: list[str]) -> None:
    assert "line 2: the header once more" not in reasons(read("\n".join([*lines, ""])))


@pytest.mark.parametrize(
    "types", ["string,string,date", "INTEGER,varchar(255),timestamp with time zone", "int64,text,bool"]
)
def test_a_line_of_types_below_the_header_is_no_ticket(types: str) -> None:
    found = read(f"id,subject,seen\n{types}\n1,printer is broken,x\n")
    assert [type(row) for row in found] == [dm.Rejected, dm.TicketDraft]
    assert reasons(found) == ["line 2: the types of the columns, not a ticket"]


@pytest.mark.parametrize(
    "lines",
    [
        ["id,subject,seen", "1,date,text", "2,b,c"],
        ["id,subject,seen", "1,b,c", "string,string,date"],  # not directly below the header
        ["id,subject,seen", "string,string,", "2,b,c"],
        ["subject,description", "date,text"],  # too few columns to be sure
        ["id,subject,seen", "text,number is wrong,date"],
    ],
)
def test_a_row_that_only_looks_like_types_is_a_ticket(lines: list[str]) -> None:
    found = read("\n".join([*lines, ""]))
    assert [type(row) for row in found] == [dm.TicketDraft] * (len(lines) - 1)


def test_all_lines_above_the_header_are_counted() -> None:
    table = opened("Report,\nof 2024-05-01,\n\n\nTicket ID,Subject\n1,a\n2,b\n3,c\n")
    assert table.notes == ("4 line(s) above the header were passed over",)
    assert [row.line for row in table.rows] == [6, 7, 8]


MYSQL = (
    "id,subject,description\n"
    '"1","Login","He said \\"no\\", twice\\nIt fails in C:\\\\new\\ttab"\n'
    '"2",\\N,"First line\\r\\nIt broke"\n'
    '"3","ends in a backslash \\\\","x"\n'
    '"4","a \\"b\\"","unclosed\n'
)


def test_backslashes_mean_what_mysql_means_by_them() -> None:
    table = opened(MYSQL)
    found = list(table.rows)
    assert table.taken.endswith("; utf-8, ',', backslash escapes")
    assert texts(found) == [
        ("Login", 'He said "no", twice\nIt fails in C:\\new\ttab'),
        (None, "First line\r\nIt broke"),
        ("ends in a backslash \\", "x"),
    ]
    (bad,) = (row for row in found if isinstance(row, dm.Rejected))
    assert bad.raw == '"4","a \\"b\\"","unclosed\n'


@pytest.mark.parametrize(
    "row",
    [
        '1,"C:\\new\\folder\\",x\n',
        '1,"{""a"": ""\\""b\\nc\\""""}",x\n',
        "1,C:\\new,x\n",
        '1,"ends \\"\n',
        '1,"\\Next",x\n',
    ],
)
def test_backslashes_are_backslashes_elsewhere(row: str) -> None:
    table = opened("id,subject,description\n" + row)
    assert "backslash" not in table.taken
    (draft,) = table.rows
    assert isinstance(draft, dm.TicketDraft)
    assert "\\" in str(draft.subject)
    assert "\n" not in str(draft.subject)


def test_no_ticket_decides_how_the_backslashes_of_others_are_read() -> None:
    rows = opened("id,subject,description\n1,C:\\Users\\new,x\n2,\\N,y\n").rows
    assert [row.subject for row in rows if isinstance(row, dm.TicketDraft)] == ["C:\\Users\\new", None]


def sorted_export(days: int) -> str:
    each = (HEAD_SIZE // 12) // 40
    return "id,subject,created_at\n" + "".join(
        f"{day}-{n},some text of a ticket,{day:02}/02/2026\n" for day in range(1, days + 1) for n in range(each)
    )


def created(data: str | bytes, name: str = "t.csv") -> tuple[list[str | None], list[str]]:
    table = opened(data, name)
    found = [row.created_at for row in table.rows if isinstance(row, dm.TicketDraft)]
    return found, table.remarks()


def test_a_later_row_proves_the_order_of_day_and_month() -> None:
    text = sorted_export(20)
    assert len(text) > HEAD_SIZE
    found, remarks = created(text)
    assert (found[0], found[-1], None in found, remarks) == ("2026-02-01T00:00:00Z", "2026-02-20T00:00:00Z", False, [])
    lines = [dict(zip(("id", "subject", "created_at"), row.split(","), strict=True)) for row in text.split("\n")[1:-1]]
    found, remarks = created("\n".join(map(json.dumps, lines)), "t.jsonl")
    assert (found[0], None in found, remarks) == ("2026-02-01T00:00:00Z", False, [])


def test_dates_that_stay_unread_are_told_with_the_reason() -> None:
    found, remarks = created("id,subject,day created,created_at\n1,a,,01/02/2026\n2,b,,03/02/2026\n3,c,,yesterday\n")
    assert found == [None] * 3
    why = "have two readings, and no row proves which is the day; write them as 2024-04-03"
    assert remarks == [
        f"created_at of 2 row(s) stayed unread, first on line 2: its values {why}",
        "created_at of 1 row(s) stayed unread, first on line 4: its values are no known dates",
    ]
    found, remarks = created("subject,created\na,25/02/2026\nb,02/25/2026\nc,03/04/2026\n")
    assert found == ["2026-02-25T00:00:00Z"] * 2 + [None]
    assert "rows use both orders of day and month" in remarks[0]


def test_rows_in_are_rows_out_but_blank_lines(fitted: Cli) -> None:
    done = fitted("run", "-o", "csv", stdin='subject,description,n\na,refund,\n,,1\n"","",1\n   \n\nc,login,\n')
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == ["subject", "a", "", "", "c"]
    assert done.returncode == 3
    assert "2 created, 0 updated, 0 unchanged, 2 rejected" in done.stderr
    done = fitted("run", "-o", "jsonl", stdin='[{"subject": "d"}, {}, null, {"subject": ""}, {"subject": "e"}]')
    assert [json.loads(line)["triage_status"] == "rejected" for line in done.stdout.splitlines()] == [
        False, True, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_rows_of_delimiters_alone_are_blank_lines(fitted: Cli, delimiter: str) -> None:
    """Spreadsheets leave hundreds behind the last row."""
    ticket = delimiter.join(("T-1", "Refund", "charged twice"))
    blank = f"{delimiter * 2}\n" * 500 + f' {delimiter}""{delimiter}\n'
    table = delimiter.join(("id", "subject", "description")) + f"\n{blank}{ticket}\n{blank}"
    done = fitted("create", stdin=table)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "1 created, 0 updated, 0 unchanged, 0 rejected")
    done = fitted("run", "-o", "csv", stdin=table)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)


@pytest.mark.parametrize("output", ["csv", "jsonl"])
def test_priorities_that_stay_unread_are_told_with_the_reason(fitted: Cli, output: str) -> None:
    columns = ("id", "subject", "Priorität")
    rows = [("1", "a", "hoch"), ("2", "b", "Riesig"), ("3", "c", "7"), ("4", "d", "Mega"), ("5", "e", "")]
    lines = [",".join(row) for row in (columns, *rows)]
    if output == "jsonl":
        lines = [json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) for row in rows]
    for command in (("create",), ("run",), ("create", "--dry-run")):
        done = fitted(*command, stdin="\n".join(lines))
        first = 3 if output == "csv" else 2
        assert (
            f"note: Priorität of 2 row(s) stayed unread, first on line {first}: its values are no known priorities; "
            "write low, normal, high or urgent\n"
        ) in done.stderr
        assert (
            f"note: Priorität of 1 row(s) stayed unread, first on line {first + 1}: its values are numbers"
            in done.stderr
        )
    assert "note" not in fitted("create", stdin="id,subject,priority\n1,a,high\n").stderr


@pytest.mark.parametrize(
    ("encoding", "header", "row"),
    [
        ("cp932", "チケット番号,件名,本文,優先度,作成日時,メールアドレス,担当者", "高,2026年11月30日(月) 14時05分"),
        ("gb18030", "工单编号,标题,问题描述,优先级,创建时间,客户邮箱,负责人", "较高,2026-11-30 下午 2:05:00"),
        ("big5", "工單編號,主題,內容,優先級,建立時間,電子郵件,負責人", "高,2026/11/30 下午 02:05"),
        ("euc-kr", "티켓번호,제목,문의내용,우선순위,접수일시,이메일,담당자", "높음,2026. 11. 30. 오후 2:05"),
        (
            "utf-8",
            "Vorgangsnr,Betreff,Anliegen,Wichtigkeit Priorität,Eingang,E-Mail,Bearbeiter",
            "wichtig,30.11.2026 14:05",
        ),
    ],
)
def test_exports_of_helpdesks_in_other_scripts_need_no_mapping(encoding: str, header: str, row: str) -> None:
    columns = header.replace("Wichtigkeit ", "").split(",")
    text = (
        f"{','.join(columns)}\n"
        + f"{columns[0]}-1,{columns[1]} {columns[1]},{columns[2]},{row},a@b.example,{columns[6]}\n" * 3
    )
    table = opened(text.encode(encoding))
    assert table.taken.startswith(
        f"subject ← {columns[1]}, description ← {columns[2]}, customer_id ← {columns[5]}, priority ← {columns[3]}, "
        f"created_at ← {columns[4]}, external_id ← {columns[0]}; "
    )
    assert table.unused == (columns[6],)
    draft = next(table.rows)
    assert isinstance(draft, dm.TicketDraft)
    assert (draft.priority, draft.created_at, draft.customer_id) == ("high", "2026-11-30T14:05:00Z", "a@b.example")
    assert table.remarks() == []


@pytest.mark.parametrize("command", ["create", "run"])
def test_what_is_known_at_the_end_is_told_before_the_summary(fitted: Cli, command: str) -> None:
    data = b"id,subject,created_at\n1,caf\xc3\xa9 caf\xe9,01/02/2026\n"
    done = fitted(command, stdin=data)
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert [note.partition(" ")[2].split(" ")[0] for note in notes] == ["1", "created_at"]
    assert done.stderr.splitlines()[-1].startswith("1 created")
    assert "note" not in fitted(command, "-q", stdin=data).stderr
    (fitted.folder / "a.csv").write_bytes(data)
    (fitted.folder / "b.csv").write_bytes(b"id,subject\n2,x\n")
    assert "a.csv: note: 1 line(s)" in fitted(command, "a.csv", "b.csv", "-o", "jsonl").stderr


def test_an_integer_that_python_does_not_read_is_kept_as_text(cli: Cli) -> None:
    digits = "9" * 5000
    done = cli("create", stdin=f'[{{"subject": "a", "n": {digits}}}, {{"subject": "b", "n": 12}}]')
    assert done.returncode == 0
    kept: list[tuple[Any, ...]] = rows(cli.db, "select extra from tickets order by subject")
    assert [json.loads(extra)["n"] for (extra,) in kept] == [digits, 12]
