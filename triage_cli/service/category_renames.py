"""The names of categories, present and former: what a typed name means, and what a rename makes of stored tickets."""

import difflib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Self

from triage_cli import domain as dm
from triage_cli.ports import Store


class CategoryNames:
    """The present and former names of one list of categories, or of the values of a `question`."""

    @classmethod
    def of(cls, question: dm.Question) -> Self:
        """Return the names of a question's values, and what its column has in their place."""
        names = cls(question.values, question.name)
        names._names_by_folded = {
            _folded_name(cell): name for cell, name in question.map.items()
        } | names._names_by_folded
        return names

    def __init__(self, categories: Sequence[dm.Category], question: str = dm.CATEGORY) -> None:
        is_category = question == dm.CATEGORY
        self._one, self._all = ("category", "categories") if is_category else (f"{question}", f"values of {question}")
        self._names_by_folded = {_folded_name(name): c.name for c in categories for name in (*c.was, c.name)}
        last_parts = [(_last_part(_folded_name(c.name)), c.name) for c in categories if c.parent]
        times_used = Counter(part for part, _ in last_parts)
        self._names_by_last_part = {part: name for part, name in last_parts if times_used[part] == 1}

    def match(self, text: str, *, whole: bool = False) -> str | None:
        """Return the category that a text names, or None: in any case, by a former name, or by its lowest level alone.

        Of names with the same lowest level, a text must name the `whole` one, and so must what is stored: a category
        that was removed is none that is below another one now.
        """
        folded = _folded_name(text)
        return self._names_by_folded.get(folded) or (None if whole else self._names_by_last_part.get(folded))

    def unknown(self, text: str, prefix: str = "") -> dm.UnknownValueError:
        """Return the error for a name that is no category."""
        given = _folded_name(text)
        ends = [folded for folded in self._names_by_folded if _last_part(folded) == given]
        close = ends or difflib.get_close_matches(given, self._names_by_folded, n=1)
        meant = " or ".join(dict.fromkeys(f'"{self._names_by_folded[folded]}"' for folded in close))
        names = f"the {self._all} are {', '.join(dict.fromkeys(self._names_by_folded.values()))}"
        hint = f"did you mean {meant}? {names}" if close else names
        return dm.UnknownValueError(f'{prefix}no {self._one} "{text.strip()}"', hint=hint)

    def none_of(self, row_labels: Iterable[str]) -> dm.UsageError:
        """Return the error for labelled tickets if none of their labels is a category."""
        labels = ", ".join(sorted(set(row_labels))[:5])
        if not labels:
            return dm.UsageError("no ticket of the file has a label", hint=dm.Step.LABEL_COLUMN)
        names = ", ".join(dict.fromkeys(self._names_by_folded.values()))
        return dm.UsageError(
            f"no label of the file is a category (labels: {labels}; categories: {names})",
            hint=f"{dm.Step.LABEL_COLUMN}, or name the categories in the config",
        )


def _folded_name(name: str) -> str:
    """Return a form that is equal for category names which a person would take for the same."""
    return unicodedata.normalize("NFC", name.strip()).casefold()


def _last_part(folded: str) -> str:
    """Return the lowest level of a folded name."""
    return folded.rpartition("/")[2].strip()


def apply_renames(
    store: Store, questions: Sequence[dm.Question], rules: Iterable[dm.Rule], actor: str, run_id: str | None
) -> None:
    """Carry out the renames of the configuration (`was`) that this store has not seen.

    A rename is repeated if a process with an older configuration has used the former name since.
    """
    for question in questions:
        new_names, about = current_names(question.values), question.name
        if not new_names:
            continue
        carried_out = {renamed.old: renamed for renamed in store.categories.renames(about)}
        repeated = {old for old, new in new_names.items() if old in carried_out and carried_out[old].new == new}
        pending = {
            old: new for old, new in new_names.items() if old not in repeated or store.categories.bears(old, about)
        }
        # The roots are found before any rename is carried out.
        roots = {
            old: carried_out[old].root if old in repeated else root_of(old, carried_out.values()) for old in pending
        }
        destination_renames = renamed_destinations(pending, rules) if about == dm.CATEGORY else {}
        of_question = {} if about == dm.CATEGORY else {"question": about}
        for old, new in pending.items():
            data = of_question | {"from": old, "to": new}
            event = dm.Event(dm.EventAction.RENAMED, None, run_id, actor, dm.times.now(), data)
            what = dm.Renamed(old, new, roots[old], question=about)
            store.categories.rename(what, event, destination=old in destination_renames)


def renamed_destinations(renamed: Mapping[str, str], rules: Iterable[dm.Rule]) -> dict[str, str]:
    """Return the renames (former name to new one) that also rename the destination of the category's name.

    By default a category's tickets go to the file of its name; deliveries that it has accepted stay accepted.
    """
    destinations = {name for rule in rules for name in rule.to}
    return {old: new for old, new in renamed.items() if new in destinations and old not in destinations}


def root_of(name: str, renames: Iterable[dm.Renamed]) -> str:
    """Return the first name of a category in this store; questions are recognised by it."""
    renames_to_it = [renamed for renamed in renames if renamed.new == name]
    return max(renames_to_it, key=lambda renamed: renamed.moved).root if renames_to_it else name


