"""Imports drafts as tickets, a chunk at a time: each is created, updated, unchanged or rejected."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

from triage_cli.domain import (
    Action,
    Change,
    Conflict,
    Identified,
    OtherTicketsGuard,
    Outcome,
    Rejected,
    SourceCursor,
    Ticket,
    TicketDraft,
    TriageError,
    UnavailableError,
    bounded,
    dedup,
    ids,
    outdated,
    threads,
    times,
)
from triage_cli.ports import Store
from triage_cli.runtime import OccurrenceCounter
from triage_cli.service.intake.corrections import PulledFrom
from triage_cli.service.intake.draft_decider import DraftDecider
from triage_cli.service.intake.identities import with_ticket_identities
from triage_cli.service.run_context import Signature, request_id
from triage_cli.service.verdicts import Verdicts, is_imported

# How often imported drafts that conflict with another program are decided again.
IMPORT_TRIES = 5


class Intake:
    """Stores drafts for one actor. With `hold`, the run `run_id` holds the new tickets.

    `guard` stops an import of other tickets, and continues the counts of the earlier parts of an input; without one,
    known ids get whatever text comes. `pulled` is for drafts of a pulled source.
    """

    def __init__(
        self, store: Store, actor: str, verdicts: Verdicts, run_id: str | None,
        *, hold: bool = False, guard: OtherTicketsGuard | None = None, pulled: PulledFrom | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._draft_decider = DraftDecider(
            verdicts,
            run_id,
            holder=run_id if hold else None,
            keeps_category=pulled.keeps_category if pulled else None,
        )
        self._signature = Signature(actor, request_id.get())
        self._guard = guard
        self._pulled = pulled

    def chunks(
        self, drafts: Iterable[TicketDraft | Rejected], judged: Callable[[], None] = lambda: None
    ) -> Iterator[list[Outcome[Ticket]]]:
        """Store drafts and yield their outcomes in order. Raises `InputError` if they seem to be other tickets.

        Nothing of a chunk that raises it is stored. Once the last chunk has passed, `judged` is called. While one
        chunk is saved, the next one is read and decided: SQLite works without Python's lock, so an import takes a third
        less time.
        """
        with closing(OccurrenceCounter()) as seen_identities, ThreadPoolExecutor(1, "saver") as import_saver:
            save_in_flight: tuple[_ImportChunk, Future[list[Conflict | None]]] | None = None
            for chunk in threads.apart(bounded(drafts)):
                try:
                    import_chunk = self._decided_chunk(
                        chunk, seen_identities, save_in_flight[0].changed if save_in_flight else {}
                    )
                except TriageError:
                    if save_in_flight:
                        yield self._settled(save_in_flight[0], save_in_flight[1].result())
                    raise
                if save_in_flight:
                    yield self._settled(save_in_flight[0], save_in_flight[1].result())
                save_in_flight = (
                    import_chunk,
                    import_saver.submit(self._store.save, [change for _, _, change in import_chunk.to_save]),
                )
                if self._guard is not None:
                    self._guard.rows += len(chunk)
            judged()
            if save_in_flight:
                yield self._settled(save_in_flight[0], save_in_flight[1].result())

    def page(self, drafts: Sequence[TicketDraft | Rejected], cursor: SourceCursor | None) -> list[Outcome[Ticket]]:
        """Store the drafts of a source's page, with the source's new position, in one transaction.

        If an id comes twice with different texts, the one changed last counts; it is an update, not another ticket.
        """
        imported = with_ticket_identities(self._store, [dedup.identify(d) for d in drafts if type(d) is TicketDraft])
        filed_rows = self._pulled.filed_items.rows(imported) if self._pulled else ()
        imported = [i for i in imported if i.draft.row not in filed_rows]
        last_changed = {i.identity: i for i in sorted(imported, key=lambda i: (i.draft.changed_at or "")[:19])}
        repeats = {i.draft.row: i.identity for i in imported if last_changed[i.identity] is not i}
        import_chunk = self._undecided_chunk(drafts, repeats)
        import_chunk.outcomes.update({row: Outcome(row, Action.UNCHANGED) for row in repeats})
        import_chunk.outcomes.update({row: Outcome(row, Action.FILED) for row in filed_rows})
        imported = (
            self._pulled.corrections.applied(last_changed.values()) if self._pulled else list(last_changed.values())
        )
        self._decide_all(imported, import_chunk, {})
        return self._settled(
            import_chunk, self._store.save([c for _, _, c in import_chunk.to_save], None, cursor), cursor
        )

    def posted(self, posted_drafts: Sequence["Posted"]) -> list[Outcome[Ticket]]:
        """Store drafts that do not belong together, such as those of a server's callers, in one transaction.

        With an `identity`, a repeated call finds a ticket without an external id. It includes the text: a caller that
        reuses a name with another text means another ticket.
        """
        drafts = [posted.draft._replace(row=row) for row, posted in enumerate(posted_drafts)]
        identified_drafts, repeats = list[Identified](), dict[int, str]()
        for posted, identified in zip(
            posted_drafts, with_ticket_identities(self._store, [dedup.identify(d) for d in drafts]), strict=True
        ):
            if identified.counts_occurrences and posted.identity is not None:
                name = f"{posted.identity}:{identified.content}"
                identified_drafts.append(identified._replace(identity=name, counts_occurrences=False))
                repeats[identified.draft.row] = name
            else:
                identified_drafts.append(identified)
        import_chunk = self._undecided_chunk(drafts, repeats)
        import_chunk.signatures.update(enumerate(posted.signature for posted in posted_drafts))
        self._decide_all(identified_drafts, import_chunk, {})
        outcomes = self._settled(import_chunk, self._store.save([change for _, _, change in import_chunk.to_save]))
        return [o._replace(row=p.draft.row, item=p.draft) for o, p in zip(outcomes, posted_drafts, strict=True)]

    def _decided_chunk(
        self,
        chunk: Sequence[TicketDraft | Rejected],
        seen_identities: OccurrenceCounter,
        in_flight: Mapping[str, Ticket],
    ) -> "_ImportChunk":
        """Decide a chunk; `in_flight` are those that the previous chunk is about to store."""
        imported, repeats = self._identify(chunk, seen_identities)
        import_chunk = self._undecided_chunk(chunk, repeats)
        self._decide_all(imported, import_chunk, in_flight)
        return import_chunk

    def _undecided_chunk(self, chunk: Sequence[TicketDraft | Rejected], repeats: dict[int, str]) -> "_ImportChunk":
        """Return a chunk of an import in which nothing but the unreadable drafts has an outcome."""
        unreadable = [row for row in chunk if type(row) is Rejected]
        if self._pulled:
            for row in unreadable:
                self._pulled.keep(row)
        outcomes = {r.row: Outcome[Ticket](r.row, Action.REJECTED, None, r.error, r) for r in unreadable}
        return _ImportChunk([d.row for d in chunk], repeats, outcomes, [], {}, {}, set())

    def _settled(
        self, import_chunk: "_ImportChunk", conflicts: Sequence[Conflict | None], cursor: SourceCursor | None = None
    ) -> list[Outcome[Ticket]]:
        """Return the outcomes of a saved chunk; drafts that conflicted with another program are decided again."""
        for _ in range(IMPORT_TRIES):
            conflicting = []
            for (identified, action, change), conflict in zip(import_chunk.to_save, conflicts, strict=True):
                if conflict is not None:
                    conflicting.append(identified)
                else:
                    import_chunk.outcomes[identified.draft.row] = Outcome(
                        identified.draft.row, action, change.ticket, None, identified.draft
                    )
            if not conflicting:
                self._refresh_repeats(import_chunk)
                self._add_outdated(import_chunk)
                return [import_chunk.outcomes[row] for row in import_chunk.rows]
            import_chunk.to_save.clear()
            self._decide_all(conflicting, import_chunk, {})
            conflicts = self._store.save([change for _, _, change in import_chunk.to_save], None, cursor)
        raise UnavailableError(
            "another program keeps changing the same tickets", hint="run the same import again later"
        )

    def _refresh_repeats(self, import_chunk: "_ImportChunk") -> None:
        """Let repeated rows of an import show the ticket as it is stored now."""
        known = self._store.known(list(import_chunk.repeats.values())) if import_chunk.repeats else {}
        for row, identity in import_chunk.repeats.items():
            outcome = import_chunk.outcomes[row]
            if outcome.action == Action.UNCHANGED:
                import_chunk.outcomes[row] = outcome._replace(value=known.get(identity, outcome.value))

    def _add_outdated(self, import_chunk: "_ImportChunk") -> None:
        """Let the rows that changed a text which was sent name the destinations that keep the earlier one."""
        changed = {row: o.value for row in import_chunk.rewritten if (o := import_chunk.outcomes[row]).value}
        deliveries = self._store.deliveries([ticket.ticket_id for ticket in changed.values()]) if changed else {}
        for row, ticket in changed.items():
            if names := outdated(deliveries.get(ticket.ticket_id, ()), ticket):
                import_chunk.outcomes[row] = import_chunk.outcomes[row]._replace(outdated=names)

    def _identify(
        self, chunk: Sequence[TicketDraft | Rejected], seen_identities: OccurrenceCounter
    ) -> tuple[list[Identified], dict[int, str]]:
        """Return the identified drafts of a chunk, and which of them are repeated in this input."""
        imported = with_ticket_identities(self._store, [dedup.identify(d) for d in chunk if type(d) is TicketDraft])
        counted = seen_identities.count([identified.identity for identified in imported])
        before = [max(n, identified.draft.seen) for n, identified in zip(counted, imported, strict=True)]
        imported = [
            i._replace(identity=f"{i.identity}.{n + 1}") if i.counts_occurrences else i
            for i, n in zip(imported, before, strict=True)
        ]
        repeats = {
            i.draft.row: i.identity for i, n in zip(imported, before, strict=True) if n and not i.counts_occurrences
        }
        return imported, repeats

    def _decide_all(
        self, imported: Sequence[Identified], import_chunk: "_ImportChunk", in_flight: Mapping[str, Ticket]
    ) -> None:
        """Decide items in order: add the changes to be saved and the outcomes of the rest to `import_chunk`."""
        known = {**self._store.known([identified.identity for identified in imported]), **in_flight}
        known |= self._forgotten([identified.identity for identified in imported if identified.identity not in known])
        if self._pulled:
            imported = self._pulled.corrections.without_write_backs(imported, known)
        last_verdicts = self._imported_verdicts(imported, known)
        at = times.now()
        guard = None if import_chunk.signatures else self._guard  # callers that come together are no input
        for identified in imported:
            row = identified.draft.row
            stored, repeated = known.get(identified.identity), row in import_chunk.repeats
            signature = import_chunk.signatures.get(row, self._signature)
            if stored is not None and identified.draft.origin == "mail" and not ids.is_forgotten(stored.identity):
                decided = self._draft_decider.join_thread(identified, stored, at, signature)
            else:
                if guard is not None and stored is not None and not repeated:
                    _meet(guard, stored, identified)
                decided = self._draft_decider.decide(
                    identified, stored, at, last_verdicts, signature, repeated=repeated
                )
            action, ticket, change, error = decided
            if change is not None and ticket is not None:
                import_chunk.to_save.append((identified, action, change))
                if stored is not None and stored.routed_to and ticket.content_hash != stored.content_hash:
                    import_chunk.rewritten.add(row)
                known[identified.identity] = import_chunk.changed[identified.identity] = ticket
            else:
                import_chunk.outcomes[row] = Outcome(row, action, ticket, error, identified.draft)
                if error is not None and self._pulled:
                    self._pulled.keep(identified.draft)
        if guard is not None and imported:
            guard.judge(imported[0].draft.source)

    def _forgotten(self, unknown: Sequence[str]) -> dict[str, Ticket]:
        """Return the forgotten tickets among these identities: a later export of them restores nothing."""
        if not unknown or not self._store.forgot():
            return {}
        forgotten_tickets = self._store.known([ids.forgotten(identity) for identity in unknown])
        return {i: forgotten_tickets[ids.forgotten(i)] for i in unknown if ids.forgotten(i) in forgotten_tickets}

    def _imported_verdicts(self, imported: Sequence[Identified], known: Mapping[str, Ticket]) -> dict[str, str]:
        """Return the last imported verdict of each ticket that gets a verdict now, by ticket id."""
        if self._pulled:  # corrections compare with earlier verdicts themselves
            return {}
        judged_ids = [known[i.identity].ticket_id for i in imported if i.draft.verdict and i.identity in known]
        answers = self._store.answers(judged_ids, ("",)) if judged_ids else ()
        return {a.ticket_id: a.category for a in answers if is_imported(a) and a.category}


class Posted(NamedTuple):
    """A draft that belongs to no input, with what identifies its call if it is repeated, and in whose name it comes."""

    draft: TicketDraft
    identity: str | None
    signature: Signature


class _ImportChunk(NamedTuple):
    """A decided chunk of an import: its rows, those with a repeated identity, and the changes to be saved.

    `signatures` are those of callers, by row; an input is signed by whom it is imported by. `rewritten` are the rows
    that change the text of a ticket that was routed.
    """

    rows: list[int]
    repeats: dict[int, str]
    outcomes: dict[int, Outcome[Ticket]]
    to_save: list[tuple[Identified, Action, Change]]
    changed: dict[str, Ticket]
    signatures: dict[int, Signature]
    rewritten: set[int]


def _meet(guard: OtherTicketsGuard, known_ticket: Ticket, identified: Identified) -> None:
    """Let the guard compare a known ticket with the text that its id comes with."""
    if not identified.counts_occurrences and not ids.is_forgotten(known_ticket.identity):
        guard.meet(known_ticket, identified)
