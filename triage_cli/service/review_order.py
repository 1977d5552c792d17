"""The order of review: the most informative tickets first, so that few verdicts teach a classifier much."""

from collections.abc import Iterator, Mapping

from triage_cli.domain.chunks import chunked
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.ports.classifiers import Ranking
from triage_cli.ports.storage import Store

# How many tickets are ordered together, the least sure first: more than a person reviews in some hours.
WINDOW = 1_000


def lead(chances: Mapping[str, float], confidence: float | None) -> float:
    """Return the margin between the two best categories, 0 to 1, as far as it is known."""
    best = sorted(chances.values(), reverse=True)
    if len(best) > 1:
        return best[0] - best[1]
    return max(0.0, 2 * (confidence or 0.0) - 1)


def queue(store: Store, selection: Selection, labels: frozenset[str], ranked: Ranking) -> Iterator[Ticket]:
    """Yield the tickets that wait for review, in its order, then tickets whose verdict is a category that is gone.

    Each ticket counts by its doubt, 1 less the margin of its suggestion over the next category.
    """
    undecided = selection._replace(statuses=frozenset({"needs_review"}), limit=None, sort="confidence")
    for window in chunked(store.find(undecided), WINDOW):
        answers = store.decisions([t.decision_id for t in window if t.decision_id])
        chances = {answer.ticket_id: answer.chances for answer in answers.values()}
        margins = {t.ticket_id: lead(chances.get(t.ticket_id, {}), t.confidence) for t in window}
        waiting = [t for t in window if t.status == "needs_review"]  # some were decided meanwhile
        waiting.sort(key=lambda t: (margins[t.ticket_id], t.ticket_id))
        order = ranked([t.text for t in waiting], [1 - margins[t.ticket_id] for t in waiting])
        yield from (waiting[index] for index in order)
    for category in store.stats().by_category:
        if category not in labels:
            gone = store.find(selection._replace(categories=(category,), limit=None, order="newest"))
            yield from (ticket for ticket in gone if ticket.verdict)
