"""Items of a source that triage itself filed there, by a delivery: they are no tickets.

Where a destination makes what a source lists, each run would file what the last one had filed, without an end.
"""

import re
from enum import Enum

from triage_cli.domain.deliveries import Delivery
from triage_cli.domain.json_values import from_json

_DELIVERY_ID = re.compile(r"\bmsg_[0-9a-f]{32}(?![0-9a-f])")


class Nearness(Enum):
    """How near a destination files to what a source lists, as far as the configuration tells."""

    SAME_PLACE = "same place"  # under one address
    SAME_HOST = "same host"  # or it is not known where
    ELSEWHERE = "elsewhere"


def delivery_ids_in(item: object) -> tuple[str, ...]:
    """Return what looks like the id of a delivery in any text of an item, each once."""
    return tuple(dict.fromkeys(_DELIVERY_ID.findall(repr(item))))


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
