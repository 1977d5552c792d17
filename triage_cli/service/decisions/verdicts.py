"""Verdicts of people, which no classifier changes: set, or cleared so that a classifier's decision holds again."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from triage_cli.domain import (
    ERASED,
    PRECEDENT,
    SETTLED,
    Action,
    AmbiguousError,
    Category,
    Change,
    ChangedError,
    Classification,
    Decision,
    Event,
    EventAction,
    History,
    Lease,
    Levels,
    NotFoundError,
    Outcome,
    RowError,
    Selection,
    Ticket,
    TriageError,
    UnavailableError,
    VerdictDraft,
    chunked,
    ids,
    last_decision,
    reset,
    storable_text,
    times,
    woken,
)
from triage_cli.ports import Store
from triage_cli.service import ticket_lookup
from triage_cli.service.category_renames import CategoryNames
from triage_cli.service.decisions.recorder import held
from triage_cli.service.runs import with_request


class Verdicts:
    """Creates verdicts for one actor, from one list of categories."""

    def __init__(self, categories: Sequence[Category], actor: str) -> None:
        self.category_names = CategoryNames(categories)
        self.levels = Levels.of(categories)
        self._actor = actor

    def with_verdict(
        self, ticket: Ticket, category: str, note: str | None, at: str, run_id: str | None, *, step: str = "verdict"
    ) -> tuple[Ticket, Classification]:
        """Return a ticket with a verdict, its revision unchanged, and the verdict's record."""
        verdict = Classification(
            classification_id=ids.new_id(),
            ticket_id=ticket.ticket_id,
            run_id=run_id,
            step=step,
            category=category,
            confidence=1.0,
            confidence_source="human",
            reason=note,
            classifier="verdict",
            actor=self._actor,
            fingerprint="",
            threshold=None,
            probabilities=None,
            answer_key="",
            at=at,
        )
        judged_ticket = ticket._replace(
            status=ticket.status if ticket.status in SETTLED else "classified",
            category=category,
            suggestion=None,
            confidence=1.0,
            confidence_source="human",
            classifier="verdict",
            reason=note,
            verdict=1,
            error=None,
            failures=0,
            decision_id=verdict.classification_id,
        )
        return woken(ticket, judged_ticket), verdict


# How often verdicts are saved again if other programs keep changing the tickets.
VERDICT_SAVES = 5
VERDICTS_PER_SAVE = 500


