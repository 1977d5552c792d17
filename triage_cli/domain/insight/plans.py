"""Plans: what a new configuration would change, by moves, volumes and accuracy, and what `reclassify` would."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from triage_cli.domain.classifications import ClassifyPlan, Name
from triage_cli.domain.json_values import as_record
from triage_cli.domain.tickets import CATEGORY
from triage_cli.domain.wire_values import Limits

# What stands in a plan for the destinations of a ticket that no rule matches, or that a person decides.
PERSON, NOWHERE = "(a person decides)", "(no rule matches)"


class NewConfiguration(NamedTuple):
    """The files of a new configuration: a whole one, or None for the present one, and its rules if they stand alone.

    One that was `sent` over the network starts no program and names no file.
    """

    config: str | None
    routes: str | None = None
    sent: bool = False


class Move(NamedTuple):
    """A ticket that would get another category or other destinations."""

    ticket_id: Annotated[str, "the ticket's id"]
    external_id: Annotated[str | None, "its id elsewhere"]
    status: Annotated[str, "its status"]
    old: Annotated[str | None, "its category"]
    new: Annotated[str | None, "the category that it would get; null: a person would decide"]
    old_to: Annotated[tuple[str, ...], "its destinations"]
    new_to: Annotated[tuple[str, ...], "the destinations that it would get"]
    pages: Annotated[bool, "whether a new one of these pages somebody"]
    old_confidence: Annotated[float | None, "how sure its answer was"]
    new_confidence: Annotated[float | None, "how sure the new answer is"]
    classifier: Annotated[str | None, "the classifier that gave the new answer"]
    reason: Annotated[str | None, "why, in its words"]


class Volume(NamedTuple):
    """How many of the tickets a destination gets."""

    destination: Annotated[str, "its name"]
    before: Annotated[int, "by the present configuration"]
    after: Annotated[int, "by the new one"]
    pages: Annotated[bool, "whether it pages somebody"]


class PlanAccuracy(NamedTuple):
    """How right both classifiers are on tickets with a verdict."""

    labelled: Annotated[int, "such tickets"]
    right_before: Annotated[int, "on how many the present classifier is right"]
    right_after: Annotated[int, "on how many the new one is"]


class Plan(NamedTuple):
    """The comparison of two configurations on stored tickets.

    `moved` leaves out those that get a category below theirs and the same destinations. `escalations` are the new
    configuration's, each with how many stored tickets it would be about now, were it not new.
    """

    tickets: Annotated[int, "the tickets that were compared"]
    older: Annotated[int, "those written before"]
    moved: Annotated[int, "those that would move"]
    unasked: Annotated[int, "those without a stored answer, which are counted as they are"]
    cost_usd: Annotated[float | None, "about what asking about them costs; null: unknown"]
    destinations: Annotated[tuple[Volume, ...], "their volumes, those that page somebody first"]
    matrix: Annotated[tuple[tuple[str | None, str | None, int], ...], "moves by old and new category"]
    accuracy: Annotated[PlanAccuracy, "on verdicts"]
    moves: Annotated[tuple[Move, ...], "those that page somebody first"]
    escalations: tuple[tuple[str, int], ...] = ()

    @property
    def share(self) -> float:
        """Return the share of the tickets that would move."""
        return self.moved / self.tickets if self.tickets else 0.0


def plan_record(plan: Plan) -> dict[str, Any]:
    """Return the JSON record of a plan, with all its moves."""
    return {**as_record(plan), "share": round(plan.share, 4), "escalations": dict(plan.escalations)}


def volumes(before: Counter[str], after: Counter[str], pagers: Iterable[str]) -> tuple[Volume, ...]:
    """Return the volumes, those that page first, then by how much they change."""
    pager_names = set(pagers)
    volume_of_each = (Volume(name, before[name], after[name], name in pager_names) for name in {*before, *after})
    return tuple(sorted(volume_of_each, key=lambda v: (not v.pages, -abs(v.after - v.before), v.destination)))


class ReclassifyPlan(NamedTuple):
    """The options of `reclassify`. `apply` carries out all flips, or none if there are more than `max_flips`.

    `max_flips` is a number, or a share of the tickets that are reclassified, such as `2%`. With `doubted`, a machine's
    label without a sure answer waits for a person, or widens to the upper level that is sure; else it stays. `reroute`
    also routes tickets again that were routed. With `force` in `classify`, answers overrule verdicts; stored answers
    are reused all the same. `question` is the one that is asked again, by the classifier of `classify`.
    """

    classify: Annotated[ClassifyPlan, "how to ask"] = ClassifyPlan()
    apply: Annotated[bool, "apply the answers, all or none"] = False
    max_flips: Annotated[
        Annotated[str, Limits(0, 20)] | None, "with more, nothing changes: a number, or a share such as 2%"
    ] = None
    reroute: Annotated[bool, "also route tickets again that were routed"] = False
    doubted: Annotated[
        bool,
        "tickets without a sure answer now wait for a person, also routed ones; those that are sure of an "
        "upper level only get that one",
    ] = False
    question: Annotated[Name, "the name of the question; category without it"] = CATEGORY


class Flip(NamedTuple):
    """A ticket's present category (`old`) and the one answered by `reclassify` (`new`, None: no sure answer).

    Where another question was asked, both are its values.
    """

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
