"""The line in which `logs` shows an event."""

from collections.abc import Mapping
from typing import Any

import pytest

from triage_cli.cli import summary


@pytest.mark.parametrize(
    ("action", "detail", "expected"),
    [
        ("created", {"source": "import", "line": 5}, "import, line 5"),
        ("created", {"source": "api"}, "api"),
        ("updated", {"fields": ["subject"]}, "subject changed"),
        (
            "updated",
            {"source": "import", "line": 3, "fields": ["subject", "extra"], "verdict": "Billing", "was": "General"},
            "import, line 3: subject, extra changed, verdict Billing instead of General",
        ),
        ("updated", {"source": "desk", "line": 0, "fields": [], "said": "Billing"},
         "desk: Billing was given; a person's verdict stays"),
        ("updated", {"source": "inbox", "fields": ["extra"], "mails": 3}, "inbox: extra changed, 3 mails"),
        (
            "classified",
            {"category": "Billing", "confidence": 0.87, "classifier": "local", "threshold": 0.6, "decision": "x"},
            "Billing 0.87, by local",
        ),
        (
            "classified",
            {"suggestion": "A", "confidence": 0.54, "classifier": "local", "threshold": 0.6, "status": "needs_review"},
            "A? 0.54 (needs 0.60), by local: needs review",
        ),
        (
            "classified",
            {"suggestion": "A", "confidence": 0.5977, "classifier": "gpt", "threshold": 0.6, "status": "needs_review"},
            "A? 0.598 (needs 0.600), by gpt: needs review",
        ),
        ("classified", {"classifier": "gpt", "status": "failed"}, "no category, by gpt: failed"),
        (
            "classified",
            {"category": "Billing", "confidence": 0.87, "classifier": "local", "overruled": "General"},
            "Billing 0.87, by local, instead of the verdict General",
        ),
        ("verdict", {"category": "General", "note": 'they "want" it'}, 'General: "they \\"want\\" it", by ada'),
        ("verdict", {"category": None}, "taken back, by ada"),
        ("suggested", {"category": "Billing", "agent": "claude", "decision": "x"}, "Billing?, by agent claude of ada"),
        (
            "routed",
            {"category": "Billing", "to": ["pager", "billing"], "rule": "routes.Billing", "config": "83e7"},
            "Billing -> pager, billing (routes.Billing)",
        ),
        ("unroutable", {"category": "Spam", "config": "83e7"}, "no rule matches Spam"),
        ("delivered", {"destination": "billing", "attempt": 2, "response": 200}, "billing, attempt 2, answer 200"),
        ("dead_letter", {"destination": "billing", "attempt": 7}, "billing, attempt 7"),
        ("forgotten", {}, "by ada"),
        ("learned", {"version": 2, "nothing": None}, "version: 2"),
    ],
)  # fmt: skip
def test_event_is_told_in_a_line(action: str, detail: Mapping[str, Any], expected: str) -> None:
    assert summary(action, detail, "ada") == expected