def rooted(categories: Sequence[dm.Category], renames: Iterable[dm.Renamed]) -> tuple[dm.Category, ...]:
    """Return the categories with their first names as `root`, also where their rename is yet to be carried out."""
    known_renames = list(renames)
    new_names = {renamed.new for renamed in known_renames}

    def first_known_name(category: dm.Category) -> str:
        return category.was[0] if category.was and category.name not in new_names else category.name

    return tuple(category._replace(root=root_of(first_known_name(category), known_renames)) for category in categories)


# Reads show present names, even before a rename has been carried out in the store.


def current_names(categories: Iterable[dm.Category]) -> dict[str, str]:
    """Return the present name of each former one."""
    return {old: category.name for category in categories for old in category.was}


def as_configured(categories: Iterable[dm.Category], given: str) -> str:
    """Return the category name, present or former, that a person typed in any case; unknown names as they are."""
    names = {name for category in categories for name in (*category.was, category.name)}
    if given in names:
        return given
    return next((name for name in names if name.casefold() == given.casefold()), given)


def in_current_names(
    selection: dm.Selection, categories: Sequence[dm.Category], new_names: Mapping[str, str]
) -> dm.Selection:
    """Return a selection with its categories under their present names, as the configuration spells them."""

    def present(category_names: Iterable[str]) -> tuple[str, ...]:
        return tuple(new_names.get(name, name) for name in (as_configured(categories, each) for each in category_names))

    return selection._replace(categories=present(selection.categories), suggestions=present(selection.suggestions))


def with_stored_answers(selection: dm.Selection, questions: Iterable[dm.Question], store: Store) -> dm.Selection:
    """Return a selection with the values of its answers, present or former ones, as this store has them.

    It has the former name until the rename is carried out.
    """
    values_of = {question.name: question.values for question in questions}

    def stored(answer: str) -> str:
        question, _, given = answer.partition("=")
        value = as_configured(values_of[question], given)
        names = next(((c.name, *c.was) for c in values_of[question] if value in (c.name, *c.was)), (value,))
        borne_names = (name for name in names if len(names) > 1 and store.categories.bears(name, question))
        return f"{question}={next(borne_names, names[0])}"

    return selection._replace(answers=tuple(map(stored, selection.answers)))


def as_stored(selection: dm.Selection, new_names: Mapping[str, str]) -> dm.Selection:
    """Return a selection of present names that finds tickets under their former names too."""

    def stored(names: Collection[str]) -> tuple[str, ...]:
        return tuple(sorted({*names, *(old for old, new in new_names.items() if new in names)}))

    return selection._replace(categories=stored(selection.categories), suggestions=stored(selection.suggestions))


def with_current_names(ticket: dm.Ticket, new_names: Mapping[str, str]) -> dm.Ticket:
    """Return a ticket with its category and suggestion under their present names."""
    if new_names.keys().isdisjoint((ticket.category, ticket.suggestion)):
        return ticket
    category, suggestion = (new_names.get(name or "", name) for name in (ticket.category, ticket.suggestion))
    return ticket._replace(category=category, suggestion=suggestion)


def find(store: Store, selection: dm.Selection, new_names: Mapping[str, str]) -> Iterator[dm.Ticket]:
    """Yield tickets in the selection's order, under present names; its categories may be former names."""
    tickets_found = store.find(as_stored(selection, new_names))
    return (with_current_names(ticket, new_names) for ticket in islice(tickets_found, selection.limit))


def stats_by(
    store: Store, query: dm.StatsQuery, categories: Sequence[dm.Category], new_names: Mapping[str, str]
) -> list[dm.StatsGroup]:
    """Return groups of counts under present category names, ordered by their keys; missing keys come last."""
    where = as_stored(query.where, new_names)
    groups: dict[tuple[str | None, ...], dm.StatsGroup] = {}
    levels = dm.Levels.of(categories)

    def present(key: str, value: str | None) -> str | None:
        if value is None or not key.startswith("category"):
            return value
        name = new_names.get(value, value)
        return name if key == "category" else levels.at(name, 1)

    for group in store.stats_by(query._replace(where=where)):
        keys = {key: present(key, value) for key, value in group.keys.items()}
        current_keys = tuple(keys.values())
        former_group = groups.get(current_keys, dm.StatsGroup(keys, 0, 0, 0, 0.0))
        groups[current_keys] = dm.StatsGroup(
            keys,
            former_group.tickets + group.tickets,
            former_group.sure + group.sure,
            former_group.needs_review + group.needs_review,
            former_group.cost_usd + group.cost_usd,
        )
    return [groups[keys] for keys in sorted(groups, key=lambda keys: [(value is None, value or "") for value in keys])]


def counts_in_current_names(by_category: Mapping[str, int], new_names: Mapping[str, str]) -> dict[str, int]:
    """Return counts by category under their present names, the highest first."""
    renamed_counts: Counter[str] = Counter()
    for name, number in by_category.items():
        renamed_counts[new_names.get(name, name)] += number
    return dict(renamed_counts.most_common())
