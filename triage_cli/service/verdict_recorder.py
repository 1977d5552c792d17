"""Records verdicts of people: sets them, or clears them so that the classifier's decision holds again."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from triage_cli.domain import ids, times
from triage_cli.domain.audit.decisions import Decision, last_decision
from triage_cli.domain.audit.events import Event, EventAction
from triage_cli.domain.changes import Change
from triage_cli.domain.chunks import chunked
from triage_cli.domain.classifications import Classification
from triage_cli.domain.dedup import reset
from triage_cli.domain.errors import AmbiguousError, NotFoundError, RowError, TriageError, UnavailableError
from triage_cli.domain.explanation.history import History
from triage_cli.domain.json_values import storable_text
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.runs import Lease
from triage_cli.domain.tickets import Selection, Ticket, VerdictDraft
from triage_cli.ports.storage import Store
from triage_cli.service import ticket_lookup
from triage_cli.service.classification.decision_recorder import held
from triage_cli.service.run_context import with_request
from triage_cli.service.verdicts import Verdicts

# How often verdicts are saved again if other programs keep changing the tickets.
TRIES = 5
VERDICTS_PER_SAVE = 500


class VerdictRecorder:
    """Records verdicts of one actor; `lease` is the run's, if there is a run."""

    def __init__(self, store: Store, verdicts: Verdicts, actor: str, lease: Lease | None) -> None:
        self._store = store
        self._verdicts = verdicts
        self._actor = actor
        self._lease = lease

    def judge(self, drafts: Iterable[VerdictDraft]) -> Iterator[list[Outcome[Ticket]]]:
        """Record verdicts and yield their outcomes in order; of several verdicts on a ticket the last one holds.

        Those before it in the chunk change nothing: else each repetition of the same input would record them all.
        """
        for chunk in chunked(drafts, VERDICTS_PER_SAVE):
            outcomes: dict[int, Outcome[Ticket]] = {}
            verdicts = [one for draft in chunk if (one := self._resolve(draft, outcomes)) is not None]
            last: dict[str, _ResolvedVerdict] = {}
            for resolved in verdicts:
                earlier = last.get(resolved.ticket.ticket_id)
                if earlier is None or not resolved.repeats(earlier):
                    last[resolved.ticket.ticket_id] = resolved
            self._settle(dict(last), outcomes)
            for resolved in verdicts:
                last_verdict = last[resolved.ticket.ticket_id]
                if resolved is not last_verdict:
                    settled = outcomes[last_verdict.draft.row]
                    outcomes[resolved.draft.row] = _unsaved(resolved, settled.value, settled.error)
            yield [outcomes[draft.row] for draft in chunk]

    def _resolve(self, draft: VerdictDraft, outcomes: dict[int, Outcome[Ticket]]) -> "_ResolvedVerdict | None":
        """Return the ticket and the category that a draft names; if there is none, add a rejected outcome."""
        category = None if draft.category is None else self._verdicts.category_names.match(draft.category)
        if draft.category is not None and category is None:
            error = self._verdicts.category_names.unknown(draft.category, f"{draft.name}: ")
        elif draft.category is None and draft.note:
            error = RowError(f"{draft.name}: a verdict that is taken back keeps no note", hint="leave the note out")
        else:
            note = None if draft.note is None else storable_text(draft.note)  # else the same note would be another one
            try:
                return _ResolvedVerdict(draft._replace(note=note), self._ticket(draft), category)
            except (NotFoundError, AmbiguousError) as missing:
                error = RowError(missing.message, hint=missing.hint)
        outcomes[draft.row] = Outcome(draft.row, Action.REJECTED, None, error, draft)
        return None

    def _ticket(self, draft: VerdictDraft) -> Ticket:
        if ids.is_ticket_id(draft.name):
            for ticket in self._store.find(Selection(ids=(draft.name,))):
                return ticket
        if draft.source:
            for ticket in self._store.known([ids.external_identity(draft.source, draft.name)]).values():
                return ticket
        return ticket_lookup.named(self._store, draft.name)

    def _settle(self, unsaved: dict[str, "_ResolvedVerdict"], outcomes: dict[int, Outcome[Ticket]]) -> None:
        """Save the verdicts; a ticket that has changed meanwhile is read and saved again."""
        for _ in range(TRIES):
            changes = []
            for resolved in list(unsaved.values()):
                error = _refusal(resolved)
                change = None if error else self._change(resolved)
                if change is None:
                    del unsaved[resolved.ticket.ticket_id]
                    outcomes[resolved.draft.row] = _unsaved(resolved, resolved.ticket, error)
                else:
                    changes.append(change)
            for change, conflict in zip(changes, self._store.save(changes, self._lease), strict=True):
                ticket_id = change.event.ticket_id or ""
                resolved = unsaved[ticket_id]
                if conflict is None:
                    draft, action = resolved.draft, Action.VERDICT if resolved.category else Action.CLEARED
                    outcomes[draft.row] = Outcome(draft.row, action, change.ticket, None, draft)
                    del unsaved[ticket_id]
                elif conflict.ticket is not None:
                    unsaved[ticket_id] = resolved._replace(ticket=conflict.ticket)
            if not unsaved:
                return
        raise UnavailableError(
            "another program keeps changing the same tickets", hint="run the same command again later"
        )

    def _change(self, resolved: "_ResolvedVerdict") -> Change | None:
        draft, before, category = resolved
        at, run_id = times.now(), self._lease.run_id if self._lease else None
        adds: tuple[Classification, ...] = ()
        if category is None:
            if not before.verdict:
                return None
            ticket = without_verdict(before, self._store.history(before.ticket_id), self._verdicts)
        else:
            if before.verdict and before.category == category and draft.note in (None, before.reason or ""):
                return None
            ticket, answer = self._verdicts.with_verdict(before, category, draft.note or None, at, run_id)
            adds = (answer,)
        ticket = ticket._replace(revision=before.revision + 1, run_id=None)
        # The note is not logged: it may repeat the customer's text.
        data = {"category": category, "was": before.category, "status": ticket.status, "decision": ticket.decision_id}
        event = Event(EventAction.VERDICT, ticket.ticket_id, run_id, self._actor, at, with_request(data))
        return Change(event, ticket, before.revision, adds)


