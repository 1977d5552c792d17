"""Identities: finds the stored tickets that the drafts of an input belong to."""

from collections.abc import Iterable, Mapping
from contextlib import closing

from triage_cli.domain import Identified, OtherTicketsGuard, Rejected, Selection, TicketDraft, bounded, dedup, ids
from triage_cli.ports import Store
from triage_cli.runtime import OccurrenceCounter


def with_ticket_identities(store: Store, identified_drafts: list[Identified]) -> list[Identified]:
    """Return the drafts; one whose external id is a ticket id of this store gets the identity of that ticket.

    Mails do not, since whoever writes one chooses its ids. A ticket that another store exported gets back the source
    and the external id that it had there.
    """
    named_ids = {i.draft.external_id or "" for i in identified_drafts if _may_name_a_ticket(i.draft)}
    if not named_ids:
        return identified_drafts
    identities_by_id = {t.ticket_id: t.identity for t in store.find(Selection(ids=tuple(named_ids)))}
    return [_with_ticket_identity(i, identities_by_id) if _may_name_a_ticket(i.draft) else i for i in identified_drafts]


def _with_ticket_identity(identified: Identified, identities_by_id: Mapping[str, str]) -> Identified:
    draft = identified.draft
    if identity := identities_by_id.get(draft.external_id or ""):
        return identified._replace(identity=identity)
    if draft.exported is None:
        return identified
    source, external_id = draft.exported
    return dedup.identify(draft._replace(source=source, external_id=external_id, exported=None))


def _may_name_a_ticket(draft: TicketDraft) -> bool:
    return draft.origin != "mail" and ids.is_ticket_id(draft.external_id or "")


def check_against_others(store: Store, drafts: Iterable[TicketDraft | Rejected]) -> None:
    """Raise `InputError` if the drafts seem to be other tickets under known ids; nothing is stored."""
    guard, source = OtherTicketsGuard(), ""
    with closing(OccurrenceCounter()) as seen_identities:
        for chunk in bounded(drafts):
            identified_drafts = with_ticket_identities(
                store, [dedup.identify(d) for d in chunk if type(d) is TicketDraft and d.external_id]
            )
            seen_before = seen_identities.count([identified.identity for identified in identified_drafts])
            known_tickets = store.known([identified.identity for identified in identified_drafts])
            for identified, n in zip(identified_drafts, seen_before, strict=True):
                if not n and identified.identity in known_tickets:
                    guard.meet(known_tickets[identified.identity], identified)
            source = identified_drafts[0].draft.source if identified_drafts else source
    guard.judge(source)
