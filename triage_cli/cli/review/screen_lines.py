"""The lines of the screen of `triage review`: the ticket with its explanation, the queue, the keys."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, islice

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from triage_cli import domain as dm
from triage_cli.cli.review.key_bindings import NEXT_QUESTION
from triage_cli.cli.review.ticket_queue import QueueEntry, name_of
from triage_cli.cli.safe_text import safe
from triage_cli.cli.terminal import AMBER, localized
from triage_cli.cli.text_layout import cut, padded, paragraphs, wrapped
from triage_cli.cli.typed_commands import as_typed, with_typed_step

ScreenLine = list[Segment]  # styled text
DIM, BOLD, GUESS, PERSON, ALERT = (Style.parse(s) for s in ("dim", "bold", "bold green", "bold cyan", "bold red"))
AGENT = Style.parse("magenta")
CURSOR = Style.parse("reverse")
PRIORITIES = {"urgent": ALERT, "high": Style.parse(AMBER)}
MOST_TEXT = 50_000  # characters of a text that are shown
BAR_WIDTH = 8
NAME_WIDTH = 24  # the most columns of a name or a customer's id
TO_THE_MINUTE = "%Y-%m-%d %H:%M"
TIMED_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d)  ")
MOST_SUGGESTIONS = 5  # the number of agents' suggestions shown, the last ones
ROUTING_MAP_HASH = re.compile(r" \(map [0-9a-f]{16}\)")  # it is for machines


def ticket_lines(
    ticket: dm.Ticket, why: dm.Why | None, category_names: Collection[str], width: int
) -> list[ScreenLine]:
    """Return a ticket as screen lines of at most so many columns: text, decision or suggestion, explanation.

    `category_names` are the existing categories.
    """
    suggestion_lines = _suggestion_lines(ticket, why.agent_suggestions, width) if why else ()
    why_lines = _why_lines(why.why, width) if why else ()
    text_lines = _text_lines(ticket, width), _extra_lines(ticket, width)
    return [*_head_lines(ticket, category_names, width), *suggestion_lines, [], *chain(*text_lines), *why_lines]


def _head_lines(ticket: dm.Ticket, category_names: Collection[str], width: int) -> Iterator[ScreenLine]:
    category = ticket.category or ticket.suggestion
    removed = "" if category is None or category in category_names else ", which is no category now"
    for number, subject_line in enumerate(paragraphs(ticket.subject or "", width)[:3]):
        yield [Segment(subject_line if number < 2 else cut(subject_line, width), BOLD)]
    name, status = name_of(ticket), dm.status_words(ticket.status)
    ticket_facts = [name, status, ticket.priority, ticket.customer_id, ticket.source]
    facts_text = "  ".join(cut(fact, NAME_WIDTH) for fact in ticket_facts if fact)
    yield from _wrapped_lines(facts_text, width, PRIORITIES.get(ticket.priority or "", DIM))
    if created_at := ticket.created_at or ticket.stored_at:
        yield [Segment(cut(f"since {localized(created_at, TO_THE_MINUTE)} (local time)", width), DIM)]
    if ticket.verdict:
        yield from _wrapped_lines(f"{category}, decided by a person{removed}", width, PERSON)
    elif category:
        unsure = "" if ticket.category else "?"
        guess_text = f"{category}{unsure}  {confidence_bar(ticket.confidence)}{removed}"
        yield from _wrapped_lines(guess_text, width, DIM) if removed else [[Segment(cut(guess_text, width), GUESS)]]
    else:
        yield from _wrapped_lines(f"no guess: {ticket.error or ticket.reason or 'the machine abstained'}", width, ALERT)
    if ticket.reason and category:
        because = "note: " if ticket.verdict else "because of: "
        yield from _wrapped_lines(f"{because}{ticket.reason}", width, DIM)
    for question, given in dm.given_answers(ticket).items():
        yield from _answer_lines(question, given, width)


def _answer_lines(question: str, given: dm.GivenAnswer, width: int) -> Iterator[ScreenLine]:
    """Yield what holds of a further question: a person's answer, a machine's, its guess, or that there is none."""
    answer = given.value or given.suggestion
    if given.verdict:
        yield from _wrapped_lines(f"{question}: {answer}, decided by a person", width, PERSON)
    elif answer:
        unsure = "" if given.value else "?"
        yield [Segment(cut(f"{question}: {answer}{unsure}  {confidence_bar(given.confidence)}", width), GUESS)]
    else:
        yield from _wrapped_lines(f"{question}: {given.error or given.state}", width, DIM)


def _suggestion_lines(ticket: dm.Ticket, suggestions: Sequence[dm.AgentSuggestion], width: int) -> Iterator[ScreenLine]:
    for s in suggestions[-MOST_SUGGESTIONS:]:
        because = f": {s.note}" if s.note else ""
        said = s.category if s.question == dm.CATEGORY else f"{s.question}: {s.category}"
        yield from _wrapped_lines(f"{said}?  suggested by agent {s.agent} of {s.actor}{because}", width, AGENT)
    if len(suggestions) > MOST_SUGGESTIONS:
        more_suggestions = (
            f"and {len(suggestions) - MOST_SUGGESTIONS} more of agents: triage why {dm.shell_name(ticket)}"
        )
        yield from _wrapped_lines(as_typed(more_suggestions), width, DIM)


def confidence_bar(share: float | None) -> str:
    """Return a confidence as a bar of a screen line, with its number."""
    if share is None:
        return ""
    full_blocks = round(max(0.0, min(1.0, share)) * BAR_WIDTH)
    return f"{'█' * full_blocks}{'░' * (BAR_WIDTH - full_blocks)} {share:.2f}"


def _text_lines(ticket: dm.Ticket, width: int) -> Iterator[ScreenLine]:
    description = ticket.description or ""
    for text_line in paragraphs(description[:MOST_TEXT], width):
        yield [Segment(text_line)]
    if len(description) > MOST_TEXT:
        more_text = f"… {len(description) - MOST_TEXT:,} more characters: triage show {dm.shell_name(ticket)}"
        yield from _wrapped_lines(as_typed(more_text), width, DIM)


def _extra_lines(ticket: dm.Ticket, width: int) -> Iterator[ScreenLine]:
    try:
        extra = json.loads(ticket.extra or "{}")
    except ValueError:
        return
    for column_name, value in extra.items() if isinstance(extra, Mapping) else ():
        value_text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield from _wrapped_lines(f"{column_name}: {value_text[:MOST_TEXT]}", width, DIM) if value_text else ()


def _why_lines(why: Sequence[str], width: int) -> Iterator[ScreenLine]:
    if why:
        yield []
        yield [Segment("why", BOLD)]
    for sentence in with_typed_step(why[1:]):  # the first sentence repeats the lines above
        why_text = localized(ROUTING_MAP_HASH.sub("", sentence), TO_THE_MINUTE)
        has_time = TIMED_LINE.match(why_text)
        indent_width = 2 if has_time else 0
        for number, why_line in enumerate(wrapped(_one_line(why_text), max(8, width - indent_width))):
            indent = " " * indent_width if number else ""
            yield [Segment(f"{indent}{why_line}", DIM if has_time else Style.null())]


def _one_line(text: str) -> str:
    """Return a text as one safe line, not yet wrapped to the width of the screen."""
    return cut(text, MOST_TEXT)


def _wrapped_lines(text: str, width: int, style: Style) -> Iterator[ScreenLine]:
    """Yield a text as screen lines of at most so many columns, in one style."""
    for text_line in wrapped(_one_line(text), width):
        yield [Segment(text_line, style)]


def queue_line(queue_entry: QueueEntry, mark: str, width: int, *, marked: bool) -> ScreenLine:
    """Return the screen line of a ticket in the queue: name, guess and confidence, and if there is room the text."""
    name_width, guess_width = (9, 10) if width >= 30 else (7, max(4, width - 16))
    confidence = "" if queue_entry.verdict or queue_entry.confidence is None else f"{queue_entry.confidence:.2f}"
    guess_style = GUESS if mark == "✓" else DIM if mark == "·" else PERSON if queue_entry.verdict else Style.null()
    urgent_mark = "!" if queue_entry.priority == "urgent" else " "
    short_name = padded(_end_of_name(queue_entry.name, name_width), name_width)
    queue_columns = [
        (mark, guess_style),
        (urgent_mark, ALERT),
        (f"{short_name} ", DIM if mark.strip() else Style.null()),
        (padded(queue_entry.guess or "-", guess_width) + " ", guess_style),
        (f"{confidence:<4} ", DIM),
    ]
    title_width = max(0, width - sum(cell_len(text) for text, _ in queue_columns))
    queue_columns.append((padded(queue_entry.title, title_width) if title_width > 8 else " " * title_width, DIM))
    return [Segment(text, style + CURSOR if marked else style) for text, style in queue_columns]


def _end_of_name(name: str, width: int) -> str:
    """Return a ticket's name if it fits, else its end: ids of a source begin alike; those of mails end with a host."""
    if cell_len(safe(name)) <= width:
        return name
    end_of_name = safe(name.partition("@")[0][-width:])
    while cell_len(end_of_name) >= width:
        end_of_name = end_of_name[1:]
    return f"…{end_of_name}"


