"""Finds the precedents of tickets before a classifier is asked, and ends what follows one that has changed."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from triage_cli import domain as dm
from triage_cli.ports import Store
from triage_cli.service.runs import with_request


class Precedents:
    """Finds the precedents by question: of each its `labels`, and the `names` that stored ones have among them."""

    def __init__(
        self,
        store: Store,
        labels: Mapping[str, frozenset[str]],
        suspicion: dm.Suspicion,
        names: Mapping[str, Mapping[str, str]] = {},
    ) -> None:
        self._store = store
        self._labels = labels
        self._suspicion = suspicion
        self._names = names

    def of(self, tickets: Sequence[dm.Ticket], question: str = dm.CATEGORY) -> dict[str, dm.Precedent]:
        """Return the precedents for a question of those tickets that have one, by ticket id.

        None has one that has a verdict on it or no text, or whose text addresses the classifier; nor has any where
        people decided the same text differently.
        """
        if not self._store.precedents.any():
            return {}
        undecided = [t for t in tickets if not (t.is_erased or dm.given_answer(t, question).verdict)]
        digests = {t.ticket_id: dm.folded_digest(t.text) for t in undecided}
        precedents = self._of_digests({digest for digest in digests.values() if digest}, question)
        found = {
            t.ticket_id: precedents[digests[t.ticket_id]] for t in tickets if digests.get(t.ticket_id) in precedents
        }
        suspicious = {t.ticket_id for t in tickets if t.ticket_id in found and self._suspicion.found(t.text)}
        return {ticket_id: precedent for ticket_id, precedent in found.items() if ticket_id not in suspicious}

    def answers(self, tickets: Sequence[dm.Ticket], run_id: str | None = None, actor: str = "") -> list[dm.Answer]:
        """Return the answers that their precedents give to the questions that tickets are asked."""
        given = []
        for question in self._labels:
            if asked := [t for t in tickets if question in t.asked]:
                precedents = self.of(asked, question)
                given += [precedents[t.ticket_id].answer(t, run_id, actor) for t in asked if t.ticket_id in precedents]
        return given

    def _of_digests(self, digests: set[str], question: str) -> dict[str, dm.Precedent]:
        shared = self._store.precedents.of_texts(sorted(digests), question) if digests else []
        names = self._names.get(question, {})
        agreed = {}
        for digest, texts in dm.grouped(shared, lambda text: text.digest).items():
            categories = {names.get(text.category, text.category) for text in texts}
            if len(categories) == 1 and categories <= self._labels[question]:
                agreed[digest] = texts[0]
        ids = tuple(text.ticket_id for text in agreed.values())
        tickets = {t.ticket_id: t for t in self._store.find(dm.Selection(ids=ids))} if ids else {}
        given = {ticket_id: dm.given_answer(ticket, question) for ticket_id, ticket in tickets.items()}
        verdicts = self._store.answers.decisions([g.decision_id for g in given.values() if g.verdict and g.decision_id])
        precedents = {}
        for digest, text in agreed.items():
            ticket = tickets.get(text.ticket_id)
            verdict = verdicts.get(given[ticket.ticket_id].decision_id or "") if ticket else None
            if ticket and verdict and not self._suspicion.found(ticket.text):
                category = names.get(text.category, text.category)
                precedents[digest] = dm.Precedent(digest, question, category, ticket, verdict)
        return precedents


def follows(ticket: dm.Ticket, precedents: Mapping[str, dm.Precedent]) -> bool:
    """Return whether a ticket has its answer from one of the precedents for a question, which are by ticket id."""
    precedent = precedents.get(ticket.ticket_id)
    given = dm.given_answer(ticket, precedent.question) if precedent else dm.UNANSWERED
    return precedent is not None and (given.confidence_source, given.value) == (dm.PRECEDENT, precedent.category)


# How often followers are ended again because other programs keep changing them; the next run does what is left.
END_TRIES = 5


def end_followers(store: Store, required: Collection[str], actor: str, lease: dm.Lease | None = None) -> None:
    """Have the next run ask about tickets whose precedent is gone, or in dispute: they lose its answer.

    What was delivered stays known, so that nothing is sent twice if the answer comes back. `required` are the questions
    without whose answer a ticket waits.
    """
    for digest, question, mark in store.precedents.changed():
        texts = store.precedents.of_texts([digest], question)
        in_force = texts[0] if len({text.category for text in texts}) == 1 else None
        for _ in range(END_TRIES):
            conflicts = False
            for followers in store.precedents.followers(digest, question, dm.CHUNK):
                endings = _endings(store, followers, question, in_force)
                changes = [_ended(ticket, question, verdict, required, actor, lease) for ticket, verdict in endings]
                conflicts |= any(store.save(changes, lease))
            if not conflicts:
                store.precedents.dealt_with(digest, question, mark)
                break


def _endings(
    store: Store, followers: Sequence[dm.Ticket], question: str, in_force: dm.SharedText | None
) -> Iterator[tuple[dm.Ticket, dm.Classification | None]]:
    """Yield the tickets that follow another precedent than the one in force, with its verdict if that is known."""
    given = {ticket.ticket_id: dm.given_answer(ticket, question) for ticket in followers}
    followed = store.answers.decisions([answer.decision_id for answer in given.values() if answer.decision_id])
    verdicts = store.answers.decisions([answer.reused for answer in followed.values() if answer.reused])
    for ticket in followers:
        value, answer = given[ticket.ticket_id].value, followed.get(given[ticket.ticket_id].decision_id or "")
        verdict = verdicts.get(answer.reused or "") if answer else None
        if not in_force or not verdict or (value, verdict.ticket_id) != (in_force.category, in_force.ticket_id):
            yield ticket, verdict


def _ended(
    ticket: dm.Ticket,
    question: str,
    verdict: dm.Classification | None,
    required: Collection[str],
    actor: str,
    lease: dm.Lease | None,
) -> dm.Change:
    """Return the change that takes from a ticket the answer that it has from a verdict on the same text."""
    ended = (
        dm.dedup.without_category(ticket)
        if question == dm.CATEGORY
        else dm.settled_by(dm.with_given(ticket, {question: dm.UNANSWERED}), required)
    )._replace(revision=ticket.revision + 1, run_id=None)
    data: dict[str, Any] = {"was": dm.given_answer(ticket, question).value, "status": ended.status}
    data |= {"precedent": verdict.ticket_id if verdict else None}
    data |= {"question": question} if question != dm.CATEGORY else {}
    run_id = lease.run_id if lease else None
    event = dm.Event(
        dm.EventAction.PRECEDENT_ENDED, ticket.ticket_id, run_id, actor, dm.times.now(), with_request(data)
    )
    return dm.Change(event, ended, ticket.revision)
