"""What a store counts with each change, and what its rows count to."""

from typing import Any

from triage_cli.stores import COUNT_ALL, Db, SqlStore

TABLES = ("ticket_counts", "delivery_counts", "answer_counts")


def kept_and_anew(store: SqlStore) -> tuple[list[Any], list[Any]]:
    """Return the kept counts that are not 0, and the same from the rows, each in order."""

    def counts(db: Db) -> list[Any]:
        return sorted(
            tuple(row) for t in TABLES for row in db.execute(f"select * from {t} where number <> 0").fetchall()
        )

    def count(db: Db) -> tuple[list[Any], list[Any]]:
        kept = counts(db)
        for statement in COUNT_ALL:
            db.execute(statement)
        return kept, counts(db)

    return store.database.write(count)
