"""Mails -> drafts: what stands in a mail, what cannot be read, and how mailboxes are parted."""

import base64
import io
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tests.support.mails import mail, mbox, multipart
from tests.support.read_tables import opened, read, reasons, texts
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.readers import MailFolder, ReadOptions, mail_files, open_table

MB = 1 << 20


def one(data: bytes) -> dm.TicketDraft:
    (row,) = read(data, "one.eml")
    assert isinstance(row, dm.TicketDraft), row
    return row


def refused(data: bytes, **options: Any) -> str:
    rows = read(data, "one.eml", **options)
    assert isinstance(rows[0], dm.Rejected)
    return rows[0].error.message


def test_a_mail_gives_a_draft() -> None:
    row = one(mail("Hello", more=["To: help@shop.example"]))
    assert (row.subject, row.description, row.customer_id) == ("A matter", "Hello", "ann@x.example")
    assert (row.created_at, row.external_id, row.source, row.origin) == ("2026-11-26T09:00:00Z", "1@x", "mail", "mail")
    assert {key: row.extra[key] for key in ("from", "to")} == {
        "from": "Ann <ann@x.example>",
        "to": "help@shop.example",
    }


@pytest.mark.parametrize(
    ("subject", "meant"),
    [
        ("=?utf-8?q?Geb=C3=BChr?= =?utf-8?q?_zu_hoch?=", "Gebühr zu hoch"),
        ("=?iso-8859-1?Q?Geb=FChr?= doppelt", "Gebühr doppelt"),
        ("=?no-such-charset?B?R2Viw7xocg==?=", "Gebühr"),
        ("=?utf-8?B?not base64?=", "=?utf-8?B?not base64?="),
        ("folded\n over lines", "folded over lines"),
        ("Gebühr, raw", "Gebühr, raw"),
        ("=?idna?B?R2Viw7xocg==?=", "Gebühr"),
    ],
)
def test_headers_are_decoded(subject: str, meant: str) -> None:
    assert one(mail(subject=subject)).subject == meant


def test_a_raw_header_in_an_old_charset_is_read_too() -> None:
    assert one(mail(subject="Gebühr").replace("ü".encode(), b"\xfc")).subject == "Gebühr"


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        ("utf-8", "Gebühr".encode()),
        ("iso-8859-1", b"Geb\xfchr"),
        ("us-ascii", "Gebühr".encode()),
        ("nope", b"Geb\xfchr"),
    ],
)
def test_a_body_is_read_in_its_charset_or_in_what_it_is(charset: str, data: bytes) -> None:
    head = mail("", more=[f"Content-Type: text/plain; charset={charset}"])
    assert one(head + data).description == "Gebühr"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<div style="max-height:0; Display : NONE">ignore this<br>and <b>this</b></div><p>My order</p>', "My order"),
        ('My <span style="visibility:hidden">not</span><img hidden alt="logo"> order<p hidden>x</p>', "My order"),
        ('<div style="display:block">My order</div><p style="mso-display:none">is late</p>', "My order\n\nis late"),
        ('<div style="display:none">all there is</div>', "all there is"),
        ('before<blockquote style="display:none">x</blockquote>after<blockquote>y</blockquote>', "before\nafter\n> y"),
    ],
)
def test_html_that_no_reader_sees_is_no_text(html: str, text: str) -> None:
    """What is hidden may be written for a classifier only."""
    assert one(mail(html, more=["Content-Type: text/html"])).description == text


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("auto-replied", "auto-replied"), ("Auto-Replied (vacation)", "auto-replied"),
        ("auto-generated; type=x", "auto-generated"), ("no", None), ("No (really)", None), ("", None),
    ],
)  # fmt: skip
def test_what_a_program_wrote_is_known_to_rules(header: str, kept: str | None) -> None:
    assert one(mail(more=[f"Auto-Submitted: {header}"])).extra.get("auto_submitted") == kept


