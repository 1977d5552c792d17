"""Decides imported drafts: each creates or updates a ticket, leaves it unchanged or is rejected; nothing is saved."""

from collections.abc import Mapping

from triage_cli.domain import (
    Action,
    Change,
    Classification,
    Event,
    EventAction,
    Identified,
    RowError,
    Ticket,
    dedup,
    ids,
    threads,
    woken,
)
from triage_cli.service.run_context import Signature, with_request
from triage_cli.service.verdicts import IMPORTED, Verdicts

# The action for an imported draft, its ticket, the change to be saved, and the error of a rejected one.
DecidedDraft = tuple[Action, Ticket | None, Change | None, RowError | None]

EVENT_ACTIONS = {Action.CREATED: EventAction.CREATED, Action.UPDATED: EventAction.UPDATED}


class DraftDecider:
    """Decides drafts; the run `holder` holds new tickets.

    `keeps_category` is None unless the drafts are of a pulled source: whether a ticket keeps its category when its text
    changes.
    """

    def __init__(
        self, verdicts: Verdicts, run_id: str | None, *, holder: str | None = None,
        keeps_category: bool | None = None,
    ) -> None:  # fmt: skip
        self._verdicts = verdicts
        self._run_id = run_id
        self._holder = holder
        self._is_pulled = keeps_category is not None
        self._keeps_category = keeps_category

    def decide(
        self,
        identified_draft: Identified,
        known_ticket: Ticket | None,
        at: str,
        last_verdicts: Mapping[str, str],
        signature: Signature,
        *,
        repeated: bool,
    ) -> DecidedDraft:
        """Decide a draft: return the change of its ticket, or its error, or `known_ticket` if that is unchanged."""
        draft = identified_draft.draft
        error = dedup.oversized(draft)
        verdict = self._verdicts.category_names.match(draft.verdict) if draft.verdict else None
        if draft.verdict and verdict is None:
            error = error or self._verdicts.category_names.unknown(draft.verdict, f"{draft.place}: ")
        if error:
            return Action.REJECTED, None, None, error
        is_single_draft = draft.origin != "row" and identified_draft.counts_occurrences
        if known_ticket is None or is_single_draft:
            ticket = dedup.new_ticket(identified_draft, ids.new_id(), at, self._holder)
            if is_single_draft:  # always a new ticket, which no import updates
                ticket = ticket._replace(identity=f"@{ticket.ticket_id}")
            import_data: Mapping[str, object] = {"source": draft.source, "line": draft.line}
            return self._import_change(ticket, 0, import_data, at, signature, verdict)
        was_forgotten = ids.is_forgotten(known_ticket.identity)
        if repeated and not was_forgotten and identified_draft.content != known_ticket.content_hash:
            return Action.REJECTED, None, None, dedup.repeated(identified_draft)
        if repeated or was_forgotten or dedup.is_outdated(draft, known_ticket, at):
            return Action.UNCHANGED, known_ticket, None, None
        last_verdict = last_verdicts.get(known_ticket.ticket_id)
        if verdict == (last_verdict or (known_ticket.category if known_ticket.verdict else None)):
            verdict = None  # the import repeats itself: a later verdict of a person holds
        updated = dedup.updated_ticket(known_ticket, identified_draft, keeps_category=bool(self._keeps_category))
        if updated is None and verdict is None:
            return Action.UNCHANGED, known_ticket, None, None
        ticket = woken(known_ticket, updated or known_ticket._replace(revision=known_ticket.revision + 1))
        import_data = {"source": draft.source, "line": draft.line, "fields": dedup.changed_fields(known_ticket, ticket)}
        return self._import_change(
            ticket, known_ticket.revision, import_data, at, signature, verdict, last_verdict,
            draft.overruled,
        )  # fmt: skip

    def join_thread(
        self, identified_draft: Identified, known_ticket: Ticket, at: str, signature: Signature
    ) -> DecidedDraft:
        """Decide an imported mail whose thread has a ticket: it joins that ticket."""
        try:
            ticket = threads.joined(known_ticket, identified_draft)
        except RowError as error:
            return Action.REJECTED, None, None, error
        if ticket is None:
            return Action.UNCHANGED, known_ticket, None, None
        fields = dedup.changed_fields(known_ticket, ticket)
        import_data = {"source": identified_draft.draft.source, "fields": fields, "mails": threads.length(ticket)}
        return self._import_change(ticket, known_ticket.revision, import_data, at, signature, None)

    def _import_change(
        self, ticket: Ticket, expected_revision: int, import_data: Mapping[str, object], at: str,
        signature: Signature, verdict: str | None, imported_verdict: str | None = None, overruled: bool = False,
    ) -> tuple[Action, Ticket, Change, None]:  # fmt: skip
        """Return the change to be saved. `imported_verdict` is the last imported verdict of the ticket, if any.

        An imported verdict holds if the ticket has none, or if the import has changed it. Otherwise it is recorded as
        imported, and the person's verdict on the ticket holds.
        """
        action = Action.UPDATED if expected_revision else Action.CREATED
        adds: tuple[Classification, ...] = ()
        if verdict is not None:
            judged_ticket, answer = self._verdicts.with_verdict(ticket, verdict, None, at, self._run_id, step=IMPORTED)
            has_changed = imported_verdict is not None and ticket.category != verdict
            holds = not overruled and (self._is_pulled or has_changed or not ticket.verdict)
            import_data = {**import_data, "verdict" if holds else "said": verdict}
            if holds and ticket.verdict and ticket.category != imported_verdict:
                import_data["was"] = ticket.category  # a person's verdict is overruled by a later one
            ticket, adds = judged_ticket if holds else ticket, (answer,)
        event_data = with_request(import_data, signature.request)
        event = Event(EVENT_ACTIONS[action], ticket.ticket_id, self._run_id, signature.actor, at, event_data)
        return action, ticket, Change(event, ticket, expected_revision, adds), None
