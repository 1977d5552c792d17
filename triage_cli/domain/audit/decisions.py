"""Decisions: what a recorded answer did to its ticket, and how an event of the audit log records that."""

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

from triage_cli.domain.audit.events import EventAction, LoggedEvent


class Standing(Enum):
    """Whether a recorded answer decides its ticket. The values are the `outcome` of events; "" is not written."""

    HOLDS = ""  # it decides
    NEXT = "next"  # it does not, because a later step is asked
    LATE = "late"  # it does not, because its ticket changed while the classifier was asked


class Decision(NamedTuple):
    """The result of recording an answer: the ticket's `status`, and the id of the answer that holds, if any.

    `suspicious` names text addressed to the classifier, for which even a sure answer waits for a person.
    """

    classification_id: str | None
    status: str
    standing: Standing = Standing.HOLDS
    suspicious: tuple[str, ...] = ()


def decision_data(decision: Decision) -> dict[str, Any]:
    """Return a decision as the data of an event of the audit log; `last_decision` reads it back."""
    event_data: dict[str, Any] = {"status": decision.status, "decision": decision.classification_id}
    if decision.suspicious:
        event_data["suspicious"] = list(decision.suspicious)
    if decision.standing != Standing.HOLDS:
        event_data["outcome"] = decision.standing.value
    return event_data


def last_decision(events: Sequence[LoggedEvent]) -> Decision | None:
    """Return the last decision in a ticket's events that took effect; None if none is about its present text.

    `events` are the ticket's, oldest first. Late answers, answers before a later step, and proposals decide nothing.
    """
    for event in reversed(events):
        detail = json.loads(event.detail)
        if event.action == EventAction.UPDATED and {"subject", "description"} & set(detail.get("fields", ())):
            return None
        is_decisive = detail.get("outcome") not in (Standing.LATE.value, Standing.NEXT.value)
        if event.action in (EventAction.CLASSIFIED, EventAction.RECLASSIFIED) and is_decisive:
            suspicious = tuple(detail.get("suspicious", ()))
            return Decision(detail.get("decision"), detail.get("status", ""), suspicious=suspicious)
    return None