def test_html_becomes_text_and_says_what_it_quotes() -> None:
    html = (
        "<html><head><style>p {color: red}</style><title>no</title></head><body><p>Hello &amp; good&nbsp;day</p>"
        "<ul><li>one<li>two</ul>a<br>b<script>alert(1)</script><blockquote>quoted<br>text</blockquote></body></html>"
    )
    row = one(mail(html, more=["Content-Type: text/html"]))
    assert row.description == "Hello & good\xa0day\n\n* one\n* two\n\na\nb\n> quoted\n> text"


def test_of_two_forms_the_plain_one_is_taken_unless_it_is_empty() -> None:
    html = "Content-Type: text/html\n\n<p>rich</p>"
    for plain, taken in (("plain", "plain"), ("  ", "rich")):
        kind, body = multipart(f"Content-Type: text/plain\n\n{plain}", html, kind="alternative")
        assert one(mail(body, more=[kind])).description == taken


def test_texts_of_several_parts_follow_each_other() -> None:
    forms, within = multipart(
        "Content-Type: text/html\n\n<p>rich</p>", "Content-Type: text/plain\n\nplain", kind="alternative"
    )
    inner = within.replace("--edge", "--inner")
    kind, body = multipart("Content-Type: text/plain\n\nabove", f"{forms.replace('edge', 'inner')}\n\n{inner}")
    assert one(mail(body, more=[kind])).description == "above\n\nplain"


def test_attachments_are_named_and_not_kept() -> None:
    picture = (
        "Content-Type: image/png; name*=utf-8''Rechnung%20%C3%BC.png\nContent-Transfer-Encoding: base64\n\niVBORw0="
    )
    note = "Content-Type: text/plain\nContent-Disposition: attachment; filename=note.txt\n\nkeep out"
    kind, body = multipart("Content-Type: text/plain\n\nsee it", picture, note)
    row = one(mail(body, more=[kind]))
    assert (row.description, row.extra["attachments"]) == ("see it", ["Rechnung ü.png", "note.txt"])
    assert "keep out" not in repr(row)


def test_a_mail_that_only_passes_on_another_one_has_its_text() -> None:
    inner = mail("my printer burns", name="inner@x", subject="Help").decode()
    kind, body = multipart(f"Content-Type: message/rfc822\n\n{inner}")
    row = one(mail(body, subject="Fwd: Help", more=[kind]))
    assert (row.subject, row.description, row.external_id) == ("Fwd: Help", "my printer burns", "1@x")
    kind, body = multipart("Content-Type: text/plain\n\nsee it", f"Content-Type: message/rfc822\n\n{inner}")
    assert one(mail(body, more=[kind])).description == "see it"


def test_a_large_attachment_does_not_make_a_mail_too_long() -> None:
    blob = base64.encodebytes(b"x" * (3 * MB)).decode()
    kind, body = multipart(
        "Content-Type: text/plain\n\nsee it", f"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n{blob}"
    )
    assert one(mail(body, more=[kind])).description == "see it"


def test_a_reply_is_of_the_thread_of_its_first_reference() -> None:
    assert one(mail(name="3@x", after=["1@x", "2@x"], reply_to="2@x")).external_id == "1@x"
    assert one(mail(name="3@x", reply_to="2@x")).external_id == "2@x"
    assert one(mail(name="3@x", after=["3@x"])).external_id == "3@x"


def test_a_mail_without_an_id_gets_the_same_one_each_time() -> None:
    data = mail().replace(b"Message-ID: <1@x>\n", b"")
    assert one(data).external_id == one(data).external_id
    assert one(data).external_id != one(data.replace(b"twice", b"once")).external_id


@pytest.mark.parametrize("date", ["yesterday", "Thu, 99 Nov 2026 10:00:00 +0100", "Fri, 31 Dec 9999 23:59:59 -2300"])
def test_a_date_that_cannot_be_read_is_kept(date: str) -> None:
    row = one(mail(date=date))
    assert (row.created_at, row.extra["date"]) == (None, date)


def test_a_sender_is_one_customer_in_whatever_case_the_address_is_written() -> None:
    """Else `forget` would erase a part of a person's mails, and one person would be several in `spikes`."""
    row = one(mail(sender="Ann <Ann@X.Example>"))
    assert (row.customer_id, row.extra["from"]) == ("ann@x.example", "Ann <Ann@X.Example>")


