"""The tables of classifiers' answers, and of how they were asked."""

import time
from collections.abc import Mapping, Sequence

from triage_cli import domain as dm
from triage_cli.stores.database import Database, Values, write_one
from triage_cli.stores.dialect import Dialect

ANSWERS_BY_ID = "select * from classifications where classification_id in (select value from json_each(?))"
ANSWERS_TO_QUESTIONS = """select * from classifications where ticket_id in (select value from json_each(?))
    and fingerprint in (select value from json_each(?)) order by classification_id"""
# Sure answers of each step of a cascade that a later one was asked to confirm, and how many it confirmed. They have one
# run, since only `audit_rate` asks twice in one. `{among}` may join the tickets that are meant.
# A control that answers with a category below the sure one, `Billing/Refund` below `Billing`, agrees with it.
AUDITED_ANSWERS = """select sure.classifier, count(*), sum(case when sure.category = control.category
            or substr(control.category, 1, length(sure.category)) = sure.category
            and substr(ltrim(substr(control.category, length(sure.category) + 1)), 1, 1) = '/' then 1 else 0 end)
    from classifications control join classifications sure on sure.ticket_id = control.ticket_id
        and sure.run_id = control.run_id and sure.question = control.question
        and sure.classification_id < control.classification_id {among}
    where control.confidence_source in ('decision', 'logprob', 'said') and control.error is null
        and sure.category is not null and sure.confidence >= sure.threshold and sure.classifier <> control.classifier
    group by 1 order by 1"""
# By day, both categories and classifier: the verdicts that hold, and the last answer before of each classifier. It
# `stood` if it was the last one of all, and sure.
JUDGED_DAYS = """select day, category, given, classifier, stood, count(*)
    from (
        select substr(human.at, 1, 10) as day, answer.category, human.category as given, answer.classifier,
            row_number() over (
                partition by answer.ticket_id, answer.classifier order by answer.classification_id desc) as of_its_own,
            case when row_number() over (partition by answer.ticket_id order by answer.classification_id desc) = 1
                and (answer.threshold is null or answer.confidence >= answer.threshold) then 1 else 0 end as stood
        from tickets join classifications human on human.classification_id = tickets.decision_id
        join classifications answer on answer.ticket_id = tickets.ticket_id and answer.question = 'category'
            and answer.classification_id < human.classification_id and coalesce(answer.confidence_source, '') <> 'human'
            and answer.fingerprint <> '' and answer.error is null
        where tickets.verdict = 1 and tickets.status <> 'withdrawn' and human.confidence_source = 'human'
            and human.at >= :since and human.at <= :until) answers
    where of_its_own = 1 and category is not null
    group by 1, 2, 3, 4, 5"""
ANSWERS_OF_TICKET = "select * from classifications where ticket_id = ? order by classification_id"
ASKINGS_OF_TICKET = """select * from askings where fingerprint in
    (select fingerprint from classifications where ticket_id = ?)"""
BOUNDS_OF_TICKET = """select * from error_bounds where fingerprint in
    (select fingerprint from classifications where ticket_id = ?)"""
RECORD_ASKING = "insert into askings values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing"
QUESTION_IN_LEVELS = """select 1 from askings where options like '%"levels": true%' limit 1"""
PAID_ANSWERS = """select * from classifications where answer_key in (select value from json_each(?)) and reused is null
    and error is null and confidence_source not in ('model', 'human') order by classification_id"""

# Of questions that no other live run asks. `{now}` is the clock of the dialect.
BEGIN_ASKING = """with asked (answer_key) as (select value from json_each(:keys))
    insert into being_asked (answer_key, run_id) select answer_key, :run from asked where true
    on conflict (answer_key) do update set run_id = excluded.run_id
    where being_asked.run_id = excluded.run_id or not exists (select 1 from runs
        where runs.run_id = being_asked.run_id and ended_at is null and lease_until > {now})
    returning answer_key"""
GIVE_UP_ASKING = "delete from being_asked where run_id = ? and answer_key in (select value from json_each(?))"