def question_line(names: Sequence[str], asked: str, width: int) -> ScreenLine:
    """Return the names of the questions, with the one that is asked marked; a click reports the index."""
    line, place = [Segment(NEXT_QUESTION, BOLD)], names.index(asked)
    first = next((n for n in range(place) if cell_len("  ".join(("", *names[n : place + 1]))) < width), place)
    for index, name in enumerate(names[first:], first):
        click = Style.from_meta({"question": index})
        line += [Segment("  "), Segment(name, (CURSOR if name == asked else DIM) + click)]
    return line


def choice_lines(
    by_key: Mapping[str, str], names: Sequence[str], guess: str | None, width: int, most: int
) -> list[ScreenLine]:
    """Return as many values of a question with their keys as fit into `most` lines; a click reports the index."""
    rows: list[list[ScreenLine]] = [[]]
    for index, name in enumerate(names):
        its_keys = [key for key, named in by_key.items() if named == name]
        choice = _choice(name, its_keys, width, Style.from_meta({"choice": index}), guessed=name == guess)
        if rows[-1] and _row_width([*rows[-1], choice]) > width:
            rows.append([])
        rows[-1].append(choice)
    shown_rows, hidden = rows[:most], sum(map(len, rows[most:]))
    while hidden and _row_width([*shown_rows[-1], [Segment(_hidden_note(hidden))]]) > width and len(shown_rows[-1]) > 1:
        shown_rows[-1].pop()
        hidden += 1
    if hidden:
        shown_rows[-1].append([Segment(_hidden_note(hidden), DIM)])
    return [list(chain.from_iterable(_with_gaps(row))) for row in shown_rows]


