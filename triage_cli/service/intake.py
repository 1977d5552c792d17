"""Drafts become tickets: new, updated, unchanged or rejected, a chunk at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from triage_cli import ids, importing
from triage_cli.errors import RowError, UnavailableError
from triage_cli.importing import Identified
from triage_cli.models import Change, Classification, Event, Outcome, Rejected, Selection, Ticket, TicketDraft
from triage_cli.ports import Store
from triage_cli.service.seen import Seen
from triage_cli.service.verdicts import Verdicts
from triage_cli.streams import chunked

# An import that loses the race for the same identities this often in a row meets more than other imports.
TRIES = 5


class Intake:
    """Stores drafts for one actor; `run_id` is the run that is to hold new tickets, if any."""

    def __init__(self, store: Store, actor: str, verdicts: Verdicts, run_id: str | None, *, hold: bool = False) -> None:
        self._store = store
        self._actor = actor
        self._verdicts = verdicts
        self._run_id = run_id
        self._holder = run_id if hold else None
        self._met = 0
        self._rewritten = 0

    def chunks(self, drafts: Iterable[TicketDraft | Rejected]) -> Iterator[list[Outcome[Ticket]]]:
        """Store drafts and yield their outcomes in order. Raises `InputError` where these seem to be other tickets.

        While one chunk is being saved the next one is read: SQLite works without Python's lock, so this takes a third
        off an import.
        """
        with closing(Seen()) as seen, ThreadPoolExecutor(1, "saver") as saver:
            before: Future[list[Outcome[Ticket]]] | None = None
            for chunk in chunked(drafts):
                prepared = self._prepare(chunk, seen)
                if before is not None:
                    yield before.result()
                before = saver.submit(self._store_chunk, chunk, *prepared)
            if before is not None:
                yield before.result()

    def _prepare(self, chunk: Sequence[TicketDraft | Rejected], seen: Seen) -> tuple[list[Identified], set[int]]:
        """Name the drafts of a chunk, and tell which stood in this input before."""
        items = self._named([importing.identify(d) for d in chunk if type(d) is TicketDraft])
        before = seen.count([item.identity for item in items])
        items = [
            item._replace(identity=f"{item.identity}.{n + 1}") if item.counts_occurrences else item
            for item, n in zip(items, before, strict=True)
        ]
        repeats = {i.draft.row for i, n in zip(items, before, strict=True) if n and not i.counts_occurrences}
        return items, repeats

    def _store_chunk(
        self, chunk: Sequence[TicketDraft | Rejected], items: list[Identified], repeats: set[int]
    ) -> list[Outcome[Ticket]]:
        outcomes = {r.row: Outcome[Ticket](r.row, "rejected", None, r.error, r) for r in chunk if type(r) is Rejected}
        todo = items
        for _ in range(TRIES):
            known = dict(self._store.known([item.identity for item in todo]))
            todo = self._attempt(todo, known, repeats, outcomes)
            if not todo:
                return [outcomes[d.row] for d in chunk]
        raise UnavailableError(
            "another program keeps changing the same tickets", hint="run the same import again later"
        )

    def _named(self, items: list[Identified]) -> list[Identified]:
        """Give a draft whose id this store made the identity of that ticket."""
        ours = [i.draft.external_id for i in items if i.draft.external_id and ids.is_ticket_id(i.draft.external_id)]
        if not ours:
            return items
        found = {t.ticket_id: t.identity for t in self._store.find(Selection(ids=tuple(ours)))}
        return [i._replace(identity=found.get(i.draft.external_id or "", i.identity)) for i in items]

    def _attempt(
        self, items: list[Identified], known: dict[str, Ticket], repeats: set[int], outcomes: dict[int, Outcome[Ticket]]
    ) -> list[Identified]:
        """Decide and save; return those that lost a race and must be decided again."""
        at = ids.now()
        asked: list[tuple[Identified, str, Change]] = []
        met = rewritten = 0
        for item in items:
            here = known.get(item.identity)
            if here is not None and item.draft.row not in repeats:
                met += 1
                rewritten += item.content != here.content_hash
            did, ticket, change, error = self._decide(item, here, at, repeated=item.draft.row in repeats)
            if change is not None and ticket is not None:
                asked.append((item, did, change))
                known[item.identity] = ticket
            else:
                row = item.draft.row
                outcomes[row] = Outcome(row, did, ticket, error, item.draft)
        self._doubt(items, met, rewritten)
        conflicts = self._store.save([change for _, _, change in asked])
        lost = []
        for (item, did, change), conflict in zip(asked, conflicts, strict=True):
            if conflict is not None:
                lost.append(item)
            else:
                outcomes[item.draft.row] = Outcome(item.draft.row, did, change.ticket, None, item.draft)
        return lost

    def _doubt(self, items: Sequence[Identified], met: int, rewritten: int) -> None:
        self._met += met
        self._rewritten += rewritten
        if error := importing.doubt(items[0].draft.source if items else "", self._met, self._rewritten):
            raise error

    def _decide(
        self, item: Identified, here: Ticket | None, at: str, *, repeated: bool
    ) -> tuple[str, Ticket | None, Change | None, RowError | None]:
        draft = item.draft
        verdict = self._verdicts.category(draft.verdict) if draft.verdict else None
        if draft.verdict and verdict is None:
            return "rejected", None, None, self._verdicts.unknown(draft.verdict, f"line {draft.line}: ")
        if here is None:
            ticket = importing.new_ticket(item, ids.new_id(), at, self._holder)
            ticket = self._own(ticket, draft)
            data: Mapping[str, object] = {"source": draft.source, "line": draft.line}
            return self._changed("created", ticket, 0, data, at, verdict)
        if repeated:
            if item.content != here.content_hash:
                return "rejected", None, None, importing.repeated(item)
            return "unchanged", here, None, None
        after = importing.updated_ticket(here, item)
        if after is None and (verdict is None or (here.verdict and here.category == verdict)):
            return "unchanged", here, None, None
        ticket = after or here._replace(revision=here.revision + 1)
        data = {"source": draft.source, "line": draft.line, "fields": importing.changed_fields(here, ticket)}
        return self._changed("updated", ticket, here.revision, data, at, verdict)

    def _own(self, ticket: Ticket, draft: TicketDraft) -> Ticket:
        """Let a typed ticket be known by its own id: nothing will be imported over it."""
        return ticket._replace(identity=f"@{ticket.ticket_id}") if draft.cells is None and draft.line == 0 else ticket

    def _changed(
        self, did: str, ticket: Ticket, expects: int, data: Mapping[str, object], at: str, verdict: str | None
    ) -> tuple[str, Ticket, Change, None]:
        adds: tuple[Classification, ...] = ()
        if verdict is not None:
            ticket, answer = self._verdicts.given(ticket, verdict, None, at, self._run_id)
            adds = (answer,)
            data = {**data, "verdict": verdict}
        event = Event(did, ticket.ticket_id, self._run_id, self._actor, at, data)
        return did, ticket, Change(event, ticket, expects, adds), None
