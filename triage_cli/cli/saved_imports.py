"""How files are read: told where it differs from the last file with a header, and what keeps it (`create --save`)."""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

from triage_cli import domain as dm
from triage_cli.cli import messages
from triage_cli.cli.context import CommandContext
from triage_cli.config import import_lines, no_name
from triage_cli.readers import ReadOptions, Table


class ReadingMemory:
    """How the tables of a command are read now, beside the last time; a remote's errors are told where it stores."""

    def __init__(self, context: CommandContext, tables: Sequence[Table]) -> None:
        self._context = context
        self._readings: dict[str, dm.Reading] = {}
        for table in tables:
            if table.fields:
                columns = {field: column[: dm.LONGEST_COLUMN] for field, column in table.fields.items()}
                self._readings[dm.header_key(table.columns)] = dm.Reading(table.source, columns)

    def tell(self) -> None:
        """Print a note, also with -q, for each header that was read otherwise the last time; forget the others."""
        for header, reading in [*self._readings.items()]:
            last = self._last_reading(header)
            if last == reading:
                del self._readings[header]
            elif last is not None and (unlike := last.options_unlike(reading)):
                options = " ".join(f"{option} {shlex.quote(value)}" for option, value in unlike)
                is_identity = any(value.startswith("external_id=") or option == "--source" for option, value in unlike)
                effect = "come twice" if is_identity else "be changed"
                read_otherwise = "the last file with these columns was read otherwise"
                messages.say(f"note: {read_otherwise}, so known tickets would {effect}; as then: {options}")

    def keep(self) -> None:
        """Remember the readings that are new."""
        for header, reading in self._readings.items():
            with self._errors_told():
                self._context.triage.keep_reading(header, reading)

    def _last_reading(self, header: str) -> dm.Reading | None:
        with self._errors_told():
            return self._context.triage.last_reading(header)
        return None

    def _errors_told(self) -> AbstractContextManager[bool | None]:
        """Return a context that passes over a remote's errors, which are told where it stores the tickets."""
        return suppress(dm.TriageError) if self._context.is_remote else nullcontext()


class ImportSaver:
    """Says how the configuration keeps the mapping of the one file that a command reads, if it was given a name."""

    def __init__(self, context: CommandContext, name: str | None) -> None:
        self._context = context
        self._name = name
        self._entry = ""

    def check(self, files: Sequence[str] | None, *, headed: bool) -> None:
        """Raise `UsageError` for what cannot be kept, before anything is read."""
        if self._name is None:
            return
        if objection := no_name(self._name):
            raise dm.UsageError(f'--save: the name "{self._name}" {objection}', hint="give another one, such as shop")
        if len(files or ["-"]) > 1:
            raise dm.UsageError("--save keeps how one file is read, and several are given", hint="name one of them")
        if not headed:
            raise dm.UsageError(
                "--save keeps the names of columns, and --no-header reads none", hint="leave one of them out"
            )

    def prepare(self, table: Table, typed: ReadOptions) -> None:
        """Make what is to be added to the configuration. Raises `UsageError` if it would not be used, or is no mapping.

        The columns of all fields are kept, also those that were found by their names, so that nothing is guessed again.
        """
        if self._name is None:
            return
        if not table.fields:
            raise dm.UsageError(f"--save keeps the names of columns, and {table.name} has none", hint="leave it out")
        config, how = self._context.config, table.read_as
        if how.kept_as == self._name and _is_kept(config.imports[self._name], typed):
            return
        if self._name in config.imports:
            raise dm.UsageError(
                f"imports.{self._name} is in {config.path} already, and says something else",
                hint="give another name, or change it there",
            )
        unread = {field: "" for field, column in how.mapping.items() if not column.strip()}
        columns = tuple(dict.fromkeys(table.fields.values()))
        for other in config.imports.values():
            if dm.is_for_same_files(other.columns, columns):
                raise dm.UsageError(
                    f"imports.{other.name} is for files with the same columns, so none would be chosen of the two",
                    hint="change that one in the configuration",
                )
        file_options = {option: getattr(how, option) for option in dm.FILE_OPTIONS}
        self._entry = import_lines(dm.KeptMapping(self._name, columns, {**table.fields, **unread}, **file_options))

    def tell(self) -> None:
        """Print what to add to the configuration, so that later files with these columns are read so."""
        if self._entry:
            config = self._context.config
            key = "" if config.imports else "imports:\n"
            below = " below imports" if config.imports else ""
            messages.say(
                f"add to {config.path or 'config.yaml'}{below}, and later files with these columns are read so:"
            )
            messages.say_lines(f"{key}{self._entry}".rstrip("\n"))


def _is_kept(kept: dm.KeptMapping, typed: ReadOptions) -> bool:
    """Return whether a kept mapping says already what was typed."""
    is_same_map = all(kept.mapping.get(field) == column for field, column in typed.mapping.items())
    return is_same_map and all(getattr(typed, option) in (None, getattr(kept, option)) for option in dm.FILE_OPTIONS)
