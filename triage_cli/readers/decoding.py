"""Decodes an input in blocks of whole lines, even if its encoding changes in the middle."""

import codecs
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import BinaryIO

BLOCK = 1 << 18  # bytes read at a time
LONGEST = 1 << 20  # characters; longer lines and rows are rejected

# Guesses of the detector that are used. Latin-1 is read as its superset Windows-1252; DOS and rarer Mac encodings are
# wrong guesses caused by a few curly quotes.
_FOLLOWED = frozenset((
    "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256",
    "windows-1257", "windows-1258", "macroman", "maccyrillic", "koi8-r", "koi8-u", "iso8859-2", "iso8859-5",
    "iso8859-7", "iso8859-9", "cp932", "shift_jis", "euc-jp", "gb18030", "gbk", "gb2312", "big5", "euc-kr", "cp949",
    "tis-620", "cp874",
))  # fmt: skip
# Multi-byte encodings: whole lines are decoded, because single bytes mean nothing.
_SEVERAL_BYTES = {"cp932", "shift_jis", "euc-jp", "gb18030", "gbk", "gb2312", "big5", "euc-kr", "cp949"}
NO_TEXTS = frozenset(("idna", "punycode", "unicode-escape", "raw-unicode-escape"))  # not encodings of files
_WIDE = ("utf-16", "utf-32", "utf-7")
_ODD = re.compile("[\udc80-\udcff]+")  # undecodable bytes, as `surrogateescape` represents them
_GOOD = re.compile("[^\x00-\x7f\udc80-\udcff]")
_EVIDENCE = 3  # distinct bytes beyond ASCII that the detector needs
_HALF = re.compile(rb"[\xe0-\xef][\x80-\xbf](?![\x80-\xbf])|[\xf0-\xf4][\x80-\xbf]{1,2}(?![\x80-\xbf])")


def guessed(encoded: bytes) -> str:
    """Return the most likely encoding of bytes that are not UTF-8."""
    if len({byte for byte in encoded[:BLOCK] if byte > 0x7F}) < _EVIDENCE:
        return "cp1252"
    import chardet

    name = str(chardet.detect(encoded[:BLOCK]).get("encoding") or "").lower()
    return name.replace("windows-", "cp").replace("macroman", "mac-roman") if name in _FOLLOWED else "cp1252"


def decoded(encoded: bytes, charset: str | None) -> str:
    """Return bytes as text, decoded with the given charset if that works; never raises."""
    with suppress(LookupError, UnicodeError, ValueError):
        name = codecs.lookup(charset or "ascii").name
        if name not in NO_TEXTS:
            return encoded.decode(name)
    return Decoder().decode(encoded)


