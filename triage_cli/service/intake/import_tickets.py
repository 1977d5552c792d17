"""Imports drafts as tickets, a chunk at a time: each is created, updated, unchanged or rejected."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

from triage_cli.domain import dedup, ids, times
from triage_cli.domain.audit.events import Event, EventAction
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.chunks import bounded
from triage_cli.domain.classifications import Classification
from triage_cli.domain.dedup import Identified, RewriteGuard
from triage_cli.domain.errors import RowError, TriageError, UnavailableError
from triage_cli.domain.mail import threads
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.routing import woken
from triage_cli.domain.sources import SourceCursor
from triage_cli.domain.tickets import Rejected, Ticket, TicketDraft
from triage_cli.ports.storage import Store
from triage_cli.runtime.occurrence_counter import OccurrenceCounter
from triage_cli.service.intake.corrections import PulledFrom
from triage_cli.service.intake.identities import known_as, named
from triage_cli.service.run_context import with_request
from triage_cli.service.verdicts import IMPORTED, Verdicts, is_imported

# The action for a draft, its ticket, the change to be saved, and the error of a rejected one.
_Decided = tuple[Action, Ticket | None, Change | None, RowError | None]

# How often conflicting drafts are decided again.
TRIES = 5
# Of the callers that change one ticket at the same moment, each round of tries lets one through: so this is how many
# callers there may be at once.
CALLERS = 200

EVENT_ACTIONS = {Action.CREATED: EventAction.CREATED, Action.UPDATED: EventAction.UPDATED}


class Intake:
    """Stores drafts for one actor. With `hold`, the run `run_id` holds the new tickets.

    `guard` continues the counts of the earlier parts of an input. `pulled` is for drafts of a pulled source.
    """

    def __init__(
        self, store: Store, actor: str, verdicts: Verdicts, run_id: str | None,
        *, hold: bool = False, guard: RewriteGuard | None = None, pulled: PulledFrom | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._actor = actor
        self._verdicts = verdicts
        self._run_id = run_id
        self._holder = run_id if hold else None
        self._guard = guard or RewriteGuard()
        self._pulled = pulled

    def chunks(self, drafts: Iterable[TicketDraft | Rejected]) -> Iterator[list[Outcome[Ticket]]]:
        """Store drafts and yield their outcomes in order. Raises `InputError` if they seem to be other tickets.

        While one chunk is saved, the next one is read and decided: SQLite works without Python's lock, so an import
        takes a third less time.
        """
        with closing(OccurrenceCounter()) as seen, ThreadPoolExecutor(1, "saver") as saver:
            save_in_flight: tuple[_Batch, Future[list[Conflict | None]]] | None = None
            for chunk in threads.apart(bounded(drafts)):
                try:
                    batch = self._batch(chunk, seen, save_in_flight[0].changed if save_in_flight else {})
                except TriageError:
                    if save_in_flight:
                        yield self._settled(save_in_flight[0], save_in_flight[1].result())
                    raise
                if save_in_flight:
                    yield self._settled(save_in_flight[0], save_in_flight[1].result())
                save_in_flight = batch, saver.submit(self._store.save, [change for _, _, change in batch.to_save])
            if save_in_flight:
                yield self._settled(save_in_flight[0], save_in_flight[1].result())

    def page(self, drafts: Sequence[TicketDraft | Rejected], cursor: SourceCursor | None) -> list[Outcome[Ticket]]:
        """Store the drafts of a source's page, with the source's new position, in one transaction.

        If an id comes twice with different texts, the one changed last counts; it is an update, not another ticket.
        """
        imported = named(self._store, [dedup.identify(d) for d in drafts if type(d) is TicketDraft])
        last = {i.identity: i for i in sorted(imported, key=lambda i: (i.draft.changed_at or "")[:19])}
        repeats = {i.draft.row: i.identity for i in imported if last[i.identity] is not i}
        batch = self._new_batch(drafts, repeats)
        batch.outcomes.update({row: Outcome(row, Action.UNCHANGED) for row in repeats})
        imported = self._pulled.corrections.applied(last.values()) if self._pulled else list(last.values())
        self._decide_all(imported, batch, {})
        return self._settled(batch, self._store.save([c for _, _, c in batch.to_save], None, cursor), cursor)

    def one(
        self, draft: TicketDraft, identity: str | None, save: Callable[[Sequence[Change]], Sequence[Conflict | None]]
    ) -> Outcome[Ticket]:
        """Store one draft by `save`. With `identity`, a repeated call finds a ticket without an external id.

        The identity includes the text: a caller that reuses a name with another text means another ticket.
        """
        identified = named(self._store, [dedup.identify(draft)])[0]
        is_repeatable = identified.counts_occurrences and identity is not None
        if is_repeatable:
            identified = identified._replace(identity=f"{identity}:{identified.content}", counts_occurrences=False)
        known = None if identified.counts_occurrences else known_as(self._store, identified.identity)
        for _ in range(CALLERS):
            if is_repeatable and known is not None:  # a repeated call, whose response was lost
                return Outcome(draft.row, Action.UNCHANGED, known, None, draft)
            last_verdicts = self._imported_verdicts([identified], {identified.identity: known} if known else {})
            action, ticket, change, error = self._decide(identified, known, times.now(), last_verdicts, repeated=False)
            if change is None or (conflict := save([change])[0]) is None:
                return Outcome(draft.row, action, ticket, error, draft)
            known = None if identified.counts_occurrences else conflict.ticket
        raise UnavailableError("another program keeps changing the same ticket", hint="try again")

    def _batch(
        self, chunk: Sequence[TicketDraft | Rejected], seen: OccurrenceCounter, in_flight: Mapping[str, Ticket]
    ) -> "_Batch":
        """Decide a chunk; `in_flight` are those that the previous chunk is about to store."""
        imported, repeats = self._prepare(chunk, seen)
        batch = self._new_batch(chunk, repeats)
        self._decide_all(imported, batch, in_flight)
        return batch

    def _new_batch(self, chunk: Sequence[TicketDraft | Rejected], repeats: dict[int, str]) -> "_Batch":
        """Return a batch in which nothing but the unreadable drafts has an outcome."""
        faulty = [row for row in chunk if type(row) is Rejected]
        if self._pulled:
            for row in faulty:
                self._pulled.keep(row)
        outcomes = {r.row: Outcome[Ticket](r.row, Action.REJECTED, None, r.error, r) for r in faulty}
        return _Batch([d.row for d in chunk], repeats, outcomes, [], {})

    def _settled(
        self, batch: "_Batch", conflicts: Sequence[Conflict | None], cursor: SourceCursor | None = None
    ) -> list[Outcome[Ticket]]:
        """Return the outcomes of a saved batch; drafts that conflicted with another program are decided again."""
        for _ in range(TRIES):
            lost = []
            for (identified, action, change), conflict in zip(batch.to_save, conflicts, strict=True):
                if conflict is not None:
                    lost.append(identified)
                else:
                    batch.outcomes[identified.draft.row] = Outcome(
                        identified.draft.row, action, change.ticket, None, identified.draft
                    )
            if not lost:
                self._refresh(batch)
                return [batch.outcomes[row] for row in batch.rows]
            batch.to_save.clear()
            self._decide_all(lost, batch, {})
            conflicts = self._store.save([change for _, _, change in batch.to_save], None, cursor)
        raise UnavailableError(
            "another program keeps changing the same tickets", hint="run the same import again later"
        )

    def _refresh(self, batch: "_Batch") -> None:
        """Let repeated rows show the ticket as it is stored now."""
        known = self._store.known(list(batch.repeats.values())) if batch.repeats else {}
        for row, identity in batch.repeats.items():
            outcome = batch.outcomes[row]
            if outcome.action == Action.UNCHANGED:
                batch.outcomes[row] = outcome._replace(value=known.get(identity, outcome.value))

    def _prepare(
        self, chunk: Sequence[TicketDraft | Rejected], seen: OccurrenceCounter
    ) -> tuple[list[Identified], dict[int, str]]:
        """Return the identified drafts of a chunk, and which of them are repeated in this input."""
        imported = named(self._store, [dedup.identify(d) for d in chunk if type(d) is TicketDraft])
        counted = seen.count([identified.identity for identified in imported])
        before = [max(n, identified.draft.seen) for n, identified in zip(counted, imported, strict=True)]
        imported = [
            i._replace(identity=f"{i.identity}.{n + 1}") if i.counts_occurrences else i
            for i, n in zip(imported, before, strict=True)
        ]
        repeats = {
            i.draft.row: i.identity for i, n in zip(imported, before, strict=True) if n and not i.counts_occurrences
        }
        return imported, repeats

    def _decide_all(self, imported: Sequence[Identified], batch: "_Batch", in_flight: Mapping[str, Ticket]) -> None:
        """Decide items in order: add the changes to be saved and the outcomes of the rest to `batch`."""
        known = {**self._store.known([identified.identity for identified in imported]), **in_flight}
        known |= self._forgotten([identified.identity for identified in imported if identified.identity not in known])
        last_verdicts = self._imported_verdicts(imported, known)
        at = times.now()
        met = rewritten = 0
        for identified in imported:
            row = identified.draft.row
            stored, repeated = known.get(identified.identity), row in batch.repeats
            if stored is not None and identified.draft.origin == "mail" and not ids.is_forgotten(stored.identity):
                decided = self._joined(identified, stored, at)
            else:
                if stored is not None and not repeated and not ids.is_forgotten(stored.identity):
                    met += 1
                    rewritten += identified.content != stored.content_hash
                decided = self._decide(identified, stored, at, last_verdicts, repeated=repeated)
            action, ticket, change, error = decided
            if change is not None and ticket is not None:
                batch.to_save.append((identified, action, change))
                known[identified.identity] = batch.changed[identified.identity] = ticket
            else:
                batch.outcomes[row] = Outcome(row, action, ticket, error, identified.draft)
                if error is not None and self._pulled:
                    self._pulled.keep(identified.draft)
        if self._pulled:
            return
        self._guard.add(met, rewritten)
        if doubt := self._guard.doubt(imported[0].draft.source if imported else ""):
            raise doubt

    def _forgotten(self, unknown: Sequence[str]) -> dict[str, Ticket]:
        """Return the forgotten tickets among these identities: a later export of them restores nothing."""
        if not unknown or not self._store.forgot():
            return {}
        forgotten_tickets = self._store.known([ids.forgotten(identity) for identity in unknown])
        return {i: forgotten_tickets[ids.forgotten(i)] for i in unknown if ids.forgotten(i) in forgotten_tickets}

    def _imported_verdicts(self, imported: Sequence[Identified], known: Mapping[str, Ticket]) -> dict[str, str]:
        """Return the last imported verdict of each ticket that gets a verdict now, by ticket id."""
        if self._pulled:  # corrections compare with earlier verdicts themselves
            return {}
        judged = [known[i.identity].ticket_id for i in imported if i.draft.verdict and i.identity in known]
        answers = self._store.answers(judged, ("",)) if judged else ()
        return {a.ticket_id: a.category for a in answers if is_imported(a) and a.category}

    def _decide(
        self, identified: Identified, known: Ticket | None, at: str, last_verdicts: Mapping[str, str], *, repeated: bool
    ) -> _Decided:
        draft = identified.draft
        error = dedup.oversized(draft)
        verdict = self._verdicts.category_names.match(draft.verdict) if draft.verdict else None
        if draft.verdict and verdict is None:
            error = error or self._verdicts.category_names.unknown(draft.verdict, f"{draft.place}: ")
        if error:
            return Action.REJECTED, None, None, error
        is_single = draft.origin != "row" and identified.counts_occurrences
        if known is None or is_single:
            ticket = dedup.new_ticket(identified, ids.new_id(), at, self._holder)
            if is_single:  # always a new ticket, which no import updates
                ticket = ticket._replace(identity=f"@{ticket.ticket_id}")
            data: Mapping[str, object] = {"source": draft.source, "line": draft.line}
            return self._changed(Action.CREATED, ticket, 0, data, at, verdict)
        gone = ids.is_forgotten(known.identity)
        if repeated and not gone and identified.content != known.content_hash:
            return Action.REJECTED, None, None, dedup.repeated(identified)
        if repeated or gone or dedup.is_outdated(draft, known, at):
            return Action.UNCHANGED, known, None, None
        imported = last_verdicts.get(known.ticket_id)
        if verdict == (imported or (known.category if known.verdict else None)):
            verdict = None  # the import repeats itself: a later verdict of a person holds
        after = dedup.updated_ticket(
            known, identified, keeps_category=self._pulled is not None and self._pulled.keeps_category
        )
        if after is None and verdict is None:
            return Action.UNCHANGED, known, None, None
        ticket = woken(known, after or known._replace(revision=known.revision + 1))
        data = {"source": draft.source, "line": draft.line, "fields": dedup.changed_fields(known, ticket)}
        return self._changed(Action.UPDATED, ticket, known.revision, data, at, verdict, imported, draft.overruled)

    def _joined(self, identified: Identified, known: Ticket, at: str) -> _Decided:
        """Decide a mail whose thread has a ticket."""
        try:
            ticket = threads.joined(known, identified)
        except RowError as error:
            return Action.REJECTED, None, None, error
        if ticket is None:
            return Action.UNCHANGED, known, None, None
        fields = dedup.changed_fields(known, ticket)
        data = {"source": identified.draft.source, "fields": fields, "mails": threads.length(ticket)}
        return self._changed(Action.UPDATED, ticket, known.revision, data, at, None)

    def _changed(
        self, action: Action, ticket: Ticket, expected_revision: int, data: Mapping[str, object], at: str,
        verdict: str | None, imported_verdict: str | None = None, overruled: bool = False,
    ) -> tuple[Action, Ticket, Change, None]:  # fmt: skip
        """Return the change to be saved. `imported_verdict` is the last imported verdict of the ticket, if any.

        An imported verdict holds if the ticket has none, or if the import has changed it. Otherwise it is recorded as
        imported, and the person's verdict on the ticket holds.
        """
        adds: tuple[Classification, ...] = ()
        if verdict is not None:
            judged, answer = self._verdicts.with_verdict(ticket, verdict, None, at, self._run_id, step=IMPORTED)
            has_changed = imported_verdict is not None and ticket.category != verdict
            holds = not overruled and (self._pulled or has_changed or not ticket.verdict)
            data = {**data, "verdict" if holds else "said": verdict}
            if holds and ticket.verdict and ticket.category != imported_verdict:
                data["was"] = ticket.category  # a person's verdict is overruled by a later one
            ticket, adds = judged if holds else ticket, (answer,)
        event = Event(EVENT_ACTIONS[action], ticket.ticket_id, self._run_id, self._actor, at, with_request(data))
        return action, ticket, Change(event, ticket, expected_revision, adds), None


class _Batch(NamedTuple):
    """A decided chunk: its rows, those with a repeated identity, and the changes to be saved."""

    rows: list[int]
    repeats: dict[int, str]
    outcomes: dict[int, Outcome[Ticket]]
    to_save: list[tuple[Identified, Action, Change]]
    changed: dict[str, Ticket]
