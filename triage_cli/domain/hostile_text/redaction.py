"""Masks personal data and secrets that patterns and checksums can recognise, before a text is sent to a provider.

It cannot find everything. Every pattern is bounded, so the time grows linearly with the text. Invisible characters and
unusual blanks or dashes hide nothing from a mask. Where nothing is masked, the text stays unchanged.
"""

import re
from collections.abc import Callable, Collection, Sequence
from re import Match, Pattern

from triage_cli.domain.hostile_text.invisible import CONTROLS, TABLE, UNSEEN, hides

_SECRET_TOKENS = re.compile(
    r"(?<![\w-])(?:(?:sk|pk|rk)[-_][\w-]{16,200}|gh[pousr]_\w{20,255}|github_pat_\w{20,255}|trg_\w{16,200}|AKIA[0-9A-Z]{16}"
    r"|xox[abeprs]-[\w-]{10,250}|eyJ[\w-]{8,4000}\.[\w-]{8,4000}\.[\w-]{0,4000})"
    r"|(?<=[Bb]earer )[\w.~+/-]{16,4000}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,8000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)
_NAMED_SECRET = re.compile(
    r"((?<![^\W_])(?:pass(?:word|wort|phrase|code|wd)|kennwort|mot de passe|contraseña|pwd?|pin|api[ _-]?key|token"
    r"|secret)\b"
    r"\s{0,3}(?:[:=]|\b(?:is|ist|lautet|est|es)\b:?)\s{0,3})(\S{4,200})",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_IBAN = re.compile(
    r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}\b"
)  # no IGNORECASE, which would match the Kelvin sign as k
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,30}(?![\w-])")
_DIGIT_GROUP = re.compile(r"\d+")
_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # twice a digit, and its digit sum if above 9
_PHONE = re.compile(
    r"(?<![\w,/-])(?:(?<!\.)|(?<=[^\W\d_]\.))(?:\+|\(|0|(?=(?:1[ .-]?\(?)?\d{3}(?:\)[ .-]?|[ .-])\d{3}[ .-]\d{4}))"
    r"(?:[ ()./-]{0,2}\d){6,15}(?![\w-])"
)
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\d)")
_DECIMAL = re.compile(r"\+?0\.\d+(?:[ /-]{1,2}0)?")  # perhaps with the start of another one
# Other blanks, dashes and full-width forms, as word processors and phones write them, are read as ASCII.
_READ_AS_ASCII = (
    dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
    | dict.fromkeys([*range(0x2010, 0x2015), 0x2212], "-")
    | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
)
_MaskSpan = tuple[int, int] | None


