"""Decodes an input in blocks of whole lines, even if its encoding changes in the middle."""

import codecs
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import StringIO
from itertools import chain
from typing import BinaryIO

from triage_cli import domain as dm

BLOCK = 1 << 18  # bytes read at a time
LONGEST = 1 << 20  # characters; longer lines and rows are rejected

# Guesses of the detector that are used. Latin-1 is read as its superset Windows-1252; DOS and rarer Mac encodings are
# wrong guesses caused by a few curly quotes.
_GUESSED_ENCODINGS = (
    "windows-1250 windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 windows-1257 "
    "windows-1258 macroman maccyrillic koi8-r koi8-u iso8859-2 iso8859-5 iso8859-7 iso8859-9 cp932 shift_jis "
    "euc-jp gb18030 gbk gb2312 big5 euc-kr cp949 tis-620 cp874"
)
# Multi-byte encodings: whole lines are decoded, because single bytes mean nothing.
_MULTI_BYTE_ENCODINGS = {"cp932", "shift_jis", "euc-jp", "gb18030", "gbk", "gb2312", "big5", "euc-kr", "cp949"}
NO_TEXT_ENCODINGS = frozenset(("idna", "punycode", "unicode-escape", "raw-unicode-escape"))  # not encodings of files
_WIDE_ENCODINGS = ("utf-16", "utf-32", "utf-7")
_UNDECODABLE = re.compile("[\udc80-\udcff]+")  # undecodable bytes, as `surrogateescape` represents them
_DECODABLE = re.compile("[^\x00-\x7f\udc80-\udcff]")
_LEAST_BYTES = 3  # distinct bytes beyond ASCII that the detector needs
_CUT_CHARACTER = re.compile(rb"[\xe0-\xef][\x80-\xbf](?![\x80-\xbf])|[\xf0-\xf4][\x80-\xbf]{1,2}(?![\x80-\xbf])")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def wide_encoding(head: bytes) -> str:
    """Return the encoding shown by a byte order mark, or by the zero bytes of UTF-16; empty if there are none."""
    for byte_order_mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(byte_order_mark):
            return encoding
    head_start = head[: 4096 - len(head[:4096]) % 2]
    even_zeros, odd_zeros = head_start[::2].count(0), head_start[1::2].count(0)
    half_length = max(len(head_start) // 2, 1)
    if odd_zeros > half_length * 0.4 and even_zeros < half_length * 0.1:
        return "utf-16-le"
    return "utf-16-be" if even_zeros > half_length * 0.4 and odd_zeros < half_length * 0.1 else ""


def guessed_encoding(encoded: bytes) -> str:
    """Return the most likely encoding of bytes that are not UTF-8."""
    if len({byte for byte in encoded[:BLOCK] if byte > 0x7F}) < _LEAST_BYTES:
        return "cp1252"
    import chardet

    encoding = str(chardet.detect(encoded[:BLOCK]).get("encoding") or "").lower()
    return (
        encoding.replace("windows-", "cp").replace("macroman", "mac-roman")
        if encoding in _GUESSED_ENCODINGS.split()
        else "cp1252"
    )


def decoded(encoded: bytes, charset: str | None) -> str:
    """Return bytes as text, decoded with the given charset if that works; never raises."""
    with suppress(LookupError, UnicodeError, ValueError):
        codec_name = codecs.lookup(charset or "ascii").name
        if codec_name not in NO_TEXT_ENCODINGS:
            return encoded.decode(codec_name)
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
        self.wide = codecs.lookup(encoding).name.startswith(_WIDE_ENCODINGS)
        self._reported_encoding = self.described
        self._beyond_ascii = 0  # bytes of multi-byte characters decoded so far

    def begin(self) -> None:
        """Reset the counts, because the text decoded so far was only a sample and will be decoded again."""
        self.mended = self.halves = 0
        self._reported_encoding = self.described

    @property
    def described(self) -> str:
        """Return the name of the main encoding."""
        if self.fallback and not self.mixed:
            return self.fallback
        return "utf-8" if self.encoding == "utf-8-sig" else self.encoding

    def remarks(self) -> list[str]:
        """Return a sentence if some lines were not in the encoding that was reported at the beginning."""
        if not self.mended or self._reported_encoding == self.fallback:
            return []
        cut = f"; in {self.halves:,} of them a character had lost its end and is \ufffd now" if self.halves else ""
        strange = f"{self.mended:,} line(s) hold bytes that are not {self._reported_encoding}"
        return [f"{strange}; these were read as {self.fallback}{cut}"]

    def decode(self, encoded: bytes) -> str:
        """Return the text of whole lines; never raises."""
        try:
            text = encoded.decode(self.encoding)
        except UnicodeDecodeError:
            return self._decode_by_line(encoded)
        if not self.fallback:
            self._beyond_ascii += len(encoded) - len(text)
        return text

    def _decode_by_line(self, encoded: bytes) -> str:
        lines: list[str | bytes] = []
        undecodable_lines = []
        for line in encoded.splitlines(keepends=True):
            try:
                lines.append(line.decode(self.encoding))
            except UnicodeDecodeError:
                lines.append(line)
                undecodable_lines.append(line)
        if not self.fallback:
            count = sum(len(line.encode()) - len(line) for line in lines if isinstance(line, str))
            self._guess_fallback(undecodable_lines, count + self._beyond_ascii)
        self.mended += len(undecodable_lines)
        return "".join(line if isinstance(line, str) else self._decode_odd_line(line) for line in lines)

    def _guess_fallback(self, undecodable_lines: Sequence[bytes], count: int) -> None:
        """Guess the encoding of the undecodable lines, and decide whether they are the exception."""
        encoded = b"".join(undecodable_lines)
        text = encoded.decode(self.encoding, "surrogateescape")
        self.fits = 2 * (count + len(_DECODABLE.findall(text))) >= len(_UNDECODABLE.findall(text))
        # Without the decodable characters, which would mislead the detector.
        self.fallback = guessed_encoding(
            _DECODABLE.sub("", text).encode("ascii", "surrogateescape") if self.fits else encoded
        )
        self.mixed = self.fits and self.fallback not in _MULTI_BYTE_ENCODINGS

    def _decode_odd_line(self, odd_line: bytes) -> str:
        """Decode a line with undecodable bytes: only these with the fallback, or the whole line if they are the rule.

        Two bytes of another encoding may form a valid character by chance, so a few among many odd ones do not count.
        """
        text = odd_line.decode(self.encoding, "surrogateescape")
        odd_runs = [bytes(ord(c) - 0xDC00 for c in run) for run in _UNDECODABLE.findall(text)]
        count = len(_DECODABLE.findall(text))
        is_cut_character = self.mixed and not any(_CUT_CHARACTER.sub(b"", run) for run in odd_runs)
        if not is_cut_character and count * (8 if self.mixed else 1) <= len(odd_runs):
            with suppress(UnicodeDecodeError):
                return odd_line.decode(self.fallback)
        has_cut_characters = count > 0 or is_cut_character
        self.halves += has_cut_characters and any(map(_CUT_CHARACTER.search, odd_runs))
        next_odd_run = iter(odd_runs)
        return _UNDECODABLE.sub(
            lambda _: self._decode_odd_bytes(next(next_odd_run), has_cut_characters=has_cut_characters), text
        )

    def _decode_odd_bytes(self, odd_bytes: bytes, *, has_cut_characters: bool) -> str:
        """Return undecodable bytes as text; an incomplete UTF-8 character becomes U+FFFD."""
        byte_runs = _CUT_CHARACTER.split(odd_bytes) if has_cut_characters else [odd_bytes]
        return "\ufffd".join(map(self._decode_fallback, byte_runs))

    def _decode_fallback(self, odd_bytes: bytes) -> str:
        try:
            return odd_bytes.decode(self.fallback)
        except UnicodeDecodeError:
            return odd_bytes.decode("latin-1")  # defined for every byte


def decoded_blocks(stream: BinaryIO, head: bytes, decoder: Decoder) -> Iterator[str]:
    """Yield the input as text, in blocks that end with a line, unless the line is longer than `LONGEST`."""
    chunks = chain([head], iter(lambda: stream.read(BLOCK), b""))
    if decoder.wide:
        return _wide_line_blocks(chunks, decoder.encoding)
    return _decoded_line_blocks(chunks, decoder)


def _decoded_line_blocks(chunks: Iterator[bytes], decoder: Decoder) -> Iterator[str]:
    pending_bytes = b""
    for chunk in chunks:
        encoded = pending_bytes + chunk if pending_bytes else chunk
        # A CR at the end may belong to a CRLF, so it waits for the next chunk.
        end = max(encoded.rfind(b"\n"), encoded.rfind(b"\r", 0, len(encoded) - 1)) + 1
        if not end and len(encoded) > LONGEST:
            end = after_ascii(encoded)
        if end:
            yield decoder.decode(encoded[:end])
        pending_bytes = encoded[end:]
    if pending_bytes:
        yield decoder.decode(pending_bytes)


def after_ascii(encoded: bytes) -> int:
    """Return where a very long line can be cut: after a byte that is not part of a multi-byte character."""
    for index in range(len(encoded) - 2, max(len(encoded) - 4096, 0), -1):
        if encoded[index] < 0x80 and encoded[index] != 0x0D:
            return index + 1
    return len(encoded)


def _wide_line_blocks(chunks: Iterator[bytes], encoding: str) -> Iterator[str]:
    decode = codecs.getincrementaldecoder(encoding)("replace").decode
    pending_text = ""
    for chunk in chunks:
        text = pending_text + decode(chunk)
        end = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1
        if not end and len(text) > LONGEST:
            end = len(text) - 1
        if end:
            yield text[:end]
        pending_text = text[end:]
    if pending_text := pending_text + decode(b"", final=True):
        yield pending_text


def lines_of(text: str) -> list[str]:
    """Return the lines of a text with their ends; only CR, LF and CRLF end a line."""
    return list(StringIO(text, newline=""))


def decoder_for(head: bytes, encoding: str | None) -> Decoder:
    """Return the decoder of an input. Raises `UsageError` for an encoding that is unknown or does not fit."""
    if encoding is None:
        return Decoder(wide_encoding(head) or "utf-8")
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
        codec_name = codecs.lookup(encoding).name
    except (LookupError, UnicodeError, ValueError) as exc:
        raise _unknown_encoding(encoding) from exc
    if codec_name in NO_TEXT_ENCODINGS:
        raise _unknown_encoding(encoding)
    if codec_name == "utf-8":
        return Decoder("utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8")
    if codec_name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be") and wide_encoding(head) == codec_name[:6]:
        encoding = codec_name[:6]  # a byte order mark must not become part of the first column's name
    try:
        codecs.getincrementaldecoder(encoding)("replace").decode(head)
    except UnicodeError as exc:  # such as UTF-16 without a byte order mark
        raise wrong_encoding(encoding) from exc
    return Decoder(encoding)


def wrong_encoding(encoding: str) -> dm.UsageError:
    """Return the error for an input that is in another encoding than the named one."""
    return dm.UsageError(f"the input is not in {encoding}", hint="leave out --encoding: it is detected")


def _unknown_encoding(encoding_option: str) -> dm.UsageError:
    return dm.UsageError(f'there is no encoding "{encoding_option}"', hint="try utf-8, utf-16, cp1252 or mac-roman")
