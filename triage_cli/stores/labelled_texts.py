"""Texts with a label that are no tickets: kept once, read to teach or to prove, and erased.

The identity of each is a hash, under which an erased one is recognised when it comes again. That of a withdrawn one is
a hash with its label, since a corrected label may come.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from triage_cli import domain as dm
from triage_cli.stores.database import Database, Db, write_all
from triage_cli.stores.events import LOCK_CHAIN, SqlAuditLog
from triage_cli.stores.runs import SqlRuns
from triage_cli.stores.where_clauses import OF_MAIL_ADDRESS

_COLUMNS = (
    "text_id", "question", "identity", "source", "proves", "text", "label", "customer_id", "written_at", "stored_at",
)  # fmt: skip
ADD = f"insert into labelled_texts ({', '.join(_COLUMNS)}) values ({', '.join('?' * len(_COLUMNS))})"
ADD_GIVER = "insert into labelled_by (run_id, text_id) values (?, ?) on conflict do nothing"
KNOWN = """select identity, text_id, status, text, label, customer_id, written_at from labelled_texts
    where question = ? and identity in (select value from json_each(?))"""
CHANGE = "update labelled_texts set text = ?, label = ?, customer_id = ?, written_at = ?, source = ? where text_id = ?"
ANY_HISTORY = "select 1 from labelled_texts where question = ? and source = 'history' and status = 'held' limit 1"
OF_HISTORY = """select identity, text, customer_id, written_at from labelled_texts where question = ?
    and source = 'history' and status = 'held' and identity in (select value from json_each(?))"""
_READ = "text, label, identity, source, customer_id, written_at, proves, text_id"
# The newest ones, in the order in which they were written.
HELD = f"""select {_READ} from (select {_READ}, coalesce(written_at, stored_at) as at from labelled_texts
    where question = ? and proves = ? and status = 'held' order by at desc, text_id desc limit ?) newest
    order by at, text_id"""
PAGE = f"""select {_READ} from labelled_texts where status = 'held' and (:after = '' or text_id < :after)
    order by text_id desc limit :limit"""
COUNTS = "select source, proves, count(*) from labelled_texts where status = 'held' group by source, proves order by 1"
OF_CUSTOMER = "select text_id from labelled_texts where status = 'held' and customer_id is not null and {of}"
OF_NOBODY = "select text_id from labelled_texts where status = 'held' and customer_id is null"
OF_IDENTITIES = """select text_id from labelled_texts where status = 'held'
    and identity in (select value from json_each(?))"""
GIVEN_ONLY_BY = """select distinct text_id from labelled_by g where run_id in (select value from json_each(:runs))
    and not exists (select 1 from labelled_by o where o.text_id = g.text_id
        and o.run_id not in (select value from json_each(:runs)))"""
LABELS_OF = "select text_id, identity, label from labelled_texts where text_id in (select value from json_each(?))"
ERASE = """update labelled_texts set identity = ?, status = ?, text = null, label = null, customer_id = null,
    written_at = null where text_id = ?"""
NO_GIVERS = "delete from labelled_by where text_id in (select value from json_each(?))"
ALL = 1 << 62
TEXTS_PER_PAGE = 500


class SqlLabelledTexts:
    """Implements `ports.LabelledTexts` on the connections of a store."""

    def __init__(self, database: Database, runs: SqlRuns, log: SqlAuditLog) -> None:
        self._database = database
        self._runs = runs
        self._log = log

    def keep(self, texts: Sequence[dm.Labelled], question: str, lease: dm.Lease, event: dm.Event) -> dm.KeptTexts:
        by_identity = {_identity_of(each): each for each in texts}

        def keep(db: Db) -> dm.KeptTexts:
            self._runs.renew_lease(db, lease)
            db.execute(LOCK_CHAIN)
            kept = dm.KeptTexts()
            for chunk in dm.chunked(by_identity.items(), dm.CHUNK):
                kept = dm.KeptTexts(*map(sum, zip(kept, _keep(db, dict(chunk), question, lease.run_id), strict=True)))
            self._log.append(db, [dm.Change(event.with_data(texts=len(by_identity), **kept._asdict()))])
            return kept

        return self._database.write(keep)

    def held(self, question: str, *, proves: bool, newest: int | None = None) -> list[dm.Labelled]:
        values = (question, int(proves), ALL if newest is None else newest)
        return [_labelled(*row) for row in self._database.read(HELD, values)]

    def has_history(self) -> bool:
        return bool(self._database.read(ANY_HISTORY, (dm.CATEGORY,)))

    def are_history(self, texts: Sequence[dm.Labelled]) -> list[bool]:
        sought = [(_identity_of(each), *_without_label(each)) for each in texts]
        named = dm.compact([identity for identity, *_ in sought])
        held = {*self._database.read(OF_HISTORY, (dm.CATEGORY, named))} if texts else set()
        return [each in held for each in sought]

    def listed(self, query: dm.TextQuery) -> Iterator[dm.Labelled]:
        after, left = query.after, ALL if query.limit is None else query.limit
        while left > 0 and (rows := self._database.read(PAGE, {"after": after, "limit": min(left, TEXTS_PER_PAGE)})):
            yield from (_labelled(*row) for row in rows)
            after, left = rows[-1][-1], left - len(rows)

    def counts(self) -> dm.TextCounts:
        rows = self._database.read(COUNTS)
        teaching = {source: number for source, proves, number in rows if not proves}
        return dm.TextCounts(teaching, sum(number for _, proves, number in rows if proves))

    def of_customer(self, customer_id: str | None) -> list[str]:
        if customer_id is None:
            return [text_id for (text_id,) in self._database.read(OF_NOBODY)]
        address = dm.mail_address(customer_id)
        of = OF_MAIL_ADDRESS if address else "customer_id = :customer_id"
        rows = self._database.read(OF_CUSTOMER.format(of=of), {"customer_id": address or customer_id})
        return [text_id for (text_id,) in rows]

    def of_tickets(self, ticket_ids: Sequence[str]) -> list[str]:
        named = dm.compact([_digest(dm.identity_of_ticket(ticket_id)) for ticket_id in ticket_ids])
        return [text_id for (text_id,) in self._database.read(OF_IDENTITIES, (named,))]

    def given_only_by(self, run_ids: Sequence[str]) -> list[str]:
        rows = self._database.read(GIVEN_ONLY_BY, {"runs": dm.compact(list(run_ids))})
        return [text_id for (text_id,) in rows]

    def erase(self, text_ids: Sequence[str], *, withdrawn: bool, event: dm.Event) -> None:
        def erase(db: Db) -> None:
            db.execute(LOCK_CHAIN)  # who adds a version waits, and sees that a text is gone
            for chunk in dm.chunked(text_ids, dm.NAMED):
                named = dm.compact(list(chunk))
                for text_id, identity, label in db.execute(LABELS_OF, (named,)).fetchall():
                    left = _withdrawn(identity, label) if withdrawn else identity
                    db.execute(ERASE, (left, "withdrawn" if withdrawn else "forgotten", text_id))
                db.execute(NO_GIVERS, (named,))
            self._log.append(db, [dm.Change(event.with_data(texts=len(text_ids)))])

        self._database.write(erase)


def _keep(db: Db, by_identity: dict[str, dm.Labelled], question: str, run_id: str) -> dm.KeptTexts:
    withdrawn = {i: _withdrawn(i, labelled.category) for i, labelled in by_identity.items()}
    rows = db.execute(KNOWN, (question, dm.compact([*by_identity, *withdrawn.values()]))).fetchall()
    known = {row[0]: row[1:] for row in rows}
    at, added, givers, changed, erased = dm.times.now(), [], [], 0, 0
    for identity, labelled in by_identity.items():
        text_id, status, *before = known.get(identity) or known.get(withdrawn[identity]) or ("", "")
        if text_id and status != "held":
            erased += 1
            continue
        content = _content_of(labelled)
        source = "topic" if labelled.is_typical and labelled.source != "teacher" else labelled.source
        if not text_id:
            text_id = dm.ids.new_id()
            added.append((text_id, question, identity, source, int(labelled.proves), *content, at))
        elif before != content:
            changed += 1
            db.execute(CHANGE, (*content, source, text_id))
        givers.append((run_id, text_id))
    write_all(db, ADD, added)
    write_all(db, ADD_GIVER, givers)
    return dm.KeptTexts(len(added), changed, erased)


def _content_of(labelled: dm.Labelled) -> list[str | None]:
    customer = labelled.customer_id
    is_id = customer is not None and len(customer.encode("utf-8", "replace")) <= dm.dedup.LONGEST_ID
    content = labelled.text, labelled.category, customer if is_id else None, labelled.written_at
    return [None if each is None else dm.storable_text(each) for each in content]


def _without_label(labelled: dm.Labelled) -> list[str | None]:
    text, _, *further = _content_of(labelled)
    return [text, *further]


def _labelled(*row: Any) -> dm.Labelled:
    text, label, identity, source, customer_id, written_at, proves, text_id = row
    return dm.Labelled(
        text, label, "", source in dm.UNPROVING, identity, source, customer_id, written_at, bool(proves), text_id
    )


def _identity_of(labelled: dm.Labelled) -> str:
    return _digest(labelled.identity or f"\0{labelled.text}")


def _withdrawn(identity: str, label: str) -> str:
    return _digest(f"{identity}\0{label}")


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
