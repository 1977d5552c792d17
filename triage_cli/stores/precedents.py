"""The tables of precedents: the verdicts that tickets with the same text follow, and those whose followers must end."""

from collections.abc import Iterator, Sequence

from triage_cli import domain as dm
from triage_cli.stores.database import Database, Db, pages, write_all, write_one

# Of changes with these events, a verdict or the text that it is about may be another one afterwards.
_TOUCHING_ACTIONS = frozenset(
    {
        dm.EventAction.VERDICT,
        dm.EventAction.UPDATED,
        dm.EventAction.RECLASSIFIED,
        dm.EventAction.FORGOTTEN,
        dm.EventAction.WITHDRAWN,
    }
)
KNOWN = """select ticket_id, question, digest, verdict_id from precedents
    where ticket_id in (select value from json_each(?))"""
DROP = "delete from precedents where question = ? and ticket_id in (select value from json_each(?))"
ADD = "insert into precedents (ticket_id, question, digest, verdict_id) values (?, ?, ?, ?)"
MARK_CHANGED = """insert into changed_precedents (digest, question, mark)
    select distinct answer_key, question, :mark from classifications
    where confidence_source = 'precedent' and answer_key in (select value from json_each(:digests))
        and question = :question
    on conflict (digest, question) do update set mark = excluded.mark"""
SHARED_TEXTS = """select p.digest, p.question, verdict.category, min(p.ticket_id)
    from precedents p join classifications verdict on verdict.classification_id = p.verdict_id
    where p.digest in (select value from json_each(?)) and p.question = ? and verdict.category is not null
    group by p.digest, p.question, verdict.category order by 4"""
CHANGED = "select digest, question, mark from changed_precedents order by digest, question"
# The answer to a further question names the classification that it rests on, by an id that nothing else contains.
_OF_FOLLOWERS = """from classifications c join tickets t on t.ticket_id = c.ticket_id
    where c.confidence_source = 'precedent' and c.answer_key = ? and c.question = ?
        and (t.decision_id = c.classification_id or t.answers like '%' || c.classification_id || '%')"""
FOLLOWING = f"select count(*) {_OF_FOLLOWERS}"
FOLLOWERS = f"select t.* {_OF_FOLLOWERS} and t.ticket_id > ? order by t.ticket_id limit ?"


class SqlPrecedents:
    """Implements `ports.Precedents` on the connections of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, db: Db, changes: Sequence[dm.Change]) -> None:
        """Note which verdicts are precedents after changes, in their transaction, and whose followers must end.

        A verdict is about the text that the person saw: if that changes, it is no precedent any more.
        """
        touched = {c.ticket.ticket_id: c for c in changes if c.ticket and _touches(c)}
        if not touched:
            return
        known = db.execute(KNOWN, (dm.compact(list(touched)),)).fetchall()
        before = {(ticket_id, question): (digest, verdict_id) for ticket_id, question, digest, verdict_id in known}
        given = {(ticket_id, question) for ticket_id, change in touched.items() for question in _given_verdicts(change)}
        after = {}
        for key in before.keys() | given:
            now = _decided_after(touched[key[0]], key[1])
            if now and (key in given or now[0] == before[key][0]):
                after[key] = now
        differing = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        for question in sorted({question for _, question in differing}):
            gone = [ticket_id for ticket_id, about in differing if about == question and (ticket_id, about) in before]
            db.execute(DROP, (question, dm.compact(gone)))
        write_all(db, ADD, [(*key, *after[key]) for key in differing if key in after])
        for question in sorted({question for _, question in differing}):
            digests = {both[k][0] for both in (before, after) for k in differing if k[1] == question and k in both}
            values = {"digests": dm.compact(sorted(digests)), "question": question, "mark": dm.ids.new_id()}
            db.execute(MARK_CHANGED, values)

    def any(self) -> bool:
        return bool(self._database.read("select 1 from precedents limit 1"))

    def of_texts(self, digests: Sequence[str], question: str) -> list[dm.SharedText]:
        """Return what people answered to a question about texts with these digests, with the oldest ticket of each."""
        rows = self._database.read(SHARED_TEXTS, (dm.compact(list(digests)), question))
        return [dm.SharedText(*row) for row in rows]

    def following(self, digest: str, question: str) -> int:
        rows = self._database.read(FOLLOWING, (digest, question))
        return int(rows[0][0])

    def changed(self) -> list[tuple[str, str, str]]:
        return [(digest, question, mark) for digest, question, mark in self._database.read(CHANGED)]

    def followers(self, digest: str, question: str, limit: int) -> Iterator[list[dm.Ticket]]:
        for rows in pages(self._database, FOLLOWERS, digest, question, size=limit):
            yield [dm.Ticket(*row) for row in rows]

    def dealt_with(self, digest: str, question: str, mark: str) -> None:
        drop = "delete from changed_precedents where digest = ? and question = ? and mark = ?"
        write_one(self._database, drop, (digest, question, mark))


def _touches(change: dm.Change) -> bool:
    """Return whether a verdict, or the text that it is about, may be another one after a change."""
    return (
        change.event.action in _TOUCHING_ACTIONS
        or bool(change.decision and change.decision.overrules)
        or (bool(change.adds) and change.event.action == dm.EventAction.CREATED and bool(_given_verdicts(change)))
    )


def _decided_after(change: dm.Change, question: str) -> tuple[str, str] | None:
    """Return the digest of the text that a verdict on a question is about after a change, and the verdict, if any."""
    if change.ticket is None or change.erases:
        return None
    given = dm.given_answer(change.ticket, question)
    digest = dm.folded_digest(change.ticket.text) if given.verdict and given.decision_id else ""
    return (digest, given.decision_id) if digest and given.decision_id else None


def _given_verdicts(change: dm.Change) -> list[str]:
    """Return the questions on which a change gives its ticket the verdict that holds."""
    return [
        added.question
        for added in change.adds
        if isinstance(added, dm.Classification)
        and added.confidence_source == "human"
        and change.ticket is not None
        and added.classification_id == dm.given_answer(change.ticket, added.question).decision_id
    ]
