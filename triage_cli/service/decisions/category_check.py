"""Warns, before anything is classified, if a database was last classified by another list of categories.

The new list is stored once something was classified, so that an intended change is warned about once.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from triage_cli import domain as dm

SHOWN_CATEGORIES = 5  # names of a long list that the warning shows


class CategoryBasis(NamedTuple):
    """What a database was classified by: the categories in order, and the configuration file that lists them.

    `path` is None for the built-in categories; `host` is the machine of the file.
    """

    categories: tuple[str, ...]
    path: str | None
    host: str


class BasisMemory(Protocol):
    """Stores one `CategoryBasis` beside the tickets."""

    def last(self) -> tuple[tuple[str, ...], str | None, str] | None:
        """Return the last stored basis, or None if it is not known."""

    def keep(self, categories: Sequence[str], path: str | None, host: str) -> None:
        """Store the present basis."""


class Unchecked:
    """No check: for a run that classifies nothing, or whose categories nobody chose."""

    def over(self, chunks: Iterable[Sequence[dm.Ticket]]) -> Iterator[Sequence[dm.Ticket]]:
        """Yield chunks of tickets to classify; `before` is called for the first one."""
        for chunk in chunks:
            if chunk:
                self.before()
            yield chunk

    def before(self) -> None:
        """Check the categories before the first classification."""

    def after(self) -> None:
        """Note that something was classified by the present categories."""


class CategoryCheck(Unchecked):
    """The check of one run: `warn` is called at most once. `current_names` maps former names to present ones."""

    def __init__(
        self, memory: BasisMemory, basis: CategoryBasis, current_names: Mapping[str, str], warn: Callable[[str], None]
    ) -> None:
        self._memory = memory
        self._basis = basis
        self._current_names = current_names
        self._warn = warn
        self._is_checked = self._is_stored = False

    def before(self) -> None:
        """Warn, the first time, if the database was classified by another list."""
        if self._is_checked:
            return
        self._is_checked = True
        stored_basis = self._memory.last()
        if stored_basis is None:
            return
        last = CategoryBasis(*stored_basis)
        self._is_stored = last[:2] == self._basis[:2]  # machines that share a database share its memory
        if {self._current_names.get(name, name) for name in last.categories} != set(self._basis.categories):
            self._warn(changed_categories_warning(last, self._basis))

    def after(self) -> None:
        """Store the present basis, the first time."""
        if not self._is_stored:
            self._memory.keep(*self._basis)
            self._is_stored = True


def changed_categories_warning(last: CategoryBasis, now: CategoryBasis) -> str:
    """Return the warning that the categories have changed, and what to do if that is intended or not."""
    is_same_file = (last.path, last.host) == (now.path, now.host)
    way_back = "" if last.path is None or is_same_file else f"; if not, give --config {shlex.quote(last.path)}"
    present = f"others ({_shown_names(now)})" if is_same_file else _basis_text(now, now.host)
    return (
        f"warning: this database was last classified by {_basis_text(last, now.host)}, and now it is by {present}: "
        f"if that is meant, {dm.Step.RECLASSIFY} brings along what was decided before{way_back}"
    )


def _basis_text(basis: CategoryBasis, own_host: str) -> str:
    if basis.path is None:
        return f"the built-in categories ({_shown_names(basis)}), without a configuration"
    host = "" if basis.host == own_host else f" on {basis.host}"
    return f"the categories of {basis.path}{host} ({_shown_names(basis)})"


def _shown_names(basis: CategoryBasis) -> str:
    unshown = len(basis.categories) - SHOWN_CATEGORIES
    return ", ".join(basis.categories[:SHOWN_CATEGORIES]) + (f" and {unshown} more" if unshown > 0 else "")
