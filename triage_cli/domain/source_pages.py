"""Pages of drafts that are pulled from a source, up to where it was read, and which of its items triage filed itself.

Such items are no tickets: where a destination makes what a source lists, each run would file what the last one had
filed, without an end.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from triage_cli.domain.deliveries import Delivery
from triage_cli.domain.json_values import from_json
from triage_cli.domain.tickets import Rejected, TicketDraft


class SourceCursor(NamedTuple):
    """The position up to which a source was read; `position` is JSON that only its own reader understands."""

    source: str
    position: str
    saved_at: str


class SourcePage(NamedTuple):
    """One page of a source: the drafts of one of its answers.

    `position` is where the next pull continues once these drafts and all before them are stored (None: the position of
    an earlier page stays). `progress` is the share of the list that was read, if known. `goes_on` tells that the next
    pull continues behind these drafts; else the position keeps no place, and it begins where this one began.
    """

    drafts: Sequence[TicketDraft | Rejected]
    position: str | None = None
    progress: float | None = None
    goes_on: bool = True


class PullPlan(NamedTuple):
    """The options of a pull: items changed since a time (None: since the last pull), a limit, everything again.

    The limit counts new and changed tickets, and lets the page end that reaches it. `deadline` is the most seconds that
    a pull from a source may take, with its pauses.
    """

    since: str | None = None
    limit: int | None = None
    full: bool = False
    deadline: float | None = None


_DELIVERY_ID = re.compile(r"\bmsg_[0-9a-f]{32}(?![0-9a-f])")


class Nearness(Enum):
    """How near a destination files to what a source lists, as far as the configuration tells."""

    SAME_PLACE = "same place"  # under one address
    SAME_HOST = "same host"  # or it is not known where
    ELSEWHERE = "elsewhere"


def delivery_ids_in(item: object) -> tuple[str, ...]:
    """Return what looks like the id of a delivery in any text of an item, each once."""
    text = repr(item)
    # To look for the plain beginning first is ten times as fast, and nearly no item has it.
    return tuple(dict.fromkeys(_DELIVERY_ID.findall(text))) if "msg_" in text else ()


def is_filed_by(delivery: Delivery, external_id: str, nearness: Nearness) -> bool:
    """Return whether a delivery may have made the item with this id, in which its own id stands.

    People may copy the id of a delivery into a ticket of theirs. So what the destination answered decides. While that
    is not known, since the answer is on its way or was lost, the item is the delivery's if it stands in the same place.
    """
    if nearness == Nearness.ELSEWHERE:
        return False
    kept_values = from_json(delivery.kept).values() if delivery.kept else ()
    if kept_values:
        return any(_is_id(str(value), external_id) for value in kept_values)
    return nearness == Nearness.SAME_PLACE and (delivery.state == "pending" or delivery.arrived)


def _is_id(kept: str, external_id: str) -> bool:
    """Return whether a kept value is an item's id, or the last part of a joined one."""
    return external_id == kept or external_id.endswith(f"#{kept}")
