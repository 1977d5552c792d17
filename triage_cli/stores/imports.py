"""What imports did: which runs belong to one, which tickets they made or changed, and how files were read.

Only the columns of events are read here, not what they say: who made a ticket stands nowhere else, and an import of
last year can be taken back too. How the last file with a header was read is kept, so that one that is read otherwise is
noticed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from triage_cli import domain as dm
from triage_cli.stores.database import Database, upsert, write_one
from triage_cli.stores.runs import SqlRuns

# What a run's id can end with.
RUN_ENDING = re.compile("[0-9a-f-]{6,36}")
RUNS_NAMED = "where run_id = :name or run_id like :ending"
# Runs of one import, by whatever client; another actor may call its own import the same.
RUNS_OF_IMPORT = "where run_id = :run or (import_id = :import_id and import_id <> '' and actor = :actor)"
LAST_IMPORT = f"""where actor = :actor and (kind in ({", ".join(map(repr, dm.IMPORT_KINDS))})
    or exists (select 1 from labelled_by g where g.run_id = runs.run_id))"""
TRACES_PER_PAGE = 500
# The first thing that the runs did to each ticket. A page begins behind the last one, so that the log is read once.
TRACES = """select seq, ticket_id, action from events e where seq > :after
    and run_id in (select value from json_each(:runs)) and action in ('created', 'updated') and not exists (
        select 1 from events b where b.ticket_id = e.ticket_id and b.seq < e.seq
        and b.run_id in (select value from json_each(:runs)) and b.action in ('created', 'updated'))
    order by seq limit :limit"""
OTHERS_EVENTS = """select ticket_id, max(case when action = 'verdict' then 1 else 0 end) from events
    where ticket_id in (select value from json_each(:ids)) and (action = 'verdict'
        or action = 'updated' and coalesce(run_id, '') not in (select value from json_each(:runs)))
    group by ticket_id"""
ASKED = """select ticket_id from batch_items where state = 'waiting'
    and ticket_id in (select value from json_each(:ids))"""


class SqlImports:
    """Implements `ports.Imports` on the connections of a store."""

    def __init__(self, database: Database, runs: SqlRuns) -> None:
        self._database = database
        self._runs = runs

    def named(self, name: str) -> list[dm.Run]:
        name = name.lower()
        ending = f"%{name}" if RUN_ENDING.fullmatch(name) else ""
        return list(self._runs.selected(RUNS_NAMED, {"name": name, "ending": ending}))

    def last(self, actor: str) -> dm.Run | None:
        return next(self._runs.selected(LAST_IMPORT, {"actor": actor}, " limit 1"), None)

    def runs_of(self, run: dm.Run) -> tuple[dm.Run, ...]:
        values = {"run": run.run_id, "import_id": run.import_id, "actor": run.actor}
        return tuple(reversed(list(self._runs.selected(RUNS_OF_IMPORT, values))))

    def traces(self, run_ids: Sequence[str]) -> Iterator[list[dm.Trace]]:
        values = {"runs": dm.compact(list(run_ids)), "after": 0, "limit": TRACES_PER_PAGE}
        while rows := self._database.read(TRACES, values):
            yield [dm.Trace(ticket_id, made=action == "created") for _, ticket_id, action in rows]
            values["after"] = rows[-1][0]

    def touched(self, ticket_ids: Sequence[str], run_ids: Sequence[str]) -> Mapping[str, dm.Action]:
        values = {"ids": dm.compact(list(ticket_ids)), "runs": dm.compact(list(run_ids))}
        reasons = {row[0]: dm.Action.ASKED for row in self._database.read(ASKED, {"ids": values["ids"]})}
        for ticket_id, is_decided in self._database.read(OTHERS_EVENTS, values):
            reasons[ticket_id] = dm.Action.DECIDED if is_decided else dm.Action.REWRITTEN
        return reasons


LAST = "select source, columns from readings where header = ?"
KEEP = upsert("readings", ("header", "source", "columns", "at"), "header")


class SqlReadings:
    """Implements `ports.Readings` on the connections of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, header: str) -> dm.Reading | None:
        rows = self._database.read(LAST, (header,))
        return dm.Reading(rows[0][0], dm.from_json(rows[0][1])) if rows else None

    def keep(self, header: str, reading: dm.Reading) -> None:
        write_one(self._database, KEEP, (header, reading.source, dm.compact(dict(reading.columns)), dm.now()))
