"""Reclassification: the plan of `reclassify`, and the flips that it finds."""

from typing import NamedTuple

from triage_cli.domain.classifications import ClassifyPlan


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
