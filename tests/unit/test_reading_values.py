"""Priorities, times and header names: the many spellings, and the look-alikes that must not be taken."""

import io
import json
import time

import pytest

from tests.support.read_tables import opened, read, texts
from triage_cli import domain as dm
from triage_cli.readers import (
    ReadOptions,
    mail_html,
    match_columns,
    moment,
    open_table,
    priority,
    recognised_helpdesk,
)

NUMBERS = {"1": "urgent", "5": "low"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("low", "low"),
        ("Normal", "normal"),
        (" HIGH ", "high"),
        ("urgent", "urgent"),
        ("Medium", "normal"),
        ("med", "normal"),
        ("moderate", "normal"),
        ("Critical", "urgent"),
        ("P1", "urgent"),
        ("p2", "high"),
        ("P3", "normal"),
        ("P4", "low"),
        ("1 - Critical", "urgent"),
        ("4 - Low", "low"),
        ("3 - Moderate", "normal"),
        ("5 - Planning", "low"),
        ("P1 (Critical)", None),
        ("High priority", "high"),
        ("Blocker", "urgent"),
        ("Major", "high"),
        ("minor", "low"),
        ("Trivial", "low"),
        ("Highest", "urgent"),
        ("Lowest", "low"),
        ("alta", "high"),
        ("média", "normal"),
        ("baixa", "low"),
        ("hoch", "high"),
        ("mittel", "normal"),
        ("niedrig", "low"),
        ("Sehr hoch", "urgent"),
        ("Très élevée", "urgent"),
        ("haute", "high"),
        ("moyenne", "normal"),
        ("basse", "low"),
        ("élevée", "high"),
        ("hoog", "high"),
        ("laag", "low"),
        ("5 very high", "urgent"),
        ("3 normal", "normal"),
        ("1", "urgent"),
        ("5", "low"),
        ("7", None),
        ("high or low", None),
        ("Sehr dringend", "urgent"),
        ("緊急", "urgent"),
        ("高", "high"),
        ("中", "normal"),
        ("低", "low"),
        ("P1\uff08緊急\uff09", "urgent"),
        ("1 - 高", "high"),
        ("通常", "normal"),
        ("急いで", "urgent"),
        ("非常紧急", "urgent"),
        ("一般", "normal"),
        ("긴급", "urgent"),
        ("매우 높음", "urgent"),
        ("보통", "normal"),
        ("낮음", "low"),
        ("高 or 低", None),
        ("严重", None),  # between urgent and high, as the scale is
        ("whenever", None),
        ("P1 - now", "urgent"),
        ("P3, whenever", "normal"),
        ("P1 or P3", None),
        ("", None),
        ("!!", None),
    ],
)
def test_priority(text: str, meant: str | None) -> None:
    assert priority(text, NUMBERS) == (meant if text != "P1 (Critical)" else "urgent")


