"""Finds tickets: one by its name, and those that wait for review in the order in which they teach a classifier most."""

from collections.abc import Iterator, Mapping

from triage_cli.domain import STATUSES, AmbiguousError, Selection, Ticket, chunked, unknown_ticket
from triage_cli.ports import Ranking, Store

SHOWN_MATCHES = 10


def ticket_named(store: Store, name: str) -> Ticket:
    """Return the only ticket with this name. Raises `NotFoundError` or `AmbiguousError`.

    A Message-ID may have its angle brackets, which are not stored (RFC 5322, section 3.6.4).
    """
    tickets_named = store.named(name, SHOWN_MATCHES + 1)
    if not tickets_named and name.startswith("<") and name.endswith(">"):
        tickets_named = store.named(name[1:-1], SHOWN_MATCHES + 1)
    if not tickets_named:
        raise unknown_ticket(name, _name_hint(store, name))
    if len(tickets_named) > 1:
        sources = [(t.ticket_id, " ".join(filter(None, (t.source, t.external_id)))) for t in tickets_named]
        listed = ", ".join(f"{ticket_id} ({source})" for ticket_id, source in sources[:SHOWN_MATCHES])
        raise AmbiguousError(
            f'"{name}" names {len(tickets_named)} tickets: {listed}',
            hint="name it by its ticket_id; the last 8 characters are enough",
        )
    return tickets_named[0]


def _name_hint(store: Store, name: str) -> str:
    """Return a hint for a name that no ticket has; empty without a guess."""
    if name in STATUSES:
        return f"a status is typed as triage list --status {name}"
    return next((f'did you mean "{other}"?' for other in (name.upper(), name.lower()) if store.named(other, 1)), "")


def shares_name(store: Store, ticket: Ticket) -> bool:
    """Return whether a ticket's external id also names another ticket, such as one of another source."""
    return ticket.external_id is not None and len(store.named(ticket.external_id, 2)) > 1


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
        answers = store.answers.decisions([t.decision_id for t in window if t.decision_id])
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
