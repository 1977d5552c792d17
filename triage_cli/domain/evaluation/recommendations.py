"""What measured answers recommend, and how much more labels would send: the last two lines of `eval` and `learn`."""

from collections.abc import Sequence
from random import Random
from typing import Annotated, NamedTuple

from triage_cli.domain.evaluation.confidence_intervals import at_most
from triage_cli.domain.evaluation.error_bounds import (
    NEVER,
    OVERALL,
    RISK,
    ErrorBound,
    GradedLevel,
    MaxError,
    in_percent,
    missing_answers,
    overall_bound,
)
from triage_cli.domain.evaluation.measured_thresholds import DOUBT, MOST_WRONG
from triage_cli.domain.next_steps import Step

MORE_LABELS = 50  # that a forecast is about
WIDEST = 0.25  # a range of shares that says something
# A share falls by no more than this with further labels, and rises by no more than this and half of what it rose by
# before: so it was in some nine of ten weeks of public sets (`benchmarks/weeks.py`).
FALL, RISE, REPEATED = 0.1, 0.08, 0.5
RESAMPLED, TAIL = 20, 2  # draws of labelled answers, and how many of them are below a range, and above it


class Recommendation(NamedTuple):
    """What measured answers say of the threshold, or of the promise, that holds for a classifier."""

    threshold: Annotated[float | None, "the threshold that holds; null: nothing is sure, or a promise sets it"]
    answers: Annotated[int, "measured answers that reach it"]
    wrong: Annotated[int, "how many of these are wrong"]
    max_error: Annotated[
        float | None, "the promise to make in its place, or the one that is made; null: it is borne out"
    ]
    missing: Annotated[int, "further labelled tickets that it needs at least; 0: it is proven, or borne out"]
    promised: Annotated[bool, "whether the configuration makes this promise already"] = False

    @property
    def sentence(self) -> str:
        """Return what to do, in a line."""
        of_them = f"{self.wrong:,} of {self.answers:,} measured answers from there on are wrong"
        if self.max_error is None:
            more = f"; at least {self.missing:,} more of them, all right, bear it out" if self.missing else ""
            return f"keep {self.threshold:.2f}, {'so far' if more else 'it is borne out'}: {of_them}{more}"
        promise, needed = f"max_error: {in_percent(self.max_error)}", f"at least {self.missing:,} more labelled tickets"
        if self.promised:
            return f"{promise} is proven" if not self.missing else f"{promise} needs {needed} ({Step.CALIBRATE})"
        proof = f"it needs {needed}" if self.missing else "these labels prove it"
        because = f": {of_them}" if self.threshold is not None and self.answers else ""
        in_place = "" if self.threshold is None else f" in place of {self.threshold:.2f}"
        return f"put {promise}{in_place}{because}; {proof}"


class Forecast(NamedTuple):
    """Which share of tickets is sure, and which would be with `labels` more labels: a range, or nothing yet."""

    labels: Annotated[int, "further labels"]
    now: Annotated[float, "the share of tickets that is sure now"]
    low: Annotated[float | None, "the least share with these labels; null: it is too early to tell"]
    high: Annotated[float | None, "the largest share with them"]

    @property
    def sentence(self) -> str:
        """Return it in a line."""
        then = f"{self.low:.0%} to {self.high:.0%}" if self.low is not None else "it is too early to tell"
        return f"{self.now:.0%} of the tickets are sure now; with {self.labels} more labels: {then}"

    def at(self, now: float) -> "Forecast":
        """Return the forecast for other tickets, of which this share is sure now."""
        low, high = self.low, self.high
        if low is None or high is None:
            return self._replace(now=now)
        return _forecast(now, now + low - self.now, now + high - self.now)


def recommended(
    answers: Sequence[tuple[float, bool]], threshold: float, promise: MaxError | None = None, *, prove: bool = True
) -> Recommendation:
    """Return what answers, (confidence, right), say of a threshold.

    With `prove`, they may prove a promise, too; answers by which a model was chosen do not. `promise` is one that the
    configuration makes, and that they have not proven.
    """
    provers = [[GradedLevel(OVERALL, *answer)] for answer in answers] if prove else []
    if promise is not None:
        return promised_recommendation(promise.share, [overall_bound(provers, promise.share)])
    rights = [right for confidence, right in answers if confidence >= threshold]
    found = Recommendation(
        threshold if threshold < NEVER else None, len(rights), len(rights) - sum(rights), max_error=None, missing=0
    )
    if rights and threshold < NEVER and found.wrong <= MOST_WRONG * found.answers:
        is_borne_out = at_most(found.wrong, found.answers, MOST_WRONG) <= DOUBT
        missing = 0 if is_borne_out else missing_answers(found.answers, found.wrong, MOST_WRONG, DOUBT)
        return found._replace(missing=missing)
    return found._replace(max_error=MOST_WRONG, missing=overall_bound(provers, MOST_WRONG).missing)


def promised_recommendation(share: float, bounds: Sequence[ErrorBound]) -> Recommendation:
    """Return what is missing of a promise that is made, by the bounds that were found for it."""
    is_proven = any(bound.threshold is not None for bound in bounds)
    missing = 0 if is_proven else min((bound.missing for bound in bounds), default=missing_answers(0, 0, share, RISK))
    return Recommendation(None, 0, 0, share, missing, promised=True)


def grown_forecast(before: float, now: float, learned: int) -> Forecast:
    """Return the forecast of a model that was sure of `before`, and has learned so many labels since."""
    if not now:  # such as where a version is sure of nothing, or nothing is proven of it yet
        return unknown_forecast(now)
    growth = max(now - before, 0.0) * MORE_LABELS / max(learned, MORE_LABELS)
    return _forecast(now, now - FALL, now + REPEATED * growth + RISE)


def unknown_forecast(now: float) -> Forecast:
    """Return the forecast where nothing says what labels would change."""
    return Forecast(MORE_LABELS, now, None, None)


def proven_forecast(answers: Sequence[tuple[float, bool]], max_error: float, now: float) -> Forecast:
    """Return the share that a promise would let through with more labelled answers like these.

    The range holds the present share, which levels above an answer may raise.
    """
    if not answers:
        return unknown_forecast(now)
    chance, shares = Random(0), []  # noqa: S311 - draws, and no secret
    for _ in range(RESAMPLED):
        drawn = chance.choices(answers, k=len(answers) + MORE_LABELS)
        threshold = overall_bound([[GradedLevel(OVERALL, *answer)] for answer in drawn], max_error).threshold
        sure = 0 if threshold is None else sum(confidence >= threshold for confidence, _ in drawn)
        shares.append(sure / len(drawn))
    shares.sort()
    return _forecast(now, min(shares[TAIL], now), max(shares[-1 - TAIL], now))


def _forecast(now: float, low: float, high: float) -> Forecast:
    low, high = max(low, 0.0), min(high, 1.0)
    return unknown_forecast(now) if high - low > WIDEST else Forecast(MORE_LABELS, now, low, high)
