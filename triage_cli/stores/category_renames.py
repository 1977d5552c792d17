"""Categories under another name: everything stored follows in one transaction, with its event."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from triage_cli.domain.audit import Event
from triage_cli.domain.changes import Change
from triage_cli.domain.decisions import Classification
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import Renamed
from triage_cli.stores.database import Tables

# What stands under the old name. A ticket's revision grows, so that a run that read it before does not write it back.
FOLLOW = (
    "update tickets set category = :new, revision = revision + 1 where category = :old",
    "update tickets set suggestion = :new, revision = revision + 1 where suggestion = :old",
    "update classifications set category = :new where category = :old",
    "update deliveries set category = :new where category = :old",
    "update trials set category = :new where category = :old",
)
FOLLOW_DESTINATION = (
    "update deliveries set destination = :new where destination = :old",
    "update deliveries set targets = replace(targets, :listed_old, :listed_new)",
)
# A name that is given to a category again is no former name any more.
CURRENT_AGAIN = "delete from renames where old = :new"
NOTE = """insert into renames (old, new, root, moved, at) values (:old, :new, :root, :moved, :at)
    on conflict (old)
    do update set new = excluded.new, root = excluded.root, at = excluded.at,
        moved = excluded.moved + case when renames.new = excluded.new then renames.moved else 0 end"""
# At each command it is asked whether a ticket came by an old name since. PostgreSQL has this index from the beginning.
INDEX = "create index if not exists tickets_by_category on tickets (category, ticket_id) where category is not null"
BEARS = """select exists (select 1 from tickets where category = :name)
    or exists (select 1 from tickets where status = 'needs_review' and suggestion = :name)"""


class Renames(Tables):
    """The part of a store that renames categories; the store reads, writes and logs. `FIRST` makes ready for it."""

    FIRST: tuple[str, ...] = ()

    def renames(self) -> Iterator[Renamed]:
        """Walk over the renames that were carried out."""
        for row in self.database.read("select old, new, root, moved from renames order by old"):
            yield Renamed(*row)

    def bears(self, name: str) -> bool:
        """Tell whether any ticket is, or is thought to be, of a category of this name."""
        return bool(self.database.read(BEARS, {"name": name})[0][0])

    def _answers(self, rows: Sequence[Sequence[Any]]) -> list[Classification]:
        """Return answers with their probabilities under the names of today: rewriting them all would take too long."""
        answers = [Classification(*row) for row in rows]
        if not any(answer.probabilities for answer in answers):
            return answers
        renames = self.database.read("select old, new, at from renames")
        return (
            [_renamed(a, {old: new for old, new, at in renames if a.at < at}) for a in answers] if renames else answers
        )

    def rename(self, what: Renamed, event: Event, *, destination: bool) -> Renamed:
        """Let everything of a category follow to its new name, `destination` that of the same name too."""
        values = {"old": what.old, "new": what.new, "listed_old": compact(what.old), "listed_new": compact(what.new)}
        with self.database.transaction() as db:
            for statement in self.FIRST:
                db.execute(statement)
            moved = sum(max(0, db.execute(statement, values).rowcount) for statement in FOLLOW[:2])
            for statement in (*FOLLOW[2:], *(FOLLOW_DESTINATION if destination else ()), CURRENT_AGAIN):
                db.execute(statement, {k: v for k, v in values.items() if f":{k}" in statement})
            done = what._replace(moved=moved)
            db.execute(NOTE, done._asdict() | {"at": event.at})
            if moved:
                self.log(db, [Change(event.with_data(tickets=moved))])
        return done


def _renamed(answer: Classification, names: Mapping[str, str]) -> Classification:
    chances = answer.chances
    if names.keys().isdisjoint(chances):
        return answer
    return answer._replace(probabilities=compact({_today(name, names, chances): p for name, p in chances.items()}))


def _today(name: str, names: Mapping[str, str], chances: Mapping[str, float]) -> str:
    """Return a category's name of today; what stood beside that in one answer was merged into it, and stays apart."""
    while name in names and names[name] not in chances:
        name = names[name]
    return name
