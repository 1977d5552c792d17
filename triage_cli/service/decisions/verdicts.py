"""Verdicts of people, which no classifier changes: set, or cleared so that a classifier's decision holds again."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Store
from triage_cli.service import ticket_lookup
from triage_cli.service.answers import answer_given, with_category
from triage_cli.service.category_renames import CategoryNames
from triage_cli.service.decisions.recorder import held
from triage_cli.service.runs import with_request


class Verdicts:
    """Creates verdicts for one actor; `questions` are all that tickets are asked, that for the category first."""

    def __init__(self, questions: Sequence[dm.Question], actor: str) -> None:
        self.names = {question.name: CategoryNames(question.values, question.name) for question in questions}
        self.category_names = self.names[questions[0].name]
        self.further = tuple(question.name for question in questions[1:])
        self.required = tuple(question.name for question in questions if question.required)
        self.levels = {question.name: question.labels for question in questions}
        self._actor = actor

    def with_verdict(
        self,
        ticket: dm.Ticket,
        category: str,
        note: str | None,
        at: str,
        run_id: str | None,
        *,
        question: str = dm.CATEGORY,
        step: str = "verdict",
    ) -> tuple[dm.Ticket, dm.Classification]:
        """Return a ticket with a verdict on a question, its revision unchanged, and the verdict's record."""
        said: dict[str, Any] = {
            "confidence": 1.0,
            "confidence_source": "human",
            "classifier": "verdict",
            "reason": note,
        }
        verdict = dm.Classification.made(
            ticket.ticket_id,
            run_id=run_id,
            step=step,
            category=category,
            actor=self._actor,
            at=at,
            question=question,
            **said,
        )
        decision_id = verdict.classification_id
        given = dm.GivenAnswer(category, verdict=True, state="answered", decision_id=decision_id, **said)
        return self.with_answer(ticket, question, given), verdict

    def with_answer(self, ticket: dm.Ticket, question: str, given: dm.GivenAnswer) -> dm.Ticket:
        """Return a ticket with what holds of a question now, and the status that follows; its revision stays."""
        if question == dm.CATEGORY:
            judged = with_category(ticket, given, ticket.revision)._replace(run_id=ticket.run_id)
        else:
            judged = dm.with_given(ticket, {**dm.all_given(ticket, self.further), question: given})
        return dm.woken(ticket, dm.settled_by(judged, self.required))


# How often verdicts are saved again if other programs keep changing the tickets.
VERDICT_SAVES = 5
VERDICTS_PER_SAVE = 500


