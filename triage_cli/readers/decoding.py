"""Bytes -> blocks of text that end where a line ends, whatever the encoding, even one that changes in the middle."""

import codecs
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
# Of these, one odd byte alone means nothing: whole lines are read.
_SEVERAL_BYTES = {"cp932", "shift_jis", "euc-jp", "gb18030", "gbk", "gb2312", "big5", "euc-kr", "cp949"}
NO_TEXTS = frozenset(("idna", "punycode", "unicode-escape", "raw-unicode-escape"))  # no file is written so
_WIDE = ("utf-16", "utf-32", "utf-7")
_ODD = re.compile("[\udc80-\udcff]+")  # bytes that `surrogateescape` has carried over
_GOOD = re.compile("[^\x00-\x7f\udc80-\udcff]")
_EVIDENCE = 3  # different bytes beyond ASCII; of fewer a detector says anything
_HALF = re.compile(rb"[\xe0-\xef][\x80-\xbf](?![\x80-\xbf])|[\xf0-\xf4][\x80-\xbf]{1,2}(?![\x80-\xbf])")


def guessed(data: bytes) -> str:
    """Return the encoding that bytes which are not UTF-8 were most likely written in."""
    if len({byte for byte in data[:BLOCK] if byte > 0x7F}) < _EVIDENCE:
        return "cp1252"
    import chardet

    name = str(chardet.detect(data[:BLOCK]).get("encoding") or "").lower()
    return name.replace("windows-", "cp").replace("macroman", "mac-roman") if name in _FOLLOWED else "cp1252"


def decoded(data: bytes, charset: str | None) -> str:
    """Return bytes as text, in the charset that is given for them if they are; never raises."""
    with suppress(LookupError, UnicodeError, ValueError):
        name = codecs.lookup(charset or "ascii").name
        if name not in NO_TEXTS:
            return data.decode(name)
    return Decoder().decode(data)


class Decoder:
    """Decodes whole lines: UTF-8 (or the named encoding) first, and what is not, by the best guess.

    `fallback` is that guess, made from the first lines that need one. `mended` counts the lines that needed it, and
    `halves` those in which a character was cut off, which nothing can bring back. `mixed` tells that most of the input
    is in `encoding` all the same, so that a line of it with a few broken bytes stays what it is.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        self.encoding = encoding
        self.fallback = ""
        self.mixed = False
        self.mended = self.halves = 0
        self.wide = codecs.lookup(encoding).name.startswith(_WIDE)
        self._named = self.described
        self._beyond_ascii = 0  # bytes of characters that took more than one, decoded so far

    def begin(self) -> None:
        """Begin anew to count: what was decoded so far was only looked at, and will come again."""
        self.mended = self.halves = 0
        self._named = self.described

    @property
    def described(self) -> str:
        """Name the encoding of most of what was decoded."""
        if self.fallback and not self.mixed:
            return self.fallback
        return "utf-8" if self.encoding == "utf-8-sig" else self.encoding

    def remarks(self) -> list[str]:
        """Return a sentence where some lines were not in the encoding that was named at the beginning."""
        if not self.mended or self._named == self.fallback:
            return []
        lost = f"; in {self.halves:,} of them a character had lost its end and is \ufffd now" if self.halves else ""
        return [
            f"{self.mended:,} line(s) hold bytes that are not {self._named}; these were read as {self.fallback}{lost}"
        ]

    def decode(self, data: bytes) -> str:
        """Return the text of whole lines; never raises."""
        try:
            text = data.decode(self.encoding)
        except UnicodeDecodeError:
            return self._by_line(data)
        if not self.fallback:
            self._beyond_ascii += len(data) - len(text)
        return text

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
            good = sum(len(line.encode()) - len(line) for line in lines if isinstance(line, str))
            self._look(strange, good + self._beyond_ascii)
        self.mended += len(strange)
        return "".join(line if isinstance(line, str) else self._mended(line) for line in lines)

    def _look(self, strange: Sequence[bytes], good: int) -> None:
        """Decide what the odd bytes are, and whether they or the others are the exception."""
        data = b"".join(strange)
        text = data.decode(self.encoding, "surrogateescape")
        self.mixed = 2 * (good + len(_GOOD.findall(text))) >= len(_ODD.findall(text))
        # The good characters would mislead the detector: to it they are bytes like the others.
        self.fallback = guessed(_GOOD.sub("", text).encode("ascii", "surrogateescape") if self.mixed else data)
        self.mixed = self.mixed and self.fallback not in _SEVERAL_BYTES

    def _mended(self, line: bytes) -> str:
        """Return a line with odd bytes: only these by the guess, or all of it where they are the rule in it.

        By chance two bytes of another encoding may be a good character, so one among many odd ones counts for nothing.
        """
        text = line.decode(self.encoding, "surrogateescape")
        odd = [bytes(ord(c) - 0xDC00 for c in run) for run in _ODD.findall(text)]
        good = len(_GOOD.findall(text))
        cut = self.mixed and not any(_HALF.sub(b"", run) for run in odd)
        if not cut and good * (8 if self.mixed else 1) <= len(odd):
            with suppress(UnicodeDecodeError):
                return line.decode(self.fallback)
        halves = good > 0 or cut
        self.halves += halves and any(map(_HALF.search, odd))
        each = iter(odd)
        return _ODD.sub(lambda _: self._odd(next(each), halves=halves), text)

    def _odd(self, run: bytes, *, halves: bool) -> str:
        """Return odd bytes as text; where half of a UTF-8 character stands, as the sign for a lost one."""
        parts = _HALF.split(run) if halves else [run]
        return "\ufffd".join(map(self._otherwise, parts))

    def _otherwise(self, part: bytes) -> str:
        try:
            return part.decode(self.fallback)
        except UnicodeDecodeError:
            return part.decode("latin-1")  # every byte is a character there: nothing is lost


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