class Decoder:
    """Decodes whole lines as UTF-8 (or the given encoding), and undecodable ones with a guessed encoding.

    `fallback` is the guess, made from the first undecodable lines. `mended` counts the lines that needed it, `halves`
    those with an incomplete character, which is lost. `fits` if most of the input is in `encoding`; then it may be
    `mixed`, so that in a line with a few undecodable bytes only these are replaced.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        self.encoding = encoding
        self.fallback = ""
        self.fits, self.mixed = True, False
        self.mended = self.halves = 0
        self.wide = codecs.lookup(encoding).name.startswith(_WIDE)
        self._named = self.described
        self._beyond_ascii = 0  # bytes of multi-byte characters decoded so far

    def begin(self) -> None:
        """Reset the counts, because the text decoded so far was only a sample and will be decoded again."""
        self.mended = self.halves = 0
        self._named = self.described

    @property
    def described(self) -> str:
        """Return the name of the main encoding."""
        if self.fallback and not self.mixed:
            return self.fallback
        return "utf-8" if self.encoding == "utf-8-sig" else self.encoding

    def remarks(self) -> list[str]:
        """Return a sentence if some lines were not in the encoding that was reported at the beginning."""
        if not self.mended or self._named == self.fallback:
            return []
        lost = f"; in {self.halves:,} of them a character had lost its end and is \ufffd now" if self.halves else ""
        return [
            f"{self.mended:,} line(s) hold bytes that are not {self._named}; these were read as {self.fallback}{lost}"
        ]

    def decode(self, encoded: bytes) -> str:
        """Return the text of whole lines; never raises."""
        try:
            decoded_text = encoded.decode(self.encoding)
        except UnicodeDecodeError:
            return self._by_line(encoded)
        if not self.fallback:
            self._beyond_ascii += len(encoded) - len(decoded_text)
        return decoded_text

    def _by_line(self, encoded: bytes) -> str:
        lines: list[str | bytes] = []
        strange = []
        for line in encoded.splitlines(keepends=True):
            try:
                lines.append(line.decode(self.encoding))
            except UnicodeDecodeError:
                lines.append(line)
                strange.append(line)
        if not self.fallback:
            good = sum(len(line.encode()) - len(line) for line in lines if isinstance(line, str))
            self._guess_fallback(strange, good + self._beyond_ascii)
        self.mended += len(strange)
        return "".join(line if isinstance(line, str) else self._decode_odd_line(line) for line in lines)

    def _guess_fallback(self, strange: Sequence[bytes], good: int) -> None:
        """Guess the encoding of the undecodable lines, and decide whether they are the exception."""
        encoded = b"".join(strange)
        decoded_text = encoded.decode(self.encoding, "surrogateescape")
        self.fits = 2 * (good + len(_GOOD.findall(decoded_text))) >= len(_ODD.findall(decoded_text))
        # Without the decodable characters, which would mislead the detector.
        self.fallback = guessed(
            _GOOD.sub("", decoded_text).encode("ascii", "surrogateescape") if self.fits else encoded
        )
        self.mixed = self.fits and self.fallback not in _SEVERAL_BYTES

    def _decode_odd_line(self, line: bytes) -> str:
        """Decode a line with undecodable bytes: only these with the fallback, or the whole line if they are the rule.

        Two bytes of another encoding may form a valid character by chance, so a few among many odd ones do not count.
        """
        decoded_text = line.decode(self.encoding, "surrogateescape")
        odd = [bytes(ord(c) - 0xDC00 for c in run) for run in _ODD.findall(decoded_text)]
        good = len(_GOOD.findall(decoded_text))
        is_cut_character = self.mixed and not any(_HALF.sub(b"", run) for run in odd)
        if not is_cut_character and good * (8 if self.mixed else 1) <= len(odd):
            with suppress(UnicodeDecodeError):
                return line.decode(self.fallback)
        halves = good > 0 or is_cut_character
        self.halves += halves and any(map(_HALF.search, odd))
        odd_runs = iter(odd)
        return _ODD.sub(lambda _: self._decode_odd_bytes(next(odd_runs), halves=halves), decoded_text)

    def _decode_odd_bytes(self, run: bytes, *, halves: bool) -> str:
        """Return undecodable bytes as text; an incomplete UTF-8 character becomes U+FFFD."""
        parts = _HALF.split(run) if halves else [run]
        return "\ufffd".join(map(self._decode_fallback, parts))

    def _decode_fallback(self, part: bytes) -> str:
        try:
            return part.decode(self.fallback)
        except UnicodeDecodeError:
            return part.decode("latin-1")  # defined for every byte


def texts(stream: BinaryIO, head: bytes, decoder: Decoder) -> Iterator[str]:
    """Yield the input as text, in blocks that end with a line, unless the line is longer than `LONGEST`."""
    chunks = chain([head], iter(lambda: stream.read(BLOCK), b""))
    if decoder.wide:
        return _wide_lines(chunks, decoder.encoding)
    return _byte_lines(chunks, decoder)


def _byte_lines(chunks: Iterator[bytes], decoder: Decoder) -> Iterator[str]:
    pending = b""
    for chunk in chunks:
        encoded = pending + chunk if pending else chunk
        # A CR at the end may belong to a CRLF, so it waits for the next chunk.
        cut = max(encoded.rfind(b"\n"), encoded.rfind(b"\r", 0, len(encoded) - 1)) + 1
        if not cut and len(encoded) > LONGEST:
            cut = after_ascii(encoded)
        if cut:
            yield decoder.decode(encoded[:cut])
        pending = encoded[cut:]
    if pending:
        yield decoder.decode(pending)


def after_ascii(encoded: bytes) -> int:
    """Return where a very long line can be cut: after a byte that is not part of a multi-byte character."""
    for index in range(len(encoded) - 2, max(len(encoded) - 4096, 0), -1):
        if encoded[index] < 0x80 and encoded[index] != 0x0D:
            return index + 1
    return len(encoded)


def _wide_lines(chunks: Iterator[bytes], encoding: str) -> Iterator[str]:
    decode = codecs.getincrementaldecoder(encoding)("replace").decode
    pending = ""
    for chunk in chunks:
        decoded_text = pending + decode(chunk)
        cut = max(decoded_text.rfind("\n"), decoded_text.rfind("\r", 0, len(decoded_text) - 1)) + 1
        if not cut and len(decoded_text) > LONGEST:
            cut = len(decoded_text) - 1
        if cut:
            yield decoded_text[:cut]
        pending = decoded_text[cut:]
    if pending := pending + decode(b"", final=True):
        yield pending
