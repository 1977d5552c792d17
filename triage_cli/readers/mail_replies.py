"""Where a mail repeats the mails before it: below "On … wrote:", a divider, or their headers, or behind ">"."""

import re
from collections.abc import Sequence

_WRAPPED = 3  # lines that an attribution takes at most
_BLOCK = 7  # lines within which the headers of a mail stand
_BEGINNINGS = ("On ", "At ", "Am ", "Le ", "El ", "Il ", "Em ", "Op ", "Den ", "På ", "W dniu ", "Dnia ", "Dne ")
_WROTE = re.compile(
    r"\b(?:wrote|writes|schrieb|a écrit|écrit|escribió|ha scritto|escreveu|schreef|geschreven|skrev|kirjoitti|napsal"
    r"|napisał(?:a|\(a\))?|написал(?:а|\(а\))?)(?!\w).{0,80}:$"
)
# The way in which some mail programs write it: a date, a name, an address.
_DATED = re.compile(r"\d{4}[/.-]\d\d?[/.-]\d\d?\b[^<>@]{0,120}<[^<>@ ]{1,80}@[^<>@ ]{1,80}>:?$")
_DIVIDERS = frozenset((
    "original message", "forwarded message", "begin forwarded message", "reply message", "ursprüngliche nachricht",
    "original-nachricht", "weitergeleitete nachricht", "anfang der weitergeleiteten nachricht",
    "anfang der weitergeleiteten e-mail", "message original", "message d'origine", "message d’origine",
    "message transféré", "début du message réexpédié", "mensaje original", "mensaje reenviado",
    "inicio del mensaje reenviado", "messaggio originale", "messaggio inoltrato", "mensagem original",
    "mensagem encaminhada", "oorspronkelijk bericht", "origineel bericht", "doorgestuurd bericht",
    "begin doorgestuurd bericht", "ursprungligt meddelande", "vidarebefordrat meddelande", "oprindelig meddelelse",
    "wiadomość oryginalna", "исходное сообщение", "пересылаемое сообщение",
))  # fmt: skip
# Names of the headers of a mail, one or more words, as mail programs translate them.
_SENDER = "from|von|de|da|van|från|fra|od|lähettäjä|от|от кого|发件人|寄件者|差出人"
_OTHER = (
    "sent|date|to|cc|reply-to|gesendet|datum|an|kopie|envoyé|à|pour|enviado|enviado el|fecha|para|inviato|data|enviada"
    "|enviado em|verzonden|aan|skickat|till|sendt|til|wysłano|do|отправлено|дата|кому|发送时间|收件人|送信日時|宛先"
)
_SUBJECT = "subject|betreff|objet|sujet|asunto|oggetto|assunto|onderwerp|ämne|emne|temat|тема|主题|件名"
_SENDERS, _OTHERS = frozenset(_SENDER.split("|")), frozenset(f"{_OTHER}|{_SUBJECT}".split("|"))
_SUBJECTS = frozenset(_SUBJECT.split("|"))
_YEAR, _TIME = re.compile(r"\d{4}"), re.compile(r"\d ?[:h] ?\d\d")


def repeated(mail_lines: Sequence[str]) -> list[bool]:
    """Return for each line whether it repeats an earlier mail.

    Below an attribution only what is quoted by ">" is, so that an answer below it is kept; without any ">", and below
    a divider or headers, it is all of the rest.
    """
    found = [line.startswith(">") for line in mail_lines]
    index = 0
    while index < len(mail_lines):
        if end := _attribution_end(mail_lines, index):
            below = next((n for n in range(end, len(mail_lines)) if mail_lines[n].strip()), len(mail_lines))
            quotes = below < len(mail_lines) and found[below]
            if quotes or _names_someone("".join(mail_lines[index:end])):
                last = below if quotes else len(mail_lines)
                index = _without_blanks(mail_lines, index)
                found[index:last] = [True] * (last - index)
                index = last
                continue
        elif not found[index] and (_is_divider(mail_lines, index) or _are_headers(mail_lines, index)):
            index = _without_blanks(mail_lines, index)
            found[index:] = [True] * (len(mail_lines) - index)
            break
        index += 1
    return found


def _without_blanks(mail_lines: Sequence[str], index: int) -> int:
    """Return the index of the first of the blank lines above a line; its own if there are none."""
    while index and not mail_lines[index - 1].strip():
        index -= 1
    return index


def _attribution_end(mail_lines: Sequence[str], start: int) -> int:
    """Return the index of the line after an attribution that begins here; 0 if none does."""
    joined = ""
    for end in range(start, min(start + _WRAPPED, len(mail_lines))):
        part = mail_lines[end].strip()
        if not part or (joined and part.startswith((">", *_BEGINNINGS))):
            break
        joined += part if joined.endswith("<") else f" {part}"
        text = joined.strip()
        if _DATED.match(text):
            return end + 1
        if _WROTE.search(text) and (text.startswith(_BEGINNINGS) or _names_someone(text)):
            return end + 1
    return 0


def _names_someone(text: str) -> bool:
    """Return whether a text holds a date or an address, without which it may be a sentence."""
    return "@" in text or any(map(str.isdigit, text))


def _is_divider(mail_lines: Sequence[str], index: int) -> bool:
    line = mail_lines[index].strip()
    if line.strip("_") == "":
        return len(line) >= 10 and _are_headers(mail_lines, index + 1)
    known = line.strip("-_=*–: ").casefold() in _DIVIDERS
    return known and (line.endswith(":") or line.startswith(("--", "__", "==", "–")))


def _are_headers(mail_lines: Sequence[str], start: int) -> bool:
    """Return whether the headers of a mail begin here: its sender, and another one.

    "From: Berlin" and "To: Munich" is what a customer writes. So the sender must have an address, or there are three
    headers, and one of them has an address, or one has a date with a time and another one is the subject.
    """
    headers: dict[str, str] = {}
    for line in mail_lines[start : start + _BLOCK]:
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
    dated = any(_YEAR.search(value) and _TIME.search(value) for value in headers.values())
    return len(names) >= 3 and ("@" in "".join(headers.values()) or (dated and bool(names & _SUBJECTS)))