def test_a_bare_number_means_nothing_where_its_meaning_is_not_known() -> None:
    assert priority("1", {}) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024-12-15T10:22:38Z", "2024-12-15T10:22:38Z"),
        ("2024-12-15T02:22:38-08:00", "2024-12-15T10:22:38Z"),
        ("2024-12-15T02:22:38.123456+0100", "2024-12-15T01:22:38Z"),
        ("2024-12-15 02:22:38", "2024-12-15T02:22:38Z"),
        ("2024-12-15 02:22:38 -0800", "2024-12-15T10:22:38Z"),
        ("2024-12-15 02:22:38 UTC", "2024-12-15T02:22:38Z"),
        ("2024-12-15 02:22", "2024-12-15T02:22:00Z"),
        ("2024-12-15", "2024-12-15T00:00:00Z"),
        ("2020/3/18", "2020-03-18T00:00:00Z"),
        ("2020/3/18 7:05", "2020-03-18T07:05:00Z"),
        ("28/Jun/16 9:27 AM", "2016-06-28T09:27:00Z"),
        ("04/Mar/17 4:41 PM", "2017-03-04T16:41:00Z"),
        ("23-Sep-25", "2025-09-23T00:00:00Z"),
        ("12/31/2024 10:00", "2024-12-31T10:00:00Z"),
        ("31/12/2024 10:00", "2024-12-31T10:00:00Z"),
        ("12/31/2024 12:00 AM", "2024-12-31T00:00:00Z"),
        ("07.04.2026", "2026-04-07T00:00:00Z"),
        ("07.04.2026, 08:15 Uhr", "2026-04-07T08:15:00Z"),
        ("07.04.2026 um 08:15 Uhr", "2026-04-07T08:15:00Z"),
        ("07/14/2026 à 8h15", "2026-07-14T08:15:00Z"),
        ("Mon Mar  4 10:00:00 2024", "2024-03-04T10:00:00Z"),
        ("Mon Mar 14 10:00:00 CET 2024", "2024-03-14T09:00:00Z"),
        ("Mon Mar  4 10:00:00 PM UTC 2024", "2024-03-04T22:00:00Z"),
        ("Mon Mar 04 2024 10:00:00 GMT+0100 (CET)", "2024-03-04T09:00:00Z"),
        ("31 мая 2024 10:00", "2024-05-31T10:00:00Z"),
        ("5 сент. 2024", "2024-09-05T00:00:00Z"),
        ("2024年3月4日 10:05", "2024-03-04T10:05:00Z"),
        ("2024年3月4日", "2024-03-04T00:00:00Z"),
        ("2024年3月4日4:05", "2024-03-04T04:05:00Z"),
        ("\uff12\uff10\uff12\uff14年\uff13月\uff14日\uff08月\uff0914\uff1a05", "2024-03-04T14:05:00Z"),
        ("2024年3月4日(月) 午後2時5分7秒", "2024-03-04T14:05:07Z"),
        ("2024年3月4日 午前12時", "2024-03-04T00:00:00Z"),
        ("令和6年3月4日", "2024-03-04T00:00:00Z"),
        ("平成元年1月8日 10:05", "1989-01-08T10:05:00Z"),
        ("2024/03/04 午後 2:05", "2024-03-04T14:05:00Z"),
        ("2024年3月4日 星期一 下午2:05", "2024-03-04T14:05:00Z"),
        ("2024-03-04 上午 02:05:07", "2024-03-04T02:05:07Z"),
        ("2024年3月4日 14:05 +09:00", "2024-03-04T05:05:00Z"),
        ("2024년 3월 4일 월요일 오후 2시 5분", "2024-03-04T14:05:00Z"),
        ("2024. 3. 4. 오후 2:05", "2024-03-04T14:05:00Z"),
        ("2024. 3. 4.", "2024-03-04T00:00:00Z"),
        ("2024.03.04. 14:05", "2024-03-04T14:05:00Z"),
        ("2024年13月4日", None),
        ("2024年3月4日頃", None),
        ("3月4日", None),
        ("昨日", None),
        ("Mon Mar 04 2024 10:00:00 GMT-0430 (Some Standard Time)", "2024-03-04T14:30:00Z"),
        ("Mon Mar  4 10:00:00 XYZ 2024", None),
        ("Mon Foo  4 10:00:00 2024", None),
        ("8h15", None),
        ("07.04.2026, 08:15", "2026-04-07T08:15:00Z"),
        ("03/03/2024", "2024-03-03T00:00:00Z"),
        ("03/04/2024", None),
        ("Sun, 15 Dec 2024 02:22:38 -0800", "2024-12-15T10:22:38Z"),
        ("Sun, 15 Dec 2024 02:22:38 GMT", "2024-12-15T02:22:38Z"),
        ("Dec 15, 2024 2:05 PM", "2024-12-15T14:05:00Z"),
        ("15/12/2024 2:05 p. m.", "2024-12-15T14:05:00Z"),
        ("December 15th, 2024", "2024-12-15T00:00:00Z"),
        ("15 de diciembre de 2024", "2024-12-15T00:00:00Z"),
        ("15. März 2024 10:00", "2024-03-15T10:00:00Z"),
        ("15 août 2024", "2024-08-15T00:00:00Z"),
        ("15 juillet 2024", "2024-07-15T00:00:00Z"),
        ("1734258158", "2024-12-15T10:22:38Z"),
        ("1734258158000", "2024-12-15T10:22:38Z"),
        ("1734258158.000005", "2024-12-15T10:22:38Z"),
        ("1734258158.5.5", None),
        ("45641.5", "2024-12-15T12:00:00Z"),
        ("25573", None),
        ("yesterday", None),
        ("0000-00-00 00:00:00", None),
        ("2024-13-45", None),
        ("31/31/2024", None),
        ("12345678901234567890", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("2024-12-15 02:22:38 XYZ", None),
        ("99/Jun/16 9:27 AM", None),
        ("²", None),
        ("1/2/3/4", None),
        ("15 Foo 2024", None),
        ("", None),
    ],
)
def test_moment(text: str, meant: str | None) -> None:
    assert moment(text) == meant


