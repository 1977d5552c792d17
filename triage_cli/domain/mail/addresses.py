"""The ids of customers that are mail addresses: one person, however the address is spelt."""

import re
import unicodedata
from collections.abc import Iterable

from triage_cli.domain.hostile_text.invisible import UNSEEN, is_plain

# `Name <address>`, and what may stand around an address; PostgreSQL's stores have the same patterns.
BRACKETED = r"<([^<>]*@[^<>]*)>\s*$"
AROUND = r"""^\s*(mailto:)?["'\s]*|["'\s]+$"""
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
_ADDRESS_WITHIN = re.compile(r"[^@\s<>()\"':,;/]+@[^@\s<>()\"':,;/]+")


def folded_id(customer_id: str) -> str:
    """Return an id as a reader may take it: in compatible letters (NFKC), without case and invisible characters."""
    if is_plain(customer_id):
        return customer_id.lower()
    return unicodedata.normalize("NFKC", UNSEEN.sub("", customer_id)).casefold()


def mail_address(customer_id: str) -> str | None:
    """Return the mail address that an id is, in the one form of all its spellings; None if it is none."""
    folded = folded_id(customer_id)
    bracketed = re.search(BRACKETED, folded)
    address = re.sub(AROUND, "", bracketed[1] if bracketed else folded)
    return address if _ADDRESS.fullmatch(address) else None


def addresses_in(name: str) -> list[str]:
    """Return the mail addresses within a name, as in an id that begins with one."""
    return _ADDRESS_WITHIN.findall(name)


def same_mail(customer_id: str | None, address: str) -> bool:
    """Return whether an id is a spelling of a mail address, given in the form that `mail_address` returns."""
    if customer_id is None or (customer_id.isascii() and address not in customer_id.lower()):
        return False  # at once, since a store asks about each of its tickets
    return mail_address(customer_id) == address


def look_alikes(customer_id: str, others: Iterable[str]) -> list[str]:
    """Return those of the other ids that a reader may take for this one, though they may be of another customer."""
    address, folded = mail_address(customer_id), folded_id(customer_id).strip()

    def is_alike(other: str) -> bool:
        if address is not None:
            return mail_address(other) != address and address in folded_id(other)
        return other != customer_id and folded_id(other).strip() == folded

    return [other for other in others if is_alike(other)]