class _ResolvedVerdict(NamedTuple):
    draft: VerdictDraft
    ticket: Ticket
    category: str | None

    def repeats(self, earlier: "_ResolvedVerdict") -> bool:
        """Return whether it adds nothing to an earlier verdict on the same ticket."""
        return self.category == earlier.category and self.draft.note in (None, earlier.draft.note)


def _refusal(resolved: _ResolvedVerdict) -> RowError | None:
    """Return why the ticket takes no verdict, or not this one."""
    draft, ticket, _ = resolved
    if ticket.status == "forgotten":
        return RowError(f"{draft.name}: its text was forgotten, so there is nothing to decide", hint="leave it out")
    if draft.shown not in (None, ticket.shown_hash):
        return RowError(f"{draft.name}: it has changed since it was shown", hint="read it again")
    return None


def _unsaved(resolved: _ResolvedVerdict, ticket: Ticket | None, error: TriageError | None) -> Outcome[Ticket]:
    """Return the outcome of a verdict that changes nothing."""
    if error is not None:
        return Outcome(resolved.draft.row, Action.REJECTED, None, error, resolved.draft)
    return Outcome(resolved.draft.row, Action.UNCHANGED, ticket, None, resolved.draft)


def without_verdict(ticket: Ticket, history: History, verdicts: Verdicts) -> Ticket:
    """Return the ticket as a classifier last decided it; `new` if no decision concerns its present text."""
    decision = last_decision(history.events)
    answer = _answer_of(decision, history.classifications) if decision else None
    if (
        decision is None
        or answer is None
        or answer.category not in (None, verdicts.category_names.match(answer.category or ""))
    ):
        return reset(ticket)
    sure = answer.is_sure and decision.status != "needs_review"
    return ticket._replace(
        status="classified" if sure else "needs_review",
        category=answer.category if sure else None,
        suggestion=None if sure else answer.category,
        confidence=answer.confidence,
        confidence_source=answer.confidence_source,
        classifier=answer.classifier,
        reason=held(decision.suspicious, answer.reason) if decision.suspicious else answer.reason,
        verdict=0,
        error=None,
        failures=0,
        decision_id=answer.classification_id,
    )


def _answer_of(decision: Decision, answers: Iterable[Classification]) -> Classification | None:
    """Return a classifier's answer that a decision rests on, or None if it failed or is missing."""
    for answer in answers:
        if answer.classification_id == decision.classification_id and answer.confidence_source != "human":
            return None if answer.error else answer
    return None
