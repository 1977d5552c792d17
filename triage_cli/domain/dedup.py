"""Deduplication of repeated tickets in an import: whether a draft is new, an update or unchanged."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from triage_cli.domain import ids
from triage_cli.domain.errors import RowError
from triage_cli.domain.json_values import compact, encodable, from_json
from triage_cli.domain.mail import parts
from triage_cli.domain.next_steps import Step
from triage_cli.domain.questions import without_answers
from triage_cli.domain.tickets import UNDECIDED, URGENCY, Ticket, TicketDraft
from triage_cli.domain.times import to_seconds

# Bytes of an external id or a customer's id; PostgreSQL cannot have more than 2,700 in an index.
LONGEST_ID = 2000
_SHOWN_ID = 80  # characters of an id in a message
# The key of `extra` with the time of a ticket's last change, where its source names one.
UPDATED_AT = "updated_at"
# Seconds that a stored time of a change may be ahead; a local time read as UTC is ahead by up to 14 hours.
_MOST_AHEAD = 86_400


class Identified(NamedTuple):
    """A draft with the hash of its text and the identity by which the store recognises it.

    With `counts_occurrences`, equal drafts of one input are told apart by their occurrence number. `other_identities`
    are those under which it may be stored with its HTML read in other ways.
    """

    draft: TicketDraft
    content: str
    identity: str
    counts_occurrences: bool
    other_identities: tuple[str, ...] = ()


def identify(draft: TicketDraft) -> Identified:
    """Return a draft with its identity: from its external id, or else from its content."""
    try:
        content = ids.content_hash(draft.subject, draft.description)
        f"{draft.external_id}{draft.customer_id}".encode()
    except UnicodeEncodeError:
        draft = _encodable(draft)
        content = ids.content_hash(draft.subject, draft.description)
    if draft.external_id:
        return Identified(draft, content, ids.external_identity(draft.source, draft.external_id), False)

    def identity_of(hashed: str) -> str:
        return ids.content_identity(draft.source, hashed, draft.customer_id, draft.created_at)

    return Identified(draft, content, identity_of(content), True, tuple(map(identity_of, draft.other_contents)))


def created_at(draft: TicketDraft, at: str) -> str | None:
    """Return when a ticket was created: as the draft says, else the second at which it is stored (`at`).

    None for a row of an export that does not say when.
    """
    return draft.created_at or (None if draft.origin in ("row", "mail") else f"{at[:19]}Z")


def new_ticket(identified: Identified, ticket_id: str, at: str, run_id: str | None) -> Ticket:
    """Return the ticket that a new draft becomes."""
    draft = identified.draft
    return Ticket(
        ticket_id,
        identified.identity,
        draft.source,
        draft.external_id,
        identified.content,
        draft.subject,
        draft.description,
        draft.customer_id,
        draft.priority,
        URGENCY[draft.priority],
        created_at(draft, at),
        at,
        extra_as_json(draft.extra),
        run_id=run_id,
    )


def updated_ticket(known_ticket: Ticket, identified: Identified, *, keeps_category: bool = False) -> Ticket | None:
    """Return the ticket updated from a draft, or None if the draft changes nothing.

    A changed text resets the ticket to `new`, unless it has a verdict or its source `keeps_category`. Columns that this
    export lacks are kept.
    """
    draft = identified.draft
    if f'"{UPDATED_AT}"' in known_ticket.extra and UPDATED_AT not in draft.extra:
        draft = dated(draft, draft.changed_at)  # a later state from elsewhere, such as a pull beside a webhook
    customer_id = draft.customer_id or known_ticket.customer_id
    priority = draft.priority or known_ticket.priority
    created = draft.created_at or known_ticket.created_at
    extra = _merged_extra(known_ticket.extra, draft)
    is_rewritten = identified.content != known_ticket.content_hash
    # The parts of a mail that are left out are those of the former text.
    if is_rewritten and parts.MAIL not in draft.extra and parts.left_out(extra):
        extra = extra_as_json(parts.whole(from_json(extra)))
    known_fields = (known_ticket.customer_id, known_ticket.priority, known_ticket.created_at, known_ticket.extra)
    if not is_rewritten and (customer_id, priority, created, extra) == known_fields:
        return None
    ticket = known_ticket._replace(
        customer_id=customer_id,
        priority=priority,
        urgency=URGENCY[priority],
        created_at=created,
        extra=extra,
        revision=known_ticket.revision + 1,
    )
    if not is_rewritten:
        return ticket
    ticket = ticket._replace(
        content_hash=identified.content, subject=draft.subject, description=draft.description, language=None
    )
    return without_answers(ticket) if known_ticket.verdict or keeps_category else reset(ticket)


def dated(draft: TicketDraft, changed_at: str | None) -> TicketDraft:
    """Return a draft with the time of its last change, which is kept so that no older state replaces it."""
    if changed_at is None:
        return draft
    return draft._replace(changed_at=changed_at, extra={**draft.extra, UPDATED_AT: changed_at})


def is_outdated(draft: TicketDraft, known_ticket: Ticket, at: str) -> bool:
    """Return whether a draft is an older state of a ticket than the stored one: events may come out of order.

    A stored time that is far ahead of the present (`at`) is no time of a change, and no later state waits for it.
    """
    if draft.changed_at is None or f'"{UPDATED_AT}"' not in known_ticket.extra:
        return False
    try:
        return (
            to_seconds(draft.changed_at)
            < to_seconds(from_json(known_ticket.extra)[UPDATED_AT])
            < to_seconds(at) + _MOST_AHEAD
        )
    except (KeyError, TypeError, ValueError):  # a column of that name from elsewhere
        return False


def reset(ticket: Ticket) -> Ticket:
    """Return a ticket whose text has changed, without its answers."""
    return without_answers(without_category(ticket))


def without_category(ticket: Ticket) -> Ticket:
    """Return a ticket whose category is to be asked again."""
    return ticket._replace(**UNDECIDED, status="new", classifier=None, error=None, failures=0, decision_id=None)


def changed_fields(before: Ticket, after: Ticket) -> list[str]:
    """Return the names of the fields that an import changed, for the audit log."""
    imported = ("subject", "description", "customer_id", "priority", "created_at", "extra", "status")
    return [field for field in imported if getattr(before, field) != getattr(after, field)]


def repeated(identified: Identified) -> RowError:
    """Return the error for an external id that occurs twice in an input, with different texts."""
    draft = identified.draft
    return RowError(
        f'{draft.place}: the id "{_shown_id(draft.external_id or "")}" is already in this input, with another text',
        hint=f"if this column holds no ids, {Step.NO_ID}",
    )


def oversized(draft: TicketDraft) -> RowError | None:
    """Return the error for an id that is too long to be stored, None if both can be stored."""
    for field, name in (("external_id", draft.external_id), ("customer_id", draft.customer_id)):
        if name and len(name) * 4 > LONGEST_ID and len(name.encode("utf-8", "replace")) > LONGEST_ID:
            too_long = f'{field} has more than {LONGEST_ID:,} bytes: "{_shown_id(name)}"'
            hint = f"if this is no id, name the right column {Step(f'with --map {field}=COLUMN')}"
            return RowError(f"{draft.place}: {too_long}", hint=hint) if draft.line else RowError(too_long)
    return None


def _shown_id(name: str) -> str:
    return name if len(name) <= _SHOWN_ID else f"{name[:_SHOWN_ID]}…"


def _merged_extra(known_extra: str, draft: TicketDraft) -> str:
    """Return the extra columns of a ticket and its draft: what the import lacks is kept, what is empty there goes."""
    draft_extra = extra_as_json(draft.extra)
    if known_extra in (draft_extra, "{}"):
        return draft_extra
    columns = {**from_json(known_extra), **from_json(draft_extra)}
    return extra_as_json({name: value for name, value in columns.items() if name not in draft.silent})


def extra_as_json(extra: Mapping[str, Any]) -> str:
    """Return the extra columns of a draft as JSON."""
    return encodable(compact(extra)) if extra else "{}"


def _encodable(draft: TicketDraft) -> TicketDraft:
    """Return a draft without lone surrogates, which JSON may contain and databases refuse."""
    encodable_texts: dict[str, Any] = {
        field: encodable(value) for field, value in draft._asdict().items() if isinstance(value, str)
    }
    return draft._replace(**encodable_texts)
