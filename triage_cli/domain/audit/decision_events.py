"""Decisions as the data of events: written into an event, and read back from the last one."""

import json
from collections.abc import Sequence
from typing import Any

from triage_cli.domain.audit.events import EventAction, LoggedEvent
from triage_cli.domain.decisions import Decision, Standing


def decision_data(decision: Decision) -> dict[str, Any]:
    """Return a decision as the data of an event; `last_decision` reads it back."""
    data: dict[str, Any] = {"status": decision.status, "decision": decision.classification_id}
    if decision.suspicious:
        data["suspicious"] = list(decision.suspicious)
    if decision.standing != Standing.HOLDS:
        data["outcome"] = decision.standing.value
    return data


def last_decision(events: Sequence[LoggedEvent]) -> Decision | None:
    """Return the last decision that took effect; None if there is none about the ticket's present text.

    `events` are the ticket's, oldest first. Late answers, answers before a later step, and proposals have no effect.
    """
    for event in reversed(events):
        detail = json.loads(event.detail)
        if event.action == EventAction.UPDATED and {"subject", "description"} & set(detail.get("fields", ())):
            return None
        has_effect = detail.get("outcome") not in (Standing.LATE.value, Standing.NEXT.value)
        if event.action in (EventAction.CLASSIFIED, EventAction.RECLASSIFIED) and has_effect:
            suspicious = tuple(detail.get("suspicious", ()))
            return Decision(detail.get("decision"), detail.get("status", ""), suspicious=suspicious)
    return None