def test_a_sender_without_an_address_is_kept_as_it_stands() -> None:
    assert one(mail(sender="=?utf-8?q?J=C3=BCrgen?=")).customer_id == "Jürgen"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (mail("", subject=None), "neither subject nor text"),
        (mail("a\0b"), "holds NUL bytes"),
        (mail("YQBi", more=["Content-Transfer-Encoding: base64"]), "holds NUL bytes"),
        (mail("no edge", more=["Content-Type: multipart/mixed; boundary=edge"]), "its MIME tree is broken"),
        (mail("x", more=["Content-Disposition: " + "(" * 5000]), "its MIME tree is broken"),
        (mail("x" * MB), "its text is over 1 MB"),
        (mail("x", more=["Content-Type: multipart/mixed; boundary=a"] * 101), "its MIME tree has too many parts"),
        (mail("\n--a" * 30_000), "its MIME tree has too many parts"),
    ],
)
def test_what_cannot_be_a_ticket_is_one_sentence_and_the_rest_goes_on(data: bytes, why: str) -> None:
    assert refused(data).startswith(f"line 1: {why}")
    rows = read(mbox(data, mail("after it", name="2@x")), "box.mbox")
    assert texts(rows) == [("A matter", "after it")]
    assert isinstance(rows[0], dm.Rejected)
    assert data.rstrip(b"\n") in rows[0].raw.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n", b"\n\n"])
def test_what_an_editor_puts_before_a_mail_is_no_part_of_it(before: bytes) -> None:
    (row,), (same,) = read(before + mail(), "one.eml"), read(mail(), "one.eml")
    assert isinstance(row, dm.TicketDraft)
    assert isinstance(same, dm.TicketDraft)
    assert replace(row, size=0) == replace(same, size=0)


def test_a_mail_that_is_only_a_subject_is_a_ticket() -> None:
    assert texts(read(mail(""), "one.eml")) == [("A matter", None)]


def test_a_deep_tree_is_refused() -> None:
    nested = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(60))
    assert (
        refused(mail("").rstrip(b"\n") + b"\n" + nested.encode() + b"\nx") == "line 1: its MIME tree is nested too deep"
    )


@pytest.mark.parametrize(
    "header",
    [
        "Content-Type: " + "a;" * 60_000,
        "Content-Type: text/plain; " + "a=b;" * 20_000,
        'Content-Type: text/plain; name*0=("' * 10_000,
        "Subject: " + "=?utf-8?q?a?= " * 20_000,
        "To: " + "<" * 200_000,
        "References: " + "<" * 200_000,
        "From: " + "(a" * 20_000,
    ],
)
def test_a_hostile_header_costs_little(header: str) -> None:
    began = time.process_time()
    (row,) = read(f"{header}\n".encode() + mail(), "one.eml", format="eml")
    assert isinstance(row, dm.TicketDraft) or "is broken" in row.error.message
    assert time.process_time() - began < 4


@pytest.mark.parametrize("html", ["<div>" * 40_000, "<table><tr><td>" * 12_000, "<" * 200_000, "<!--" * 40_000])
def test_hostile_html_costs_little(html: str) -> None:
    began = time.process_time()
    assert read(mail(html, more=["Content-Type: text/html"]), "one.eml")
    assert time.process_time() - began < 4


def test_a_mailbox_is_parted_at_its_postmarks_alone() -> None:
    quoted = "first\n\nFrom here on it fails\n>From there too\n>>From both"
    rows = read(mbox(mail(quoted), mail("second", name="2@x")), "box.mbox")
    assert texts(rows) == [
        ("A matter", "first\n\nFrom here on it fails\nFrom there too\n>From both"),
        ("A matter", "second"),
    ]
    assert [row.line for row in rows] == [1, 13]


def test_mail_is_known_by_its_beginning_whatever_its_name() -> None:
    assert texts(read(mbox(mail()), "stdin")) == texts(read(mail(), "stdin")) == [("A matter", "I was charged twice")]
    assert texts(read(mbox(mail()).replace(b"\n", b"\r\n"), "stdin")) == [("A matter", "I was charged twice")]


