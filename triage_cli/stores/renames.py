"""Categories under another name: everything stored follows in one transaction, with its event."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from triage_cli.models import Change, Event, Renamed

# What stands under the old name. A ticket's revision grows, so that a run that read it before does not write it back.
FOLLOW = (
    "update tickets set category = :new, revision = revision + 1 where category = :old",
    "update tickets set suggestion = :new, revision = revision + 1 where suggestion = :old",
    "update classifications set category = :new where category = :old",
    "update deliveries set category = :new where category = :old",
)
FOLLOW_DESTINATION = "update deliveries set destination = :new where destination = :old"
# A name that is given to a category again is no former name any more.
CURRENT_AGAIN = "delete from renames where old = :new"
NOTE = """insert into renames (old, new, root, moved, at) values (:old, :new, :root, :moved, :at)
    on conflict (old)
    do update set new = excluded.new, root = excluded.root, moved = excluded.moved, at = excluded.at"""


class Renames:
    """The part of a store that renames categories; the store reads, writes and logs."""

    def _read(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        raise NotImplementedError

    def _writing(self) -> AbstractContextManager[Any]:
        raise NotImplementedError

    def _log(self, db: Any, changes: Sequence[Change]) -> None:
        raise NotImplementedError

    def renames(self) -> Iterator[Renamed]:
        """Walk over the renames that were carried out."""
        for row in self._read("select old, new, root, moved from renames order by old"):
            yield Renamed(*row)

    def rename(self, what: Renamed, event: Event, *, destination: bool) -> Renamed:
        """Let everything of a category follow to its new name, `destination` that of the same name too."""
        values = {"old": what.old, "new": what.new}
        with self._writing() as db:
            moved = sum(max(0, db.execute(statement, values).rowcount) for statement in FOLLOW[:2])
            for statement in (*FOLLOW[2:], *([FOLLOW_DESTINATION] if destination else []), CURRENT_AGAIN):
                db.execute(statement, {k: v for k, v in values.items() if f":{k}" in statement})
            done = what._replace(moved=moved)
            db.execute(NOTE, done._asdict() | {"at": event.at})
            if moved:
                self._log(db, [Change(event._replace(data={**event.data, "tickets": moved}))])
        return done
