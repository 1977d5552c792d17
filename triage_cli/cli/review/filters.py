"""The filters of `triage review`, as options and as one typed line, and the order of its tickets."""

import shlex
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from triage_cli import domain as dm
from triage_cli.cli import options

Order = Literal["review", "urgent", "newest"]
ORDERS: tuple[Order, ...] = get_args(Order)
ORDER_LABELS = {"review": "most informative first", "urgent": "urgent first", "newest": "newest first"}
ORDER_SORTS = {"urgent": "priority:desc", "newest": ""}
FILTER_HINT = 'write priority:urgent category:"Bug report" status:routed and words of the text, each if you like'


class Filters(NamedTuple):
    """The filters on the tickets to review; in a queue of waiting tickets, `categories` are guesses."""

    priority: str | None = None
    categories: tuple[str, ...] = ()
    statuses: frozenset[str] = frozenset()
    search: str | None = None

    @property
    def line(self) -> str:
        """Return the filters as one typed line."""
        filter_pairs = [("priority", self.priority)] if self.priority else []
        filter_pairs += [("category", name) for name in self.categories]
        filter_pairs += [("status", name) for name in sorted(self.statuses)]
        typed_filters = [f"{key}:{shlex.quote(str(value))}" for key, value in filter_pairs]
        return " ".join([*typed_filters, *([shlex.quote(self.search)] if self.search else [])])


class View(NamedTuple):
    """The tickets to review: all, or those that wait for a person, with filters, order and limit."""

    every: bool = False
    order: Order = "review"
    filters: Filters = Filters()
    limit: int | None = None

    def selection(self) -> dm.Selection:
        """Return the filters as a selection of tickets."""
        priority, categories, statuses, search = self.filters
        selection = dm.Selection(priority=priority, search=search)
        if self.every:
            return selection._replace(categories=categories, statuses=statuses)
        return selection._replace(suggestions=categories, statuses=frozenset({"needs_review"}))


def parsed_filters(line: str, category_names: Sequence[str], *, every: bool) -> Filters:
    """Return the filters of a typed line, such as `priority:urgent category:Billing refund`. Raises `UsageError`."""
    try:
        typed_filters = shlex.split(line)
    except ValueError as error:
        raise dm.UsageError(f"a quote is open in {line}", hint=FILTER_HINT) from error
    filter_values: dict[str, list[str]] = {"priority": [], "category": [], "status": []}
    search_words = []
    for typed_filter in typed_filters:
        key, colon, value = typed_filter.partition(":")
        named = [name for name in filter_values if len(key) > 2 and name.startswith(key.casefold())]  # also prio:
        if colon and value and named:
            filter_values[named[0]].append(value)
        else:
            search_words.append(typed_filter)
    if len(filter_values["priority"]) > 1:
        raise dm.UsageError("a ticket has one priority", hint="leave out the others")
    priority = filter_values["priority"][0] if filter_values["priority"] else None
    categories, statuses, search = filter_values["category"], filter_values["status"], " ".join(search_words)
    return checked_filters(priority, categories, statuses, search, category_names, every=every)


def checked_filters(
    priority: str | None,
    categories: Sequence[str],
    statuses: Sequence[str],
    search: str | None,
    category_names: Sequence[str],
    *,
    every: bool,
) -> Filters:
    """Return filters of a review, whose categories, statuses and priority exist. Raises `UsageError`."""
    if statuses and not every:
        raise dm.UsageError("all of these need review", hint="triage review --all shows tickets of every status")
    categories_by_folded = {name.casefold(): name for name in category_names}
    for name in categories:
        if name.casefold() not in categories_by_folded:
            raise dm.UsageError(f'no category "{name}"', hint=f"the categories are {', '.join(category_names)}")
    existing = tuple(dict.fromkeys(categories_by_folded[name.casefold()] for name in categories))
    return Filters(options.typed_priority(priority), existing, options.statuses(statuses), search or None)