class SqlAnswers:
    """Implements `ports.Answers` on the connections of a store."""

    def __init__(self, database: Database, dialect: Dialect) -> None:
        self._database = database
        self._begin_asking = BEGIN_ASKING.format(now=dialect.clock)

    def record_asking(self, asking: dm.Asking) -> None:
        if not self._database.read("select 1 from askings where fingerprint = ?", (asking.fingerprint,)):
            write_one(self._database, RECORD_ASKING, asking)

    def know_levels(self) -> bool:
        return bool(self._database.read(QUESTION_IN_LEVELS))

    def recall(self, answer_keys: Sequence[str]) -> Mapping[str, dm.Classification]:
        answers = self._read(PAID_ANSWERS, (dm.compact(list(answer_keys)),))
        return {answer.answer_key: answer for answer in answers}

    def begin(self, run_id: str, answer_keys: Sequence[str]) -> frozenset[str]:
        # In one order, so that two runs do not wait for each other's rows.
        values = {"run": run_id, "keys": dm.compact(sorted(answer_keys)), "now": time.time()}
        begun = self._database.write(lambda db: db.execute(self._begin_asking, values).fetchall())
        return frozenset(answer_keys).difference(row[0] for row in begun)

    def give_up(self, run_id: str, answer_keys: Sequence[str]) -> None:
        write_one(self._database, GIVE_UP_ASKING, (run_id, dm.compact(list(answer_keys))))

    def decisions(self, classification_ids: Sequence[str]) -> Mapping[str, dm.Classification]:
        answers = self._read(ANSWERS_BY_ID, (dm.compact(list(classification_ids)),))
        return {answer.classification_id: answer for answer in answers}

    def about(self, ticket_ids: Sequence[str], fingerprints: Sequence[str]) -> list[dm.Classification]:
        return self._read(ANSWERS_TO_QUESTIONS, (dm.compact(list(ticket_ids)), dm.compact(list(fingerprints))))

    def of_ticket(self, ticket_id: str) -> tuple[dm.Classification, ...]:
        return tuple(self._read(ANSWERS_OF_TICKET, (ticket_id,)))

    def askings_of(self, ticket_id: str) -> Mapping[str, dm.Asking]:
        """Return how the questions that a ticket's answers answer were asked, by fingerprint."""
        return {row[0]: dm.Asking(*row) for row in self._database.read(ASKINGS_OF_TICKET, (ticket_id,))}

    def bounds_of(self, ticket_id: str) -> tuple[dm.StoredBound, ...]:
        """Return the error bounds of those askings."""
        return tuple(dm.StoredBound(*row) for row in self._database.read(BOUNDS_OF_TICKET, (ticket_id,)))

    def audited(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many sure answers a later step was asked to confirm, and how many it did, by classifier."""
        rows = self._database.read(AUDITED_ANSWERS.format(among=""))
        return {name: {"asked": asked, "agreed": agreed} for name, asked, agreed in rows}

    def judged_days(self, since: str | None, until: str | None) -> list[dm.Judged]:
        period = {"since": since or "", "until": until or "9999"}
        return [dm.Judged(*row) for row in self._database.read(JUDGED_DAYS, period)]

    def _read(self, query: str, values: Values) -> list[dm.Classification]:
        """Return answers, their probabilities under the current names: translated here, not when renamed."""
        answers = [dm.Classification(*row) for row in self._database.read(query, values)]
        if not any(answer.probabilities for answer in answers):
            return answers
        renames = self._database.read("select old, new, at, question from renames")
        if not renames:
            return answers
        return [
            _renamed(a, {old: new for old, new, at, question in renames if a.at < at and question == a.question})
            for a in answers
        ]


def _renamed(answer: dm.Classification, category_names: Mapping[str, str]) -> dm.Classification:
    probabilities = answer.chances
    if category_names.keys().isdisjoint(probabilities):
        return answer
    current_probabilities = {_current_name(name, category_names, probabilities): p for name, p in probabilities.items()}
    return answer._replace(probabilities=dm.compact(current_probabilities))


def _current_name(category_name: str, category_names: Mapping[str, str], probabilities: Mapping[str, float]) -> str:
    """Return the current name of a category, unless the answer has that name too: merged categories stay apart."""
    while category_name in category_names and category_names[category_name] not in probabilities:
        category_name = category_names[category_name]
    return category_name
