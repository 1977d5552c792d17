"""Finds the stored tickets that an input's drafts belong to."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

from triage_cli.domain import dedup, ids
from triage_cli.domain.chunks import bounded
from triage_cli.domain.dedup import Identified, RewriteGuard
from triage_cli.domain.errors import TriageError
from triage_cli.domain.mail.parts import mail_of
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Rejected, Selection, Ticket, TicketDraft
from triage_cli.ports.storage import Store
from triage_cli.runtime.occurrence_counter import OccurrenceCounter
from triage_cli.service.verdicts import Verdicts


def named(store: Store, identified_drafts: list[Identified]) -> list[Identified]:
    """Return the drafts; one whose external id is a ticket id of this store gets the identity of that ticket.

    Mails do not, since whoever writes one chooses its ids. A ticket that another store exported gets back the source
    and the external id that it had there.
    """
    ticket_ids = {i.draft.external_id or "" for i in identified_drafts if _may_name_a_ticket(i.draft)}
    if not ticket_ids:
        return identified_drafts
    identities_by_id = {t.ticket_id: t.identity for t in store.find(Selection(ids=tuple(ticket_ids)))}
    return [_named(i, identities_by_id) if _may_name_a_ticket(i.draft) else i for i in identified_drafts]


def _named(identified: Identified, identities_by_id: Mapping[str, str]) -> Identified:
    draft = identified.draft
    if identity := identities_by_id.get(draft.external_id or ""):
        return identified._replace(identity=identity)
    if draft.exported is None:
        return identified
    source, external_id = draft.exported
    return dedup.identify(draft._replace(source=source, external_id=external_id, exported=None))


def _may_name_a_ticket(draft: TicketDraft) -> bool:
    return draft.origin != "mail" and ids.is_ticket_id(draft.external_id or "")


def known_as(store: Store, identity: str) -> Ticket | None:
    """Return the ticket with an identity, even if it was forgotten."""
    gone = ids.forgotten(identity)
    known_tickets = store.known([identity, gone])
    return known_tickets.get(identity) or known_tickets.get(gone)


def foreseen(rows: Iterable[TicketDraft | Rejected], verdicts: Verdicts | None) -> Iterator[Outcome[TicketDraft]]:
    """Yield what an import of these rows into an empty database would do, in their order.

    An id that comes again is unchanged, or rejected if its text is another than that of the first row with it. So is a
    verdict that is no category, if `verdicts` knows the categories. A mail of a known thread updates its ticket.
    """
    with closing(OccurrenceCounter()) as ids_met, closing(OccurrenceCounter()) as first_texts:
        for chunk in bounded(rows):
            errors = {row.row: error for row in chunk if (error := _error(row, verdicts))}
            with_id = [
                dedup.identify(r)
                for r in chunk
                if type(r) is TicketDraft and r.external_id and r.origin != "mail" and r.row not in errors
            ]
            before = ids_met.count([i.identity for i in with_id])
            first_texts.count([_with_text(i) for i, n in zip(with_id, before, strict=True) if not n])
            repeated = [i for i, n in zip(with_id, before, strict=True) if n]
            is_equal = first_texts.counted([_with_text(i) for i in repeated])
            repeats = {i.draft.row for i in repeated}
            errors |= {i.draft.row: dedup.repeated(i) for i, equal in zip(repeated, is_equal, strict=True) if not equal}
            accepted = [r for r in chunk if type(r) is TicketDraft and r.row not in errors]
            mails = [(draft, mail) for draft in accepted if draft.origin == "mail" and (mail := mail_of(draft.extra))]
            in_threads = ids_met.count([dedup.identify(draft).identity for draft, _ in mails])
            copies = first_texts.count([mail.message_id for _, mail in mails])
            replies = {draft.row for (draft, _), n in zip(mails, in_threads, strict=True) if n}
            repeats |= {draft.row for (draft, _), n in zip(mails, copies, strict=True) if n}
            for row in chunk:
                if isinstance(row, Rejected) or row.row in errors:
                    yield Outcome(row.row, Action.REJECTED, None, errors[row.row], row)
                else:
                    action = Action.UPDATED if row.row in replies else Action.CREATED
                    yield Outcome(row.row, Action.UNCHANGED if row.row in repeats else action, row)


def _error(row: TicketDraft | Rejected, verdicts: Verdicts | None) -> TriageError | None:
    """Return why a row is rejected whatever the others are."""
    if isinstance(row, Rejected):
        return row.error
    if error := dedup.oversized(row):
        return error
    if verdicts is None or not row.verdict or verdicts.category(row.verdict):
        return None
    return verdicts.unknown(row.verdict, f"{row.place}: ")


def _with_text(identified: Identified) -> str:
    return f"{identified.identity}\0{identified.content}"


def check_rewritten(store: Store, drafts: Iterable[TicketDraft | Rejected]) -> None:
    """Raise `InputError` if the drafts seem to be other tickets under known ids; nothing is stored."""
    met = rewritten = 0
    source = ""
    with closing(OccurrenceCounter()) as seen:
        for chunk in bounded(drafts):
            identified_drafts = named(
                store, [dedup.identify(d) for d in chunk if type(d) is TicketDraft and d.external_id]
            )
            before = seen.count([identified.identity for identified in identified_drafts])
            identified_drafts = [identified for identified, n in zip(identified_drafts, before, strict=True) if not n]
            known = store.known([identified.identity for identified in identified_drafts])
            met += len(known)
            rewritten += sum(
                known[i.identity].content_hash != i.content for i in identified_drafts if i.identity in known
            )
            source = identified_drafts[0].draft.source if identified_drafts else source
    guard = RewriteGuard()
    guard.add(met, rewritten)
    if doubt := guard.doubt(source):
        raise doubt
