"""Reads mails from files as bytes, one after the other: mbox (RFC 4155), `.eml`, Maildir, a folder of `.eml`.

Of a mail longer than `LONGEST` only the beginning is in memory, and the rest in a temporary file. So memory holds one
mail at a time, whatever the size of the mailbox.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from triage_cli import domain as dm
from triage_cli.readers.records import Spool

MAIL_FORMATS = ("eml", "mbox")
# The longest mail with its attachments, in bytes; mail systems accept less.
LONGEST = 50 << 20
_PIECE_SIZE = 1 << 16
# The first line of a mail in a mailbox: "From", any address, a day, a time and a year. All mbox writers agree on that.
_POSTMARK = re.compile(rb"From .{0,300}\d\d:\d\d.{0,40}\d{4}\b[^\r\n]{0,40}\r?\n?$")
_ESCAPED_FROM = re.compile(rb">+From ")
_FROM_LINE = re.compile(rb"(?m)^(>*From )")
_HEADER_FIELD = re.compile(rb"[!-9;-~]{1,70}:")
_MAIL_HEADERS = re.compile(
    rb"(?im)^(?:message-id|mime-version|received|return-path|delivered-to|x-mailer|date|to|subject):"
)


class RawMail(NamedTuple):
    """One mail: its place, its first line (0: it is in no file), its bytes, and the remainder if it is too long."""

    place: str
    line: int
    content: bytes
    rest: Iterable[str] = ()

    @property
    def is_whole(self) -> bool:
        """Return whether `content` is the whole mail."""
        return isinstance(self.rest, tuple)


class MailFolder:
    """A folder of mails, one a file: a Maildir (its `cur` and `new`), or one with `.eml` files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._folders = [each for name in ("cur", "new") if (each := path / name).is_dir()] or [path]
            self._file = os.open(path, os.O_RDONLY)
            holds_mails = self._folders != [path] or any(map(_is_eml, path.iterdir()))
        except OSError as error:
            raise dm.InputError(
                f"cannot read {path}: {error.strerror}", hint="check its name and its rights"
            ) from error
        if not holds_mails:
            self.close()
            hint = f"name its files, as in {path}/*.csv, or a Maildir, or a folder of .eml files"
            raise dm.InputError(f"{path} is a folder without mails", hint=hint)

    def mails(self) -> Iterator[RawMail]:
        """Yield the mails in the order of their file names, which begin with a time in a Maildir."""
        mail_files = ((name, folder) for folder in self._folders for name in os.listdir(folder))  # noqa: PTH208 - names only
        for name, folder in sorted(mail_files):
            path = folder / name
            is_hidden = name.startswith(".")
            if is_hidden or not path.is_file() or (folder == self._path and not _is_eml(path)):
                continue
            try:
                with path.open("rb") as stream:
                    mail = next(eml_mail(stream, b""))
            except OSError as error:
                raise dm.InputError(f"cannot read {path}: {error.strerror}", hint="check its rights") from error
            yield mail._replace(place=str(path.relative_to(self._path)))

    def fileno(self) -> int:
        """Return the folder's file descriptor."""
        return self._file

    def close(self) -> None:
        """Close the file descriptor of the mail folder."""
        os.close(self._file)


def mail_format(
    head: bytes, name: str, format_option: str | None
) -> Callable[[BinaryIO, bytes], Iterator[RawMail]] | None:
    """Return the format of an input of mails, by the option, its beginning or its name; None for a table."""
    if format_option is not None:
        return {"eml": eml_mail, "mbox": mbox_mails}.get(format_option.lower())
    head_start = head[:_PIECE_SIZE].lstrip(b"\xef\xbb\xbf\r\n")
    first_line = head_start[: head_start.find(b"\n") + 1]
    if _POSTMARK.match(first_line):
        return mbox_mails
    suffix = name.rpartition(".")[2].lower()
    header_fields = head_start.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    mail_headers = set(map(bytes.lower, _MAIL_HEADERS.findall(header_fields)))
    if _HEADER_FIELD.match(first_line) and (suffix == "eml" or len(mail_headers) >= 3):
        return eml_mail
    return None


def eml_mail(stream: BinaryIO, head: bytes) -> Iterator[RawMail]:
    """Yield the one mail of a file; `head` was read from it before."""
    mail = _MailBuffer("line 1", 1)
    for line in _mail_lines(stream, head):
        mail.add(line)
    yield mail.raw_mail()


def mbox_mails(stream: BinaryIO, head: bytes) -> Iterator[RawMail]:
    """Yield the mails of a mailbox; `head` was read from it before.

    A mail begins with a line such as "From … 10:00:00 2024", at the start or after a blank line. Escaped lines are
    unescaped.
    """
    mail: _MailBuffer | None = None
    number, after_blank_line, line_begins = 0, True, True
    for line in _mail_lines(stream, head):
        if line_begins:
            number += 1
            if after_blank_line and line.startswith(b"From ") and _POSTMARK.match(line):
                if mail is not None:
                    yield mail.raw_mail()
                mail = _MailBuffer(f"line {number}", number)
            elif mail is not None:
                mail.add(line[1:] if _ESCAPED_FROM.match(line) else line)
            after_blank_line = line in (b"\n", b"\r\n")
        elif mail is not None:
            mail.add(line)
        line_begins = line.endswith(b"\n")
    if mail is not None:
        yield mail.raw_mail()


def as_mbox(content: bytes) -> str:
    """Return a mail in mbox format, so that rejected mails form a mailbox; no byte is lost."""
    mbox_text = _FROM_LINE.sub(rb">\1", content).decode("utf-8", "surrogateescape")
    return f"\nFrom MAILER-DAEMON Thu Jan  1 00:00:00 1970\n{mbox_text}"


class _MailBuffer:
    """A mail that is being read."""

    def __init__(self, place: str, line: int) -> None:
        self._place, self._line = place, line
        self._mail_bytes = bytearray()
        self._rest: Spool | None = None

    def add(self, line: bytes) -> None:
        if self._rest is None and len(self._mail_bytes) + len(line) <= LONGEST:
            self._mail_bytes += line
            return
        self._rest = self._rest or Spool()
        self._rest.write(line.decode("utf-8", "surrogateescape"))

    def raw_mail(self) -> RawMail:
        return RawMail(self._place, self._line, bytes(self._mail_bytes), self._rest.part(0) if self._rest else ())


def _mail_lines(stream: BinaryIO, head: bytes) -> Iterator[bytes]:
    """Yield lines with their ends; a very long one in pieces."""
    line_start = 0
    while line_start < len(head):
        line_end = head.find(b"\n", line_start) + 1
        if not line_end or line_end - line_start > _PIECE_SIZE:
            if not line_end and len(head) - line_start <= _PIECE_SIZE:
                break
            line_end = line_start + _PIECE_SIZE
        yield head[line_start:line_end]
        line_start = line_end
    if line_start < len(head):
        yield head[line_start:] + stream.readline(_PIECE_SIZE)
    while line := stream.readline(_PIECE_SIZE):
        yield line


def _is_eml(path: Path) -> bool:
    return path.suffix.lower() == ".eml"
