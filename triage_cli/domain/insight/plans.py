"""Plans: what a new configuration would change, by moves, volumes and accuracy, and what `reclassify` would."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from triage_cli.domain.classifications import ClassifyPlan

# What stands in a plan for the destinations of a ticket that no rule matches, or that a person decides.
PERSON, NOWHERE = "(a person decides)", "(no rule matches)"


class NewConfiguration(NamedTuple):
    """The files of a new configuration: a whole one, or None for the present one, and its rules if they stand alone.

    One that was `sent` over the network starts no program.
    """

    config: str | None
    routes: str | None = None
    sent: bool = False


class Move(NamedTuple):
    """A ticket that would get another category or other destinations; `pages` if a new one of these pages somebody."""

    ticket_id: str
    external_id: str | None
    status: str
    old: str | None
    new: str | None
    old_to: tuple[str, ...]
    new_to: tuple[str, ...]
    pages: bool
    old_confidence: float | None
    new_confidence: float | None
    classifier: str | None
    reason: str | None


class Volume(NamedTuple):
    """How many of the tickets a destination gets before and after, and whether it pages somebody."""

    destination: str
    before: int
    after: int
    pages: bool


class PlanAccuracy(NamedTuple):
    """How many of `labelled` tickets, those with a verdict, the classifiers of both configurations answer rightly."""

    labelled: int
    right_before: int
    right_after: int


class Plan(NamedTuple):
    """The comparison of two configurations on stored tickets.

    `older` tickets were written before those that are compared. `moved` leaves out those that get a category below
    theirs and the same destinations. `unasked` tickets have no stored answer of the new classifier, and are counted as
    if it left them as they are. To ask about them is estimated to cost `cost_usd` (None without a price). `matrix`
    counts the moves by old and new category. `escalations` are the new configuration's, each with how many stored
    tickets it would be about now, were it not new.
    """

    tickets: int
    older: int
    moved: int
    unasked: int
    cost_usd: float | None
    destinations: tuple[Volume, ...]
    matrix: tuple[tuple[str | None, str | None, int], ...]
    accuracy: PlanAccuracy
    moves: tuple[Move, ...]
    escalations: tuple[tuple[str, int], ...] = ()

    @property
    def share(self) -> float:
        """Return the share of the tickets that would move."""
        return self.moved / self.tickets if self.tickets else 0.0


def plan_record(plan: Plan) -> dict[str, Any]:
    """Return the JSON record of a plan, with all its moves."""
    return plan._asdict() | {
        "share": round(plan.share, 4),
        "accuracy": plan.accuracy._asdict(),
        "destinations": [volume._asdict() for volume in plan.destinations],
        "escalations": dict(plan.escalations),
        "moves": [move._asdict() for move in plan.moves],
    }


def volumes(before: Counter[str], after: Counter[str], pagers: Iterable[str]) -> tuple[Volume, ...]:
    """Return the volumes, those that page first, then by how much they change."""
    pager_names = set(pagers)
    volume_of_each = (Volume(name, before[name], after[name], name in pager_names) for name in {*before, *after})
    return tuple(sorted(volume_of_each, key=lambda v: (not v.pages, -abs(v.after - v.before), v.destination)))


class ReclassifyPlan(NamedTuple):
    """The options of `reclassify`. `apply` carries out all flips, or none if there are more than `max_flips`.

    `max_flips` is a number, or a share of the tickets that are reclassified, such as `2%`. With `doubted`, a machine's
    label without a sure answer waits for a person, else it stays. `reroute` also routes tickets again that were routed.
    With `force` in `classify`, answers overrule verdicts; stored answers are reused all the same.
    """

    classify: ClassifyPlan = ClassifyPlan()
    apply: bool = False
    max_flips: str | None = None
    reroute: bool = False
    doubted: bool = False


class Flip(NamedTuple):
    """A ticket's present category (`old`) and the one answered by `reclassify` (`new`, None: no sure answer)."""

    ticket_id: str
    external_id: str | None
    status: str
    old: str | None
    new: str | None
    old_confidence: float | None
    new_confidence: float | None
    old_classifier: str | None
    new_classifier: str | None
    old_reason: str | None
    new_reason: str | None
    applied: bool = False
