"""How files were read the last time, so that a file that is read otherwise is noticed."""

from triage_cli.domain import Reading, compact, from_json, now
from triage_cli.stores.database import Database, write_one

LAST = "select source, columns from readings where header = ?"
KEEP = """insert into readings (header, source, columns, at) values (?, ?, ?, ?) on conflict (header) do update
    set source = excluded.source, columns = excluded.columns, at = excluded.at"""


class SqlReadings:
    """Implements `ports.Readings` on the connections of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, header: str) -> Reading | None:
        """Return how a file with this header was read the last time, None if there was none."""
        rows = self._database.read(LAST, (header,))
        return Reading(rows[0][0], from_json(rows[0][1])) if rows else None

    def keep(self, header: str, reading: Reading) -> None:
        """Record how a file with this header was read, in place of the time before."""
        write_one(self._database, KEEP, (header, reading.source, compact(dict(reading.columns)), now()))
