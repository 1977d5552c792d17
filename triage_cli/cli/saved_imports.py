"""`create --save`: how a file is read is kept in the configuration."""

from collections.abc import Sequence
from pathlib import Path

from triage_cli.cli.context import CommandContext
from triage_cli.cli.options import InputOptions
from triage_cli.config import SavedImport, no_name, with_import
from triage_cli.domain import KeptMapping, UsageError, is_for_same_files
from triage_cli.readers import ReadOptions, Table


class ImportSaver:
    """Keeps the mapping of the one file that a command reads, if it was given a name for it."""

    def __init__(self, context: CommandContext, name: str | None) -> None:
        self._context = context
        self._name = name
        self._saved_import: SavedImport | None = None

    def check(self, files: Sequence[str] | None, input_options: InputOptions) -> None:
        """Raise `UsageError` for what cannot be kept, before anything is read."""
        if self._name is None:
            return
        if objection := no_name(self._name):
            raise UsageError(f'--save: the name "{self._name}" {objection}', hint="give another one, such as shop")
        if len(files or ["-"]) > 1:
            raise UsageError("--save keeps how one file is read, and several are given", hint="name one of them")
        if input_options.no_header:
            raise UsageError(
                "--save keeps the names of columns, and --no-header reads none", hint="leave one of them out"
            )

    def prepare(self, table: Table, typed: ReadOptions) -> None:
        """Make what is to be written once the table is stored. Raises `UsageError` and `ConfigError`.

        The columns of all fields are kept, also those that were found by their names, so that nothing is guessed again.
        """
        if self._name is None:
            return
        if not table.fields:
            raise UsageError(f"--save keeps the names of columns, and {table.name} has none", hint="leave it out")
        config, how = self._context.config, table.read_as
        if how.kept_as == self._name and _is_kept(config.imports[self._name], typed):
            return
        unread = {field: "" for field, column in how.mapping.items() if not column.strip()}
        columns = tuple(dict.fromkeys(table.fields.values()))
        for other in config.imports.values():
            if other.name != self._name and is_for_same_files(other.columns, columns):
                raise UsageError(
                    f"imports.{other.name} is for files with the same columns, so none would be chosen of the two",
                    hint="change that one in the configuration",
                )
        file_options = how.source, how.html, how.format, how.delimiter, how.encoding
        kept = KeptMapping(self._name, columns, {**table.fields, **unread}, *file_options)
        self._saved_import = with_import(config.path, Path.cwd(), kept)

    def write(self) -> None:
        """Keep the mapping of the table that was stored. Raises `ConfigError`."""
        if self._saved_import is not None:
            self._saved_import.write()
            self._context.say(f"kept as imports.{self._name} in {self._saved_import.path}")


def _is_kept(kept: KeptMapping, typed: ReadOptions) -> bool:
    """Return whether a kept mapping says already what was typed."""
    kept_options = (kept.source, kept.html, kept.format, kept.delimiter, kept.encoding)
    typed_options = (typed.source, typed.html, typed.format, typed.delimiter, typed.encoding)
    is_same_map = all(kept.mapping.get(field) == column for field, column in typed.mapping.items())
    return is_same_map and all(
        value in (None, kept_value) for value, kept_value in zip(typed_options, kept_options, strict=True)
    )
