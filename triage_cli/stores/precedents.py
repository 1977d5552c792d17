"""The tables of precedents: the verdicts that tickets with the same text follow, and those whose followers must end."""

from collections.abc import Iterator, Mapping, Sequence

from triage_cli.domain import Change, Classification, EventAction, SharedText, Ticket, compact, folded_digest, ids
from triage_cli.stores.bulk_insert import write_all
from triage_cli.stores.data_migrations import ADD_PRECEDENT
from triage_cli.stores.database import Database, Db, write_one

# Of changes with these events, a verdict or the text that it is about may be another one afterwards.
_TOUCHING_ACTIONS = frozenset(
    {
        EventAction.VERDICT,
        EventAction.UPDATED,
        EventAction.RECLASSIFIED,
        EventAction.FORGOTTEN,
        EventAction.WITHDRAWN,
    }
)
KNOWN = "select ticket_id, digest from precedents where ticket_id in (select value from json_each(?))"
DROP = "delete from precedents where ticket_id in (select value from json_each(?))"
ERASE_REASONS = (  # which name the tickets that are followed
    """update tickets set reason = null where decision_id in (select classification_id from classifications
        where confidence_source = 'precedent' and answer_key in (select value from json_each(?)))""",
    """update classifications set reason = null where confidence_source = 'precedent'
        and answer_key in (select value from json_each(?))""",
)
MARK_CHANGED = """insert into changed_precedents (digest, mark)
    select distinct answer_key, :mark from classifications
    where confidence_source = 'precedent' and answer_key in (select value from json_each(:digests))
    on conflict (digest) do update set mark = excluded.mark"""
SHARED_TEXTS = """select p.digest, t.category, min(t.ticket_id), count(*)
    from precedents p join tickets t on t.ticket_id = p.ticket_id
    where p.digest in (select value from json_each(?)) and t.verdict = 1 and t.category is not null
    group by p.digest, t.category order by 3"""
CHANGED = "select digest, mark from changed_precedents order by digest"
_OF_FOLLOWERS = """from classifications c join tickets t on t.decision_id = c.classification_id
    where c.confidence_source = 'precedent' and c.answer_key = ? and t.verdict = 0"""
FOLLOWING = f"select count(*) {_OF_FOLLOWERS}"
FOLLOWERS = f"select t.* {_OF_FOLLOWERS} and t.ticket_id > ? order by t.ticket_id limit ?"


class SqlPrecedents:
    """Implements `ports.Precedents` on the connections of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, db: Db, changes: Sequence[Change]) -> None:
        """Note which verdicts are precedents after changes, in their transaction, and whose followers must end.

        A verdict is about the text that the person saw: if that changes, it is no precedent any more.
        """
        touched = {c.ticket.ticket_id: c for c in changes if c.ticket and _touches(c, c.ticket)}
        if not touched:
            return
        before: Mapping[str, str] = dict(db.execute(KNOWN, (compact(list(touched)),)).fetchall())
        given = {ticket_id for ticket_id, change in touched.items() if _gives_verdict(change)}
        after = {}
        for ticket_id, change in touched.items():
            digest = _digest_after(change) if ticket_id in given or ticket_id in before else ""
            if digest and (ticket_id in given or digest == before[ticket_id]):
                after[ticket_id] = digest
        differing = {i for i in before.keys() | after.keys() if before.get(i) != after.get(i)}
        if gone := [ticket_id for ticket_id in differing if ticket_id in before]:
            db.execute(DROP, (compact(gone),))
        write_all(db, ADD_PRECEDENT, [(ticket_id, after[ticket_id]) for ticket_id in differing if ticket_id in after])
        if erased := [digest for ticket_id, digest in before.items() if touched[ticket_id].erases]:
            for statement in ERASE_REASONS:
                db.execute(statement, (compact(erased),))
        digests = {both[i] for both in (before, after) for i in differing | given if i in both}
        if digests:
            db.execute(MARK_CHANGED, {"digests": compact(sorted(digests)), "mark": ids.new_id()})

    def any(self) -> bool:
        """Return whether there are precedents at all: else no text needs to be folded."""
        return bool(self._database.read("select 1 from precedents limit 1"))

    def of_texts(self, digests: Sequence[str]) -> list[SharedText]:
        """Return what people decided about texts with these digests: for each text and category the oldest ticket."""
        return [SharedText(*row) for row in self._database.read(SHARED_TEXTS, (compact(list(digests)),))]

    def following(self, digest: str) -> int:
        """Return how many tickets follow a precedent with this digest."""
        rows = self._database.read(FOLLOWING, (digest,))
        return int(rows[0][0])

    def changed(self) -> Mapping[str, str]:
        """Return the digests whose precedents have changed while tickets follow them, each with a mark."""
        return dict(self._database.read(CHANGED))

    def followers(self, digest: str, limit: int) -> Iterator[list[Ticket]]:
        """Yield the tickets that follow a precedent with this digest, `limit` at a time."""
        after = ""
        while rows := self._database.read(FOLLOWERS, (digest, after, limit)):
            yield [Ticket(*row) for row in rows]
            after = rows[-1][0]

    def dealt_with(self, digest: str, mark: str) -> None:
        """Record that the followers of a changed precedent were dealt with, unless it has changed again."""
        write_one(self._database, "delete from changed_precedents where digest = ? and mark = ?", (digest, mark))


def _touches(change: Change, ticket: Ticket) -> bool:
    if change.event.action == EventAction.CREATED:
        return bool(ticket.verdict)
    return change.event.action in _TOUCHING_ACTIONS or bool(change.decision and change.decision.overrules)


def _digest_after(change: Change) -> str:
    """Return the digest of the text that a verdict is about after a change; empty if there is no such text."""
    if change.ticket is None or not change.ticket.verdict or change.erases:
        return ""
    return folded_digest(change.ticket.text)


def _gives_verdict(change: Change) -> bool:
    """Return whether a change gives its ticket the verdict that holds."""
    return change.ticket is not None and any(
        isinstance(added, Classification)
        and added.confidence_source == "human"
        and added.classification_id == change.ticket.decision_id
        for added in change.adds
    )