class VerdictRecorder:
    """Records verdicts of one actor; `lease` is the run's, if there is a run."""

    def __init__(self, store: Store, verdicts: Verdicts, actor: str, lease: dm.Lease | None) -> None:
        self._store = store
        self._verdicts = verdicts
        self._actor = actor
        self._lease = lease

    def record(self, verdict_drafts: Iterable[dm.VerdictDraft]) -> Iterator[list[dm.Outcome[dm.Ticket]]]:
        """Record verdicts and yield their outcomes in order; of several verdicts on a ticket the last one holds.

        Those before it in the chunk change nothing: else each repetition of the same input would record them all.
        """
        for chunk in dm.chunked(verdict_drafts, VERDICTS_PER_SAVE):
            outcomes: dict[int, dm.Outcome[dm.Ticket]] = {}
            resolved_verdicts = [v for draft in chunk if (v := self._resolve(draft, outcomes)) is not None]
            last_verdicts: dict[_Subject, _ResolvedVerdict] = {}
            for resolved in resolved_verdicts:
                earlier = last_verdicts.get(resolved.subject)
                if earlier is None or not resolved.repeats(earlier):
                    last_verdicts[resolved.subject] = resolved
            self._save_verdicts(dict(last_verdicts), outcomes)
            for resolved in resolved_verdicts:
                last_verdict = last_verdicts[resolved.subject]
                if resolved is not last_verdict:
                    last_outcome = outcomes[last_verdict.draft.row]
                    outcomes[resolved.draft.row] = _unsaved_verdict(resolved, last_outcome.value, last_outcome.error)
            yield [outcomes[draft.row] for draft in chunk]

    def _resolve(self, draft: dm.VerdictDraft, outcomes: dict[int, dm.Outcome[dm.Ticket]]) -> "_ResolvedVerdict | None":
        """Return the ticket and the category that a draft names; if there is none, add a rejected outcome."""
        names = self._verdicts.names.get(draft.question)
        category = None if draft.category is None or names is None else names.match(draft.category)
        if names is None:
            error = unknown_question(draft, self._verdicts.further)
        elif draft.category is not None and category is None:
            error = names.unknown(draft.category, f"{draft.name}: ")
        elif draft.category is None and draft.note:
            error = dm.RowError(f"{draft.name}: a verdict that is taken back keeps no note", hint="leave the note out")
        else:
            # Storable: else the same note of a verdict would be another one.
            note = None if draft.note is None else dm.storable_text(draft.note)
            try:
                return _ResolvedVerdict(draft._replace(note=note), self._ticket_of_verdict(draft), category)
            except (dm.NotFoundError, dm.AmbiguousError) as no_ticket:
                error = dm.RowError(no_ticket.message, hint=no_ticket.hint)
        outcomes[draft.row] = dm.Outcome(draft.row, dm.Action.REJECTED, None, error, draft)
        return None

    def _ticket_of_verdict(self, verdict_draft: dm.VerdictDraft) -> dm.Ticket:
        if dm.ids.is_ticket_id(verdict_draft.name):
            for ticket in self._store.find(dm.Selection(ids=(verdict_draft.name,))):
                return ticket
        if verdict_draft.source:
            identity = dm.ids.external_identity(verdict_draft.source, verdict_draft.name)
            for ticket in self._store.known([identity]).values():
                return ticket
        return ticket_lookup.ticket_named(self._store, verdict_draft.name)

    def _save_verdicts(
        self, verdicts: "dict[_Subject, _ResolvedVerdict]", outcomes: dict[int, dm.Outcome[dm.Ticket]]
    ) -> None:
        """Save the verdicts; a ticket that has changed meanwhile is read and saved again."""
        conflicts_left = VERDICT_SAVES
        while conflicts_left:
            changes: dict[_Subject, dm.Change] = {}
            # One verdict of each ticket a save: the next one is decided on what that leaves.
            firsts = {resolved.ticket.ticket_id: resolved for resolved in reversed(verdicts.values())}
            for resolved in reversed(firsts.values()):
                error = _verdict_refusal(resolved)
                change = None if error else self._verdict_change(resolved)
                if change is None:
                    del verdicts[resolved.subject]
                    outcomes[resolved.draft.row] = _unsaved_verdict(resolved, resolved.ticket, error)
                else:
                    changes[resolved.subject] = change
            conflicts = self._store.save(list(changes.values()), self._lease)
            conflicts_left -= any(conflicts)
            present: dict[str, dm.Ticket] = {}
            for (subject, change), conflict in zip(changes.items(), conflicts, strict=True):
                ticket = change.ticket if conflict is None else conflict.ticket
                if ticket is not None:
                    present[ticket.ticket_id] = ticket
                if conflict is None:
                    resolved = verdicts.pop(subject)
                    draft, action = resolved.draft, dm.Action.VERDICT if resolved.category else dm.Action.CLEARED
                    outcomes[draft.row] = dm.Outcome(draft.row, action, change.ticket, None, draft)
            for subject, resolved in verdicts.items():
                verdicts[subject] = resolved._replace(
                    ticket=present.get(resolved.ticket.ticket_id, resolved.ticket), is_later=subject not in changes
                )
            if not verdicts:
                return
        raise dm.UnavailableError("another program keeps changing the same tickets", hint=f"{dm.Step.AGAIN} later")

    def _verdict_change(self, resolved: "_ResolvedVerdict") -> dm.Change | None:
        verdict_draft, before, category, _ = resolved
        at, run_id = dm.times.now(), self._lease.run_id if self._lease else None
        adds: tuple[dm.Classification, ...] = ()
        question = verdict_draft.question
        given = dm.given_answer(before, question)
        if category is None:
            if not given.verdict:
                return None
            ticket = without_verdict(before, self._store.history(before.ticket_id), self._verdicts, question)
        else:
            if given.verdict and given.value == category and verdict_draft.note in (None, given.reason or ""):
                return None
            ticket, answer = self._verdicts.with_verdict(
                before, category, verdict_draft.note or None, at, run_id, question=question
            )
            adds = (answer,)
        ticket = ticket._replace(revision=before.revision + 1, run_id=None)
        # The note is not logged: it may repeat the customer's text.
        said = {"category": category} if question == dm.CATEGORY else {"question": question, "value": category}
        decision_id = dm.given_answer(ticket, question).decision_id
        data = {**said, "was": given.value, "status": ticket.status, "decision": decision_id}
        event = dm.Event(dm.EventAction.VERDICT, ticket.ticket_id, run_id, self._actor, at, with_request(data))
        return dm.Change(event, ticket, before.revision, adds)


