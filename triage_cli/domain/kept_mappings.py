"""How files with certain columns are read: as `imports` of the configuration says, and as it was the last time."""

from collections.abc import Iterable, Mapping
from typing import Annotated, NamedTuple

from triage_cli.domain.tickets import MAX_SOURCE
from triage_cli.domain.wire_values import Limits

# The fields of a ticket that a column may hold, and the formats of inputs that have columns.
IMPORT_FIELDS = ("subject", "description", "customer_id", "priority", "created_at", "external_id", "verdict")
TABLE_FORMATS = ("csv", "tsv", "json", "jsonl")
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
LONGEST_COLUMN = 200  # characters of a column's name that a reading keeps


class KeptMapping(NamedTuple):
    """How a file is read that has all these columns; what is None is detected.

    `mapping` maps our fields to columns; without a column, a field is read from none.
    """

    name: str
    columns: tuple[str, ...]
    mapping: Mapping[str, str] = {}
    source: str | None = None
    html: bool | None = None
    format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None


FILE_OPTIONS = KeptMapping._fields[3:]  # how the file is read, whatever its columns mean


def is_for_same_files(columns: Iterable[str], other_columns: Iterable[str]) -> bool:
    """Return whether two kept mappings with these columns always fit equally well."""
    return {column.strip() for column in columns} == {column.strip() for column in other_columns}


class Reading(NamedTuple):
    """How a file was read: the source of its ids, and the column of each field that has one."""

    source: Annotated[str, Limits(0, MAX_SOURCE)]
    columns: Mapping[str, Annotated[str, Limits(0, LONGEST_COLUMN)]] = {}

    def options_unlike(self, other: "Reading") -> list[tuple[str, str]]:
        """Return the options, each with its value, that would read a file as here where the other reading differs.

        A field that only the other one has does no harm to known tickets, unless it is their text or their id.
        """
        read_here = self.columns.keys() | {"subject", "description", "external_id"}
        fields = [f for f in IMPORT_FIELDS if f in read_here and self.columns.get(f) != other.columns.get(f)]
        options = [("--map", f"{field}={self.columns.get(field, '')}") for field in fields]
        return [*options, ("--source", self.source)] if self.source != other.source else options


def header_key(columns: Iterable[str]) -> str:
    """Return what names a header in a store: a hash of its columns, in any order."""
    import hashlib  # which commands without a file need not

    names = sorted({column.strip() for column in columns})
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()


def delimiter_named(text: str) -> str | None:
    """Return the character that delimits cells, itself or by its name; None if the text cannot."""
    delimiter = _NAMED_DELIMITERS.get(text.lower(), text)
    return None if len(delimiter) != 1 or delimiter in '"\r\n\0' else delimiter
