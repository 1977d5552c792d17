"""Finds parts of a mail that its sender did not write for it: quotes, a signature, a banner of the mail system.

Signatures and banners are found by their first line: the delimiter of RFC 3676 (section 4.3), a closing phrase on a
line of its own, a phone's signature, a warning of the mail system. Quoted mails follow "On … wrote:", a divider or
their headers, or their lines begin with ">".
"""

import re
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter, or_

from triage_cli.domain.mail.parts import Span

_ATTRIBUTION_LINES = 3  # the most lines of an attribution ("On … wrote:")
_QUOTED_HEADERS = 7  # the most lines of a quoted mail's headers
_ATTRIBUTION_WORDS = "On|At|Am|Le|El|Il|Em|Op|Den|På|W dniu|Dnia|Dne"
_ATTRIBUTION_STARTS = tuple(f"{words} " for words in _ATTRIBUTION_WORDS.split("|"))
_WROTE = re.compile(
    r"\b(?:wrote|writes|schrieb|a écrit|écrit|escribió|ha scritto|escreveu|schreef|geschreven|skrev|kirjoitti|napsal"
    r"|napisał(?:a|\(a\))?|написал(?:а|\(а\))?)(?!\w).{0,80}:$"
)
# The attribution as some mail programs write it: a date, a name, an address.
_DATED_ATTRIBUTION = re.compile(r"\d{4}[/.-]\d\d?[/.-]\d\d?\b[^<>@]{0,120}<[^<>@ ]{1,80}@[^<>@ ]{1,80}>:?$")
_QUOTE_DIVIDER = (
    "original message|forwarded message|begin forwarded message|reply message|ursprüngliche nachricht"
    "|original-nachricht|weitergeleitete nachricht|anfang der weitergeleiteten nachricht"
    "|anfang der weitergeleiteten e-mail|message original|message d'origine|message d’origine|message transféré"
    "|début du message réexpédié|mensaje original|mensaje reenviado|inicio del mensaje reenviado|messaggio originale"
    "|messaggio inoltrato|mensagem original|mensagem encaminhada|oorspronkelijk bericht|origineel bericht"
    "|doorgestuurd bericht|begin doorgestuurd bericht|ursprungligt meddelande|vidarebefordrat meddelande"
    "|oprindelig meddelelse|wiadomość oryginalna|исходное сообщение|пересылаемое сообщение"
)
# Names of the headers of a mail, one or more words, as mail programs translate them.
_SENDER = "from|von|de|da|van|från|fra|od|lähettäjä|от|от кого|发件人|寄件者|差出人"
_OTHER = (
    "sent|date|to|cc|reply-to|gesendet|datum|an|kopie|envoyé|à|pour|enviado|enviado el|fecha|para|inviato|data|enviada"
    "|enviado em|verzonden|aan|skickat|till|sendt|til|wysłano|do|отправлено|дата|кому|发送时间|收件人|送信日時|宛先"
)
_SUBJECT = "subject|betreff|objet|sujet|asunto|oggetto|assunto|onderwerp|ämne|emne|temat|тема|主题|件名"
_QUOTE_DIVIDERS = frozenset(_QUOTE_DIVIDER.split("|"))
_SENDERS, _OTHERS = frozenset(_SENDER.split("|")), frozenset(f"{_OTHER}|{_SUBJECT}".split("|"))
_SUBJECTS = frozenset(_SUBJECT.split("|"))
_HEADER_YEAR, _HEADER_TIME = re.compile(r"\d{4}"), re.compile(r"\d ?[:h] ?\d\d")

