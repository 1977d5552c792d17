"""Which parts of a mail repeat or surround what its sender wrote: quotes, a signature, a banner of the mail system.

Signatures and banners are found by their first line: the delimiter of RFC 3676 (section 4.3), a closing phrase that
stands alone, what a telephone adds, what a mail system warns of.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from triage_cli.domain.mail.parts import Span
from triage_cli.readers.mail_replies import repeated

_WIDTH = 300  # characters of a line that are looked at
_LEAST = 8  # letters that stand above a signature
_TAIL = 12  # lines of a signature
_TOP = 6  # lines within which a banner begins
_REPLY = re.compile(r"\s*(?:re|r|aw|antw|sv|vs|odp|ref|rif|res|回复|答复|回覆)(?:\[\d+\])?\s*[:\uff1a]", re.IGNORECASE)
_CLOSINGS = (
    "--", "(?:with )?(?:(?:best|kind|kindest|warm) )?(?:regards|wishes)", "sincerely(?: yours)?", "yours [a-z]+", "mfg",
    "(?:bien )?cordialement", "bien à vous",
    "(?:mit )?(?:freundlichen?|besten?|lieben?|herzlichen?|viele) (?:grüße?n?|gruessen?|gruß)",
    "salutations(?: distinguées)?", "un saludo", "saludos(?: cordiales)?", "atentamente", "cordiali saluti",
    "distinti saluti", "atenciosamente", "met vriendelijke groet(?:en)?", "groet(?:en|jes)?", "med vänlig hälsning",
    "med venlig hilsen(?: / kind regards)?", "pozdrawiam", "terveisin",
)  # fmt: skip
_THANKS = ("(?:many |with )?thanks", "thank you", "cheers", "best", "vielen dank", "danke", "merci", "gracias")
_DEVICES = (
    "sent from my .{1,40}", "sent (?:from|with|via) (?:mail|outlook|yahoo|windows|airmail|mobile|proton|spark).{0,60}",
    "get outlook for .{1,60}", "von meinem .{1,40} gesendet", "gesendet (?:von|mit) .{1,40}",
    "envoyé (?:de|depuis) mon .{1,40}", "enviado (?:desde|do) m.{1,40}", "inviato da .{1,40}",
    "verzonden vanaf .{1,40}", "skickat från .{1,40}", "lähetetty .{1,40}",
)  # fmt: skip
_CLOSING = re.compile(f"(?:{'|'.join(_CLOSINGS)})[,.! ]*", re.IGNORECASE)
_THANK = re.compile(f"(?:{'|'.join(_THANKS)})[,.! ]*", re.IGNORECASE)
_DEVICE = re.compile(f"[<(]?(?:{'|'.join(_DEVICES)})", re.IGNORECASE)
_SENTENCE = re.compile(r".{61}|.*[.?!]$")
_BANNER = re.compile(
    r"\W*(?:caution|warning|external|achtung|vorsicht|extern|attention|avertissement|precaución)\b"
    r"[^\0]{0,200}\b(?:e-?mail|message|sender|nachricht|absender|courriel|correo|organi[sz]ation)\b|\W*\[external\]\W*$",
    re.IGNORECASE | re.MULTILINE,
)
_DISCLAIMER = re.compile(
    r"\W*(?:confidentiality|disclaimer|privileged|(?:this|the information (?:contained )?in this|diese|ce|este) "
    r"(?:e-?mail|message|nachricht|courriel|mensaje|correo))\b"
    r"[^\0]{0,300}\b(?:confidential|intended|privileged|recipient|vertraulich|empfänger|confidentiel|destinataire|destinatario)",
    re.IGNORECASE,
)


def left_out(text: str, *, subject: str | None, reply: bool) -> Sequence[Span]:
    """Return the parts of a mail's text that its sender did not write for it; none where nothing would be left.

    Only a reply (by its headers or its subject) quotes: what a first mail passes on is what it is about.
    """
    mail_lines = text.split("\n")
    dropped = [False] * len(mail_lines)
    _drop_notices(mail_lines, dropped)
    if reply or _REPLY.match(subject or ""):
        _drop_quotes(mail_lines, dropped)
    _drop_signature(mail_lines, dropped)
    if not any(
        any(map(str.isalpha, mail_line)) for mail_line, drop in zip(mail_lines, dropped, strict=True) if not drop
    ):
        return ()
    return _spans(mail_lines, dropped)


def _drop_notices(mail_lines: Sequence[str], dropped: list[bool]) -> None:
    """Drop the paragraphs in which a mail system warns of mail from outside, or a company of wrong recipients."""
    line_index = 0
    for filled, group in groupby(mail_lines, key=lambda mail_line: bool(mail_line.strip())):
        paragraph = list(group)
        end = line_index + len(paragraph)
        beginning = "\n".join(paragraph[:8])[:800]
        if filled and (_DISCLAIMER.match(beginning) or (line_index < _TOP and _BANNER.match(beginning))):
            dropped[line_index:end] = [True] * len(paragraph)
        line_index = end


def _drop_quotes(mail_lines: Sequence[str], dropped: list[bool]) -> None:
    for line_index, is_repeated in enumerate(repeated([mail_line[:_WIDTH] for mail_line in mail_lines])):
        dropped[line_index] = dropped[line_index] or is_repeated


def _drop_signature(mail_lines: Sequence[str], dropped: list[bool]) -> None:
    """Drop the last lines from a closing phrase on, where a message stands above it."""
    kept = [line_index for line_index, drop in enumerate(dropped) if not drop and mail_lines[line_index].strip()]
    tail = kept[-_TAIL:]
    for number, line_index in enumerate(tail):
        after = tail[number + 1 :]
        if _ends(mail_lines[line_index].strip(), [mail_lines[each].strip() for each in after]) and _is_message(
            mail_lines, kept, line_index
        ):
            dropped[line_index:] = [True] * (len(mail_lines) - line_index)
            return


def _ends(mail_line: str, after: Sequence[str]) -> bool:
    """Return whether a signature begins with a line."""
    if _CLOSING.fullmatch(mail_line):
        return True
    if _THANK.fullmatch(mail_line):
        return len(after) <= 4 and not any(map(_SENTENCE.match, after))
    return len(after) <= 3 and bool(_DEVICE.fullmatch(mail_line))


def _is_message(mail_lines: Sequence[str], kept: Sequence[int], end: int) -> bool:
    letters = 0
    for line_index in kept:
        if line_index >= end or letters >= _LEAST:
            break
        letters += sum(map(str.isalpha, mail_lines[line_index]))
    return letters >= _LEAST


def _spans(mail_lines: Sequence[str], dropped: Sequence[bool]) -> list[Span]:
    """Return the stretches of dropped lines, each with the line end after it."""
    spans, at = [], 0
    for drop, group in groupby(zip(mail_lines, dropped, strict=True), key=itemgetter(1)):
        end = at + sum(len(mail_line) + 1 for mail_line, _ in group)
        if drop:
            spans.append((at, end))
        at = end
    return [(begin, min(end, at - 1)) for begin, end in spans if begin < at - 1]
