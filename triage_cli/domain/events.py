"""Events of the audit log, before and after they are chained, and the decisions about tickets that they record."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum, StrEnum
from typing import Annotated, Any, NamedTuple

from triage_cli.domain.tickets import CATEGORY, WholeNumber


class EventAction(StrEnum):
    """What an event records. The values are stored; `triage logs --action` takes them."""

    # Events of a ticket
    CREATED = "created"  # a ticket was stored
    UPDATED = "updated"  # a ticket's text or its fields were changed by an import
    CLASSIFIED = "classified"  # a classifier answered, or failed to
    VERDICT = "verdict"  # a person decided a ticket's category, or took the verdict back
    PRECEDENT_ENDED = "precedent_ended"  # the verdict on the same text that a ticket followed holds no more
    SUGGESTED = "suggested"  # an agent suggested a category
    ROUTED = "routed"  # the destinations of a ticket's rule were chosen
    ADDED = "added"  # deliveries were added by a rule before the classification, or by an escalation
    UNROUTABLE = "unroutable"  # no rule matched a ticket
    DELIVERED = "delivered"  # a destination accepted a ticket
    DELIVERY_FAILED = "delivery_failed"  # an attempt failed, and another one is due
    DEAD_LETTER = "dead_letter"  # an attempt failed, and it was the last one
    DESTINATION_OFF = "destination_off"  # a destination is gone: nothing is sent there until `route --retry-dead`
    PROPOSED = "proposed"  # a new answer was stored that does not hold yet
    RECLASSIFIED = "reclassified"  # a new answer replaced the one before

    # Events of a provider's batch
    SUBMITTED = "submitted"  # a ticket was put into a batch
    RETURNED = "returned"  # a ticket came back without an answer
    BATCH_OPENED = "batch_opened"  # a batch's tickets are gathered
    BATCH_SENT = "batch_sent"  # a batch is about to be sent
    BATCH_SUBMITTED = "batch_submitted"  # the provider has a batch
    BATCH_ENDED = "batch_ended"  # a batch's answers are stored
    BATCH_RETURNED = "batch_returned"  # a batch ended without answers

    # Events of models, categories, data and keys
    LABELLED = "labelled"  # labelled texts were stored
    LABELS_ERASED = "labels_erased"  # labelled texts were forgotten, or taken back
    LEARNED = "learned"  # a version of the model was stored
    ROLLED_BACK = "rolled_back"  # an earlier version is in use again
    CALIBRATED = "calibrated"  # a calibration of confidence was stored
    BOUNDED = "bounded"  # thresholds were set for a maximum error
    SPIKES = "spikes"  # spikes were found
    RENAMED = "renamed"  # a category has another name
    FORGOTTEN = "forgotten"  # a ticket's text was erased
    WITHDRAWN = "withdrawn"  # a ticket was taken back with the import that had made it
    RESTORED = "restored"  # a backup replaced the database
    KEY_CREATED = "key_created"
    KEY_ROTATED = "key_rotated"
    KEY_REVOKED = "key_revoked"


class Event(NamedTuple):
    """An event to be written to the audit log; `data` holds names, numbers and hashes, never text of a ticket.

    `action` is an `EventAction`, or what the audit log of another version has.
    """

    action: str
    ticket_id: str | None
    run_id: str | None
    actor: str
    at: str
    data: Mapping[str, Any] = {}

    def with_data(self, **more: object) -> "Event":
        """Return the event with `more` in its data."""
        return self._replace(data={**self.data, **more})


class LoggedEvent(NamedTuple):
    """One line of the audit log.

    The detail is canonical JSON.
    """

    seq: Annotated[int, "its number; the first one is 1"]
    timestamp: Annotated[str, "when it was recorded", datetime]
    action: Annotated[str, "what happened: created, classified, routed, delivered, …"]
    ticket_id: Annotated[str | None, "the ticket; null: it is about none"]
    actor: Annotated[str, "who did it"]
    run_id: Annotated[str | None, "the run that did it; null: a single request"]
    detail: Annotated[str, "what belongs to the action", dict[str, Any]]
    prev: Annotated[str, "the hash of the event before it"]
    hash: Annotated[str, "SHA-256 of this event and `prev`"]


# The values of a `LoggedEvent`, by which a whole log is verified: to make the record takes as long as half a hash.
EventRow = tuple[int, str, str, str | None, str, str | None, str, str, str]


class Head(NamedTuple):
    """The head of the audit log: kept elsewhere, it proves later that nothing before it was changed."""

    head: Annotated[str, "the hash of the last event"]
    events: Annotated[int, "how many there are"]


class EventQuery(NamedTuple):
    """A selection of events: of one of `actions`, the last ones (`limit`), those with a higher `seq` than `after`."""

    ticket_id: str | None = None
    actions: tuple[str, ...] = ()
    actor: str | None = None
    since: str | None = None
    until: str | None = None
    limit: WholeNumber | None = None
    after: WholeNumber = 0


class Standing(Enum):
    """Whether a recorded answer decides its ticket. The values are the `outcome` of events; "" is not written."""

    HOLDS = ""  # it decides
    NEXT = "next"  # it does not, because a later step is asked
    LATE = "late"  # it does not, because its ticket changed while the classifier was asked
    FURTHER = "further"  # it does not, because it answers further questions alone


class Decision(NamedTuple):
    """The result of recording an answer: the ticket's `status`, and the id of the answer that holds, if any.

    `suspicious` names text addressed to the classifier, for which even a sure answer waits for a person. With
    `overrules`, the ticket had a verdict, and does not have it any more.
    """

    classification_id: str | None
    status: str
    standing: Standing = Standing.HOLDS
    suspicious: tuple[str, ...] = ()
    overrules: bool = False


def decision_data(decision: Decision) -> dict[str, Any]:
    """Return a decision as the data of an event of the audit log; `last_decision` reads it back."""
    event_data: dict[str, Any] = {"status": decision.status, "decision": decision.classification_id}
    if decision.suspicious:
        event_data["suspicious"] = list(decision.suspicious)
    if decision.standing != Standing.HOLDS:
        event_data["outcome"] = decision.standing.value
    return event_data


def last_decision(events: Sequence[LoggedEvent], question: str = CATEGORY) -> Decision | None:
    """Return the last decision of a question in a ticket's events that took effect; None if its text is another now.

    `events` are the ticket's, oldest first. Late answers, answers before a later step, and proposals decide nothing.
    """
    for event in reversed(events):
        detail = json.loads(event.detail)
        if event.action == EventAction.PRECEDENT_ENDED and detail.get("question", CATEGORY) == question:
            return None
        if event.action == EventAction.UPDATED and {"subject", "description"} & set(detail.get("fields", ())):
            return None
        is_decisive = detail.get("outcome") not in (Standing.LATE.value, Standing.NEXT.value)
        if event.action not in (EventAction.CLASSIFIED, EventAction.RECLASSIFIED) or not is_decisive:
            continue
        if question != CATEGORY:
            if answer := detail.get("answers", {}).get(question):
                return Decision(answer.get("decision"), "", suspicious=tuple(answer.get("suspicious", ())))
        elif detail.get("outcome") != Standing.FURTHER.value:
            status = "classified" if detail.get("open") else detail.get("status", "")  # of the category alone
            return Decision(detail.get("decision"), status, suspicious=tuple(detail.get("suspicious", ())))
    return None
