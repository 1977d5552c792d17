"""The dry run of an import: what each row would do to an empty database."""

from collections.abc import Iterable, Iterator
from contextlib import closing

from triage_cli.domain import Action, Identified, Outcome, Rejected, TicketDraft, TriageError, bounded, dedup, mail_of
from triage_cli.runtime import OccurrenceCounter
from triage_cli.service.category_names import CategoryNames


def import_dry_run(
    rows: Iterable[TicketDraft | Rejected], category_names: CategoryNames | None
) -> Iterator[Outcome[TicketDraft]]:
    """Yield what an import of these rows into an empty database would do, in their order.

    An id that comes again is unchanged, or rejected if its text is another than that of the first row with it. So is a
    verdict that is no category, if `category_names` has the categories. A mail of a known thread updates its ticket.
    """
    with closing(OccurrenceCounter()) as met_identities, closing(OccurrenceCounter()) as first_texts:
        for chunk in bounded(rows):
            row_errors = {row.row: error for row in chunk if (error := _row_error(row, category_names))}
            with_id = [
                dedup.identify(r)
                for r in chunk
                if type(r) is TicketDraft and r.external_id and r.origin != "mail" and r.row not in row_errors
            ]
            met_before = met_identities.count([i.identity for i in with_id])
            first_texts.count([_with_text(i) for i, n in zip(with_id, met_before, strict=True) if not n])
            repeated = [i for i, n in zip(with_id, met_before, strict=True) if n]
            is_equal = first_texts.counted([_with_text(i) for i in repeated])
            repeated_rows = {i.draft.row for i in repeated}
            row_errors |= {
                i.draft.row: dedup.repeated(i) for i, equal in zip(repeated, is_equal, strict=True) if not equal
            }
            accepted = [r for r in chunk if type(r) is TicketDraft and r.row not in row_errors]
            mails = [(draft, mail) for draft in accepted if draft.origin == "mail" and (mail := mail_of(draft.extra))]
            in_threads = met_identities.count([dedup.identify(draft).identity for draft, _ in mails])
            copies = first_texts.count([mail.message_id for _, mail in mails])
            reply_rows = {draft.row for (draft, _), n in zip(mails, in_threads, strict=True) if n}
            repeated_rows |= {draft.row for (draft, _), n in zip(mails, copies, strict=True) if n}
            for row in chunk:
                if isinstance(row, Rejected) or row.row in row_errors:
                    yield Outcome(row.row, Action.REJECTED, None, row_errors[row.row], row)
                else:
                    new_action = Action.UPDATED if row.row in reply_rows else Action.CREATED
                    yield Outcome(row.row, Action.UNCHANGED if row.row in repeated_rows else new_action, row)


def _row_error(row: TicketDraft | Rejected, category_names: CategoryNames | None) -> TriageError | None:
    """Return why a row is rejected whatever the others are."""
    if isinstance(row, Rejected):
        return row.error
    if error := dedup.oversized(row):
        return error
    if category_names is None or not row.verdict or category_names.match(row.verdict):
        return None
    return category_names.unknown(row.verdict, f"{row.place}: ")


def _with_text(identified: Identified) -> str:
    return f"{identified.identity}\0{identified.content}"
