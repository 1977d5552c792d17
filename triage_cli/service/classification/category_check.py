"""A database remembers by which categories it was classified last: another list is told before anything is classified.

What is told once is remembered once something was classified, so that a change that is meant is told a single time.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from triage_cli.domain.tickets import Ticket

FEW = 5  # names of a long list that are told


class Basis(NamedTuple):
    """The names of the categories, in their order, the file that says so (None: none does), and the file's machine."""

    categories: tuple[str, ...]
    path: str | None
    host: str


class Memory(Protocol):
    """Keeps the fields of one basis beside the tickets."""

    def last(self) -> tuple[tuple[str, ...], str | None, str] | None:
        """Return by what was classified last; None where that is not known."""

    def keep(self, categories: Sequence[str], path: str | None, host: str) -> None:
        """Remember by what was classified now."""


class Unchecked:
    """The check of a run that classifies nothing, or whose categories are nobody's choice."""

    def over(self, chunks: Iterable[Sequence[Ticket]]) -> Iterator[Sequence[Ticket]]:
        """Yield chunks of tickets to be asked about, the first one after what is to be told."""
        for chunk in chunks:
            if chunk:
                self.before()
            yield chunk

    def before(self) -> None:
        """Say that something is about to be classified."""

    def after(self) -> None:
        """Say that something was classified."""


class CategoryCheck(Unchecked):
    """The check of one run: `warn` is told at most once. `heirs` maps former names of categories to those of today."""

    def __init__(
        self, memory: Memory, basis: Basis, heirs: Mapping[str, str], warn: Callable[[str], None]
    ) -> None:  # fmt: skip
        self._memory = memory
        self._basis = basis
        self._heirs = heirs
        self._warn = warn
        self._begun = self._kept = False

    def before(self) -> None:
        """Tell, the first time, where the database was classified by another list."""
        if self._begun:
            return
        self._begun = True
        kept = self._memory.last()
        if kept is None:
            return
        last = Basis(*kept)
        self._kept = last[:2] == self._basis[:2]  # machines that share a database share the memory of it
        if {self._heirs.get(name, name) for name in last.categories} != set(self._basis.categories):
            self._warn(warning(last, self._basis))

    def after(self) -> None:
        """Remember, the first time."""
        if not self._kept:
            self._memory.keep(*self._basis)
            self._kept = True


def warning(last: Basis, now: Basis) -> str:
    """Say that one basis follows another one, and what to do where that is meant and where it is not."""
    back = "" if last.path is None else f"; if not, give --config {shlex.quote(last.path)}"
    return (
        f"warning: this database was last classified by {_named(last, now.host)}, and now it is by "
        f"{_named(now, now.host)}: if that is meant, triage reclassify brings along what was decided before{back}"
    )


def _named(basis: Basis, own_host: str) -> str:
    left = len(basis.categories) - FEW
    names = ", ".join(basis.categories[:FEW]) + (f" and {left} more" if left > 0 else "")
    if basis.path is None:
        return f"the built-in categories ({names}), without a configuration"
    return f"the categories of {basis.path}{'' if basis.host == own_host else f' on {basis.host}'} ({names})"