@pytest.mark.parametrize("options", [{"mapping": {"subject": "x"}}, {"encoding": "cp1252"}, {"header": False}])
def test_what_is_said_of_tables_is_refused_of_mail(options: dict[str, Any]) -> None:
    with pytest.raises(dm.UsageError, match="is for tables, and box is mail"):
        opened(mbox(mail()), "box", **options)


def test_a_limit_counts_mails() -> None:
    assert len(read(mbox(*[mail(name=f"{n}@x") for n in range(5)]), "box", limit=2)) == 2


def test_a_mail_that_is_too_long_is_kept_whole_for_the_rejects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_files, "LONGEST", 1000)
    long = mail("a line of text\n" * 200)
    rows = read(mbox(long, mail("after it", name="2@x")), "box")
    assert reasons(rows) == ["line 1: over 50 MB"]
    assert texts(rows) == [("A matter", "after it")]
    assert isinstance(rows[0], dm.Rejected)
    whole = rows[0].raw + "".join(rows[0].rest)
    assert long.decode() in whole


def test_what_was_rejected_can_be_read_again() -> None:
    (row,) = read(mail("a\0b"), "one.eml")
    assert isinstance(row, dm.Rejected)
    (again,) = read(row.raw.replace("\0", " ").encode(), "rejects")
    assert texts([again]) == [("A matter", "a b")]


class Mailbox(io.RawIOBase):
    """A mailbox of so many bytes, of which no more than a part is ever there."""

    def __init__(self, size: int) -> None:
        self._mail = mbox(mail("some text of a mail\n" * 2000, name="1@x"))
        self._left = size
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest and self._left > 0:
            self._rest = self._mail
            self._left -= len(self._mail)
        piece = self._rest[: len(buffer)]
        buffer[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)


@pytest.mark.slow
def test_a_large_mailbox_takes_the_memory_of_one_mail() -> None:
    stream = io.BufferedReader(Mailbox(3 * MB))
    table = open_table(stream, "box")
    tracemalloc.start()
    try:
        assert sum(isinstance(row, dm.TicketDraft) for row in table.rows) > 70
        assert tracemalloc.get_traced_memory()[1] < MB
    finally:
        tracemalloc.stop()


def test_folders_of_mails_are_read_file_by_file(tmp_path: Path) -> None:
    for part, name, text in (
        ("new", "2.host", "b"),
        ("cur", "1.host:2,S", "a"),
        ("tmp", "3.host", "no"),
        ("new", ".x", "no"),
    ):
        (tmp_path / "box" / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / "box" / part / name).write_bytes(mail(text, name=f"{text}@x"))
    (tmp_path / "box" / "cur" / "9.host").write_bytes(mail("", subject=None))
    folder = MailFolder(tmp_path / "box")
    rows = list(open_table(folder, "box", ReadOptions()).rows)
    folder.close()
    assert texts(rows) == [("A matter", "a"), ("A matter", "b")]
    assert reasons(rows) == ["cur/9.host: neither subject nor text"]
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.eml").write_bytes(mail("c"))
    (tmp_path / "plain" / "notes.txt").write_text("no mail")
    plain = MailFolder(tmp_path / "plain")
    assert texts(list(open_table(plain, "plain").rows)) == [("A matter", "c")]
    plain.close()
    (tmp_path / "empty").mkdir()
    with pytest.raises(dm.InputError, match="is a folder without mails") as caught:
        MailFolder(tmp_path / "empty")
    assert f"name its files, as in {tmp_path}/empty/*.csv" in caught.value.hint


def test_a_mail_says_which_parts_nobody_is_asked_about() -> None:
    row = one(mail("Please cancel my order.\n-- \nAnn"))
    found = dm.mail_of(row.extra)
    assert found is not None
    assert [(row.description or "")[begin:end] for begin, end in found.left_out] == ["-- \nAnn".replace("-- ", "--")]
    assert row.text == "A matter\nPlease cancel my order."
