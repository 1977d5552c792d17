"""What an import makes of one draft."""

from typing import Literal

import pytest

from triage_cli.domain import dedup, ids
from triage_cli.domain.tickets import TicketDraft

AT = "2026-11-24T17:30:41.123Z"


@pytest.mark.parametrize(
    ("origin", "given", "expected"),
    [
        ("row", None, None),
        ("typed", None, "2026-11-24T17:30:41Z"),
        ("request", None, "2026-11-24T17:30:41Z"),
        ("row", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("typed", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_when_a_ticket_was_created_is_decided_in_one_place(
    origin: Literal["row", "typed", "request"], given: str | None, expected: str | None
) -> None:
    draft = TicketDraft(subject="Refund?", created_at=given, origin=origin)
    assert dedup.new_ticket(dedup.identify(draft), ids.new_id(), AT, None).created_at == expected


def test_an_event_is_old_too_if_a_pull_has_brought_a_later_state() -> None:
    def identified(subject: str, at: str, *, event: bool) -> dedup.Identified:
        draft = TicketDraft(subject=subject, external_id="7", source="desk", changed_at=at)
        return dedup.identify(dedup.dated(draft, at) if event else draft)

    stored = dedup.new_ticket(identified("first", "2026-11-01T10:00:00Z", event=True), ids.new_id(), "now", None)
    pulled = dedup.updated_ticket(stored, identified("third", "2026-11-01T12:00:00Z", event=False))
    assert pulled is not None
    late = identified("second", "2026-11-01T11:00:00Z", event=True)
    assert dedup.is_outdated(late.draft, pulled, AT)
    assert not dedup.is_outdated(late.draft, stored, AT)
