"""The registry of trained models: versions of the embedded model, the texts that they learn from, and calibrations."""

from collections.abc import Iterator, Mapping

from triage_cli.domain import NAMED, Change, Event, Labelled, ModelVersion, chunked, compact, text_of
from triage_cli.stores.answer_tables import TrialTables
from triage_cli.stores.calibration_tables import CalibrationTables
from triage_cli.stores.database import Db
from triage_cli.stores.event_tables import LOCK_CHAIN

_VERSION_COLUMNS = ", ".join(ModelVersion._fields)
ADD_VERSION = """insert into versions (version, categories, weights, metrics, active, actor, at, based_on)
    select coalesce(max(version), 0) + 1, ?, ?, ?, 1, ?, ?, ? from versions returning version"""
ACTIVE_VERSION = "select version, based_on from versions where active = 1 order by version desc limit 1"
LABELLED_TICKETS = """select ticket_id, subject, description, extra, category from tickets
    where verdict = 1 and category is not null and (subject is not null or description is not null)
    and ticket_id > ? order by ticket_id limit ?"""
# In the order of a hash of their content: like a random order, but always the same.
UNLABELLED_IDS = """select ticket_id from tickets where verdict = 0 and (subject is not null or description is not null)
    order by content_hash, ticket_id limit ?"""
TICKET_TEXTS = (
    "select ticket_id, subject, description, extra from tickets where ticket_id in (select value from json_each(?))"
)
LONGEST_TEXT = 10_000  # characters of a text without a verdict; a model reads no more
# The answers of classifiers about tickets that a person has decided, oldest first.
CLASSIFIER_OPINIONS = """select c.ticket_id, c.classifier, c.category, c.confidence from classifications c
    join tickets t on t.ticket_id = c.ticket_id where t.verdict = 1 and c.confidence_source <> 'human'
    and c.category is not null and c.error is null order by c.classification_id"""
VERDICTS_PER_PAGE = 1000


class SqlModelRegistry(CalibrationTables, TrialTables):
    """Implements `ports.ModelRegistry` on the connections of a store."""

    # -- versions of the embedded model

    def active(self) -> ModelVersion | None:
        """Return the version in use; None if it is the built-in model."""
        return next(iter(self._versions("where active = 1")), None)

    def versions(self) -> list[ModelVersion]:
        """Return all versions, newest first, without their weights."""
        return self._versions("order by version desc", weights=False)

    def add_version(self, version: ModelVersion, event: Event) -> ModelVersion | None:
        """Store a version under the next number, and make it the active one.

        Returns None if `based_on` is no longer the active version, since the new one was not compared with that.
        """

        def add_version(db: Db) -> ModelVersion | None:
            db.execute(LOCK_CHAIN)  # before versions are read, so that they cannot change until they are written
            active_row = db.execute(ACTIVE_VERSION).fetchone()
            if (active_row[0] if active_row else 0) != version.based_on:
                return None
            db.execute("update versions set active = 0 where active = 1")
            version_values = (*version[1:4], version.actor, version.at, version.based_on)
            added_version = version._replace(version=db.execute(ADD_VERSION, version_values).fetchone()[0], active=1)
            self._store.log(db, [Change(event.with_data(version=added_version.version))])
            return added_version

        return self._database.write(add_version)

    def step_back(self, event: Event) -> ModelVersion | None:
        """Make the version active that the active one is based on; return it, or None for the built-in model.

        Raises `LookupError` if the built-in model is in use already.
        """

        def step_back(db: Db) -> None:
            db.execute(LOCK_CHAIN)
            active_row = db.execute(ACTIVE_VERSION).fetchone()
            if active_row is None:
                raise LookupError
            active_version, previous_version = active_row
            if previous_version is None:
                previous_version = db.execute(
                    "select max(version) from versions where version < ?", (active_version,)
                ).fetchone()[0]
            previous_version = previous_version or None
            db.execute("update versions set active = 0 where active = 1")
            db.execute("update versions set active = 1 where version = ?", (previous_version,))
            self._store.log(db, [Change(event.with_data(version=previous_version, instead_of=active_version))])

        self._database.write(step_back)
        return self.active()

    def _versions(self, version_condition: str, *, weights: bool = True) -> list[ModelVersion]:
        version_columns = _VERSION_COLUMNS if weights else _VERSION_COLUMNS.replace("weights", "'' as weights")
        version_rows = self._database.read(f"select {version_columns} from versions {version_condition}")
        return [ModelVersion(*row)._replace(weights=bytes(row[2] or b"")) for row in version_rows]

    # -- verdicts

    def labelled(self) -> Iterator[Labelled]:
        """Yield the texts of tickets with a verdict, oldest first."""
        after_id = ""
        while verdict_rows := self._database.read(LABELLED_TICKETS, (after_id, VERDICTS_PER_PAGE)):
            for ticket_id, subject, description, extra, category in verdict_rows:
                yield Labelled(text_of(subject, description, extra), category, ticket_id)
            after_id = verdict_rows[-1][0]

    def unlabelled(self, limit: int) -> list[str]:
        """Return the beginnings of texts without a verdict: always the same ones, spread over all tickets."""
        unlabelled_texts: dict[str, str] = {}
        ticket_ids = [row[0] for row in self._database.read(UNLABELLED_IDS, (limit,))]
        for id_chunk in chunked(ticket_ids, NAMED):
            for ticket_id, subject, description, extra in self._database.read(TICKET_TEXTS, (compact(id_chunk),)):
                unlabelled_texts[ticket_id] = text_of(subject, description, extra)[:LONGEST_TEXT]
        return [unlabelled_texts[ticket_id] for ticket_id in ticket_ids if unlabelled_texts.get(ticket_id)]

    def opinions(self) -> Mapping[str, Mapping[str, tuple[str, float | None]]]:
        """Return the last answer of each classifier about tickets with a verdict, by ticket id and classifier.

        An answer is (category, confidence).
        """
        opinions_by_ticket: dict[str, dict[str, tuple[str, float | None]]] = {}
        for ticket_id, classifier, category, confidence in self._database.read(CLASSIFIER_OPINIONS):
            opinions_by_ticket.setdefault(ticket_id, {})[classifier] = (category, confidence)
        return opinions_by_ticket
