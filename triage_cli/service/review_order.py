"""The order of review: the most informative tickets first, so that few verdicts teach a classifier much."""

from collections.abc import Iterator, Mapping

from triage_cli.domain import Selection, Ticket, chunked
from triage_cli.ports import Ranking, Store

# How many tickets are ordered together, the least sure first: more than a person reviews in some hours.
WINDOW = 1_000


def review_margin(chances: Mapping[str, float], confidence: float | None) -> float:
    """Return the margin between the two best categories, by which review is ordered: 0 to 1, as far as it is known."""
    best_chances = sorted(chances.values(), reverse=True)
    if len(best_chances) > 1:
        return best_chances[0] - best_chances[1]
    return max(0.0, 2 * (confidence or 0.0) - 1)


def review_queue(store: Store, selection: Selection, labels: frozenset[str], ranked: Ranking) -> Iterator[Ticket]:
    """Yield the tickets that wait for review, in its order, then tickets whose verdict is a category that is gone.

    Each ticket counts by its doubt, 1 less the margin of its suggestion over the next category.
    """
    undecided = selection._replace(statuses=frozenset({"needs_review"}), limit=None, sort="confidence")
    for window in chunked(store.find(undecided), WINDOW):
        answers = store.decisions([t.decision_id for t in window if t.decision_id])
        chances = {answer.ticket_id: answer.chances for answer in answers.values()}
        margins = {t.ticket_id: review_margin(chances.get(t.ticket_id, {}), t.confidence) for t in window}
        to_review = [t for t in window if t.status == "needs_review"]  # some were decided meanwhile
        to_review.sort(key=lambda t: (margins[t.ticket_id], t.ticket_id))
        review_order = ranked([t.text for t in to_review], [1 - margins[t.ticket_id] for t in to_review])
        yield from (to_review[index] for index in review_order)
    for category in store.stats().by_category:
        if category not in labels:
            of_gone_category = store.find(selection._replace(categories=(category,), limit=None, order="newest"))
            yield from (ticket for ticket in of_gone_category if ticket.verdict)
