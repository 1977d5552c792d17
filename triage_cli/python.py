"""triage from Python, as `from triage_cli import Triage` gives it: docs/reference/python.md."""

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import user
from triage_cli.config import Config, load_config
from triage_cli.readers import ReadOptions, open_table
from triage_cli.service import LocalConsultation, LocalTriage


class Triage(LocalTriage):
    """The use cases on a database of this machine, as `ports.Triage` describes them; `with` closes it.

    What yields outcomes works while they are taken. One object does one thing at a time: open one in each thread.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._opened = wiring.services(config, warn=_warn, make=True)
        super().__init__(self._opened, user(), "python")

    @classmethod
    def open(
        cls, *, db: str | Path | None = None, config: str | Path | None = None, offline: bool | None = None
    ) -> Self:
        """Open a database with a configuration, each by default the one that commands use; a missing one is made.

        Raises `ConfigError`, `StoreError`, and `UsageError` where the configuration names a remote.
        """
        named_db, named_config = (None if named is None else str(named) for named in (db, config))
        loaded = load_config(config=named_config, db=named_db, offline=offline, env=os.environ, cwd=Path.cwd())
        if loaded.remote:
            raise dm.UsageError("the configuration names a remote, and this works on a database here", hint="give db")
        return cls(loaded)

    def __enter__(self) -> Self:
        """Return the opened database."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the database."""
        self.close()

    def close(self) -> None:
        """Close the database; what was stored stays."""
        self._opened.store.close()

    def read(
        self, path: str | Path, mapping: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[dm.TicketDraft | dm.Rejected]:
        """Yield what a file holds, for `create` and `run`; `mapping` says of a field which column it is.

        Raises `InputError` for a file that is no table of tickets.
        """
        labels, kept = dm.label_columns(self._config.questions), tuple(self._config.imports.values())
        with Path(path).open("rb") as file:
            yield from open_table(file, str(path), ReadOptions(mapping=mapping, labels=labels, kept=kept)).rows

    def classify_text(self, text: str, classifier: str | None = None) -> dm.TextAnswer:
        """Return how a ticket with this text would be decided; nothing is stored."""
        consultation = LocalConsultation(self._opened, user(), "python")
        return consultation.classify_text(dm.TextQuestion(description=text), dm.ClassifyPlan(classifier))

    def records(self, selection: dm.Selection = dm.Selection()) -> Iterator[dict[str, Any]]:  # noqa: B008 (immutable)
        """Yield the records of tickets, as `triage list -o json` prints them."""
        yield from map(dm.ticket_record, self.find(selection))


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=2)
