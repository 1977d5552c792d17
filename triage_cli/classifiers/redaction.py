"""Masks what patterns and checksums can recognise before a text leaves the house: it reduces, it does not guarantee.

Every pattern is bounded, so that the time grows with the text's length and no faster.
"""

import re
from collections.abc import Callable, Collection
from re import Match, Pattern

_TOKENS = re.compile(
    r"(?<![\w-])(?:(?:sk|pk|rk)[-_][\w-]{16,200}|gh[pousr]_\w{20,255}|github_pat_\w{20,255}|trg_\w{16,200}|AKIA[0-9A-Z]{16}"
    r"|xox[abeprs]-[\w-]{10,250}|eyJ[\w-]{8,4000}\.[\w-]{8,4000}\.[\w-]{0,4000})"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,8000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)
_SAID = re.compile(
    r"(\b(?:pass(?:word|wort|phrase|code)|kennwort|pwd|pin|api[ _-]?key|(?:access[ _-]?)?token|secret)\b"
    r"\s{0,3}(?:[:=]|\bis\b|\bist\b|\blautet\b)\s{0,3})(\S{4,200})",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}\b", re.IGNORECASE)
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
_PHONE = re.compile(r"(?<![\w.,/-])(?:\+|\(|0|(?=\d{3}[ .-]\d{3}[ .-]\d{4}))(?:[ ()./-]{0,2}\d){6,15}(?![\w-])")
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\d)")


def redact(text: str, kinds: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Return the text with `[email]` and the like in place of what was found, and the kinds that were found."""
    found = []
    for kind, masks in _MASKS.items():
        if kind not in kinds:
            continue
        before = text
        for pattern, mask in masks:
            text = pattern.sub(mask, text)
        if text != before:
            found.append(kind)
    return text, tuple(found)


def _said(match: Match[str]) -> str:
    """Mask what follows "password:"; after "is" only what looks like one, since passwords also are forgotten."""
    lead, value = match.groups()
    looks = re.search(r"[\d_@#$%^&*!]", value.rstrip(".,;!?)")) is not None
    if value.startswith("[secret]") or (lead.rstrip()[-1] not in ":=" and not looks):
        return match.group()
    return f"{lead}[secret]"


def _iban(match: Match[str]) -> str:
    """Mask an IBAN whose checksum holds; words that follow it may have been taken along."""
    text = match.group()
    for end in range(len(text), 14, -1):
        compact = re.sub(r"[ -]", "", text[:end]).upper()
        if 15 <= len(compact) <= 34 and text[end - 1].isalnum() and not text[end : end + 1].isalnum():
            digits = "".join(str(int(c, 36)) for c in compact[4:] + compact[:4])
            if int(digits) % 97 == 1:
                return f"[iban]{text[end:]}"
    return text


def _card(match: Match[str]) -> str:
    """Mask a card's number whose checksum holds (Luhn)."""
    digits = [int(c) for c in match.group() if c.isdigit()][::-1]
    doubled = (sum(divmod(2 * d, 10)) for d in digits[1::2])
    return "[card]" if any(digits) and (sum(digits[::2]) + sum(doubled)) % 10 == 0 else match.group()


def _phone(match: Match[str]) -> str:
    """Mask a telephone number, but no date; numbers without any sign of one were not taken."""
    text = match.group()
    return text if _DATE.fullmatch(text.strip("( )")) or sum(c.isdigit() for c in text) < 7 else "[phone]"


# In this order: a key may hold what looks like a number, a card's number what looks like a telephone's.
_MASKS: dict[str, tuple[tuple[Pattern[str], str | Callable[[Match[str]], str]], ...]] = {
    "secret": ((_TOKENS, "[secret]"), (_SAID, _said)),
    "email": ((_EMAIL, "[email]"),),
    "iban": ((_IBAN, _iban),),
    "card": ((_CARD, _card),),
    "phone": ((_PHONE, _phone),),
}
