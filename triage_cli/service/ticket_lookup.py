"""Finds tickets: one by its name, and those that wait for review in the order in which they teach a classifier most."""

from collections.abc import Iterator, Mapping
from itertools import dropwhile, islice

from triage_cli import domain as dm
from triage_cli.ports import Ranking, Store

SHOWN_MATCHES = 10


def ticket_named(store: Store, name: str) -> dm.Ticket:
    """Return the only ticket with this name. Raises `NotFoundError` or `AmbiguousError`.

    A Message-ID may have its angle brackets, which are not stored (RFC 5322, section 3.6.4).
    """
    tickets_named = store.named(name, SHOWN_MATCHES + 1)
    if not tickets_named and name.startswith("<") and name.endswith(">"):
        tickets_named = store.named(name[1:-1], SHOWN_MATCHES + 1)
    if not tickets_named:
        raise dm.unknown_ticket(name, _name_hint(store, name))
    if len(tickets_named) > 1:
        sources = [(t.ticket_id, " ".join(filter(None, (t.source, t.external_id)))) for t in tickets_named]
        listed = ", ".join(f"{ticket_id} ({source})" for ticket_id, source in sources[:SHOWN_MATCHES])
        raise dm.AmbiguousError(
            f'"{name}" names {len(tickets_named)} tickets: {listed}',
            hint="name it by its ticket_id; the last 8 characters are enough",
        )
    return tickets_named[0]


def _name_hint(store: Store, name: str) -> str:
    """Return a hint for a name that no ticket has; empty without a guess."""
    if name in dm.STATUSES:
        return f"a status is typed as {dm.Step.LIST_BY_STATUS} {name}"
    return next((f'did you mean "{other}"?' for other in (name.upper(), name.lower()) if store.named(other, 1)), "")


def shares_name(store: Store, ticket: dm.Ticket) -> bool:
    """Return whether a ticket's external id also names another ticket, such as one of another source."""
    return ticket.external_id is not None and len(store.named(ticket.external_id, 2)) > 1


# How many tickets are ordered together, the least sure first: more than a person reviews in some hours. Of long letters
# they are fewer, since who waits for the first one waits for the order of all.
WINDOW, WINDOW_CHARACTERS = 1_000, 200_000


def review_margin(chances: Mapping[str, float], confidence: float | None) -> float:
    """Return the margin between the two best categories, by which review is ordered: 0 to 1, as far as it is known."""
    best_chances = sorted(chances.values(), reverse=True)
    if len(best_chances) > 1:
        return best_chances[0] - best_chances[1]
    return max(0.0, 2 * (confidence or 0.0) - 1)


def review_page(queue: Iterator[tuple[dm.Ticket, str]], limit: int) -> dm.ReviewPage:
    """Return the first page of a review queue."""
    found = list(islice(queue, limit + 1))
    return dm.ReviewPage([ticket for ticket, _ in found[:limit]], found[limit - 1][1] if len(found) > limit else "")


# In a place of the review queue: behind all windows.
GONE = "gone"


def review_queue(
    store: Store, selection: dm.Selection, labels: frozenset[str], ranked: Ranking
) -> Iterator[tuple[dm.Ticket, str]]:
    """Yield the tickets that wait for review, in its order, then tickets whose verdict is a category that is gone.

    Each comes with the place behind it, at which a selection goes on by `after`: the confidence and id of the ticket
    before the window, and the id of the last ticket. A window whose last ticket was decided meanwhile begins anew.
    """
    start, _, last = selection.after.rpartition(":")
    undecided = selection._replace(statuses=frozenset({"needs_review"}), limit=WINDOW, sort="confidence")
    while start != GONE and (window := _window(store.find(undecided._replace(after=start)))):
        to_review = [t for t in window if t.status == "needs_review"]  # some were decided meanwhile
        in_order = _in_review_order(store, to_review, ranked)
        if any(ticket.ticket_id == last for ticket in to_review):
            in_order = _behind(in_order, last)
        end = f"{-1.0 if window[-1].confidence is None else window[-1].confidence!r}:{window[-1].ticket_id}"
        for number, ticket in in_order:
            yield ticket, f"{end}:" if number == len(to_review) else f"{start}:{ticket.ticket_id}"
        start, last = end, ""
    gone = tuple(category for category in store.stats().by_category if category not in labels)
    if gone and selection.verdict is not False:
        after = last if start == GONE else ""
        decided = selection._replace(categories=gone, verdict=True, limit=None, order="newest", after=after)
        yield from ((ticket, f"{GONE}:{ticket.ticket_id}") for ticket in store.find(decided))


def _behind(numbered: Iterator[tuple[int, dm.Ticket]], last: str) -> Iterator[tuple[int, dm.Ticket]]:
    return islice(dropwhile(lambda item: item[1].ticket_id != last, numbered), 1, None)


def _window(tickets: Iterator[dm.Ticket]) -> list[dm.Ticket]:
    """Return the tickets that are ordered together, the first ones of those that wait."""
    window, characters = list[dm.Ticket](), 0
    for ticket in tickets:
        window.append(ticket)
        characters += ticket.size
        if characters >= WINDOW_CHARACTERS:
            break
    return window


def _in_review_order(store: Store, tickets: list[dm.Ticket], ranked: Ranking) -> Iterator[tuple[int, dm.Ticket]]:
    """Yield tickets in the order of review, numbered from 1.

    Each ticket counts by its doubt, 1 less the margin of its suggestion over the next category.
    """
    answers = store.answers.decisions([t.decision_id for t in tickets if t.decision_id])
    chances = {answer.ticket_id: answer.chances for answer in answers.values()}
    margins = {t.ticket_id: review_margin(chances.get(t.ticket_id, {}), t.confidence) for t in tickets}
    tickets.sort(key=lambda t: (margins[t.ticket_id], t.ticket_id))
    review_order = ranked([t.text for t in tickets], [1 - margins[t.ticket_id] for t in tickets])
    return enumerate((tickets[index] for index in review_order), 1)
