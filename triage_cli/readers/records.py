"""The records of an input, in CSV or JSON: its rows before they become drafts."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol


class Record(NamedTuple):
    """One record: its first line, its cells, the problem if it is malformed, and the object if it is JSON.

    `rest` yields the remainder of a very long record from a file.
    """

    line: int
    cells: list[str] | None
    problem: str = ""
    item: dict[str, Any] | None = None
    rest: Iterable[str] = ()


class Records(Protocol):
    """A stream of records; `raw` returns the original text of the last one."""

    def __iter__(self) -> Iterator[Record]: ...
    def raw(self) -> str: ...  # noqa: D102
