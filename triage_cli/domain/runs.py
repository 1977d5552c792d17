"""Runs of bulk commands: their record, and their lease on tickets."""

from datetime import datetime
from typing import Annotated, NamedTuple

LEASE_SECONDS = 60.0
# The kinds of runs that take up a ticket of a status.
TAKEN_UP_BY: dict[str, tuple[str, ...]] = {
    "new": ("classify", "run"),
    "failed": ("classify", "run"),
    "classified": ("route", "run"),
    "routing": ("route", "run"),
}


# The kinds of runs that import tickets. What a server stores for single requests is none of them.
IMPORT_KINDS = ("create", "run", "pull")
LAST_IMPORT = "last"  # names the last import of an actor


class Lease(NamedTuple):
    """A run's hold on its tickets, for `LEASE_SECONDS` of the store's clock.

    A lease carries what its run has spent and reserved, in USD (None: unchanged), so that the money of a killed run
    counts.
    """

    run_id: str
    spent: float | None = None
    reserved: float | None = None


class Held(NamedTuple):
    """The tickets that a run still holds, and whether its lease was `unbroken` up to now."""

    ticket_ids: frozenset[str]
    unbroken: bool


class Run(NamedTuple):
    """One run of a bulk command; `command_line` holds no secrets; `pid` is 0 if there is no process to check.

    `served` is 1 if a server began it, for a request or in the background. `import_id` is the same for all runs of one
    import: those of several files or sources, or of the requests of one upload.
    """

    run_id: Annotated[str, "its id, which events have too"]
    kind: Annotated[str, "the command"]
    actor: Annotated[str, "who called it"]
    command_line: str
    started_at: Annotated[str, "when it began", datetime]
    host: Annotated[str, "the machine"] = ""
    pid: Annotated[int, "its process"] = 0
    spent: float = 0.0
    reserved: float = 0.0
    ended_at: Annotated[str | None, "when it ended", datetime | None] = None
    counts: Annotated[str, "the number of tickets by result", dict[str, int]] = "{}"
    exit_code: Annotated[int | None, "how it ended"] = None
    summary: str | None = None
    parcel: str = ""  # identifies the request that began it, if it may be repeated
    served: int = 0
    import_id: str = ""


def rounded_usd(amount: float) -> float:
    """Return a run's cost without the noise of floating-point numbers, which begins far below a token's price."""
    return round(amount, 12)


class Trace(NamedTuple):
    """A ticket that an import `made`, or else changed."""

    ticket_id: str
    made: bool


class InputPart(NamedTuple):
    """What the earlier parts of an input did, if it comes in several requests.

    `met` is the number of known ids, `others` of those that would have got the text of another ticket, `rows` of all
    rows; `spent` is USD. `parcel` identifies the request, so that a repetition is recognised. `import_id` is what the
    client calls the whole import; only runs of one actor belong together by it.
    """

    met: int = 0
    others: int = 0
    rows: int = 0
    spent: float = 0.0
    parcel: str = ""
    import_id: str = ""


WHOLE = InputPart()
