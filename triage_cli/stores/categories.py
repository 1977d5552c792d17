"""Categories in the store: renaming one in all rows, and the list that the latest classification had.

A rename is one transaction, with its event. The list is stored so that a change of it is noticed.
"""

from collections.abc import Iterator, Sequence

from triage_cli import domain as dm
from triage_cli.stores.counts import Counts
from triage_cli.stores.database import Database, Db, upsert, write_one
from triage_cli.stores.dialect import Dialect
from triage_cli.stores.events import SqlAuditLog

# The tables that hold the name of a category. A ticket's revision grows, so that a run that read it earlier does not
# write the old name back.
RENAME_IN_TICKETS = (
    "update tickets set category = :new, revision = revision + 1 where category = :old",
    "update tickets set suggestion = :new, revision = revision + 1 where suggestion = :old",
)
RENAME_CATEGORY = (
    "update deliveries set category = :new where category = :old",
    "update spikes set category = :new where category = :old",
)
TICKETS_WITH_VALUE = "select answers, ticket_id from tickets where {value} = :old or {suggestion} = :old"
REPLACE_ANSWERS = "update tickets set answers = ?, revision = revision + 1 where ticket_id = ?"
# The tables that hold the name of a value of any question.
RENAME_VALUE = (
    "update classifications set category = :new where category = :old and question = :question",
    "update trials set category = :new where category = :old and question = :question",
    "update graded_answers set category = :new where category = :old and question = :question",
    "update graded_answers set label = :new where label = :old and question = :question",
    # The bound is found again when it is needed: the heir may have one.
    "delete from error_bounds where category = :old and question = :question",
)
RENAME_DESTINATION = (
    "update deliveries set destination = :new where destination = :old",
    "update deliveries set targets = replace(targets, :listed_old, :listed_new)",
)
# If a category gets a former name back, that name is no longer a rename.
DROP_REVERTED = "delete from renames where old = :new and question = :question"
RECORD_RENAME = """insert into renames (old, new, root, moved, at, question)
    values (:old, :new, :root, :moved, :at, :question) on conflict (question, old)
    do update set new = excluded.new, root = excluded.root, at = excluded.at,
        moved = excluded.moved + case when renames.new = excluded.new then renames.moved else 0 end"""
# Each command checks whether tickets have an old name. The PostgreSQL schema has this index from the start.
CATEGORY_INDEX = (
    "create index if not exists tickets_by_category on tickets (category, ticket_id) where category is not null"
)
BEARS_CATEGORY = """select exists (select 1 from tickets where category = :name)
    or exists (select 1 from tickets where status = 'needs_review' and suggestion = :name)"""
BEARS_VALUE = "select exists (select 1 from tickets where {value} = :name or {suggestion} = :name)"

KEEP_CATEGORIES = upsert("classified_by", ("one", "categories", "path", "host", "at"), "one")


class SqlCategories:
    """Implements `ports.Categories` on the connections of a store."""

    def __init__(self, database: Database, dialect: Dialect, log: SqlAuditLog) -> None:
        self._database = database
        self._dialect = dialect
        self._log = log

    def renames(self, question: str = dm.CATEGORY) -> Iterator[dm.Renamed]:
        for row in self._database.read("select * from renames where question = ? order by old", (question,)):
            yield dm.Renamed(*row)

    def bears(self, name: str, question: str = dm.CATEGORY) -> bool:
        columns = self._dialect.columns_of(question)._asdict()
        query = BEARS_CATEGORY if question == dm.CATEGORY else BEARS_VALUE.format(**columns)
        return bool(self._database.read(query, {"name": name})[0][0])

    def rename(self, what: dm.Renamed, event: dm.Event, *, destination: bool) -> dm.Renamed:
        values = {
            "old": what.old,
            "new": what.new,
            "question": what.question,
            "listed_old": dm.compact(what.old),
            "listed_new": dm.compact(what.new),
        }
        of_category = RENAME_CATEGORY if what.question == dm.CATEGORY else ()

        def rename(db: Db) -> dm.Renamed:
            for statement in self._dialect.before_rename:
                db.execute(statement)
            moved_tickets = self._rename_in_tickets(db, what)
            for statement in (*RENAME_VALUE, *of_category, *(RENAME_DESTINATION if destination else ()), DROP_REVERTED):
                db.execute(statement, {k: v for k, v in values.items() if f":{k}" in statement})
            carried_out = what._replace(moved=moved_tickets)
            db.execute(RECORD_RENAME, carried_out._asdict() | {"at": event.at})
            if moved_tickets:
                self._log.append(db, [dm.Change(event.with_data(tickets=moved_tickets))])
            Counts.count_anew(db)
            return carried_out

        return self._database.write(rename)

    def _rename_in_tickets(self, db: Db, what: dm.Renamed) -> int:
        """Rename a value in the tickets that have it; return how many have."""
        if what.question == dm.CATEGORY:
            rows = (db.execute(each, {"old": what.old, "new": what.new}).rowcount for each in RENAME_IN_TICKETS)
            return sum(max(0, number) for number in rows)
        found = TICKETS_WITH_VALUE.format(**self._dialect.columns_of(what.question)._asdict())
        tickets = db.execute(found, {"old": what.old}).fetchall()
        for answers, ticket_id in tickets:
            db.execute(REPLACE_ANSWERS, (dm.with_renamed(answers, what), ticket_id))
        return len(tickets)


class CategoryMemory:
    """Implements `service.classification.category_check.Memory` on the connections of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> tuple[tuple[str, ...], str | None, str] | None:
        """Return the names of the categories, the path of the configuration file and its machine, or None."""
        rows = self._database.read("select categories, path, host from classified_by")
        return (tuple(dm.from_json(rows[0][0])), rows[0][1], rows[0][2]) if rows else None

    def keep(self, categories: Sequence[str], path: str | None, host: str) -> None:
        """Record the categories of the latest classification, replacing the earlier ones."""
        write_one(self._database, KEEP_CATEGORIES, (1, dm.compact(list(categories)), path, host, dm.now()))