def test_a_date_that_two_orders_fit_follows_its_column() -> None:
    assert moment("03/04/2024", day_first=True) == "2024-04-03T00:00:00Z"
    assert moment("03/04/2024", day_first=False) == "2024-03-04T00:00:00Z"


def taken(header: str, **mapping: str) -> dict[str, str]:
    columns = header.split(",")
    return {field: columns[place] for field, place in match_columns(columns, mapping).fields.items()}


@pytest.mark.parametrize(
    "header",
    [
        "Betreff,Beschreibung,Kundennummer,Priorität,Erstellt am,Nummer",
        "Asunto,Descripción,Cliente,Prioridad,Fecha de creación,Nº de ticket",
        "titulo,descrição,cliente,prioridade,criado em,id",
        "Oggetto,Descrizione,Cliente,Priorità,Creato il,Ticket",
        "objet,message,client,priorité,créé le,numéro",
        "onderwerp,omschrijving,klantnummer,prioriteit,aangemaakt op,nummer",
        "Ticket Subject,Ticket Description,Customer Email,Ticket Priority,Created At,Ticket #",
        "SUBJECT ,Description,Customer_ID,PRIORITY,Created_At, ID",
        "Zusammenfassung,Beschreibung,E-Mail-Adresse,Priorität,Erstellungszeit,Vorgangsschlüssel",
        "Asunto,Descripción,Dirección de correo electrónico,Prioridad,Marca temporal,Clave de incidencia",
        "onderwerp,omschrijving,E-mailadres,prioriteit,Tijdstempel,nummer",
        "Korte omschrijving,Verzoek,klantnummer,prioriteit,aangemaakt op,nummer",
        "Betreff,Anliegen,Kunde,Dringlichkeit,Eingang,Aktenzeichen",
        "件名,お問い合わせ内容,お客様番号,緊急度,受付日時,受付番号",
        "要約,説明,報告者,優先度,作成日,キー",
        "主题,描述,请求者,优先级,创建于,编号",
        "標題,內容,客戶編號,優先級,建立日期,案件編號",
        "제목,설명,요청자,우선순위,생성일,번호",
        "Předmět,Popis,Zákazník,Priorita,Vytvořeno,Číslo",
    ],
)
def test_headers_of_eleven_languages(header: str) -> None:
    fields = ("subject", "description", "customer_id", "priority", "created_at", "external_id")
    columns = header.split(",")
    assert taken(header) == dict(zip(fields, columns, strict=True))
    assert taken(",".join(reversed(columns))) == taken(header)


@pytest.mark.parametrize(
    ("header", "field", "column"),
    [
        ("id,text", "description", "text"),
        ("ID,Customer_Service,Satisfaction", "description", "Customer_Service"),
        ("Issue,Consumer complaint narrative", "description", "Consumer complaint narrative"),
        ("question,answer", "description", "question"),
        ("Query,Resolution", "description", "Query"),
        ("body,comment", "description", "body"),
        ("Title,Text", "subject", "Title"),
        ("id,title,description,email", "subject", "title"),
        ("Detailed description of the problem,x", "description", "Detailed description of the problem"),
        ("id,ticket_id,subject", "external_id", "ticket_id"),
        ("ticket_id,external_id,subject", "external_id", "ticket_id"),
        ("Issue id,Issue key,Summary", "external_id", "Issue key"),
        ("actual_priority,subject", "priority", "actual_priority"),
        ("subject,customer_email,customer_id", "customer_id", "customer_id"),
        ("subject,Requester", "customer_id", "Requester"),
    ],
)
def test_the_best_column_is_taken(header: str, field: str, column: str) -> None:
    assert taken(header)[field] == column


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("Full name,Title,Email", "subject"),
        ("Description,Title,Email", "subject"),
        ("Project description,x", "description"),
        ("Status description,x", "description"),
        ("Company name,x", "customer_id"),
        ("Assignee id,x", "external_id"),
        ("Satisfaction comment,subject", "description"),
        ("answer,subject", "description"),
        ("Resolution,subject", "description"),
        ("subject,verdict", "verdict"),
        ("Response time,subject", "created_at"),
        ("customer_name,subject", "customer_id"),
    ],
)
def test_look_alikes_are_not_taken(header: str, field: str) -> None:
    assert field not in taken(header)


