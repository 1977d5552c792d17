"""People's verdicts on stored tickets: given, or taken back so that what the machine said holds again."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from triage_cli.domain import ids
from triage_cli.domain.audit import Event
from triage_cli.domain.changes import Change
from triage_cli.domain.decisions import Classification, Decision
from triage_cli.domain.dedup import reset
from triage_cli.domain.errors import AmbiguousError, NotFoundError, RowError, UnavailableError
from triage_cli.domain.runs import Action, Lease, Outcome
from triage_cli.domain.serialization import last_decision
from triage_cli.domain.streams import chunked
from triage_cli.domain.tickets import Selection, Ticket, VerdictDraft
from triage_cli.domain.views import History
from triage_cli.ports.storage import Store
from triage_cli.service import names
from triage_cli.service.classification.decisions import held
from triage_cli.service.verdicts import Verdicts

# A ticket that others change at the same moment this often in a row is left to the caller.
TRIES = 5
TOGETHER = 500


class VerdictRecorder:
    """Gives verdicts for one actor; `lease` is that of the run, if it is one."""

    def __init__(self, store: Store, verdicts: Verdicts, actor: str, lease: Lease | None) -> None:
        self._store = store
        self._verdicts = verdicts
        self._actor = actor
        self._lease = lease

    def judge(self, drafts: Iterable[VerdictDraft]) -> Iterator[list[Outcome[Ticket]]]:
        """Give verdicts and yield their outcomes in order; of two for one ticket the later one holds."""
        for chunk in chunked(drafts, TOGETHER):
            outcomes: dict[int, Outcome[Ticket]] = {}
            round_: dict[str, _Asked] = {}
            for draft in chunk:
                asked = self._found(draft, outcomes)
                if asked is not None and asked.ticket.ticket_id in round_:
                    self._settle(round_, outcomes)
                    asked = self._found(draft, outcomes)
                if asked is not None:
                    round_[asked.ticket.ticket_id] = asked
            self._settle(round_, outcomes)
            yield [outcomes[draft.row] for draft in chunk]

    def _found(self, draft: VerdictDraft, outcomes: dict[int, Outcome[Ticket]]) -> "_Asked | None":
        """Return the ticket and the category a draft means, or note why there is none."""
        category = None if draft.category is None else self._verdicts.category(draft.category)
        error: RowError | None = None
        if draft.category is not None and category is None:
            error = self._verdicts.unknown(draft.category, f"{draft.name}: ")
        else:
            try:
                return _Asked(draft, self._ticket(draft.name), category)
            except (NotFoundError, AmbiguousError) as none:
                error = RowError(none.message, hint=none.hint)
        outcomes[draft.row] = Outcome(draft.row, Action.REJECTED, None, error, draft)
        return None

    def _ticket(self, name: str) -> Ticket:
        if ids.is_ticket_id(name):
            for ticket in self._store.find(Selection(ids=(name,))):
                return ticket
        return names.named(self._store, name)

    def _settle(self, round_: dict[str, "_Asked"], outcomes: dict[int, Outcome[Ticket]]) -> None:
        """Save what was decided; a ticket that moved on meanwhile is decided again."""
        for _ in range(TRIES):
            changes = []
            for asked in list(round_.values()):
                if asked.ticket.status == "forgotten":
                    del round_[asked.ticket.ticket_id]
                    outcomes[asked.draft.row] = _outcome(asked, Action.REJECTED, None, _gone(asked))
                    continue
                change = self._change(asked)
                if change is None:
                    del round_[asked.ticket.ticket_id]
                    outcomes[asked.draft.row] = _outcome(asked, Action.UNCHANGED, asked.ticket)
                else:
                    changes.append(change)
            for change, conflict in zip(changes, self._store.save(changes, self._lease), strict=True):
                ticket_id = change.event.ticket_id or ""
                asked = round_[ticket_id]
                if conflict is None:
                    action = Action.VERDICT if asked.category else Action.CLEARED
                    outcomes[asked.draft.row] = _outcome(asked, action, change.ticket)
                    del round_[ticket_id]
                elif conflict.ticket is not None:
                    round_[ticket_id] = asked._replace(ticket=conflict.ticket)
            if not round_:
                return
        raise UnavailableError(
            "another program keeps changing the same tickets", hint="run the same command again later"
        )

    def _change(self, asked: "_Asked") -> Change | None:
        draft, before, category = asked
        at, run_id = ids.now(), self._lease.run_id if self._lease else None
        adds: tuple[Classification, ...] = ()
        if category is None:
            if not before.verdict:
                return None
            ticket = machines(before, self._store.history(before.ticket_id), self._verdicts)
        else:
            if before.verdict and before.category == category and draft.note in (None, before.reason):
                return None
            ticket, answer = self._verdicts.given(before, category, draft.note, at, run_id)
            adds = (answer,)
        ticket = ticket._replace(revision=before.revision + 1, run_id=None)
        # The note stays out of the log: it may repeat the customer's words.
        data = {"category": category, "was": before.category, "status": ticket.status, "decision": ticket.decision_id}
        return Change(Event("verdict", ticket.ticket_id, run_id, self._actor, at, data), ticket, before.revision, adds)


class _Asked(NamedTuple):
    draft: VerdictDraft
    ticket: Ticket
    category: str | None


def _outcome(asked: _Asked, action: Action, ticket: Ticket | None, error: RowError | None = None) -> Outcome[Ticket]:
    return Outcome(asked.draft.row, action, ticket, error, asked.draft)


def _gone(asked: _Asked) -> RowError:
    return RowError(f"{asked.draft.name}: its text was forgotten, so there is nothing to decide", hint="leave it out")


def machines(ticket: Ticket, history: History, verdicts: Verdicts) -> Ticket:
    """Return the ticket as the machine's last decision left it; `new` where there is none about its present text."""
    decision = last_decision(history.events)
    answer = _answer_of(decision, history.classifications)
    if answer is None or (answer.category is not None and verdicts.category(answer.category) != answer.category):
        return reset(ticket)
    suspicious = decision.suspicious if decision else ()
    sure = answer.category is not None and answer.confidence is not None
    sure = sure and not (decision and decision.status == "needs_review")
    sure = sure and (answer.threshold is None or (answer.confidence or 0.0) >= answer.threshold)
    return ticket._replace(
        status="classified" if sure else "needs_review",
        category=answer.category if sure else None,
        suggestion=None if sure else answer.category,
        confidence=answer.confidence,
        confidence_source=answer.confidence_source,
        classifier=answer.classifier,
        reason=held(suspicious, answer.reason) if suspicious else answer.reason,
        verdict=0,
        error=None,
        failures=0,
        decision_id=answer.classification_id,
    )


def _answer_of(decision: Decision | None, answers: Iterable[Classification]) -> Classification | None:
    """Return the machine's answer that a decision rests on, or None where it failed or there is none."""
    for answer in answers:
        if decision and answer.classification_id == decision.classification_id and answer.confidence_source != "human":
            return None if answer.error else answer
    return None