_SEARCHED_WIDTH = 300  # characters of a line that are searched
_LETTERS_ABOVE = 8  # letters that must be above a signature
_SIGNATURE_LINES = 12  # lines of a signature
_BANNER_LINES = 6  # lines within which a banner begins
_REPLY_SUBJECT = re.compile(
    r"\s*(?:re|r|aw|antw|sv|vs|odp|ref|rif|res|回复|答复|回覆)(?:\[\d+\])?\s*[:\uff1a]", re.IGNORECASE
)
_CLOSINGS = (
    "--|(?:with )?(?:(?:best|kind|kindest|warm) )?(?:regards|wishes)|sincerely(?: yours)?|yours [a-z]+|mfg"
    "|(?:bien )?cordialement|bien à vous"
    "|(?:mit )?(?:freundlichen?|besten?|lieben?|herzlichen?|viele) (?:grüße?n?|gruessen?|gruß)"
    "|salutations(?: distinguées)?|un saludo|saludos(?: cordiales)?|atentamente|cordiali saluti|distinti saluti"
    "|atenciosamente|met vriendelijke groet(?:en)?|groet(?:en|jes)?|med vänlig hälsning"
    "|med venlig hilsen(?: / kind regards)?|pozdrawiam|terveisin"
)
_THANKS = "(?:many |with )?thanks|thank you|cheers|best|vielen dank|danke|merci|gracias"
_PHONE_SIGNATURES = (
    "sent from my .{1,40}|sent (?:from|with|via) (?:mail|outlook|yahoo|windows|airmail|mobile|proton|spark).{0,60}"
    "|get outlook for .{1,60}|von meinem .{1,40} gesendet|gesendet (?:von|mit) .{1,40}"
    "|envoyé (?:de|depuis) mon .{1,40}|enviado (?:desde|do) m.{1,40}|inviato da .{1,40}|verzonden vanaf .{1,40}"
    "|skickat från .{1,40}|lähetetty .{1,40}"
)
_CLOSING = re.compile(f"(?:{_CLOSINGS})[,.! ]*", re.IGNORECASE)
_THANK = re.compile(f"(?:{_THANKS})[,.! ]*", re.IGNORECASE)
_PHONE_SIGNATURE = re.compile(f"[<(]?(?:{_PHONE_SIGNATURES})", re.IGNORECASE)
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


def quoted_lines(mail_lines: Sequence[str]) -> list[bool]:
    """Return for each line whether it repeats an earlier mail.

    Below an attribution only lines with ">" do, so that an answer below the quote is kept. If no line has ">", or after
    a divider or headers, all remaining lines do.
    """
    is_quoted = [line.startswith(">") for line in mail_lines]
    line_index = 0
    while line_index < len(mail_lines):
        if end := _attribution_end(mail_lines, line_index):
            below_attribution = next((n for n in range(end, len(mail_lines)) if mail_lines[n].strip()), len(mail_lines))
            quotes = below_attribution < len(mail_lines) and is_quoted[below_attribution]
            if quotes or _has_date_or_address("".join(mail_lines[line_index:end])):
                quote_end = below_attribution if quotes else len(mail_lines)
                line_index = _without_blanks(mail_lines, line_index)
                is_quoted[line_index:quote_end] = [True] * (quote_end - line_index)
                line_index = quote_end
                continue
        elif not is_quoted[line_index] and (
            _is_divider(mail_lines, line_index) or _are_headers(mail_lines, line_index)
        ):
            line_index = _without_blanks(mail_lines, line_index)
            is_quoted[line_index:] = [True] * (len(mail_lines) - line_index)
            break
        line_index += 1
    return is_quoted


def _without_blanks(mail_lines: Sequence[str], line_index: int) -> int:
    """Return the index of the first blank line directly above a quote, or of the quote's own first line."""
    while line_index and not mail_lines[line_index - 1].strip():
        line_index -= 1
    return line_index


def _attribution_end(mail_lines: Sequence[str], start: int) -> int:
    """Return the index of the line after an attribution that begins here; 0 if none does."""
    attribution = ""
    for end in range(start, min(start + _ATTRIBUTION_LINES, len(mail_lines))):
        part = mail_lines[end].strip()
        if not part or (attribution and part.startswith((">", *_ATTRIBUTION_STARTS))):
            break
        attribution += part if attribution.endswith("<") else f" {part}"
        text = attribution.strip()
        if _DATED_ATTRIBUTION.match(text):
            return end + 1
        if _WROTE.search(text) and (text.startswith(_ATTRIBUTION_STARTS) or _has_date_or_address(text)):
            return end + 1
    return 0


def _has_date_or_address(text: str) -> bool:
    """Return whether a text has a date or an address; an attribution has one, an ordinary sentence often none."""
    return "@" in text or any(map(str.isdigit, text))


def _is_divider(mail_lines: Sequence[str], line_index: int) -> bool:
    line = mail_lines[line_index].strip()
    if line.strip("_") == "":
        return len(line) >= 10 and _are_headers(mail_lines, line_index + 1)
    is_divider_text = line.strip("-_=*–: ").casefold() in _QUOTE_DIVIDERS
    return is_divider_text and (line.endswith(":") or line.startswith(("--", "__", "==", "–")))


