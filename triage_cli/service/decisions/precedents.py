"""Finds the precedents of tickets before a classifier is asked, and ends what follows one that has changed."""

from collections.abc import Mapping, Sequence

from triage_cli.domain import (
    CATEGORY,
    CHUNK,
    PRECEDENT,
    Answer,
    Change,
    Event,
    EventAction,
    Lease,
    Precedent,
    Selection,
    SharedText,
    Suspicion,
    Ticket,
    dedup,
    folded_digest,
    times,
)
from triage_cli.ports import Store
from triage_cli.service.runs import with_request


class Precedents:
    """Finds the precedents in one list of categories; `names` gives stored categories their names in it."""

    def __init__(
        self, store: Store, labels: frozenset[str], suspicion: Suspicion, names: Mapping[str, str] = {}
    ) -> None:
        self._store = store
        self._labels = labels
        self._suspicion = suspicion
        self._names = names

    def of(self, tickets: Sequence[Ticket]) -> dict[str, Precedent]:
        """Return the precedents of those tickets that have one, by ticket id.

        None has one that has a verdict or no text, or whose text addresses the classifier; nor has any where people
        decided the same text differently.
        """
        if not self._store.precedents.any():
            return {}
        digests = {t.ticket_id: folded_digest(t.text) for t in tickets if not (t.verdict or t.is_erased)}
        precedents = self._of_digests({digest for digest in digests.values() if digest})
        found = {
            t.ticket_id: precedents[digests[t.ticket_id]] for t in tickets if digests.get(t.ticket_id) in precedents
        }
        suspicious = {t.ticket_id for t in tickets if t.ticket_id in found and self._suspicion.found(t.text)}
        return {ticket_id: precedent for ticket_id, precedent in found.items() if ticket_id not in suspicious}

    def answers(self, tickets: Sequence[Ticket], run_id: str | None, actor: str) -> list[Answer]:
        """Return the answers that their precedents give to tickets that are asked for their category."""
        asked = [t for t in tickets if CATEGORY in t.asked]
        precedents = self.of(asked)
        return [precedents[t.ticket_id].answer(t, run_id, actor) for t in asked if t.ticket_id in precedents]

    def _of_digests(self, digests: set[str]) -> dict[str, Precedent]:
        shared = self._store.precedents.of_texts(sorted(digests)) if digests else []
        agreed = {}
        for digest, texts in by_digest(shared).items():
            categories = {self._names.get(text.category, text.category) for text in texts}
            if len(categories) == 1 and categories <= self._labels:
                agreed[digest] = texts[0]
        ids = tuple(text.ticket_id for text in agreed.values())
        tickets = {t.ticket_id: t for t in self._store.find(Selection(ids=ids))} if ids else {}
        verdicts = self._store.answers.decisions([t.decision_id for t in tickets.values() if t.decision_id])
        precedents = {}
        for digest, text in agreed.items():
            ticket = tickets.get(text.ticket_id)
            verdict = verdicts.get(ticket.decision_id or "") if ticket else None
            if ticket and ticket.verdict and verdict and not self._suspicion.found(ticket.text):
                category = self._names.get(text.category, text.category)
                giver = "a person" if verdict.is_imported else verdict.actor
                precedents[digest] = Precedent(digest, category, ticket, verdict.classification_id, giver)
        return precedents


def by_digest(shared: Sequence[SharedText]) -> dict[str, list[SharedText]]:
    """Return what people decided, by the digest of the text."""
    texts: dict[str, list[SharedText]] = {}
    for text in shared:
        texts.setdefault(text.digest, []).append(text)
    return texts


def follows(ticket: Ticket, precedents: Mapping[str, Precedent]) -> bool:
    """Return whether a ticket has its category from one of the precedents, which are by ticket id."""
    if ticket.confidence_source != PRECEDENT or ticket.ticket_id not in precedents:
        return False
    return precedents[ticket.ticket_id].category == ticket.category


# How often followers are ended again because other programs keep changing them; the next run does what is left.
END_TRIES = 5


def end_followers(store: Store, actor: str, lease: Lease | None = None) -> None:
    """Have the next run ask about tickets whose precedent is gone, or in dispute: they lose its category.

    What was delivered stays known, so that nothing is sent twice if the category comes back.
    """
    for digest, mark in store.precedents.changed().items():
        texts = store.precedents.of_texts([digest])
        in_force = texts[0] if len({text.category for text in texts}) == 1 else None
        for _ in range(END_TRIES):
            conflicts = False
            for followers in store.precedents.followers(digest, CHUNK):
                changes = list(_endings(store, followers, in_force, actor, lease))
                conflicts |= any(store.save(changes, lease))
            if not conflicts:
                store.precedents.dealt_with(digest, mark)
                break


def _endings(
    store: Store, followers: Sequence[Ticket], in_force: SharedText | None, actor: str, lease: Lease | None
) -> list[Change]:
    """Return the changes that end what follows another precedent than the one in force."""
    followed = store.answers.decisions([t.decision_id for t in followers if t.decision_id])
    verdicts = store.answers.decisions([answer.reused for answer in followed.values() if answer.reused])
    changes = []
    for ticket in followers:
        answer = followed.get(ticket.decision_id or "")
        verdict = verdicts.get(answer.reused or "") if answer else None
        if in_force and verdict and (ticket.category, verdict.ticket_id) == (in_force.category, in_force.ticket_id):
            continue
        ended = dedup.without_category(ticket)._replace(revision=ticket.revision + 1, run_id=None)
        data = {"was": ticket.category, "status": ended.status, "precedent": verdict.ticket_id if verdict else None}
        run_id = lease.run_id if lease else None
        event = Event(EventAction.PRECEDENT_ENDED, ticket.ticket_id, run_id, actor, times.now(), with_request(data))
        changes.append(Change(event, ended, ticket.revision))
    return changes
