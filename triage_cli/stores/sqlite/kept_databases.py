"""The databases that restores have kept beside the restored one: what was delivered before a restore."""

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from triage_cli.domain import Delivery, compact
from triage_cli.stores.sqlite.connection import SelfClosingConnection

# A kept database stays at its version, whose deliveries may have fewer columns.
ARRIVED_DELIVERIES = """select t.identity, d.* from deliveries d
    join tickets t on t.ticket_id = d.ticket_id where (d.state = 'accepted' or d.doubtful = 1)
    and t.identity in (select value from json_each(?)) order by coalesce(d.done_at, d.at)"""


def kept_databases(path: str) -> Sequence[Path]:
    """Return the files in which restores kept the databases that were there before, the oldest first."""
    kept_name = re.compile(rf"{re.escape(Path(path).name)}\.before-\w+Z(-\d+)?")
    return sorted(file for file in Path(path).parent.iterdir() if kept_name.fullmatch(file.name))


class KeptDatabases:
    """The databases that restores have replaced, opened once; `tell` gets a warning about each that cannot be read."""

    def __init__(self, path: str, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._connections: dict[Path, sqlite3.Connection | None] = dict.fromkeys(kept_databases(path))

    def delivered(self, identities: Sequence[str]) -> Mapping[str, Sequence[Delivery]]:
        """Return the deliveries of tickets that arrived before a restore, by the identities, oldest first."""
        deliveries_by_identity: dict[str, list[Delivery]] = {}
        for file in tuple(self._connections):
            try:
                kept_database = self._connections[file] or sqlite3.connect(
                    f"file:{quote(str(file))}?mode=ro", uri=True, factory=SelfClosingConnection
                )
                self._connections[file] = kept_database
                delivery_rows = kept_database.execute(ARRIVED_DELIVERIES, (compact(list(identities)),)).fetchall()
            except sqlite3.Error as error:
                del self._connections[file]
                self._tell(
                    f"warning: {file}, which a restore has kept, cannot be read ({error}), so labels that triage had "
                    "set may count as verdicts of people; check its rights, or remove it if it is broken"
                )
                continue
            for identity, *delivery_columns in delivery_rows:
                deliveries_by_identity.setdefault(identity, []).append(Delivery(*delivery_columns))
        return deliveries_by_identity
