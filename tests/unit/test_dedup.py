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
