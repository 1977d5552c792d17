"""Records -> drafts: each row of cells becomes one ticket to be, or is rejected with its reason."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from triage_cli.domain.errors import RowError
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.readers.csv_reader import Record
from triage_cli.readers.unread_dates import UnreadDates
from triage_cli.readers.values import NOTHING, NOTHING_LENGTH, moment, priority

_Reader = Callable[[str], tuple[str | None, str]]
_EMPTY: Mapping[str, Any] = {}
_CELL = 100  # characters in whose place a cell stands by its mere presence
_REMEMBERED = 4096  # distinct priorities and times kept in mind


class Records(Protocol):
    """A stream of records that can still show the last one as it was."""

    def __iter__(self) -> Iterator[Record]: ...
    def raw(self) -> str: ...  # noqa: D102


class Plan(NamedTuple):
    """How rows are read: the place of each field, a unique name for each column, and what their values mean."""

    fields: Mapping[str, int]
    names: tuple[str, ...]
    source: str
    numbers: Mapping[str, str] = {}
    day_first: bool | None = None
    header: tuple[str, ...] | None = None  # a row equal to it is the header once more
    ours: frozenset[str] = frozenset()  # columns of our own export, which say what the store knows already
    plain: str = ""  # the key of JSON under which a list or an object is no id


def drafts(records: Records, plan: Plan, unread: UnreadDates) -> Iterator[TicketDraft | Rejected]:
    """Yield a draft or a rejection for every record but blank lines, in the order of the input.

    Dates that are not understood are added to `unread`.
    """
    width, source = len(plan.names), plan.source
    header = None if plan.header is None else list(plan.header)
    # A field without a column reads the empty cell behind the last one.
    at_subject, at_description, at_customer, at_priority, at_created, at_external, at_verdict = (
        plan.fields.get(name, width)
        for name in ("subject", "description", "customer_id", "priority", "created_at", "external_id", "verdict")
    )
    taken = set(plan.fields.values())
    ours, plain = plan.ours, plan.plain
    others = tuple((name, place) for place, name in enumerate(plan.names) if place not in taken and name not in ours)
    read_priority, read_moment = _readers(plan)
    # Columns whose text may be kept in `extra`: where it is empty, or understood now, what was kept goes.
    mute = ours | {plan.names[place] for place in taken - {at_priority, at_created}}
    kept = tuple(name for name in plan.names if name not in mute)
    row = -1
    for line, cells, problem, item, rest in records:
        if cells is not None and len(cells) == width:
            values = [*cells, ""]
        else:
            values, problem = _fitted(cells, width, problem)  # noqa: PLW2901 (the rare case finds one more)
        if item and plain and isinstance(item.get(plain), dict | list):
            problem = problem or f"the id under {plain} is a list or an object"  # noqa: PLW2901
        subject = _said(values[at_subject])
        description = _said(values[at_description])
        if problem or not (subject or description) or cells == header:
            raw = records.raw()
            if problem or item is not None or raw.strip():  # a blank line is no row
                row += 1
                reason = "the header once more" if cells == header else "neither subject nor description"
                error = RowError(f"line {line}: {problem or reason}")
                yield Rejected(row, line, error, raw, _as_they_are(cells, item, plan), rest)
            continue
        row += 1
        urgency, strange_urgency = read_priority(values[at_priority])
        created, strange_time = read_moment(values[at_created])
        if item is not None:
            extra = _others_of(item, plan)
        else:
            extra = {name: value for name, place in others if (value := values[place]) and not value.isspace()}
        if "extra" in ours:
            extra |= _our_extra(item["extra"] if item else values[plan.names.index("extra")])
        if strange_urgency:
            extra[plan.names[at_priority]] = strange_urgency
        if strange_time:
            extra[plan.names[at_created]] = strange_time
            unread.add(strange_time, line)
        yield TicketDraft(
            row,
            line,
            subject,
            description,
            _said(values[at_customer]),
            urgency,
            created,
            _said(values[at_external]),
            source,
            extra or _EMPTY,
            _said(values[at_verdict]),
            _as_they_are(cells, item, plan),
            0,
            tuple([name for name in (kept if item is None else item) if name not in extra and name not in mute]),
            sum(map(len, cells or ())) + _CELL * width if item is None else len(records.raw()) + _CELL * len(item),
        )


def _said(cell: str) -> str | None:
    """Return a cell's text, None where it is one of the ways to say nothing."""
    text = cell.strip()
    return None if len(text) <= NOTHING_LENGTH and text in NOTHING else text


def _readers(plan: Plan) -> tuple[_Reader, _Reader]:
    return (
        _remembering(lambda text: priority(text, plan.numbers)),
        _remembering(lambda text: moment(text, day_first=plan.day_first)),
    )


def _remembering(read: Callable[[str], str | None]) -> _Reader:
    """Return a reader of cells: what the text means, and the text itself where that could not be told."""

    @lru_cache(_REMEMBERED)
    def reader(cell: str) -> tuple[str | None, str]:
        text = _said(cell)
        meant = None if text is None else read(text)
        return meant, text if text is not None and meant is None else ""

    return reader


def _fitted(cells: list[str] | None, width: int, problem: str) -> tuple[list[str], str]:
    """Return a row's cells, one more than there are columns, and what is wrong with it: a short row is fine."""
    if cells is None:
        return [""] * (width + 1), problem
    if any(map(str.strip, cells[width:])):
        problem = problem or f"{len(cells)} cells under {width} columns, and the extra ones hold text"
    return [*cells[:width], *[""] * (width + 1 - len(cells[:width]))], problem


def _others_of(item: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    known = plan.ours | {plan.names[place] for place in plan.fields.values()}
    return {key: value for key, value in item.items() if key not in known and value not in (None, "", [], {})}


def _our_extra(value: object) -> dict[str, Any]:
    """Return what stands under `extra` in our own export: an object, as JSON in a cell."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return {"extra": value}
    return dict(value) if isinstance(value, dict) else {}


def _as_they_are(cells: list[str] | None, item: Mapping[str, Any] | None, plan: Plan) -> Sequence[Any] | None:
    """Return a row as it came: of JSON the values themselves, not their text."""
    return cells if item is None else [item.get(name) for name in plan.names]