class VerdictRecorder:
    """Records verdicts of one actor; `lease` is the run's, if there is a run."""

    def __init__(self, store: Store, verdicts: Verdicts, actor: str, lease: Lease | None) -> None:
        self._store = store
        self._verdicts = verdicts
        self._actor = actor
        self._lease = lease

    def record(self, verdict_drafts: Iterable[VerdictDraft]) -> Iterator[list[Outcome[Ticket]]]:
        """Record verdicts and yield their outcomes in order; of several verdicts on a ticket the last one holds.

        Those before it in the chunk change nothing: else each repetition of the same input would record them all.
        """
        for chunk in chunked(verdict_drafts, VERDICTS_PER_SAVE):
            outcomes: dict[int, Outcome[Ticket]] = {}
            resolved_verdicts = [v for draft in chunk if (v := self._resolve(draft, outcomes)) is not None]
            last_verdicts: dict[str, _ResolvedVerdict] = {}
            for resolved in resolved_verdicts:
                earlier = last_verdicts.get(resolved.ticket.ticket_id)
                if earlier is None or not resolved.repeats(earlier):
                    last_verdicts[resolved.ticket.ticket_id] = resolved
            self._save_verdicts(dict(last_verdicts), outcomes)
            for resolved in resolved_verdicts:
                last_verdict = last_verdicts[resolved.ticket.ticket_id]
                if resolved is not last_verdict:
                    last_outcome = outcomes[last_verdict.draft.row]
                    outcomes[resolved.draft.row] = _unsaved_verdict(resolved, last_outcome.value, last_outcome.error)
            yield [outcomes[draft.row] for draft in chunk]

    def _resolve(self, draft: VerdictDraft, outcomes: dict[int, Outcome[Ticket]]) -> "_ResolvedVerdict | None":
        """Return the ticket and the category that a draft names; if there is none, add a rejected outcome."""
        category = None if draft.category is None else self._verdicts.category_names.match(draft.category)
        if draft.category is not None and category is None:
            error = self._verdicts.category_names.unknown(draft.category, f"{draft.name}: ")
        elif draft.category is None and draft.note:
            error = RowError(f"{draft.name}: a verdict that is taken back keeps no note", hint="leave the note out")
        else:
            # Storable: else the same note of a verdict would be another one.
            note = None if draft.note is None else storable_text(draft.note)
            try:
                return _ResolvedVerdict(draft._replace(note=note), self._ticket_of_verdict(draft), category)
            except (NotFoundError, AmbiguousError) as no_ticket:
                error = RowError(no_ticket.message, hint=no_ticket.hint)
        outcomes[draft.row] = Outcome(draft.row, Action.REJECTED, None, error, draft)
        return None

    def _ticket_of_verdict(self, verdict_draft: VerdictDraft) -> Ticket:
        if ids.is_ticket_id(verdict_draft.name):
            for ticket in self._store.find(Selection(ids=(verdict_draft.name,))):
                return ticket
        if verdict_draft.source:
            identity = ids.external_identity(verdict_draft.source, verdict_draft.name)
            for ticket in self._store.known([identity]).values():
                return ticket
        return ticket_lookup.ticket_named(self._store, verdict_draft.name)

    def _save_verdicts(self, verdicts: dict[str, "_ResolvedVerdict"], outcomes: dict[int, Outcome[Ticket]]) -> None:
        """Save the verdicts; a ticket that has changed meanwhile is read and saved again."""
        for _ in range(VERDICT_SAVES):
            changes = []
            for resolved in list(verdicts.values()):
                error = _verdict_refusal(resolved)
                change = None if error else self._verdict_change(resolved)
                if change is None:
                    del verdicts[resolved.ticket.ticket_id]
                    outcomes[resolved.draft.row] = _unsaved_verdict(resolved, resolved.ticket, error)
                else:
                    changes.append(change)
            for change, conflict in zip(changes, self._store.save(changes, self._lease), strict=True):
                ticket_id = change.event.ticket_id or ""
                resolved = verdicts[ticket_id]
                if conflict is None:
                    draft, action = resolved.draft, Action.VERDICT if resolved.category else Action.CLEARED
                    outcomes[draft.row] = Outcome(draft.row, action, change.ticket, None, draft)
                    del verdicts[ticket_id]
                elif conflict.ticket is not None:
                    verdicts[ticket_id] = resolved._replace(ticket=conflict.ticket)
            if not verdicts:
                return
        raise UnavailableError(
            "another program keeps changing the same tickets", hint="run the same command again later"
        )

    def _verdict_change(self, resolved: "_ResolvedVerdict") -> Change | None:
        verdict_draft, before, category = resolved
        at, run_id = times.now(), self._lease.run_id if self._lease else None
        adds: tuple[Classification, ...] = ()
        if category is None:
            if not before.verdict:
                return None
            ticket = without_verdict(before, self._store.history(before.ticket_id), self._verdicts)
        else:
            if before.verdict and before.category == category and verdict_draft.note in (None, before.reason or ""):
                return None
            ticket, answer = self._verdicts.with_verdict(before, category, verdict_draft.note or None, at, run_id)
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


def _verdict_refusal(resolved: _ResolvedVerdict) -> RowError | None:
    """Return why a ticket takes no verdict, or not this one."""
    draft, ticket, _ = resolved
    if ticket.is_erased:
        why = ERASED[ticket.status]
        return RowError(f"{draft.name}: {why}, so there is nothing to decide", hint="leave it out")
    if draft.shown not in (None, ticket.shown_hash):
        return ChangedError(f"{draft.name}: it has changed since it was shown", hint="read it again")
    return None


def _unsaved_verdict(resolved: _ResolvedVerdict, ticket: Ticket | None, error: TriageError | None) -> Outcome[Ticket]:
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
        or answer.confidence_source == PRECEDENT  # which may have changed; the next run looks it up again
        or answer.category not in (None, verdicts.category_names.match(answer.category or ""))
    ):
        return reset(ticket)
    sure = answer.is_sure and decision.status != "needs_review"
    return ticket._replace(
        status="classified" if sure else "needs_review",
        category=answer.category if sure else None,
        suggestion=verdicts.levels.below(answer) if sure else verdicts.levels.guess(answer),
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