def redact(text: str, kinds: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Return the text with masks (`[email]` and the like) in place of matches, and the kinds that were masked."""
    if not kinds:
        return text, ()
    masked_kinds: set[str] = set()
    # An invisible character may be inside a number, or in the place of a blank.
    for gap in ("", " ") if hides(text) else ("",):
        masked_text = _MaskedText(text, gap)
        for kind, masks in _MASKS.items():
            for pattern, span_of in masks if kind in kinds else ():
                if masked_text.mask(pattern, span_of, f"[{kind}]"):
                    masked_kinds.add(kind)
        text = "".join(masked_text.cells)
    return text, tuple(kind for kind in _MASKS if kind in masked_kinds)


class _MaskedText:
    """A text as the patterns of redaction read it: each character for one of `cells`, which joined are the text.

    Invisible characters are read as `gap`: as a blank, or as nothing, in which case they belong to the cell before.
    """

    def __init__(self, text: str, gap: str) -> None:
        self.cells: Sequence[str] = text
        if hides(text):
            self.cells = (_GAPS_AS_BLANKS if gap else _GAPS_JOINED).findall(text)
            text = "".join(" " if UNSEEN.match(cell) else cell[0] for cell in self.cells)
        self._read_text = text if text.isascii() else text.translate(_READ_AS_ASCII)

    def mask(self, pattern: Pattern[str], span_of: Callable[[Match[str]], _MaskSpan], mask: str) -> bool:
        """Mask what a pattern and its check find in the text; return whether anything was masked."""
        read_parts, masked_cells, masked_until = [], [], 0
        for match in pattern.finditer(self._read_text):
            if (span := span_of(match)) is None:
                continue
            start, end = span
            read_parts += [self._read_text[masked_until:start], mask]
            masked_cells += [*self.cells[masked_until:start], *mask[:-1], mask[-1] + self.cells[end - 1][1:]]
            masked_until = end
        if masked_until:
            self._read_text = "".join(read_parts) + self._read_text[masked_until:]
            self.cells = [*masked_cells, *self.cells[masked_until:]]
        return masked_until > 0


def _whole_match(match: Match[str]) -> _MaskSpan:
    return match.span()


def _named_secret(match: Match[str]) -> _MaskSpan:
    """Mask what follows "password:"; after "is", only what looks like a password ("my password is wrong")."""
    secret_name, secret = match.groups()
    looks_secret = re.search(r"[\d_@#$%^&*!]", secret.rstrip(".,;!?)")) is not None
    if secret.startswith("[secret]") or (secret_name.rstrip()[-1] not in ":=" and not looks_secret):
        return None
    return match.span(2)


def _iban(match: Match[str]) -> _MaskSpan:
    """Mask an IBAN with a valid checksum; the match may include following words."""
    iban_text = match.group()
    for end in range(len(iban_text), 14, -1):
        iban = re.sub(r"[ -]", "", iban_text[:end]).upper()
        if 15 <= len(iban) <= 34 and iban_text[end - 1].isalnum() and not iban_text[end : end + 1].isalnum():
            iban_digits = "".join(str(int(c, 36)) for c in iban[4:] + iban[:4])
            if int(iban_digits) % 97 == 1:
                return match.start(), match.start() + end
    return None


def _card(match: Match[str]) -> _MaskSpan:
    """Mask a card number with a valid checksum; the match may include an expiry date or an amount."""
    digit_groups = list(_DIGIT_GROUP.finditer(match.group()))
    all_digits = "".join(group.group() for group in digit_groups)
    cards = [(digit_groups[0], digit_groups[-1])] if _is_card_number(all_digits) else []
    for index, first in enumerate(digit_groups):
        card_number = ""
        for last in digit_groups[index:]:
            card_number += last.group()
            if len(last.group()) < 3 or len(card_number) > 19:
                break
            if _is_card_number(card_number):
                cards.append((first, last))
    offset = match.start()
    if not cards:
        return None
    return offset + min(first.start() for first, _ in cards), offset + max(last.end() for _, last in cards)


def _is_card_number(card_number: str) -> bool:
    """Return whether digits have the length and checksum (Luhn) of a card number."""
    if not 13 <= len(card_number) <= 19:
        return False
    digits = [int(c) for c in reversed(card_number)]
    luhn_sum = sum(digits[::2]) + sum(map(_LUHN_DOUBLED.__getitem__, digits[1::2]))
    return any(digits) and luhn_sum % 10 == 0


def _phone(match: Match[str]) -> _MaskSpan:
    """Mask a telephone number, but no date and no decimal fraction."""
    phone_text = match.group()
    is_date_or_decimal = _DATE.fullmatch(phone_text.strip("( )")) or _DECIMAL.fullmatch(phone_text)
    return None if is_date_or_decimal or sum(c.isdigit() for c in phone_text) < 7 else match.span()


_GAPS_JOINED = re.compile(f"[{TABLE}{CONTROLS}]+|[^{TABLE}{CONTROLS}][{TABLE}{CONTROLS}]*")
_GAPS_AS_BLANKS = re.compile(f"[{TABLE}{CONTROLS}]+|[^{TABLE}{CONTROLS}]")
# The order matters: a key may contain something like a number, a card number something like a telephone number.
_MASKS: dict[str, tuple[tuple[Pattern[str], Callable[[Match[str]], _MaskSpan]], ...]] = {
    "secret": ((_SECRET_TOKENS, _whole_match), (_NAMED_SECRET, _named_secret)),
    "email": ((_EMAIL, _whole_match),),
    "iban": ((_IBAN, _iban),),
    "card": ((_CARD, _card),),
    "phone": ((_PHONE, _phone),),
}
