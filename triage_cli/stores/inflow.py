"""Queries of tickets by when they were written, and the table of spikes that were sent.

The same SQL runs on SQLite and PostgreSQL.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from triage_cli.domain.audit.events import Event
from triage_cli.domain.changes import Change
from triage_cli.domain.insight.drift import Count, PeriodCounts
from triage_cli.domain.insight.spikes import InflowTicket, SentSpike
from triage_cli.domain.serialization import compact, from_json
from triage_cli.domain.tickets import text_of
from triage_cli.stores.answer_tables import AUDITED_ANSWERS
from triage_cli.stores.database import Db, Tables

# As the index has it.
WRITTEN_AT = "coalesce(created_at, stored_at)"
PERIOD = f"{WRITTEN_AT} >= :since and {WRITTEN_AT} < :until and status <> 'forgotten'"
WRITTEN = f"""select ticket_id, {WRITTEN_AT}, coalesce(category, suggestion), customer_id, subject, description, extra
    from tickets where {PERIOD} order by {WRITTEN_AT}, ticket_id"""
_SPIKE = ", ".join(SentSpike._fields)
SENT = f"select {_SPIKE} from spikes where last_at >= ? order by first_at, spike_id"
KEEP_SPIKE = f"""insert into spikes ({_SPIKE}) values ({", ".join("?" * len(SentSpike._fields))})
    on conflict (spike_id) do update set {", ".join(f"{f} = excluded.{f}" for f in SentSpike._fields[1:])}"""
DECIDED = "status not in ('new', 'failed', 'waiting')"
LABELS = f"""select coalesce(category, suggestion), count(*) from tickets
    where {PERIOD} and {DECIDED} and coalesce(category, suggestion) is not null group by 1"""
# Counts the tickets that no person has decided.
SURE = f"""select count(*), coalesce(sum(case when category is not null then 1 else 0 end), 0) from tickets
    where {PERIOD} and {DECIDED} and verdict = 0"""
# The last answer of each classifier about tickets with a verdict, and whether it is the verdict.
AGREEMENT = f"""select classifier, count(*), coalesce(sum(case when answered = verdict then 1 else 0 end), 0) from (
        select c.classifier, c.category as answered, t.category as verdict,
            row_number() over (partition by c.ticket_id, c.classifier order by c.classification_id desc) as place
        from (select ticket_id, category from tickets where {PERIOD} and verdict = 1) t
        join classifications c on c.ticket_id = t.ticket_id
        where c.confidence_source <> 'human' and c.category is not null and c.error is null) answers
    where place = 1 group by classifier"""

AUDITED = AUDITED_ANSWERS.format(
    among=f"join (select ticket_id from tickets where {PERIOD}) t on t.ticket_id = control.ticket_id"
)


class SqlInflow:
    """Implements `ports.Inflow` on the connections of a store.

    `names` gives former categories the present names, where a rename is yet to be carried out.
    """

    def __init__(self, store: Tables, names: Mapping[str, str] = {}) -> None:
        self._store = store
        self._names = names
        self._database = store.database

    def written(self, since: str, until: str) -> list[InflowTicket]:
        """Return the tickets written from `since` up to before `until`, oldest first."""
        rows = self._database.read(WRITTEN, {"since": since, "until": until})
        return [
            InflowTicket(ticket_id, at, self._names.get(name or "", name), customer or ticket_id, text_of(*texts))
            for ticket_id, at, name, customer, *texts in rows
        ]

    def sent_spikes(self, since: str) -> list[SentSpike]:
        """Return the spikes that were last seen at `since` or later."""
        rows = self._database.read(SENT, (since,))
        return [SentSpike(*row)._replace(members=tuple(from_json(row[3]))) for row in rows]

    def keep_spikes(self, spikes: Sequence[SentSpike], event: Event | None) -> None:
        """Store spikes, replacing those with the same id."""

        def keep(db: Db) -> None:
            for spike in spikes:
                values = spike._asdict() | {"members": compact(list(spike.members))}
                db.execute(KEEP_SPIKE, tuple(values.values()))
            if event is not None:
                self._store.log(db, [Change(event)])

        self._database.write(keep)

    def counts(self, since: str, until: str) -> PeriodCounts:
        """Return the counts of the tickets written from `since` up to before `until`."""
        period = {"since": since, "until": until}
        labels: Counter[str] = Counter()
        for name, number in self._database.read(LABELS, period):
            labels[self._names.get(name, name)] += number
        ((decided, sure),) = self._database.read(SURE, period)
        verdicts = {name: Count(n, agreed) for name, n, agreed in self._database.read(AGREEMENT, period)}
        audited = {name: Count(n, agreed) for name, n, agreed in self._database.read(AUDITED, period)}
        return PeriodCounts(labels, Count(decided, sure), verdicts, audited)
