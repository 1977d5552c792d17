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

from triage_cli import domain as dm
from triage_cli.readers import mail_html
from triage_cli.readers.dates import moment
from triage_cli.readers.decoding import LONGEST, decoded
from triage_cli.readers.mail_files import RawMail, as_mbox
from triage_cli.readers.table import ReadOptions, Table

MAIL_COLUMNS = ("message_id", "from", "to", "date", "subject", "text")
_DEEPEST_PART = 50  # multiparts within one another
_MOST_MULTIPARTS = 100  # of one mail: the parser compares each line with the boundaries of all open parts
_MOST_PARTS = 20_000
_HEADER_LENGTH = 2048  # characters of one header that are read; of `References` only the beginning counts
_MOST_ATTACHMENTS = 100  # names of a mail's attachments that are stored
# The class is generic in stubs alone.
MailPart: TypeAlias = "Message[Any, Any]"
_MESSAGE_ID = re.compile(r"<\s*([^<>\s]{1,300})\s*>")
_BARE_ID = re.compile(r"[^<>\s]{1,300}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


@lru_cache(256)
def _parsed_header(name: str, value: str) -> Any:
    """Return a parsed header. Cached, because the standard library reads each header of a part about ten times."""
    return policy.default.header_fetch_parse(name, value)


class _BoundedHeaders(policy.EmailPolicy):
    """Parses only the beginning of a header, because parsers of structured headers take quadratic time."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_HEADER_LENGTH]

    def header_fetch_parse(self, name: str, value: str) -> Any:
        return _parsed_header(name, value)


_MAIL_POLICY = _BoundedHeaders()


class UnreadableMailError(Exception):
    """A mail that cannot become a ticket; the message says why."""


class _MailContent(NamedTuple):
    """The content of a mail's parts: texts in order, names of attachments, defects; `mails` are attached mails."""

    texts: list[str]
    attachments: list[str]
    broken: list[str]
    mails: list[MailPart]
    wants_text: bool = True


def mail_draft(encoded: bytes, *, whole: bool = True) -> dm.TicketDraft:
    """Return the draft of a mail, which is too long if it is not `whole`. Raises `UnreadableMailError`."""
    _check_parsable(encoded, whole=whole)
    content = _MailContent([], [], [], [])
    try:
        # Editors put a byte order mark or an empty line before the headers.
        message = BytesParser(policy=_MAIL_POLICY).parsebytes(encoded.removeprefix(BOM_UTF8).lstrip(b"\r\n"))
        _read_part(message, content, _DEEPEST_PART)
        if not content.texts and content.mails:  # a mail without text that forwards another mail
            _read_part(content.mails[0], content, _DEEPEST_PART)
    except (ValueError, LookupError, AttributeError, TypeError, AssertionError, RecursionError) as error:
        # Parsers of structured headers raise any of these for malformed headers.
        raise UnreadableMailError(f"its MIME tree is broken ({type(error).__name__})") from error
    headers = {name.lower(): value for name, value in reversed(list(message.raw_items()))}
    subject = _header_text(headers, "subject") or None
    text = "\n\n".join(content.texts).strip() or None
    if "\0" in (text or ""):
        raise UnreadableMailError("holds NUL bytes")
    if text is None and content.broken:
        raise UnreadableMailError(f"its MIME tree is broken: {content.broken[0]}")
    if text is None and subject is None:
        raise UnreadableMailError("neither subject nor text")
    if len(text or "") + len(subject or "") > LONGEST:
        raise UnreadableMailError("its text is over 1 MB")
    sender, sent_at, unread_date = _sender(headers), *_date(headers)
    own_id = _own_message_id(headers, sender, sent_at, subject, text)
    thread_id = next(
        (each for name in ("references", "in-reply-to") for each in _message_ids(headers, name) if each != own_id), None
    )
    left_out_spans = dm.quotes_and_signatures.unwritten_parts(text or "", subject=subject, reply=thread_id is not None)
    header_extra = {
        "from": _header_text(headers, "from"),
        "to": _header_text(headers, "to"),
        "cc": _header_text(headers, "cc"),
        "date": unread_date,
    }
    header_extra["auto_submitted"] = _auto_submitted(headers)
    extra: dict[str, Any] = {name: value for name, value in header_extra.items() if value}
    if content.attachments:
        extra["attachments"] = content.attachments[:_MOST_ATTACHMENTS]
    return dm.TicketDraft(
        subject=subject,
        description=text,
        customer_id=sender,
        created_at=sent_at,
        external_id=thread_id or own_id,
        extra={**extra, dm.MAIL: dm.Mail(own_id, left_out_spans).record()},
        cells=(own_id, header_extra["from"], header_extra["to"], sent_at or unread_date, subject, text),
        size=len(encoded),
        origin="mail",
    )


def _check_parsable(encoded: bytes, *, whole: bool) -> None:
    """Raise `UnreadableMailError` for a mail that would take too long to parse, or cannot be stored."""
    if not whole:
        raise UnreadableMailError("over 50 MB")
    if b"\0" in encoded:
        raise UnreadableMailError("holds NUL bytes")
    if encoded.lower().count(b"boundary=") > _MOST_MULTIPARTS or encoded.count(b"\n--") > _MOST_PARTS:
        raise UnreadableMailError("its MIME tree has too many parts")


def _read_part(part: MailPart, content: _MailContent, depth: int) -> None:
    """Collect the content of a part and of the parts in it."""
    content_type = part.get_content_type()
    file_name = part.get_filename()
    if part.get_content_maintype() == "multipart":
        payload = part.get_payload()
        subparts = [each for each in payload if isinstance(each, Message)] if isinstance(payload, list) else []
        if not subparts:
            content.broken.append("a multipart without its parts")
        elif depth == 0:
            raise UnreadableMailError("its MIME tree is nested too deep")
        elif content_type == "multipart/alternative":
            _read_alternative(subparts, content, depth - 1)
        else:
            for each in subparts:
                _read_part(each, content, depth - 1)
    elif (
        content_type in ("text/plain", "text/html")
        and file_name is None
        and part.get_content_disposition() != "attachment"
    ):
        if content.wants_text and (text := _part_text(part, content_type)):
            content.texts.append(text)
    else:
        attachment_name = file_name or str(part.get("content-description") or content_type)
        content.attachments.append(_CONTROLS.sub(" ", attachment_name)[:200])
        payload = part.get_payload() if content_type == "message/rfc822" else None
        content.mails.extend(each for each in payload or () if isinstance(each, Message))


def _read_alternative(alternatives: list[MailPart], content: _MailContent, depth: int) -> None:
    """Collect one of several forms of the same text: the plain one, unless it is empty."""
    texts: list[str] = []
    for part in sorted(alternatives, key=lambda part: part.get_content_type() != "text/plain"):
        form_content = _MailContent(
            [], content.attachments, content.broken, content.mails, wants_text=content.wants_text and not texts
        )
        _read_part(part, form_content, depth)
        texts.extend(form_content.texts)
    content.texts.extend(texts)


def _part_text(part: MailPart, content_type: str) -> str:
    payload = part.get_payload(decode=True)
    encoded = payload if isinstance(payload, bytes) else b""
    if len(encoded) > 8 * LONGEST:  # most of HTML is markup
        raise UnreadableMailError("its text is over 1 MB")
    text = decoded(encoded, part.get_content_charset()).replace("\r\n", "\n").replace("\r", "\n")
    text = mail_html.text_of_html(text) if content_type == "text/html" else text
    return "\n".join(map(str.rstrip, text.split("\n"))).strip("\n")


def _header_text(headers: dict[str, str], name: str) -> str:
    """Return a header's decoded text (RFC 2047) on one line."""
    value = _CONTROLS.sub(" ", headers.get(name, "")[:_HEADER_LENGTH])
    try:
        header_pieces = decode_header(value) if "=?" in value else [(value, None)]
    except HeaderParseError:
        header_pieces = [(value, None)]
    piece_texts = [decoded(_header_bytes(piece), charset) for piece, charset in header_pieces]
    return " ".join(_CONTROLS.sub(" ", "".join(piece_texts)).split())


def _auto_submitted(headers: dict[str, str]) -> str:
    """Return which kind of program wrote a mail (RFC 3834): "auto-replied" for vacation notices and bounces; or ""."""
    auto_submitted = re.split(r"[\s;(]", _header_text(headers, "auto-submitted").lower(), maxsplit=1)[0]
    return "" if auto_submitted == "no" else auto_submitted


def _header_bytes(piece: str | bytes) -> bytes:
    return piece if isinstance(piece, bytes) else piece.encode("utf-8", "surrogateescape")


def _message_ids(headers: dict[str, str], name: str) -> Iterator[str]:
    return (match[1] for match in _MESSAGE_ID.finditer(headers.get(name, "")[:_HEADER_LENGTH]))


def _own_message_id(headers: dict[str, str], *id_parts: str | None) -> str:
    """Return a mail's Message-ID, or else an id made from its sender, date, subject and text."""
    bare_id = _BARE_ID.fullmatch(headers.get("message-id", "").strip())
    made_id = hashlib.sha256("\0".join(each or "" for each in id_parts).encode("utf-8", "replace")).hexdigest()[:32]
    return next(_message_ids(headers, "message-id"), bare_id[0] if bare_id else f"{made_id}@unnamed.invalid")


def _sender(headers: dict[str, str]) -> str | None:
    """Return the sender of a mail: the address in lower case, or else the text of the header."""
    value = headers.get("from", "")[:_HEADER_LENGTH]
    try:
        addresses = [address for _, address in getaddresses([value]) if "@" in address]
    except RecursionError:  # comments inside of comments
        addresses = []
    sender = addresses[0].lower() if addresses else _header_text(headers, "from")
    return decoded(_header_bytes(sender), None)[:320] or None


def _date(headers: dict[str, str]) -> tuple[str | None, str]:
    """Return the date of a mail, and the header's text if the date cannot be read."""
    value = headers.get("date", "").strip()[:100]
    try:
        sent_at = moment(parsedate_to_datetime(value).isoformat()) if value else None
    except (ValueError, TypeError, IndexError, OverflowError):
        sent_at = None
    return sent_at, "" if sent_at else _header_text(headers, "date")[:100]


MAIL_SOURCE = "mail"
_MAIL_MAPPING = (
    "external_id ← Message-ID of the thread's first mail, customer_id ← From, created_at ← Date, subject ← Subject"
)


def mail_table(mails: Iterable[RawMail], name: str, options: ReadOptions) -> Table:
    """Return the tickets in mails. Raises `UsageError` for options that only a table can have."""
    table_options = ((options.mapping, "--map"), (options.encoding, "--encoding"), (options.delimiter, "--delimiter"))
    for is_given, option in (*table_options, (not options.header, "--no-header")):
        if is_given:
            raise dm.UsageError(
                f"{option} is for tables, and {name} is mail", hint="leave it out: a mail names its parts"
            )
    source = options.source or MAIL_SOURCE
    mail_rows = islice(mail_drafts(mails, source), options.limit)
    return Table(MAIL_COLUMNS, f"{_MAIL_MAPPING}; mail", source, mail_rows, "", name=name, trusts_ids=True)


def rewritten_mail(draft: dm.TicketDraft) -> str:
    """Return the mbox form of a mail that was rejected after it had been read, made from the draft."""
    own_id, sender, to, date, subject, text = draft.cells or [""] * len(MAIL_COLUMNS)
    headers = {"From": sender, "To": to, "Date": date, "Subject": subject, "Message-ID": f"<{own_id}>"}
    if draft.external_id != own_id:
        headers["References"] = f"<{draft.external_id}>"
    header_lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return as_mbox("\n".join([*header_lines, "", text or ""]).encode("utf-8", "replace"))


def mail_drafts(mails: Iterable[RawMail], source: str) -> Iterator[dm.TicketDraft | dm.Rejected]:
    """Yield a draft or a rejection for every mail."""
    for index, mail in enumerate(mails):
        try:
            draft = mail_draft(mail.content, whole=mail.is_whole)
        except UnreadableMailError as error:
            yield dm.Rejected(
                index, mail.line, dm.RowError(f"{mail.place}: {error}"), as_mbox(mail.content), rest=mail.rest
            )
        else:
            yield draft._replace(row=index, line=mail.line, source=source)