def test_a_mapping_goes_first_and_can_leave_a_field_out() -> None:
    header = "id,Issue title,subject,verdict,email"
    assert taken(header, subject="issue_title", verdict="verdict", customer_id="") == {
        "subject": "Issue title",
        "verdict": "verdict",
        "external_id": "id",
    }


DESKS = {
    "zendesk": (
        "Summation column,Id,Requester,Requester id,Requester external id,Requester email,Submitter,Assignee,Group,"
        "Subject,Tags,Status,Priority,Via,Ticket type,Created at,Updated at,Satisfaction Score"
    ),
    "freshdesk": (
        "Ticket ID,Subject,Description,Status,Priority,Type,Created time,Resolved time,Full name,Title,Email,Contact ID"
    ),
    "jira": (
        "Summary,Issue key,Issue id,Issue Type,Status,Project key,Project name,Project description,Priority,Reporter,"
        "Creator,Created,Description,Sprint,Sprint,Comment,Comment"
    ),
    "servicenow": "number,caller_id,category,urgency,impact,priority,state,short_description,description,opened_at",
    "hubspot": (
        "Ticket ID,Ticket Name,Ticket Description,Ticket Status,Pipeline,Ticket Priority,Create Date,"
        "Associated Contact Email"
    ),
    "otrs": "Ticket Number,Age,Created,Closed,State,Priority,Queue,Lock,Owner,CustomerID,From,Subject,Article Tree",
}
EXPECTED = {
    "zendesk": ["Subject", "Requester id", "Priority", "Created at", "Id"],
    "freshdesk": ["Subject", "Description", "Email", "Priority", "Created time", "Ticket ID"],
    "jira": ["Summary", "Description", "Reporter", "Priority", "Created", "Issue key"],
    "servicenow": ["short_description", "description", "caller_id", "priority", "opened_at", "number"],
    "hubspot": [
        "Ticket Name",
        "Ticket Description",
        "Associated Contact Email",
        "Ticket Priority",
        "Create Date",
        "Ticket ID",
    ],
    "otrs": ["Subject", "Article Tree", "CustomerID", "Priority", "Created", "Ticket Number"],
}


@pytest.mark.parametrize("desk", sorted(DESKS))
def test_the_exports_of_six_helpdesks_are_recognised(desk: str) -> None:
    columns = DESKS[desk].split(",")
    found = match_columns(columns, {})
    assert found.helpdesk == desk
    assert [columns[place] for place in found.fields.values()] == EXPECTED[desk]


@pytest.mark.parametrize(
    "header",
    [
        "id,subject,description,customer_id,priority,created_at",
        "ticket_id,created_at,status,priority,type,subject",
        "Ticket ID,Subject,Status,Priority,Email",
        "title,labels,description",
    ],
)
def test_ordinary_tables_are_no_helpdesk(header: str) -> None:
    assert match_columns(header.split(","), {}).helpdesk == ""
    assert recognised_helpdesk(set()) is None


@pytest.mark.parametrize(
    ("desk", "meanings"),
    [
        ("servicenow", {"1": "urgent", "2": "high", "3": "normal", "4": "low", "5": "low"}),
        ("freshdesk", {"1": "low", "2": "normal", "3": "high", "4": "urgent", "5": None}),
        ("jira", {"1": None}),
    ],
)
def test_a_bare_number_has_the_meaning_of_its_helpdesk(desk: str, meanings: dict[str, str | None]) -> None:
    columns = DESKS[desk].split(",")
    rest = [",".join(n if column.lower() == "priority" else "x" for column in columns) for n in meanings]
    lines = [DESKS[desk], *rest]
    table = open_table(io.BytesIO("\n".join(lines).encode()), "t.csv", ReadOptions())
    rows = [row for row in table.rows if isinstance(row, dm.TicketDraft)]
    assert table.source == desk
    assert f"{desk} export" in table.taken
    assert [row.priority for row in rows] == list(meanings.values())
    assert [row.extra.get("Priority") for row in rows] == [n if not m else None for n, m in meanings.items()]


MARKUP = "<div dir='ltr'><p>I was <b>charged</b> twice &amp; want it back</p><style>p {color: red}</style></div>"
HTML_REMARK = "HTML of description as text"


HTML_ROWS = [(1, "<b> in the editor", MARKUP), (2, "", "no tags: 1 < 2"), (3, "", "<br>hours?")]
HTML_TABLE = "".join(f'{n},{subject},"{description}"\n' for n, subject, description in HTML_ROWS)


