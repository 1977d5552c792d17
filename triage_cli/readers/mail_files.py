"""Reads mails from files as bytes, one after the other: mbox (RFC 4155), `.eml`, Maildir, a folder of `.eml`.

Of a mail longer than `LONGEST` only the beginning is in memory, and the rest in a temporary file. So memory holds one
mail at a time, whatever the size of the mailbox.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from triage_cli.domain.errors import InputError
from triage_cli.readers.spool import Spool

FORMATS = ("eml", "mbox")
# The longest mail with its attachments, in bytes; mail systems accept less.
LONGEST = 50 << 20
_PIECE = 1 << 16
# The first line of a mail in a mailbox: "From", any address, a day, a time and a year. All mbox writers agree on that.
_POSTMARK = re.compile(rb"From .{0,300}\d\d:\d\d.{0,40}\d{4}\b[^\r\n]{0,40}\r?\n?$")
_ESCAPED = re.compile(rb">+From ")
_FROM = re.compile(rb"(?m)^(>*From )")
_FIELD = re.compile(rb"[!-9;-~]{1,70}:")
_OF_MAIL = re.compile(rb"(?im)^(?:message-id|mime-version|received|return-path|delivered-to|x-mailer|date|to|subject):")


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
            raise InputError(f"cannot read {path}: {error.strerror}", hint="check its name and its rights") from error
        if not holds_mails:
            self.close()
            hint = f"name its files, as in {path}/*.csv, or a Maildir, or a folder of .eml files"
            raise InputError(f"{path} is a folder without mails", hint=hint)

    def mails(self) -> Iterator[RawMail]:
        """Yield the mails in the order of their file names, which begin with a time in a Maildir."""
        files = ((name, folder) for folder in self._folders for name in os.listdir(folder))  # noqa: PTH208 - names only
        for name, folder in sorted(files):
            path = folder / name
            if name.startswith(".") or not path.is_file() or (folder == self._path and not _is_eml(path)):
                continue
            try:
                with path.open("rb") as stream:
                    mail = next(eml(stream, b""))
            except OSError as error:
                raise InputError(f"cannot read {path}: {error.strerror}", hint="check its rights") from error
            yield mail._replace(place=str(path.relative_to(self._path)))

    def fileno(self) -> int:
        """Return the folder's file descriptor."""
        return self._file

    def close(self) -> None:
        """Close the file descriptor."""
        os.close(self._file)


def mail_format(head: bytes, name: str, option: str | None) -> Callable[[BinaryIO, bytes], Iterator[RawMail]] | None:
    """Return the format of an input of mails, by the option, its beginning or its name; None for a table."""
    if option is not None:
        return {"eml": eml, "mbox": mbox}.get(option.lower())
    start = head[:_PIECE].lstrip(b"\xef\xbb\xbf\r\n")
    first = start[: start.find(b"\n") + 1]
    if _POSTMARK.match(first):
        return mbox
    suffix = name.rpartition(".")[2].lower()
    fields = start.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    if _FIELD.match(first) and (suffix == "eml" or len(set(map(bytes.lower, _OF_MAIL.findall(fields)))) >= 3):
        return eml
    return None


def eml(stream: BinaryIO, head: bytes) -> Iterator[RawMail]:
    """Yield the one mail of a file; `head` was read from it before."""
    mail = _MailBuffer("line 1", 1)
    for line in _lines(stream, head):
        mail.add(line)
    yield mail.done()


def mbox(stream: BinaryIO, head: bytes) -> Iterator[RawMail]:
    """Yield the mails of a mailbox; `head` was read from it before.

    A mail begins with a line such as "From … 10:00:00 2024", at the start or after a blank line. Escaped lines are
    unescaped.
    """
    mail: _MailBuffer | None = None
    number, blank, begins = 0, True, True
    for line in _lines(stream, head):
        if begins:
            number += 1
            if blank and line.startswith(b"From ") and _POSTMARK.match(line):
                if mail is not None:
                    yield mail.done()
                mail = _MailBuffer(f"line {number}", number)
            elif mail is not None:
                mail.add(line[1:] if _ESCAPED.match(line) else line)
            blank = line in (b"\n", b"\r\n")
        elif mail is not None:
            mail.add(line)
        begins = line.endswith(b"\n")
    if mail is not None:
        yield mail.done()


def as_mbox(data: bytes) -> str:
    """Return a mail in mbox format, so that rejected mails form a mailbox; no byte is lost."""
    text = _FROM.sub(rb">\1", data).decode("utf-8", "surrogateescape")
    return f"\nFrom MAILER-DAEMON Thu Jan  1 00:00:00 1970\n{text}"


class _MailBuffer:
    """A mail that is being read."""

    def __init__(self, place: str, line: int) -> None:
        self._place, self._line = place, line
        self._data = bytearray()
        self._rest: Spool | None = None

    def add(self, line: bytes) -> None:
        if self._rest is None and len(self._data) + len(line) <= LONGEST:
            self._data += line
            return
        self._rest = self._rest or Spool()
        self._rest.write(line.decode("utf-8", "surrogateescape"))

    def done(self) -> RawMail:
        return RawMail(self._place, self._line, bytes(self._data), self._rest.part(0) if self._rest else ())


def _lines(stream: BinaryIO, head: bytes) -> Iterator[bytes]:
    """Yield lines with their ends; a very long one in pieces."""
    at = 0
    while at < len(head):
        end = head.find(b"\n", at) + 1
        if not end or end - at > _PIECE:
            if not end and len(head) - at <= _PIECE:
                break
            end = at + _PIECE
        yield head[at:end]
        at = end
    if at < len(head):
        yield head[at:] + stream.readline(_PIECE)
    while line := stream.readline(_PIECE):
        yield line


def _is_eml(path: Path) -> bool:
    return path.suffix.lower() == ".eml"
