"""Categories in the store: renaming one in all rows, and the list that the latest classification had.

A rename is one transaction, with its event. The list is stored so that a change of it is noticed.
"""

from collections.abc import Iterator, Sequence

from triage_cli.domain import Change, Event, Renamed, compact, from_json, now
from triage_cli.stores.counts import Counts
from triage_cli.stores.database import Database, Db
from triage_cli.stores.dialect import Dialect
from triage_cli.stores.events import SqlAuditLog

# The tables that hold the name. A ticket's revision grows, so that a run that read it earlier does not write the old
# name back.
RENAME_IN_TABLES = (
    "update tickets set category = :new, revision = revision + 1 where category = :old",
    "update tickets set suggestion = :new, revision = revision + 1 where suggestion = :old",
    "update classifications set category = :new where category = :old",
    "update deliveries set category = :new where category = :old",
    "update trials set category = :new where category = :old",
    "update graded_answers set category = :new where category = :old",
    "update graded_answers set label = :new where label = :old",
    "update spikes set category = :new where category = :old",
    # The bound is found again when it is needed: the heir may have one.
    "delete from error_bounds where category = :old",
)
RENAME_DESTINATION = (
    "update deliveries set destination = :new where destination = :old",
    "update deliveries set targets = replace(targets, :listed_old, :listed_new)",
)
# If a category gets a former name back, that name is no longer a rename.
DROP_REVERTED = "delete from renames where old = :new"
RECORD_RENAME = """insert into renames (old, new, root, moved, at) values (:old, :new, :root, :moved, :at)
    on conflict (old)
    do update set new = excluded.new, root = excluded.root, at = excluded.at,
        moved = excluded.moved + case when renames.new = excluded.new then renames.moved else 0 end"""
# Each command checks whether tickets have an old name. The PostgreSQL schema has this index from the start.
CATEGORY_INDEX = (
    "create index if not exists tickets_by_category on tickets (category, ticket_id) where category is not null"
)
BEARS_CATEGORY = """select exists (select 1 from tickets where category = :name)
    or exists (select 1 from tickets where status = 'needs_review' and suggestion = :name)"""

KEEP_CATEGORIES = """insert into classified_by (one, categories, path, host, at) values (1, ?, ?, ?, ?)
    on conflict (one) do update
    set categories = excluded.categories, path = excluded.path, host = excluded.host, at = excluded.at"""


class SqlCategories:
    """Implements `ports.Categories` on the connections of a store."""

    def __init__(self, database: Database, dialect: Dialect, log: SqlAuditLog) -> None:
        self._database = database
        self._dialect = dialect
        self._log = log

    def renames(self) -> Iterator[Renamed]:
        """Yield the renames that were carried out, by old name."""
        for row in self._database.read("select old, new, root, moved, at from renames order by old"):
            yield Renamed(*row)

    def bears(self, category_name: str) -> bool:
        """Return whether any ticket has this name as its category, or as the suggestion that a review waits for."""
        return bool(self._database.read(BEARS_CATEGORY, {"name": category_name})[0][0])

    def rename(self, what: Renamed, event: Event, *, destination: bool) -> Renamed:
        """Rename a category in all tables, with `destination` also the destination of that name; return the counts."""
        values = {"old": what.old, "new": what.new, "listed_old": compact(what.old), "listed_new": compact(what.new)}

        def rename(db: Db) -> Renamed:
            for statement in self._dialect.before_rename:
                db.execute(statement)
            moved_rows = (db.execute(statement, values).rowcount for statement in RENAME_IN_TABLES[:2])
            moved_tickets = sum(max(0, rows) for rows in moved_rows)
            for statement in (*RENAME_IN_TABLES[2:], *(RENAME_DESTINATION if destination else ()), DROP_REVERTED):
                db.execute(statement, {k: v for k, v in values.items() if f":{k}" in statement})
            carried_out = what._replace(moved=moved_tickets)
            db.execute(RECORD_RENAME, carried_out._asdict() | {"at": event.at})
            if moved_tickets:
                self._log.append(db, [Change(event.with_data(tickets=moved_tickets))])
            Counts.count_anew(db)
            return carried_out

        return self._database.write(rename)


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
        rename_values = (compact(list(categories)), path, host, now())
        self._database.write(lambda db: db.execute(KEEP_CATEGORIES, rename_values))
