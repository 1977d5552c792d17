"""The categories of the latest classification, stored so that a change of the list is noticed."""

from collections.abc import Sequence

from triage_cli.domain.ids import now
from triage_cli.domain.serialization import compact, from_json
from triage_cli.stores.database import Database

KEEP = """insert into classified_by (one, categories, path, host, at) values (1, ?, ?, ?, ?) on conflict (one) do update
    set categories = excluded.categories, path = excluded.path, host = excluded.host, at = excluded.at"""


class CategoryMemory:
    """Implements `service.classification.category_check.Memory` on the connections of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> tuple[tuple[str, ...], str | None, str] | None:
        """Return the names of the categories, the path of the configuration file and its machine, or None."""
        rows = self._database.read("select categories, path, host from classified_by")
        return (tuple(from_json(rows[0][0])), rows[0][1], rows[0][2]) if rows else None

    def keep(self, categories: Sequence[str], path: str | None, host: str) -> None:
        """Record the categories of the latest classification, replacing the earlier ones."""
        with self._database.transaction() as db:
            db.execute(KEEP, (compact(list(categories)), path, host, now()))
