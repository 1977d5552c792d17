"""What `triage review` shows: a ticket and its keys, on so many columns and lines, whatever its text is made of."""

import re
import string
import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache

from rich.cells import cell_len, chop_cells, set_cell_size

from triage_cli.cli import messages
from triage_cli.domain.tickets import Ticket

QUIT, SKIP, UNDO, MORE, ACCEPT, FIND = "q", "s", "u", " ", "\r", "/"
DIGITS = "123456789"
BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
GUESS = 3  # lines that a guess may take where the text leaves them
# A word, or one character of those that are two columns wide, between which a line may end; each with the space before.
WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\U0001f000-\U0003fffd"
)
MARKS = "\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U0001f3fb-\U0001f3ff"
PIECE = re.compile(rf"\s*(?:[{WIDE}][{MARKS}]*|[^\s{WIDE}]+)")


def keys_of(names: Sequence[str]) -> dict[str, str]:
    """Return the keys that give a category: digits for the first nine, and for each the first free letter of its name.

    Where letters run out, `/` and the beginning of a name still give it.
    """
    taken = set(QUIT + SKIP + UNDO)
    by_key = dict(zip(DIGITS, names, strict=False))
    for name in names:
        letters = [c for c in name.casefold() if c in string.ascii_lowercase]
        for letter in (*letters, *(c.upper() for c in letters), *string.ascii_letters):
            if letter not in taken:
                taken.add(letter)
                by_key[letter] = name
                break
    return by_key


def name_of(ticket: Ticket) -> str:
    """Return by which name a ticket is shown."""
    return ticket.external_id or ticket.ticket_id[-8:]


def screen(ticket: Ticket, place: str, by_key: Mapping[str, str], page: int, size: tuple[int, int]) -> list[str]:
    """Return the lines that show a ticket, one line left free; no escape code of its text is among them."""
    width, height = size
    facts = "  ".join(filter(None, (name_of(ticket), ticket.priority, ticket.customer_id)))
    head = [f"{DIM}{cut(f'review {place}  {facts}', width)}{PLAIN}", ""]
    head += [f"{BOLD}{line}{PLAIN}" for line in _wrapped(ticket.subject or "", width)[:GUESS]]
    body, menu = _wrapped(ticket.description or "", width), _menu(by_key, width)
    free = height - 1 - len(head) - len(body) - len(menu) - 2  # but for what the guess takes
    guess = _at_most(wrapped(messages.safe(_guess(ticket)), width), max(1, min(GUESS, free)), width)
    foot = ["", *guess, "", *menu]
    room = max(3, height - 1 - len(head) - len(foot))
    pages = 1
    if len(body) > room:
        room = max(3, room - 1)
        pages = -(-len(body) // room)
    shown = body[page % pages * room :][:room]
    more = [f"{DIM}… {page % pages + 1} of {pages}, space for more{PLAIN}"] if pages > 1 else []
    lines = [*head, *shown, *more, *foot]
    # A window too low for all of it keeps its first line and the keys.
    return lines if len(lines) < height else [lines[0], *lines[len(lines) - max(0, height - 2) :]]


def cut(text: str, width: int) -> str:
    """Return a text as it may be shown on a terminal, of at most so many columns."""
    shown = messages.safe(text[: width * 2])
    return shown if cell_len(shown) <= width else set_cell_size(shown, width - 1).rstrip() + "…"


def wrapped(text: str, width: int) -> list[str]:
    """Break a line of text into lines of at most so many columns: at spaces, and between wide characters."""
    if text.isascii():
        return textwrap.wrap(text, width) or [""]
    lines, used = [""], 0
    for piece in PIECE.findall(text):
        columns = cell_len(piece)
        if used + columns <= width:
            lines[-1] += piece
            used += columns
            continue
        lines += chop_cells(piece.strip(), width) or [piece.strip()]  # a mark without a letter has no width
        used = cell_len(lines[-1])
    return lines if lines[0] else lines[1:] or [""]


@lru_cache(maxsize=8)
def _wrapped(text: str, width: int) -> tuple[str, ...]:
    return tuple(part for line in text.splitlines() for part in wrapped(messages.safe(line), width))


def _at_most(lines: Sequence[str], number: int, width: int) -> list[str]:
    if len(lines) <= number:
        return list(lines)
    return [*lines[: number - 1], cut(f"{lines[number - 1]} {lines[number]}", width)]


def _guess(ticket: Ticket) -> str:
    if ticket.verdict:
        return f"a person said {ticket.category}, which is no category now"
    if ticket.suggestion is None:
        return f"the machine has no guess: {ticket.error or ticket.reason or 'it abstained'}"
    share = "" if ticket.confidence is None else f" at {ticket.confidence:.2f}"
    because = f"{', because of' if share else ''}: {ticket.reason}" if ticket.reason else ""
    return f"the machine's guess: {ticket.suggestion}{share}{because}"


def _menu(by_key: Mapping[str, str], width: int) -> list[str]:
    names = dict.fromkeys(by_key.values())
    entries = ["".join(k for k, named in by_key.items() if named == name) + f" {name}" for name in names]
    entries += ["enter: the guess", "s skip", "u undo", "/ by name", "q quit"]
    lines = [""]
    for entry in (cut(entry, width) for entry in entries):
        if lines[-1] and cell_len(lines[-1]) + 3 + cell_len(entry) > width:
            lines.append("")
        lines[-1] += f"   {entry}" if lines[-1] else entry
    return lines
