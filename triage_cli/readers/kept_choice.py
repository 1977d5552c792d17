"""Chooses the kept mapping by which a file is read: the one with most of the columns that the file has."""

from collections.abc import Callable, Iterable, Sequence

from triage_cli.domain import KeptMapping, UsageError
from triage_cli.readers.column_mapping import compact, listing
from triage_cli.readers.table import ReadOptions

HeaderRows = Callable[[ReadOptions], Iterable[Sequence[str]]]


def with_kept_mapping(options: ReadOptions, header_rows: HeaderRows, name: str) -> ReadOptions:
    """Return the options for reading a file, with what its kept mapping says; what was typed overrules that.

    `header_rows` returns the rows that may be the header, if the file is read with some options. Raises `UsageError` if
    two mappings fit equally well, or the one that fits names a column that the file lacks.
    """
    plain = options._replace(kept=())
    if not options.header:
        return plain
    rows_by_format: dict[tuple[str | None, ...], list[Sequence[str]]] = {}
    fitting: list[tuple[int, KeptMapping, ReadOptions, Sequence[str]]] = []
    for kept in options.kept:
        kept_options = _merged(plain, kept)
        needed = {*map(_key, kept.columns)}
        how_split = kept_options.format, kept_options.delimiter, kept_options.encoding
        if how_split not in rows_by_format:
            rows_by_format[how_split] = [*header_rows(kept_options)]
        header = next((row for row in rows_by_format[how_split] if needed <= {*map(_key, row)}), None)
        if header is not None:
            fitting.append((len(needed), kept, kept_options, header))
    most = max((number for number, *_ in fitting), default=0)
    best = [one for one in fitting if one[0] == most]
    if len(best) > 1:
        names = " and ".join(f"imports.{kept.name}" for _, kept, *_ in best)
        raise UsageError(
            f"{names} fit {name} equally well, each by {most} of its columns",
            hint="add a column to one of them that only its files have",
        )
    for _, kept, kept_options, header in best:
        _check_columns(kept, options, header, name)
        return kept_options
    return plain


def _merged(options: ReadOptions, kept: KeptMapping) -> ReadOptions:
    return options._replace(
        kept_as=kept.name,
        mapping={**kept.mapping, **options.mapping},
        source=options.source or kept.source,
        html=kept.html if options.html is None else options.html,
        format=options.format or kept.format,
        delimiter=options.delimiter or kept.delimiter,
        encoding=options.encoding or kept.encoding,
    )


def _key(column: str) -> str:
    """Return a form of a column's name that is equal for names which `--map` takes for the same."""
    return compact(column) or column.strip()


def _check_columns(kept: KeptMapping, options: ReadOptions, header: Sequence[str], name: str) -> None:
    columns = {*map(_key, header)}
    for field, column in kept.mapping.items():
        if column and field not in options.mapping and _key(column) not in columns:
            raise UsageError(
                f'imports.{kept.name}.map.{field}: {name} has no column "{column}"',
                hint=f"its columns are {listing(header)}",
            )
