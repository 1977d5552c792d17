"""Fields that patterns find in the texts of tickets; they are columns of `extra`, as those of an input are."""

from collections.abc import Mapping

from triage_cli.domain.dedup import encoded
from triage_cli.domain.json_values import from_json
from triage_cli.domain.tickets import Ticket, TicketDraft

LONGEST_FIELD = 200  # characters


def extracted(draft: TicketDraft, patterns: Mapping[str, str]) -> dict[str, str | None]:
    """Return the fields in the texts of a draft by their names, null where a pattern finds none.

    A field whose name is a column of the input is left out: the column has its value.
    """
    from triage_cli.domain import linear_patterns  # few configurations have fields

    fields: dict[str, str | None] = {}
    for name, pattern in patterns.items():
        if name not in draft.extra and name not in draft.silent:
            field = linear_patterns.first_match(pattern, (draft.subject, draft.description))
            fields[name] = field.strip()[:LONGEST_FIELD] or None if field else None
    return fields


def with_fields(ticket: Ticket, draft: TicketDraft, patterns: Mapping[str, str]) -> Ticket:
    """Return a ticket that gets its text from a draft, with the fields that stand in it and no former ones."""
    fields = extracted(draft, patterns)
    columns = {name: value for name, value in from_json(ticket.extra).items() if name not in fields}
    return ticket._replace(extra=encoded(columns | {name: value for name, value in fields.items() if value}))


def draft_with_fields(draft: TicketDraft, patterns: Mapping[str, str]) -> TicketDraft:
    """Return a draft as `with_fields` would store it, to be shown."""
    fields = {name: value for name, value in extracted(draft, patterns).items() if value}
    return draft._replace(extra={**draft.extra, **fields}) if fields else draft
