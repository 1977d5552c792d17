"""Bytes -> blocks of text that end where a line ends, whatever the encoding, even one that changes in the middle."""

import codecs
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

BLOCK = 1 << 18  # bytes read at a time: the csv module's speed, a flat memory
LONGEST = 1 << 20  # a line (and a row) beyond this is no ticket

# Guesses worth following. Latin-1 is read as the Windows-1252 that contains it; old DOS and rarer Mac pages are what
# a detector says of a few curly quotes.
_FOLLOWED = {
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "macroman",
    "maccyrillic",
    "koi8-r",
    "koi8-u",
    "iso8859-2",
    "iso8859-5",
    "iso8859-7",
    "iso8859-9",
    "cp932",
    "shift_jis",
    "euc-jp",
    "gb18030",
    "gbk",
    "gb2312",
    "big5",
    "euc-kr",
    "cp949",
    "tis-620",
    "cp874",
}
_WIDE = ("utf-16", "utf-32", "utf-7")


def guessed(data: bytes) -> str:
    """Return the encoding that bytes which are not UTF-8 were most likely written in."""
    import chardet

    name = str(chardet.detect(data[:BLOCK]).get("encoding") or "").lower()
    return name.replace("windows-", "cp").replace("macroman", "mac-roman") if name in _FOLLOWED else "cp1252"


class Decoder:
    """Decodes whole lines: UTF-8 (or the named encoding) first, and a line that is not, by the best guess.

    `fallback` is that guess, made from the first lines that need one.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        self.encoding = encoding
        self.fallback = ""
        self.wide = codecs.lookup(encoding).name.startswith(_WIDE)

    def decode(self, data: bytes) -> str:
        """Return the text of whole lines; never raises."""
        try:
            return data.decode(self.encoding)
        except UnicodeDecodeError:
            return self._by_line(data)

    def _by_line(self, data: bytes) -> str:
        lines: list[str | bytes] = []
        strange = []
        for line in data.splitlines(keepends=True):
            try:
                lines.append(line.decode(self.encoding))
            except UnicodeDecodeError:
                lines.append(line)
                strange.append(line)
        if not self.fallback:
            self.fallback = guessed(b"".join(strange))
        return "".join(line if isinstance(line, str) else self._otherwise(line) for line in lines)

    def _otherwise(self, line: bytes) -> str:
        try:
            return line.decode(self.fallback)
        except UnicodeDecodeError:
            return line.decode("latin-1")  # every byte is a character there: nothing is lost


def texts(stream: BinaryIO, head: bytes, decoder: Decoder) -> Iterator[str]:
    """Yield the input as text, in blocks that end at a line's end unless a line is longer than `LONGEST`."""
    chunks = chain([head], iter(lambda: stream.read(BLOCK), b""))
    if decoder.wide:
        return _wide(chunks, decoder.encoding)
    return _narrow(chunks, decoder)


def _narrow(chunks: Iterator[bytes], decoder: Decoder) -> Iterator[str]:
    pending = b""
    for chunk in chunks:
        data = pending + chunk if pending else chunk
        # A last CR may be half of a CRLF, so it waits for what follows.
        cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
        if not cut and len(data) > LONGEST:
            cut = after_ascii(data)
        if cut:
            yield decoder.decode(data[:cut])
        pending = data[cut:]
    if pending:
        yield decoder.decode(pending)


def after_ascii(data: bytes) -> int:
    """Return where a line without an end can be cut: behind a byte that is no part of a longer character."""
    for place in range(len(data) - 2, max(len(data) - 4096, 0), -1):
        if data[place] < 0x80 and data[place] != 0x0D:
            return place + 1
    return len(data)


def _wide(chunks: Iterator[bytes], encoding: str) -> Iterator[str]:
    decode = codecs.getincrementaldecoder(encoding)("replace").decode
    pending = ""
    for chunk in chunks:
        text = pending + decode(chunk)
        cut = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1
        if not cut and len(text) > LONGEST:
            cut = len(text) - 1
        if cut:
            yield text[:cut]
        pending = text[cut:]
    if pending := pending + decode(b"", final=True):
        yield pending
