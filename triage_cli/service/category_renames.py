"""Categories that were renamed in the configuration: what is stored follows, and no question changes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from triage_cli.domain import ids
from triage_cli.domain.audit import Event
from triage_cli.domain.deliveries import Rule
from triage_cli.domain.tickets import Category, Renamed, Selection, Ticket
from triage_cli.domain.views import StatsGroup
from triage_cli.ports.storage import Store


def follow(store: Store, categories: Sequence[Category], rules: Iterable[Rule], actor: str, run_id: str | None) -> None:
    """Carry out the renames that the configuration names (`was`) and that this store has not seen.

    A process that still has the old configuration may have given a ticket the old name since: that follows too.
    """
    new_names = heirs(categories)
    if not new_names:
        return
    done = {renamed.old: renamed for renamed in store.renames()}
    again = {old for old, new in new_names.items() if old in done and done[old].new == new}
    pending = {old: new for old, new in new_names.items() if old not in again or store.bears(old)}
    # Before any of them is carried out.
    roots = {old: done[old].root if old in again else root_of(old, done.values()) for old in pending}
    destinations = renamed_destinations(pending, rules)
    for old, new in pending.items():
        event = Event("renamed", None, run_id, actor, ids.now(), {"from": old, "to": new})
        store.rename(Renamed(old, new, roots[old]), event, destination=old in destinations)


def renamed_destinations(renamed: Mapping[str, str], rules: Iterable[Rule]) -> dict[str, str]:
    """Return the renames, former name to new one, that hold for the destination of that name too.

    By default a category's tickets go to the file of its name: what is accepted there is accepted still.
    """
    names = {name for rule in rules for name in rule.to}
    return {old: new for old, new in renamed.items() if new in names and old not in names}


def root_of(name: str, renames: Iterable[Renamed]) -> str:
    """Return the name under which a category was first known here: what questions are recognised by."""
    former = [renamed for renamed in renames if renamed.new == name]
    return max(former, key=lambda renamed: renamed.moved).root if former else name


def rooted(categories: Sequence[Category], renames: Iterable[Renamed]) -> tuple[Category, ...]:
    """Return the categories with the names under which they were first known."""
    known = list(renames)
    return tuple(category._replace(root=root_of(category.name, known)) for category in categories)


# What is read is told by the names of today, also where nothing has carried a rename out yet.


def heirs(categories: Iterable[Category]) -> dict[str, str]:
    """Return the name of today for each former one."""
    return {old: category.name for category in categories for old in category.was}


def typed(categories: Iterable[Category], given: str) -> str:
    """Return the name, former ones included, that a person means, whatever its case."""
    names = {name for category in categories for name in (*category.was, category.name)}
    if given in names:
        return given
    return next((name for name in names if name.casefold() == given.casefold()), given)


def meant(selection: Selection, categories: Sequence[Category], names: Mapping[str, str]) -> Selection:
    """Return a selection whose categories have their names of today, in the configuration's spelling."""
    written = (typed(categories, name) for name in selection.categories)
    return selection._replace(categories=tuple(names.get(name, name) for name in written))


def today(ticket: Ticket, names: Mapping[str, str]) -> Ticket:
    """Return a ticket by the names of today."""
    if names.keys().isdisjoint((ticket.category, ticket.suggestion)):
        return ticket
    category, suggestion = (names.get(name or "", name) for name in (ticket.category, ticket.suggestion))
    return ticket._replace(category=category, suggestion=suggestion)


def find(store: Store, selection: Selection, names: Mapping[str, str]) -> Iterator[Ticket]:
    """Walk over tickets in the selection's order; a category is meant by any of its names."""
    current = {*selection.categories}
    former = {old for old, new in names.items() if new in current}
    found = store.find(selection._replace(categories=tuple(sorted(current | former))))
    return (today(ticket, names) for ticket in islice(found, selection.limit))


def regrouped(groups: Iterable[StatsGroup], names: Mapping[str, str]) -> list[StatsGroup]:
    """Return groups of counts under the names of today, ordered by their keys; what has none comes last."""
    merged: dict[tuple[str | None, ...], StatsGroup] = {}
    for each in groups:
        keys = {key: names.get(value or "", value) if key == "category" else value for key, value in each.keys.items()}
        same = tuple(keys.values())
        before = merged.get(same, StatsGroup(keys, 0, 0, 0, 0.0))
        merged[same] = StatsGroup(
            keys,
            before.tickets + each.tickets,
            before.sure + each.sure,
            before.needs_review + each.needs_review,
            before.cost_usd + each.cost_usd,
        )
    return [merged[keys] for keys in sorted(merged, key=lambda keys: [(value is None, value or "") for value in keys])]


def counted(by_category: Mapping[str, int], names: Mapping[str, str]) -> dict[str, int]:
    """Return counts by category under the names of today, the most first."""
    counts: Counter[str] = Counter()
    for name, number in by_category.items():
        counts[names.get(name, name)] += number
    return dict(counts.most_common())