def _are_headers(mail_lines: Sequence[str], start: int) -> bool:
    """Return whether the headers of a mail begin here: its sender, and another one.

    A customer may write "From: Berlin" and "To: Munich". So the sender must have an address, or there must be three
    headers: one with an address, or one with a date and time and another that is the subject.
    """
    headers: dict[str, str] = {}
    for line in mail_lines[start : start + _QUOTED_HEADERS]:
        name, _, value = line.replace("\uff1a", ":").partition(":")
        if (name := name.strip("* \t").casefold()) in _SENDERS | _OTHERS:
            headers.setdefault(name, value)
        if not line.strip() or not headers:
            break
    names = headers.keys()
    if not (names & _SENDERS and names & _OTHERS):
        return False
    if any("@" in headers[name] for name in names & _SENDERS):
        return True
    is_dated = any(_HEADER_YEAR.search(value) and _HEADER_TIME.search(value) for value in headers.values())
    return len(names) >= 3 and ("@" in "".join(headers.values()) or (is_dated and bool(names & _SUBJECTS)))


def unwritten_parts(text: str, *, subject: str | None, reply: bool) -> Sequence[Span]:
    """Return the parts of a mail's text that its sender did not write for it; none if nothing else would be left.

    Quotes are only looked for in a reply (by its headers or its subject): what a first mail forwards is its topic.
    """
    lines = text.split("\n")
    dropped = [False] * len(lines)
    _drop_notices(lines, dropped)
    if reply or _REPLY_SUBJECT.match(subject or ""):
        dropped = [*map(or_, dropped, quoted_lines([line[:_SEARCHED_WIDTH] for line in lines]))]
    _drop_signature(lines, dropped)
    if not any(any(map(str.isalpha, line)) for line, drop in zip(lines, dropped, strict=True) if not drop):
        return ()
    return _spans(lines, dropped)


def _drop_notices(mail_lines: Sequence[str], dropped: list[bool]) -> None:
    """Drop warnings about external mail, and paragraphs about wrong recipients."""
    line_index = 0
    for filled, group in groupby(mail_lines, key=lambda mail_line: bool(mail_line.strip())):
        paragraph = list(group)
        end = line_index + len(paragraph)
        first_lines = "\n".join(paragraph[:8])[:800]
        if filled and (_DISCLAIMER.match(first_lines) or (line_index < _BANNER_LINES and _BANNER.match(first_lines))):
            dropped[line_index:end] = [True] * len(paragraph)
        line_index = end


def _drop_signature(mail_lines: Sequence[str], dropped: list[bool]) -> None:
    """Drop the last lines from a closing phrase on, if there is a message above it."""
    kept = [line_index for line_index, drop in enumerate(dropped) if not drop and mail_lines[line_index].strip()]
    last_lines = kept[-_SIGNATURE_LINES:]
    for number, line_index in enumerate(last_lines):
        after = last_lines[number + 1 :]
        is_beginning = _begins_signature(mail_lines[line_index].strip(), [mail_lines[each].strip() for each in after])
        if is_beginning and _is_message(mail_lines, kept, line_index):
            dropped[line_index:] = [True] * (len(mail_lines) - line_index)
            return


def _begins_signature(mail_line: str, after: Sequence[str]) -> bool:
    """Return whether a signature begins with a line, before the lines `after` it."""
    if _CLOSING.fullmatch(mail_line):
        return True
    if _THANK.fullmatch(mail_line):
        return len(after) <= 4 and not any(map(_SENTENCE.match, after))
    return len(after) <= 3 and bool(_PHONE_SIGNATURE.fullmatch(mail_line))


def _is_message(mail_lines: Sequence[str], kept: Sequence[int], end: int) -> bool:
    """Return whether the lines above a signature have enough letters for a message."""
    letters = 0
    for line_index in kept:
        if line_index >= end or letters >= _LETTERS_ABOVE:
            break
        letters += sum(map(str.isalpha, mail_lines[line_index]))
    return letters >= _LETTERS_ABOVE


def _spans(mail_lines: Sequence[str], dropped: Sequence[bool]) -> list[Span]:
    """Return the spans of the dropped lines of a mail, each with its line end."""
    spans, at = [], 0
    for drop, group in groupby(zip(mail_lines, dropped, strict=True), key=itemgetter(1)):
        end = at + sum(len(mail_line) + 1 for mail_line, _ in group)
        if drop:
            spans.append((at, end))
        at = end
    return [(begin, min(end, at - 1)) for begin, end in spans if begin < at - 1]
