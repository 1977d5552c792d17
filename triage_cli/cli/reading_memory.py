"""Tells where a file is read otherwise than the last one with its header, and remembers how it was read."""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

from triage_cli.cli import messages
from triage_cli.cli.context import CommandContext
from triage_cli.domain import LONGEST_COLUMN, Reading, TriageError, header_key
from triage_cli.readers import Table


class ReadingMemory:
    """How the tables of a command are read now, beside the last time; a remote's errors are told where it stores."""

    def __init__(self, context: CommandContext, tables: Sequence[Table]) -> None:
        self._context = context
        self._readings: dict[str, Reading] = {}
        for table in tables:
            if table.fields:
                columns = {field: column[:LONGEST_COLUMN] for field, column in table.fields.items()}
                self._readings[header_key(table.columns)] = Reading(table.source, columns)

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

    def _last_reading(self, header: str) -> Reading | None:
        with self._errors_told():
            return self._context.triage.last_reading(header)
        return None

    def _errors_told(self) -> AbstractContextManager[bool | None]:
        """Return a context that passes over a remote's errors, which are told where it stores the tickets."""
        return suppress(TriageError) if self._context.is_remote else nullcontext()