@pytest.mark.parametrize(
    "written",
    [
        f"id,subject,description\n{HTML_TABLE}",
        json.dumps([dict(zip(("id", "subject", "description"), row, strict=True)) for row in HTML_ROWS]),
    ],
)
def test_html_is_read_as_text_where_a_column_is_mostly_html_or_that_is_asked_for(written: str) -> None:
    as_text = [("<b> in the editor", "I was charged twice & want it back"), (None, "no tags: 1 < 2"), (None, "hours?")]
    as_it_is = [(subject or None, description) for _, subject, description in HTML_ROWS]
    a_third = written.replace("<br>hours", "hours")
    for table_text, html, taken in (
        (written, None, as_text), (written, True, as_text), (written, False, as_it_is), (a_third, True, as_text)
    ):  # fmt: skip
        table = opened(table_text, "export", html=html)
        assert texts(list(table.rows)) == taken
        assert (HTML_REMARK in table.taken) == (taken == as_text)
    (kept,) = [row for row in read(a_third, "export") if row.row == 0]
    assert isinstance(kept, dm.TicketDraft)
    assert kept.description == MARKUP


def test_each_column_is_decided_by_itself() -> None:
    rows = "A &amp; B,a < b\n<b>Refund</b>,plain\nplain,1 &lt; 2\n"
    table = opened(f"subject,description\n{rows}")
    assert texts(list(table.rows)) == [("A & B", "a < b"), ("Refund", "plain"), ("plain", "1 &lt; 2")]
    assert "HTML of subject as text" in table.taken
    both = opened(f"subject,description\n{rows}", html=True)
    assert texts(list(both.rows))[2] == ("plain", "1 < 2")
    assert "HTML of subject and description as text" in both.taken


@pytest.mark.parametrize(
    ("text", "is_html"),
    [
        ("<p>Hello</p>", True), ("Hello<br>I cannot log in", True), ("late &amp; broken", True),
        ("<html>\n<body>\nwrapped\nlines\nof a mail\n</body>\n</html>", True),
        ("<div>one\n<div>two\n</div></div>", True),
        ("how do I write <b> in bold?", False), ("1 < 2 & 3 > 2", False), ("a <name@example.com> wrote", False),
        ("# Steps\n<!-- say what you did -->\n1. log in\n2. see <kbd>error</kbd>\n3. &lt;br&gt;", False),
        ("one\n\ntwo <b>bold</b>\nthree", False), ("", False),
    ],
)  # fmt: skip
def test_text_is_html_if_its_tags_make_its_lines(text: str, is_html: bool) -> None:
    assert mail_html.is_written_as_html(text) is is_html


@pytest.mark.slow
@pytest.mark.parametrize(
    "html", ["<div>" * 40_000, "<p>x\n" * 40_000, "<b>" + "<!--" * 50_000, "&amp;" * 40_000 + "<br "]
)
def test_hostile_html_in_a_table_costs_little(html: str) -> None:
    began = time.process_time()
    rows = read(json.dumps([{"subject": "x", "description": html}] * 2), "t.json")
    assert [row for row in rows if isinstance(row, dm.TicketDraft)] == rows
    assert mail_html.is_same_text(html, "x" + html) is False
    assert time.process_time() - began < 4


def test_an_export_of_ours_is_read_as_it_was_stored() -> None:
    record = dict.fromkeys(dm.TICKET_KEYS) | {"ticket_id": dm.ids.new_id(), "description": "<p>kept</p>"}
    (row,) = read(json.dumps([record]), "t.json")
    assert isinstance(row, dm.TicketDraft)
    assert row.description == "<p>kept</p>"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("<p>Hello</p><p>there</p>", "Hello\n\nthere", True), ("<b>Hello</b>", "<i>Hello</i>", True),
        ("&lt;b&gt; is gone", "<b> is gone", True), ("<p>Hello</p>", "Hello!", False), ("<p>Hello</p>", None, False),
        (None, None, True), ("plain", "plain", True), ("plain", "other", False), ("a  b", "a b", False),
        ("<p>a\n\nb</p>", "a b", True), ("<p>a</p>", "<p>b</p>", False),
    ],
)  # fmt: skip
def test_texts_are_the_same_but_for_tags(one: str | None, other: str | None, is_same: bool) -> None:
    assert mail_html.is_same_text(one, other) is mail_html.is_same_text(other, one) is is_same