def _hidden_note(hidden: int) -> str:
    return f"… / finds the other {hidden}"


def _row_width(row: Sequence[ScreenLine]) -> int:
    """Return how many columns a row of choices takes on the screen."""
    return sum(cell_len(s.text) for choice in _with_gaps(row) for s in choice)


def _with_gaps(row: Sequence[ScreenLine]) -> Iterator[ScreenLine]:
    for number, choice in enumerate(row):
        yield [Segment("  "), *choice] if number else choice


def _choice(name: str, keys: Sequence[str], width: int, click: Style, *, guessed: bool) -> ScreenLine:
    """Return a value on the screen: its digit, its name with the letter underlined, and enter if it is the guess."""
    name_style = GUESS + click if guessed else click
    digits = "".join(key for key in keys if key.isdigit())
    letter = next((key for key in keys if not key.isdigit()), "")
    short_name = cut(name, max(4, width // 2))
    letter_at = short_name.find(letter) if letter in short_name else short_name.casefold().find(letter)
    segments = [Segment(f"{digits} " if digits else "", DIM + click)]
    if letter and letter_at >= 0:
        segments += [
            Segment(short_name[:letter_at], name_style),
            Segment(short_name[letter_at : letter_at + 1], name_style + Style(underline=True, bold=True)),
            Segment(short_name[letter_at + 1 :], name_style),
        ]
    else:
        segments += [Segment(short_name, name_style), Segment(f" ({letter})" if letter else "", DIM + click)]
    return [*segments, Segment("↵", GUESS + click)] if guessed else segments


def key_line(commands: Mapping[str, str], width: int) -> ScreenLine:
    """Return the last line of the screen: as many keys, each with a word, as fit, as far apart as there is room."""
    gaps = (gap for gap in (3, 2, 1) if _keys_width(commands, len(commands), gap) <= width)
    gap, shown = next(gaps, 1), len(commands)
    while shown > 1 and _keys_width(commands, shown, gap) > width:
        shown -= 1
    keys = [[Segment(key, BOLD), Segment(f" {word}", DIM)] for key, word in commands.items()][:shown]
    return [segment for number, key in enumerate(keys) for segment in ([Segment(" " * gap), *key] if number else key)]


def _keys_width(commands: Mapping[str, str], shown: int, gap: int) -> int:
    """Return how many columns the first keys of the last line take."""
    return sum(cell_len(f"{key} {word}") + gap for key, word in islice(commands.items(), shown)) - gap


def help_lines(commands: Mapping[str, str], width: int) -> list[ScreenLine]:
    """Return the screen lines of the help: each key and what it does."""
    help_page: list[ScreenLine] = []
    key_width = max(map(len, commands)) + 2
    for key, meaning in commands.items():
        for number, meaning_line in enumerate(wrapped(meaning, max(10, width - key_width))):
            help_page.append([Segment(f"{key if not number else '':<{key_width}}", BOLD), Segment(meaning_line)])
    help_text = (
        "A verdict is stored before the next ticket is shown. The mouse works too: a click on a ticket, on a category, "
        "and the wheel."
    )
    return [*help_page, [], *([Segment(help_line, DIM)] for help_line in wrapped(help_text, width))]
