"""Converts a mail (RFC 5322, MIME) to a draft: mostly by the standard library, and leniently where that is too strict.

The external id is the Message-ID of the thread's first mail, so that a reply finds its ticket. That id is the first in
`References` (RFC 5322, section 3.6.4), or the one in `In-Reply-To`.
"""

import hashlib
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.utils import getaddresses, parsedate_to_datetime
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from triage_cli.domain.errors import RowError, UsageError
from triage_cli.domain.mail import quotes_and_signatures
from triage_cli.domain.mail.parts import MAIL, Mail
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.readers import mail_html
from triage_cli.readers.dates import moment
from triage_cli.readers.decoding import LONGEST, decoded
from triage_cli.readers.mail_files import RawMail, as_mbox
from triage_cli.readers.table import ReadOptions, Table

COLUMNS = ("message_id", "from", "to", "date", "subject", "text")
_DEEPEST = 50  # multiparts within one another
_MULTIPARTS = 100  # of one mail: the parser compares each line with the boundaries of all open parts
_PARTS = 20_000
_HEADER = 2048  # characters of one header that are read; of `References` only the beginning counts
_NAMES = 100  # attachments
# The class is generic in stubs alone.
Part: TypeAlias = "Message[Any, Any]"
_ID = re.compile(r"<\s*([^<>\s]{1,300})\s*>")
_BARE = re.compile(r"[^<>\s]{1,300}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


@lru_cache(256)
def _parsed(header_name: str, header_value: str) -> Any:
    """Return a parsed header. Cached, because the standard library reads each header of a part about ten times."""
    return policy.default.header_fetch_parse(header_name, header_value)


class _Bounded(policy.EmailPolicy):
    """Parses only the beginning of a header, because parsers of structured headers take quadratic time."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        header_name, header_value = super().header_source_parse(sourcelines)
        return header_name, header_value[:_HEADER]

    def header_fetch_parse(self, header_name: str, header_value: str) -> Any:
        return _parsed(header_name, header_value)


_POLICY = _Bounded()


class UnreadableMailError(Exception):
    """A mail that cannot become a ticket; the message says why."""


class _Found(NamedTuple):
    """The content of a mail's parts: texts in order, names of attachments, defects; `mails` are attached mails."""

    texts: list[str]
    attachments: list[str]
    broken: list[str]
    mails: list[Part]
    wants_text: bool = True


def draft_of(mail_bytes: bytes, *, whole: bool = True) -> TicketDraft:
    """Return the draft of a mail, which is too long if it is not `whole`. Raises `UnreadableMailError`."""
    _check(mail_bytes, whole=whole)
    mail_parts = _Found([], [], [], [])
    try:
        # Editors put a byte order mark or an empty line before the headers.
        message = BytesParser(policy=_POLICY).parsebytes(mail_bytes.removeprefix(BOM_UTF8).lstrip(b"\r\n"))
        _read(message, mail_parts, _DEEPEST)
        if not mail_parts.texts and mail_parts.mails:  # a mail without text that forwards another mail
            _read(mail_parts.mails[0], mail_parts, _DEEPEST)
    except (ValueError, LookupError, AttributeError, TypeError, AssertionError, RecursionError) as error:
        # Parsers of structured headers raise any of these for malformed headers.
        raise UnreadableMailError(f"its MIME tree is broken ({type(error).__name__})") from error
    raw = {header_name.lower(): header_value for header_name, header_value in reversed(list(message.raw_items()))}
    subject = _header(raw, "subject") or None
    text = "\n\n".join(mail_parts.texts).strip() or None
    if "\0" in (text or ""):
        raise UnreadableMailError("holds NUL bytes")
    if text is None and mail_parts.broken:
        raise UnreadableMailError(f"its MIME tree is broken: {mail_parts.broken[0]}")
    if text is None and subject is None:
        raise UnreadableMailError("neither subject nor text")
    if len(text or "") + len(subject or "") > LONGEST:
        raise UnreadableMailError("its text is over 1 MB")
    sender, date, strange_date = _sender(raw), *_date(raw)
    own = _own_id(raw, sender, date, subject, text)
    before = next(
        (each for header_name in ("references", "in-reply-to") for each in _ids(raw, header_name) if each != own), None
    )
    spans = quotes_and_signatures.left_out(text or "", subject=subject, reply=before is not None)
    named = {"from": _header(raw, "from"), "to": _header(raw, "to"), "cc": _header(raw, "cc"), "date": strange_date}
    named["auto_submitted"] = _auto_submitted(raw)
    extra: dict[str, Any] = {header_name: header_value for header_name, header_value in named.items() if header_value}
    if mail_parts.attachments:
        extra["attachments"] = mail_parts.attachments[:_NAMES]
    return TicketDraft(
        subject=subject,
        description=text,
        customer_id=sender,
        created_at=date,
        external_id=before or own,
        extra={**extra, MAIL: Mail(own, spans).record()},
        cells=(own, named["from"], named["to"], date or strange_date, subject, text),
        size=len(mail_bytes),
        origin="mail",
    )


def _check(mail_bytes: bytes, *, whole: bool) -> None:
    """Raise `UnreadableMailError` for a mail that would take too long to parse, or cannot be stored."""
    if not whole:
        raise UnreadableMailError("over 50 MB")
    if b"\0" in mail_bytes:
        raise UnreadableMailError("holds NUL bytes")
    if mail_bytes.lower().count(b"boundary=") > _MULTIPARTS or mail_bytes.count(b"\n--") > _PARTS:
        raise UnreadableMailError("its MIME tree has too many parts")


def _read(mail_part: Part, mail_parts: _Found, depth: int) -> None:
    """Collect the content of a part and of the parts in it."""
    kind = mail_part.get_content_type()
    file_name = mail_part.get_filename()
    if mail_part.get_content_maintype() == "multipart":
        payload = mail_part.get_payload()
        within = [each for each in payload if isinstance(each, Message)] if isinstance(payload, list) else []
        if not within:
            mail_parts.broken.append("a multipart without its parts")
        elif depth == 0:
            raise UnreadableMailError("its MIME tree is nested too deep")
        elif kind == "multipart/alternative":
            _read_alternative(within, mail_parts, depth - 1)
        else:
            for each in within:
                _read(each, mail_parts, depth - 1)
    elif (
        kind in ("text/plain", "text/html")
        and file_name is None
        and mail_part.get_content_disposition() != "attachment"
    ):
        if mail_parts.wants_text and (text := _text(mail_part, kind)):
            mail_parts.texts.append(text)
    else:
        attached = file_name or str(mail_part.get("content-description") or kind)
        mail_parts.attachments.append(_CONTROLS.sub(" ", attached)[:200])
        payload = mail_part.get_payload() if kind == "message/rfc822" else None
        mail_parts.mails.extend(each for each in payload or () if isinstance(each, Message))


def _read_alternative(parts: list[Part], mail_parts: _Found, depth: int) -> None:
    """Collect one of several forms of the same text: the plain one, unless it is empty."""
    texts: list[str] = []
    for mail_part in sorted(parts, key=lambda mail_part: mail_part.get_content_type() != "text/plain"):
        form = _Found(
            [],
            mail_parts.attachments,
            mail_parts.broken,
            mail_parts.mails,
            wants_text=mail_parts.wants_text and not texts,
        )
        _read(mail_part, form, depth)
        texts.extend(form.texts)
    mail_parts.texts.extend(texts)


def _text(mail_part: Part, kind: str) -> str:
    payload = mail_part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    if len(content) > 8 * LONGEST:  # most of HTML is markup
        raise UnreadableMailError("its text is over 1 MB")
    text = decoded(content, mail_part.get_content_charset()).replace("\r\n", "\n").replace("\r", "\n")
    text = mail_html.text_of(text) if kind == "text/html" else text
    return "\n".join(map(str.rstrip, text.split("\n"))).strip("\n")


def _header(raw: dict[str, str], header_name: str) -> str:
    """Return a header's decoded text (RFC 2047) on one line."""
    header_value = _CONTROLS.sub(" ", raw.get(header_name, "")[:_HEADER])
    try:
        pieces = decode_header(header_value) if "=?" in header_value else [(header_value, None)]
    except HeaderParseError:
        pieces = [(header_value, None)]
    texts = [decoded(_bytes(piece), charset) for piece, charset in pieces]
    return " ".join(_CONTROLS.sub(" ", "".join(texts)).split())


def _auto_submitted(raw: dict[str, str]) -> str:
    """Return which kind of program wrote a mail (RFC 3834): "auto-replied" for vacation notices and bounces; or ""."""
    keyword = re.split(r"[\s;(]", _header(raw, "auto-submitted").lower(), maxsplit=1)[0]
    return "" if keyword == "no" else keyword


def _bytes(piece: str | bytes) -> bytes:
    return piece if isinstance(piece, bytes) else piece.encode("utf-8", "surrogateescape")


def _ids(raw: dict[str, str], header_name: str) -> Iterator[str]:
    return (match[1] for match in _ID.finditer(raw.get(header_name, "")[:_HEADER]))


def _own_id(raw: dict[str, str], *what: str | None) -> str:
    """Return a mail's Message-ID, or else an id made from its sender, date, subject and text."""
    bare = _BARE.fullmatch(raw.get("message-id", "").strip())
    made = hashlib.sha256("\0".join(each or "" for each in what).encode("utf-8", "replace")).hexdigest()[:32]
    return next(_ids(raw, "message-id"), bare[0] if bare else f"{made}@unnamed.invalid")


def _sender(raw: dict[str, str]) -> str | None:
    """Return the sender of a mail: the address in lower case, or else the text of the header."""
    header_value = raw.get("from", "")[:_HEADER]
    try:
        addresses = [address for _, address in getaddresses([header_value]) if "@" in address]
    except RecursionError:  # comments inside of comments
        addresses = []
    sender = addresses[0].lower() if addresses else _header(raw, "from")
    return decoded(_bytes(sender), None)[:320] or None


def _date(raw: dict[str, str]) -> tuple[str | None, str]:
    """Return the date of a mail, and the header's text if the date cannot be read."""
    header_value = raw.get("date", "").strip()[:100]
    try:
        sent_at = moment(parsedate_to_datetime(header_value).isoformat()) if header_value else None
    except (ValueError, TypeError, IndexError, OverflowError):
        sent_at = None
    return sent_at, "" if sent_at else _header(raw, "date")[:100]


SOURCE = "mail"
_TAKEN = "external_id ← Message-ID of the thread's first mail, customer_id ← From, created_at ← Date, subject ← Subject"


def mail_table(mails: Iterable[RawMail], name: str, options: ReadOptions) -> Table:
    """Return the tickets in mails. Raises `UsageError` for options that only a table can have."""
    of_tables = ((options.mapping, "--map"), (options.encoding, "--encoding"), (options.delimiter, "--delimiter"))
    for given, option in (*of_tables, (not options.header, "--no-header")):
        if given:
            raise UsageError(f"{option} is for tables, and {name} is mail", hint="leave it out: a mail names its parts")
    source = options.source or SOURCE
    rows = islice(drafts(mails, source), options.limit)
    return Table(COLUMNS, f"{_TAKEN}; mail", source, rows, "", name=name, trusts_ids=True)


def rewritten(draft: TicketDraft) -> str:
    """Return the mbox form of a mail that was rejected after it had been read, made from the draft."""
    own, sender, to, date, subject, text = draft.cells or [""] * len(COLUMNS)
    headers = {"From": sender, "To": to, "Date": date, "Subject": subject, "Message-ID": f"<{own}>"}
    if draft.external_id != own:
        headers["References"] = f"<{draft.external_id}>"
    lines = [f"{header_name}: {header_value}" for header_name, header_value in headers.items() if header_value]
    return as_mbox("\n".join([*lines, "", text or ""]).encode("utf-8", "replace"))


def drafts(mails: Iterable[RawMail], source: str) -> Iterator[TicketDraft | Rejected]:
    """Yield a draft or a rejection for every mail."""
    for row, mail in enumerate(mails):
        try:
            draft = draft_of(mail.content, whole=mail.is_whole)
        except UnreadableMailError as error:
            yield Rejected(row, mail.line, RowError(f"{mail.place}: {error}"), as_mbox(mail.content), rest=mail.rest)
        else:
            yield draft._replace(row=row, line=mail.line, source=source)