_Subject = tuple[str, str]  # the id of a ticket, and a question


class _ResolvedVerdict(NamedTuple):
    draft: dm.VerdictDraft
    ticket: dm.Ticket
    category: str | None
    is_later: bool = False  # an earlier verdict on its ticket was saved with it

    @property
    def subject(self) -> _Subject:
        """Return what the verdict is about."""
        return self.ticket.ticket_id, self.draft.question

    def repeats(self, earlier: "_ResolvedVerdict") -> bool:
        """Return whether it adds nothing to an earlier verdict on the same ticket."""
        return self.category == earlier.category and self.draft.note in (None, earlier.draft.note)


def _verdict_refusal(resolved: _ResolvedVerdict) -> dm.RowError | None:
    """Return why a ticket takes no verdict, or not this one."""
    draft, ticket, *_ = resolved
    if ticket.is_erased:
        why = dm.ERASED[ticket.status]
        return dm.RowError(f"{draft.name}: {why}, so there is nothing to decide", hint="leave it out")
    if not resolved.is_later and draft.shown not in (None, dm.shown_hash_of(ticket, draft.question)):
        return dm.ChangedError(f"{draft.name}: it has changed since it was shown", hint="read it again")
    return None


def _unsaved_verdict(
    resolved: _ResolvedVerdict, ticket: dm.Ticket | None, error: dm.TriageError | None
) -> dm.Outcome[dm.Ticket]:
    """Return the outcome of a verdict that changes nothing."""
    if error is not None:
        return dm.Outcome(resolved.draft.row, dm.Action.REJECTED, None, error, resolved.draft)
    return dm.Outcome(resolved.draft.row, dm.Action.UNCHANGED, ticket, None, resolved.draft)


def unknown_question(draft: dm.VerdictDraft, further: Sequence[str]) -> dm.RowError:
    """Return the error for a verdict on a question that tickets are not asked."""
    hint = f"the questions are {', '.join(further)}" if further else "name questions below `questions` in the config"
    return dm.RowError(f'{draft.name}: no question "{draft.question}"', hint=hint)


def without_verdict(
    ticket: dm.Ticket, history: dm.History, verdicts: Verdicts, question: str = dm.CATEGORY
) -> dm.Ticket:
    """Return the ticket as a classifier last decided a question about it; open if no decision concerns its text."""
    decision = dm.last_decision(history.events, question)
    answer = _answer_of(decision, history.classifications) if decision else None
    if (
        decision is None
        or answer is None
        or answer.confidence_source == dm.PRECEDENT  # which may have changed; the next run looks it up again
        or answer.category not in (None, verdicts.names[question].match(answer.category or ""))
    ):
        return dm.reset(ticket) if question == dm.CATEGORY else verdicts.with_answer(ticket, question, dm.UNANSWERED)
    is_held = decision.status == "needs_review" and question == dm.CATEGORY
    sure = answer.is_sure and not is_held and not decision.suspicious
    given = answer_given(dm.UNANSWERED, (answer,), None, verdicts.levels[question], sure=sure)
    if decision.suspicious:
        given = given._replace(reason=held(decision.suspicious, answer.reason))
    if question == dm.CATEGORY:
        ticket = ticket._replace(verdict=0, status="classified")
    return verdicts.with_answer(ticket, question, given)


def _answer_of(decision: dm.Decision, answers: Iterable[dm.Classification]) -> dm.Classification | None:
    """Return a classifier's answer that a decision rests on, or None if it failed or is missing."""
    for answer in answers:
        if answer.classification_id == decision.classification_id and answer.confidence_source != "human":
            return None if answer.error else answer
    return None
