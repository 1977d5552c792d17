"""The tables of provider batches and the tickets that wait in them."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from triage_cli import domain as dm
from triage_cli.stores.database import Database, Db, placeholders, upsert
from triage_cli.stores.dialect import Dialect
from triage_cli.stores.events import SqlAuditLog
from triage_cli.stores.runs import SqlRuns

OPEN_STATES = "('gathering', 'sending', 'submitted')"
# A batch that has ended is taken up again if a ticket with the same text joined it in the meantime.
HOLD_BATCHES = """update batches set run_id = :run where {free} and (state in {open} or batch_id in
    (select batch_id from batch_items where state = 'waiting')) returning *"""
ADVANCE_BATCH = f"""update batches set {", ".join(f"{field} = :{field}" for field in dm.Batch._fields[5:-2])}
    where batch_id = :batch_id and state = :was and run_id = :run_id"""
WAITING_ITEMS = """with asked (number) as (select value from json_each(:numbers))
    select * from batch_items where batch_id = :batch_id and state = 'waiting'"""
JOINABLE_REQUESTS = f"""select i.answer_key, i.batch_id, i.number, i.asked, i.ticket_id
    from batch_items i join batches b using (batch_id)
    where i.answer_key in (select value from json_each(:keys)) and i.state = 'waiting' and b.state in {OPEN_STATES}"""
# Forgotten tickets have no key any more.
WAITING_COUNTS = """select b.classifier, count(*), count(distinct b.batch_id), min(b.opened_at)
    from batch_items i join batches b using (batch_id) where i.state = 'waiting' and i.answer_key <> ''
    group by 1 order by 1"""

# An item is written when its ticket starts to wait and when it ends; the same ticket may wait again.
PUT_BATCH_ITEM = upsert("batch_items", dm.BatchItem._fields, "batch_id", "ticket_id")


class SqlBatches:
    """Implements `ports.Batches` on the connections of a store."""

    def __init__(self, database: Database, dialect: Dialect, runs: SqlRuns, log: SqlAuditLog) -> None:
        self._database = database
        self._dialect = dialect
        self._runs = runs
        self._log = log

    def hold(self, lease: dm.Lease) -> list[dm.Batch]:
        values = {"run": lease.run_id, "now": time.time()}

        def hold(db: Db) -> list[Any]:
            self._runs.renew_lease(db, lease)
            return db.execute(HOLD_BATCHES.format(free=self._dialect.free_batch, open=OPEN_STATES), values).fetchall()

        return sorted(dm.Batch(*row) for row in self._database.write(hold))

    def open(self, batch: dm.Batch, event: dm.Event) -> None:
        def open_batch(db: Db) -> None:
            db.execute(f"insert into batches values ({placeholders(batch._fields)})", batch)
            self._log.append(db, [dm.Change(event)])

        self._database.write(open_batch)

    def advance(self, batch: dm.Batch, was: str, event: dm.Event | None, lease: dm.Lease) -> bool:
        def advance(db: Db) -> bool:
            self._runs.renew_lease(db, lease)
            batch_values = batch._asdict() | {"was": was, "run_id": lease.run_id}
            was_advanced = db.execute(ADVANCE_BATCH, batch_values).rowcount == 1
            if was_advanced and event is not None:
                self._log.append(db, [dm.Change(event)])
            return was_advanced

        return self._database.write(advance)

    def items(
        self, batch_id: str, numbers: Sequence[int] | None = None, *, limit: int | None = None
    ) -> list[dm.BatchItem]:
        items_query, batch_values = WAITING_ITEMS, {"batch_id": batch_id, "numbers": dm.compact(list(numbers or ()))}
        if numbers is not None:
            items_query += " and number in (select cast(number as integer) from asked)"
        items_query += " order by number, ticket_id" + ("" if limit is None else f" limit {limit:d}")
        return [dm.BatchItem(*row) for row in self._database.read(items_query, batch_values)]

    def joinable(self, keys: Sequence[str]) -> Mapping[str, dm.OpenRequest]:
        requests: dict[str, dm.OpenRequest] = {}
        rows = self._database.read(JOINABLE_REQUESTS, {"keys": dm.compact(list(keys))})
        for key, batch_id, number, asked, ticket_id in rows:
            request = requests.setdefault(key, dm.OpenRequest(batch_id, number, tuple(dm.from_json(asked)), set()))
            request.ticket_ids.add(ticket_id)
        return requests

    def any_waiting(self) -> bool:
        return bool(self._database.read("select 1 from batch_items where state = 'waiting' limit 1"))

    def provider_ids(self) -> frozenset[str]:
        return frozenset(
            row[0] for row in self._database.read("select provider_id from batches where provider_id is not null")
        )

    def options(self, fingerprint: str) -> str | None:
        query = "select options from batches where fingerprint = ? order by coalesce(ended_at, opened_at) desc limit 1"
        option_rows = self._database.read(query, (fingerprint,))
        return option_rows[0][0] if option_rows else None

    def waiting(self) -> Mapping[str, Mapping[str, Any]]:
        """Return how many tickets and batches wait and since when, by classifier."""
        return {
            name: {"tickets": tickets, "batches": batches, "since": since}
            for name, tickets, batches, since in self._database.read(WAITING_COUNTS)
        }
