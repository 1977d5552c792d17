"""The filters of `triage review`, as options and as one typed line, and the order."""

import shlex
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from triage_cli.cli import options
from triage_cli.domain.errors import UsageError
from triage_cli.domain.tickets import Selection

Order = Literal["review", "urgent", "newest"]
ORDERS: tuple[Order, ...] = get_args(Order)
LABELS = {"review": "most informative first", "urgent": "urgent first", "newest": "newest first"}
SORTS = {"urgent": "priority:desc", "newest": ""}
HINT = 'write priority:urgent category:"Bug report" status:routed and words of the text, each if you like'


class Filters(NamedTuple):
    """The conditions on tickets; in a queue of waiting tickets, `categories` are guesses."""

    priority: str | None = None
    categories: tuple[str, ...] = ()
    statuses: frozenset[str] = frozenset()
    search: str | None = None

    @property
    def line(self) -> str:
        """Return the filters as a line."""
        pairs = [("priority", self.priority)] if self.priority else []
        pairs += [("category", name) for name in self.categories]
        pairs += [("status", name) for name in sorted(self.statuses)]
        typed = [f"{key}:{shlex.quote(str(value))}" for key, value in pairs]
        return " ".join([*typed, *([shlex.quote(self.search)] if self.search else [])])


class View(NamedTuple):
    """The tickets to show: all, or those that wait for a person, with order and limit."""

    every: bool = False
    order: Order = "review"
    filters: Filters = Filters()
    limit: int | None = None

    def selection(self) -> Selection:
        """Return the filters as a selection."""
        priority, categories, statuses, search = self.filters
        chosen = Selection(priority=priority, search=search)
        if self.every:
            return chosen._replace(categories=categories, statuses=statuses)
        return chosen._replace(suggestions=categories, statuses=frozenset({"needs_review"}))


def parse(line: str, names: Sequence[str], *, every: bool) -> Filters:
    """Return the filters of a line such as `priority:urgent category:Billing refund`. Raises `UsageError`."""
    try:
        typed = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"a quote is open in {line}", hint=HINT) from error
    values: dict[str, list[str]] = {"priority": [], "category": [], "status": []}
    text = []
    for part in typed:
        key, colon, value = part.partition(":")
        if colon and value and key.casefold() in values:
            values[key.casefold()].append(value)
        else:
            text.append(part)
    if len(values["priority"]) > 1:
        raise UsageError("a ticket has one priority", hint="leave out the others")
    priority = values["priority"][0] if values["priority"] else None
    return checked(priority, values["category"], values["status"], " ".join(text), names, every=every)


def checked(
    priority: str | None,
    categories: Sequence[str],
    statuses: Sequence[str],
    search: str | None,
    names: Sequence[str],
    *,
    every: bool,
) -> Filters:
    """Return filters whose values exist. Raises `UsageError`."""
    if statuses and not every:
        raise UsageError("all of these need review", hint="triage review --all shows tickets of every status")
    by_folded = {name.casefold(): name for name in names}
    for name in categories:
        if name.casefold() not in by_folded:
            raise UsageError(f'no category "{name}"', hint=f"the categories are {', '.join(names)}")
    chosen = tuple(dict.fromkeys(by_folded[name.casefold()] for name in categories))
    return Filters(options.priority(priority), chosen, options.statuses(statuses), search or None)
