"""Queries of tickets by when they were written, and the table of spikes that were sent."""

from collections import Counter
from collections.abc import Mapping, Sequence

from triage_cli import domain as dm
from triage_cli.stores.answers import AUDITED_ANSWERS
from triage_cli.stores.database import Db, upsert
from triage_cli.stores.sql_store import SqlStore

# As the index has it.
WRITTEN_AT = "coalesce(created_at, stored_at)"
WRITTEN_IN_PERIOD = f"{WRITTEN_AT} >= :since and {WRITTEN_AT} < :until and status not in ('forgotten', 'withdrawn')"
WRITTEN_TICKETS = f"""select ticket_id, {WRITTEN_AT}, coalesce(category, suggestion), customer_id,
    subject, description, extra from tickets where {WRITTEN_IN_PERIOD} order by {WRITTEN_AT}, ticket_id"""
_SPIKE_COLUMNS = ", ".join(dm.SentSpike._fields)
SENT_SPIKES = f"select {_SPIKE_COLUMNS} from spikes where last_at >= ? order by first_at, spike_id"
KEEP_SPIKE = upsert("spikes", dm.SentSpike._fields, "spike_id")
DECIDED_STATUS, HAS_GUESS = "status not in ('new', 'failed', 'waiting')", "coalesce({value}, {suggestion}) is not null"
# `value`, `suggestion` and `verdict` are those of a question, which is `decided` on these tickets.
LABEL_COUNTS = f"""select coalesce({{value}}, {{suggestion}}), count(*) from tickets
    where {WRITTEN_IN_PERIOD} and {{decided}} and coalesce({{value}}, {{suggestion}}) is not null group by 1"""
# Counts the tickets that no person has decided.
SURE_COUNT = f"""select count(*), coalesce(sum(case when {{value}} is not null then 1 else 0 end), 0) from tickets
    where {WRITTEN_IN_PERIOD} and {{decided}} and coalesce(not {{verdict}}, true)"""
# The last answer of each classifier about tickets with a verdict, and whether it is the verdict.
VERDICT_AGREEMENT = f"""select classifier, count(*), coalesce(sum(case when answered = verdict then 1 else 0 end), 0)
    from (
        select c.classifier, c.category as answered, t.verdict,
            row_number() over (partition by c.ticket_id, c.classifier order by c.classification_id desc) as place
        from (select ticket_id, {{value}} as verdict from tickets where {WRITTEN_IN_PERIOD} and {{verdict}}) t
        join classifications c on c.ticket_id = t.ticket_id
        where c.question = :question and c.confidence_source not in ('human', 'precedent')
            and c.category is not null and c.error is null) answers
    where place = 1 group by classifier"""

AUDIT_AGREEMENT = AUDITED_ANSWERS.format(
    among=f"""join (select ticket_id from tickets where {WRITTEN_IN_PERIOD}) t
        on t.ticket_id = control.ticket_id and control.question = :question"""
)


class SqlInflow:
    """Implements `ports.Inflow` on the connections of a store.

    `names` gives former categories the present names, where a rename is yet to be carried out.
    """

    def __init__(self, store: SqlStore, names: Mapping[str, str] = {}) -> None:
        self._log = store.log
        self._names = names
        self._database = store.database
        self._columns_of = store.columns_of

    def written(self, since: str, until: str, limit: int | None = None) -> list[dm.InflowTicket]:
        query = WRITTEN_TICKETS if limit is None else f"{WRITTEN_TICKETS} limit {limit:d}"
        inflow_rows = self._database.read(query, {"since": since, "until": until})
        return [
            dm.InflowTicket(ticket_id, at, self._names.get(name or "", name), customer or ticket_id, dm.text_of(*texts))
            for ticket_id, at, name, customer, *texts in inflow_rows
        ]

    def sent_spikes(self, since: str) -> list[dm.SentSpike]:
        spike_rows = self._database.read(SENT_SPIKES, (since,))
        return [dm.SentSpike(*row)._replace(members=tuple(dm.from_json(row[3]))) for row in spike_rows]

    def keep_spikes(self, spikes: Sequence[dm.SentSpike], event: dm.Event | None) -> None:
        def keep_spikes(db: Db) -> None:
            for spike in spikes:
                db.execute(KEEP_SPIKE, (*spike[:3], dm.compact(list(spike.members)), *spike[4:]))
            if event is not None:
                self._log.append(db, [dm.Change(event)])

        self._database.write(keep_spikes)

    def counts(self, since: str, until: str, question: str = dm.CATEGORY) -> dm.PeriodCounts:
        columns, period = self._columns_of(question)._asdict(), {"since": since, "until": until}
        columns["decided"] = DECIDED_STATUS if question == dm.CATEGORY else HAS_GUESS.format(**columns)
        label_counts: Counter[str] = Counter()
        for name, label_count in self._database.read(LABEL_COUNTS.format(**columns), period):
            label_counts[self._names.get(name, name) if question == dm.CATEGORY else name] += label_count
        ((decided_count, sure_count),) = self._database.read(SURE_COUNT.format(**columns), period)
        about = period | {"question": question}
        verdict_agreement = {
            name: dm.Count(n, agreed)
            for name, n, agreed in self._database.read(VERDICT_AGREEMENT.format(**columns), about)
        }
        audit_agreement = {name: dm.Count(n, agreed) for name, n, agreed in self._database.read(AUDIT_AGREEMENT, about)}
        return dm.PeriodCounts(label_counts, dm.Count(decided_count, sure_count), verdict_agreement, audit_agreement)
