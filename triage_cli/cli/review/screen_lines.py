"""The screen of `triage review` as lines of styled text: the ticket with its explanation, the queue, the keys."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from triage_cli.cli.display.text_layout import cut, padded, paragraphs, wrapped
from triage_cli.cli.local_time import localized
from triage_cli.cli.review.key_bindings import COMMANDS
from triage_cli.cli.review.ticket_queue import Entry, name_of
from triage_cli.cli.terminal import AMBER, safe
from triage_cli.domain.agent_suggestions import AgentSuggestion
from triage_cli.domain.explanation.history import Why
from triage_cli.domain.explanation.next_step import shell_name
from triage_cli.domain.tickets import Ticket

Line = list[Segment]
DIM, BOLD, GUESS, PERSON, ALERT = (Style.parse(s) for s in ("dim", "bold", "bold green", "bold cyan", "bold red"))
AGENT = Style.parse("magenta")
CURSOR = Style.parse("reverse")
PRIORITIES = {"urgent": ALERT, "high": Style.parse(AMBER)}
MOST = 50_000  # characters of a text that are shown
BAR = 8
NAME = 24  # the most columns of a name or a customer's id
TO_THE_MINUTE = "%Y-%m-%d %H:%M"
TIMED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d)  ")
SUGGESTIONS = 5  # the number of agents' suggestions shown, the last ones
MAP = re.compile(r" \(map [0-9a-f]{16}\)")  # the hash of the routing map is for machines


def ticket_lines(ticket: Ticket, why: Why | None, names: Collection[str], width: int) -> list[Line]:
    """Return a ticket as lines of at most so many columns: its text, the decision or suggestion, and the explanation.

    `names` are the existing categories.
    """
    suggested = _suggested(ticket, why.agent_suggestions, width) if why else ()
    story = _why(why.why, width) if why else ()
    return [*_head(ticket, names, width), *suggested, [], *_text(ticket, width), *_extra(ticket, width), *story]


def _head(ticket: Ticket, names: Collection[str], width: int) -> Iterator[Line]:
    label = ticket.category or ticket.suggestion
    gone = "" if label is None or label in names else ", which is no category now"
    for number, page_line in enumerate(paragraphs(ticket.subject or "", width)[:3]):
        yield [Segment(page_line if number < 2 else cut(page_line, width), BOLD)]
    facts = [name_of(ticket), ticket.status.replace("_", " "), ticket.priority, ticket.customer_id, ticket.source]
    shown = "  ".join(cut(fact, NAME) for fact in facts if fact)
    yield from _wrapped(shown, width, PRIORITIES.get(ticket.priority or "", DIM))
    if ticket.created_at or ticket.stored_at:
        yield [
            Segment(
                cut(f"since {localized(ticket.created_at or ticket.stored_at, TO_THE_MINUTE)} (local time)", width), DIM
            )
        ]
    if ticket.verdict:
        yield from _wrapped(f"{label}, decided by a person{gone}", width, PERSON)
    elif label:
        asked = "" if ticket.category else "?"
        shown = f"{label}{asked}  {bar(ticket.confidence)}{gone}"
        yield from _wrapped(shown, width, DIM) if gone else [[Segment(cut(shown, width), GUESS)]]
    else:
        yield from _wrapped(f"no guess: {ticket.error or ticket.reason or 'the machine abstained'}", width, ALERT)
    if ticket.reason and label:
        because = "note: " if ticket.verdict else "because of: "
        yield from _wrapped(f"{because}{ticket.reason}", width, DIM)


def _suggested(ticket: Ticket, suggestions: Sequence[AgentSuggestion], width: int) -> Iterator[Line]:
    for each in suggestions[-SUGGESTIONS:]:
        because = f": {each.note}" if each.note else ""
        yield from _wrapped(f"{each.category}?  suggested by agent {each.agent} of {each.actor}{because}", width, AGENT)
    if len(suggestions) > SUGGESTIONS:
        rest = f"and {len(suggestions) - SUGGESTIONS} more of agents: triage why {shell_name(ticket)}"
        yield from _wrapped(rest, width, DIM)


def bar(share: float | None) -> str:
    """Return a confidence as a bar with its number."""
    if share is None:
        return ""
    whole = round(max(0.0, min(1.0, share)) * BAR)
    return f"{'█' * whole}{'░' * (BAR - whole)} {share:.2f}"


def _text(ticket: Ticket, width: int) -> Iterator[Line]:
    description = ticket.description or ""
    for page_line in paragraphs(description[:MOST], width):
        yield [Segment(page_line)]
    if len(description) > MOST:
        rest = f"… {len(description) - MOST:,} more characters: triage show {shell_name(ticket)}"
        yield from _wrapped(rest, width, DIM)


def _extra(ticket: Ticket, width: int) -> Iterator[Line]:
    try:
        extra = json.loads(ticket.extra or "{}")
    except ValueError:
        return
    for key, value in extra.items() if isinstance(extra, Mapping) else ():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield from _wrapped(f"{key}: {shown[:MOST]}", width, DIM) if shown else ()


def _why(why: Sequence[str], width: int) -> Iterator[Line]:
    if why:
        yield []
        yield [Segment("why", BOLD)]
    for page_line in why[1:]:  # the first line repeats the lines above
        page_text = localized(MAP.sub("", page_line), TO_THE_MINUTE)
        timed = TIMED.match(page_text)
        lead = 2 if timed else 0
        for number, part in enumerate(wrapped(_one_line(page_text), max(8, width - lead))):
            indent = " " * lead if number else ""
            yield [Segment(f"{indent}{part}", DIM if timed else Style.null())]


def _one_line(page_text: str) -> str:
    return cut(page_text, MOST)


def _wrapped(page_text: str, width: int, style: Style) -> Iterator[Line]:
    for page_line in wrapped(_one_line(page_text), width):
        yield [Segment(page_line, style)]


def queue_line(queue_entry: Entry, mark: str, width: int, *, marked: bool) -> Line:
    """Return a line of the queue: name, guess and confidence, and if there is room the text."""
    name, guess = (9, 10) if width >= 30 else (7, max(4, width - 16))
    unsure = "" if queue_entry.verdict or queue_entry.confidence is None else f"{queue_entry.confidence:.2f}"
    decided = GUESS if mark == "✓" else DIM if mark == "·" else PERSON if queue_entry.verdict else Style.null()
    urgent = "!" if queue_entry.priority == "urgent" else " "
    parts = [
        (mark, decided),
        (urgent, ALERT),
        (padded(_end(queue_entry.name, name), name) + " ", DIM if mark.strip() else Style.null()),
        (padded(queue_entry.guess or "-", guess) + " ", decided),
        (f"{unsure:<4} ", DIM),
    ]
    room = width - sum(cell_len(part) for part, _ in parts)
    parts.append((padded(queue_entry.title, max(0, room)), DIM) if room > 8 else (" " * max(0, room), DIM))
    return [Segment(part, style + CURSOR if marked else style) for part, style in parts]


def _end(name: str, width: int) -> str:
    """Return a name if it fits, else its end: ids of one source begin alike, and those of mails end with a host."""
    if cell_len(safe(name)) <= width:
        return name
    end = safe(name.partition("@")[0][-width:])
    while cell_len(end) >= width:
        end = end[1:]
    return f"…{end}"


def category_lines(
    by_key: Mapping[str, str], names: Sequence[str], guess: str | None, width: int, most: int
) -> list[Line]:
    """Return as many categories with their keys as fit into `most` lines; a click reports the index."""
    lines: list[list[Line]] = [[]]
    for index, name in enumerate(names):
        category_keys = [key for key, named in by_key.items() if named == name]
        category = _category(name, category_keys, width, Style.from_meta({"category": index}), guessed=name == guess)
        if lines[-1] and _columns([*lines[-1], category]) > width:
            lines.append([])
        lines[-1].append(category)
    shown, rest = lines[:most], sum(map(len, lines[most:]))
    while rest and _columns([*shown[-1], [Segment(_others(rest))]]) > width and len(shown[-1]) > 1:
        shown[-1].pop()
        rest += 1
    if rest:
        shown[-1].append([Segment(_others(rest), DIM)])
    return [list(chain.from_iterable(_with_gaps(page_line))) for page_line in shown]


def _others(number: int) -> str:
    return f"… / finds the other {number}"


def _columns(entries: Sequence[Line]) -> int:
    return sum(cell_len(s.text) for page_line in _with_gaps(entries) for s in page_line)


def _with_gaps(entries: Sequence[Line]) -> Iterator[Line]:
    for number, entry in enumerate(entries):
        yield [Segment("  "), *entry] if number else entry


def _category(name: str, keys: Sequence[str], width: int, click: Style, *, guessed: bool) -> Line:
    """Return a category: its digit, its name with the letter underlined, and enter if it is the guess."""
    style = GUESS + click if guessed else click
    digits = "".join(key for key in keys if key.isdigit())
    letter = next((key for key in keys if not key.isdigit()), "")
    shown = cut(name, max(4, width // 2))
    at = shown.find(letter) if letter in shown else shown.casefold().find(letter)
    segments = [Segment(f"{digits} " if digits else "", DIM + click)]
    if letter and at >= 0:
        segments += [
            Segment(shown[:at], style),
            Segment(shown[at : at + 1], style + Style(underline=True, bold=True)),
            Segment(shown[at + 1 :], style),
        ]
    else:
        segments += [Segment(shown, style), Segment(f" ({letter})" if letter else "", DIM + click)]
    return [*segments, Segment("↵", GUESS + click)] if guessed else segments


def help_lines(width: int) -> list[Line]:
    """Return the page of keys."""
    lines: list[Line] = []
    column = max(map(len, COMMANDS)) + 2
    for key, meaning in COMMANDS.items():
        for number, part in enumerate(wrapped(meaning, max(10, width - column))):
            lines.append([Segment(f"{key if not number else '':<{column}}", BOLD), Segment(part)])
    page_text = (
        "A verdict is stored before the next ticket is shown. The mouse works too: a click on a ticket, on a category, "
        "and the wheel."
    )
    return [*lines, [], *([Segment(part, DIM)] for part in wrapped(page_text, width))]
