"""Sentences about thresholds, and about the error that they promise."""

from collections.abc import Iterable, Sequence

from triage_cli.domain.classifications import Classification
from triage_cli.domain.evaluation.error_bounds import NEVER, RISK, ErrorBound, StoredBound


def percent(share: float) -> str:
    """Return a share as a percentage, for a sentence."""
    return f"{100 * share:.4g}%"


def shares_apart(low: float, high: float) -> tuple[str, str]:
    """Return a share and a larger one with two decimals, or as many as show which one is larger."""
    decimals = next((n for n in range(2, 17) if f"{low:.{n}f}" != f"{high:.{n}f}"), 17)
    return f"{low:.{decimals}f}", f"{high:.{decimals}f}"


def bound_of(answer: Classification, bounds: Iterable[StoredBound]) -> StoredBound | None:
    """Return the bound by which an answer was judged, if that still is the present one."""
    category_bounds = (bound for bound in bounds if bound.category == answer.category)
    return next((b for b in category_bounds if b.holds_for(answer.fingerprint, answer.threshold)), None)


def threshold_clause(answer: Classification, bounds: Iterable[StoredBound], *, has_next: bool) -> str:
    """Return what followed from comparing an answer with its threshold, and what that threshold promises."""
    if_unsure = "the next step is asked" if has_next else "a person decides"
    if answer.confidence is None or answer.threshold is None:
        return f"it is not sure, so {if_unsure}"
    bound = bound_of(answer, bounds)
    if answer.threshold >= NEVER:
        return f"{_unproven(bound)}, so {if_unsure}"
    promise = _promise(bound) if bound else ""
    if answer.confidence < answer.threshold:
        confidence, threshold = shares_apart(answer.confidence, answer.threshold)
        exact_confidence = "" if len(confidence) == len("0.00") else f"{confidence} is "
        return f"{exact_confidence}below its threshold of {threshold}{promise}, so {if_unsure}"
    then = "; the next step is asked as a control" if has_next else ", so it holds"
    return f"its threshold of {answer.threshold:.2f}{promise} is reached{then}"


def _promise(bound: StoredBound) -> str:
    """Return what a threshold promises, for a sentence."""
    return (
        f" (from there on at most {percent(bound.max_error)} of its {bound.category} is wrong, with {1 - RISK:.0%} "
        f"confidence: {bound.wrong:,} of {bound.labelled:,} labelled tickets were)"
    )


def _unproven(bound: StoredBound | None) -> str:
    if bound is None:
        return "labelled tickets did not prove its max_error then"
    return (
        f"labelled tickets do not prove that at most {percent(bound.max_error)} of its {bound.category} is wrong: "
        f"at least {bound.missing:,} more are missing, all of them right"
    )


def summary(max_error: float, bounds: Iterable[ErrorBound]) -> str:
    """Return which categories keep a promised error from which confidence on, and what the others need."""
    known_bounds = list(bounds)
    sure_from = [f"{b.category} from {b.threshold:.2f}" for b in known_bounds if b.threshold is not None]
    all_sure = len(sure_from) == len(known_bounds)
    return (
        f"at most {percent(max_error)} wrong: sure of {', '.join(sure_from) or 'nothing'}"
        f"{'' if all_sure else f'; more labelled tickets are needed at least for {needs(known_bounds)}'}"
    )


def needs(bounds: Iterable[ErrorBound | StoredBound]) -> str:
    """Return how many more labelled tickets each category without a promise needs at least."""
    return ", ".join(f"{b.category} ({b.missing:,})" for b in bounds if b.threshold is None)


def change_messages(now: Sequence[StoredBound], before: Iterable[StoredBound]) -> Iterable[str]:
    """Yield the messages about bounds that changed: first the promises that no longer hold."""
    bounds_before = {bound.category: bound for bound in before}
    for bound in now:
        was = bounds_before.get(bound.category)
        if bound.threshold is None and was is not None and was.threshold is not None:
            why = (
                "its model, prompt or categories changed"
                if bound.fingerprint != was.fingerprint
                else f"{bound.wrong:,} of {bound.labelled:,} labelled tickets are wrong"
            )
            promise = f"that at most {percent(bound.max_error)} of its {bound.category} is wrong"
            yield f"{bound.classifier} no longer keeps the promise {promise}: {why}; nothing of it is sure now"
    if shortage := needs(now):
        yield f"{now[0].classifier} needs at least so many more labelled tickets to be sure: {shortage}"
