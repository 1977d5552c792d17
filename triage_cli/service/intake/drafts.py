"""Stores drafts as tickets, a chunk at a time: each is created, updated, unchanged or rejected. A dry run says so."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cached_property
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Store
from triage_cli.readers import mail_html
from triage_cli.runtime import OccurrenceCounter
from triage_cli.service.category_renames import CategoryNames
from triage_cli.service.decisions.verdicts import Verdicts
from triage_cli.service.intake.corrections import PulledFrom
from triage_cli.service.runs import Signature, request_id, with_request


def with_ticket_identities(store: Store, items: list[dm.Identified]) -> list[dm.Identified]:
    """Return the drafts; one whose external id is a ticket id of this store gets the identity of that ticket.

    Mails do not, since whoever writes one chooses its ids. A ticket that another store exported gets back the source
    and the external id that it had there.
    """
    named_ids = {i.draft.external_id or "" for i in items if _may_name_a_ticket(i.draft)}
    if not named_ids:
        return items
    named_tickets = store.find(dm.Selection(ids=tuple(named_ids)))
    identities_by_id = {t.ticket_id: t.identity for t in named_tickets if t.status != "withdrawn"}
    return [_with_ticket_identity(i, identities_by_id) if _may_name_a_ticket(i.draft) else i for i in items]


def _with_ticket_identity(item: dm.Identified, identities_by_id: Mapping[str, str]) -> dm.Identified:
    draft = item.draft
    if identity := identities_by_id.get(draft.external_id or ""):
        return item._replace(identity=identity)
    if draft.exported is None:
        return item
    source, external_id = draft.exported
    return dm.dedup.identify(draft._replace(source=source, external_id=external_id, exported=None))


def _may_name_a_ticket(draft: dm.TicketDraft) -> bool:
    return draft.origin != "mail" and dm.ids.is_ticket_id(draft.external_id or "")


def check_against_others(store: Store, drafts: Iterable[dm.TicketDraft | dm.Rejected]) -> None:
    """Raise `InputError` if the drafts seem to be other tickets under known ids; nothing is stored."""
    guard, source = dm.OtherTicketsGuard(), ""
    with closing(OccurrenceCounter()) as seen_identities:
        for chunk in dm.bounded(drafts):
            items = with_ticket_identities(
                store, [dm.dedup.identify(d) for d in chunk if type(d) is dm.TicketDraft and d.external_id]
            )
            seen_before = seen_identities.count([item.identity for item in items])
            known_tickets = store.known([item.identity for item in items])
            for item, n in zip(items, seen_before, strict=True):
                if not n and item.identity in known_tickets:
                    guard.meet(known_tickets[item.identity], item)
            source = items[0].draft.source if items else source
    guard.judge(source)


# The action for an imported draft, its ticket, the change to be saved, and the error of a rejected one.
DecidedDraft = tuple[dm.Action, dm.Ticket | None, dm.Change | None, dm.RowError | None]

EVENT_ACTIONS = {dm.Action.CREATED: dm.EventAction.CREATED, dm.Action.UPDATED: dm.EventAction.UPDATED}


class DraftDecider:
    """Decides drafts; the run `holder` holds new tickets.

    `fields` maps names of columns to patterns that find them in texts.
    `keeps_category` is None unless the drafts are of a pulled source: whether a ticket keeps its category when its text
    changes.
    """

    def __init__(
        self,
        verdicts: Verdicts,
        run_id: str | None,
        fields: Mapping[str, str],
        *,
        holder: str | None,
        keeps_category: bool | None,
    ) -> None:
        self._verdicts = verdicts
        self._fields = fields
        self._run_id = run_id
        self._holder = holder
        self._is_pulled = keeps_category is not None
        self._keeps_category = keeps_category

    def decide(
        self,
        item: dm.Identified,
        known_ticket: dm.Ticket | None,
        at: str,
        last_verdicts: Mapping[str, str],
        signature: Signature,
        *,
        repeated: bool,
    ) -> DecidedDraft:
        """Decide a draft: return the change of its ticket, or its error, or `known_ticket` if that is unchanged."""
        draft = item.draft
        error = dm.dedup.oversized(draft)
        verdict = self._verdicts.category_names.match(draft.verdict) if draft.verdict else None
        if draft.verdict and verdict is None:
            error = error or self._verdicts.category_names.unknown(draft.verdict, f"{draft.place}: ")
        if error:
            return dm.Action.REJECTED, None, None, error
        is_single_draft = draft.origin != "row" and item.counts_occurrences
        if known_ticket is None or is_single_draft:
            ticket = dm.dedup.new_ticket(item, dm.ids.new_id(), at, self._holder)
            ticket = self._with_fields(dm.with_questions(ticket, self._verdicts.further), draft)
            if is_single_draft:  # always a new ticket, which no import updates
                ticket = ticket._replace(identity=f"@{ticket.ticket_id}")
            import_data: Mapping[str, object] = {"source": draft.source, "line": draft.line}
            return self._import_change(ticket, 0, import_data, at, signature, verdict)
        was_forgotten = dm.ids.is_forgotten(known_ticket.identity)
        if repeated and not was_forgotten and item.content != known_ticket.content_hash:
            return dm.Action.REJECTED, None, None, dm.dedup.repeated(item)
        if repeated or was_forgotten or dm.dedup.is_outdated(draft, known_ticket, at):
            return dm.Action.UNCHANGED, known_ticket, None, None
        last_verdict = last_verdicts.get(known_ticket.ticket_id)
        if verdict == (last_verdict or (known_ticket.category if known_ticket.verdict else None)):
            verdict = None  # the import repeats itself: a later verdict of a person holds
        updated = dm.dedup.updated_ticket(known_ticket, item, keeps_category=bool(self._keeps_category))
        if updated is None and verdict is None:
            return dm.Action.UNCHANGED, known_ticket, None, None
        if updated is not None and updated.content_hash != known_ticket.content_hash:
            updated = self._with_fields(updated, draft)
        ticket = dm.woken(known_ticket, updated or known_ticket._replace(revision=known_ticket.revision + 1))
        import_data = {
            "source": draft.source,
            "line": draft.line,
            "fields": dm.dedup.changed_fields(known_ticket, ticket),
        }
        return self._import_change(
            ticket, known_ticket.revision, import_data, at, signature, verdict, last_verdict, draft.overruled
        )

    def _with_fields(self, ticket: dm.Ticket, draft: dm.TicketDraft) -> dm.Ticket:
        """Return a ticket that gets its text from a draft, with the fields in it."""
        return dm.linear_patterns.with_fields(ticket, draft, self._fields) if self._fields else ticket

    def join_thread(self, item: dm.Identified, known_ticket: dm.Ticket, at: str, signature: Signature) -> DecidedDraft:
        """Decide an imported mail whose thread has a ticket: it joins that ticket."""
        try:
            ticket = dm.threads.with_mail(known_ticket, item)
        except dm.RowError as error:
            return dm.Action.REJECTED, None, None, error
        if ticket is None:
            return dm.Action.UNCHANGED, known_ticket, None, None
        fields = dm.dedup.changed_fields(known_ticket, ticket)
        import_data = {"source": item.draft.source, "fields": fields, "mails": dm.threads.length(ticket)}
        return self._import_change(ticket, known_ticket.revision, import_data, at, signature, None)

    def _import_change(
        self,
        ticket: dm.Ticket,
        expected_revision: int,
        import_data: Mapping[str, object],
        at: str,
        signature: Signature,
        verdict: str | None,
        imported_verdict: str | None = None,
        overruled: bool = False,
    ) -> tuple[dm.Action, dm.Ticket, dm.Change, None]:
        """Return the change to be saved. `imported_verdict` is the last imported verdict of the ticket, if any.

        An imported verdict holds if the ticket has none, or if the import has changed it. Otherwise it is recorded as
        imported, and the person's verdict on the ticket holds.
        """
        action = dm.Action.UPDATED if expected_revision else dm.Action.CREATED
        adds: tuple[dm.Classification, ...] = ()
        if verdict is not None:
            judged_ticket, answer = self._verdicts.with_verdict(
                ticket, verdict, None, at, self._run_id, step=dm.IMPORTED
            )
            has_changed = imported_verdict is not None and ticket.category != verdict
            holds = not overruled and (self._is_pulled or has_changed or not ticket.verdict)
            import_data = {**import_data, "verdict" if holds else "said": verdict}
            if holds and ticket.verdict and ticket.category != imported_verdict:
                import_data["was"] = ticket.category  # a person's verdict is overruled by a later one
            ticket, adds = judged_ticket if holds else ticket, (answer,)
        event_data = with_request(import_data, signature.request)
        event = dm.Event(EVENT_ACTIONS[action], ticket.ticket_id, self._run_id, signature.actor, at, event_data)
        return action, ticket, dm.Change(event, ticket, expected_revision, adds), None


# How often imported drafts that conflict with another program are decided again.
IMPORT_TRIES = 5


class Intake:
    """Stores drafts for one actor. With `hold`, the run `run_id` holds the new tickets.

    `fields` maps names of columns to patterns that find them in the texts that are stored.
    `guard` stops an import of other tickets, and continues the counts of the earlier parts of an input; without one,
    known ids get whatever text comes. `pulled` is for drafts of a pulled source.
    """

    def __init__(
        self,
        store: Store,
        actor: str,
        verdicts: Verdicts,
        run_id: str | None,
        fields: Mapping[str, str],
        *,
        hold: bool = False,
        guard: dm.OtherTicketsGuard | None = None,
        pulled: PulledFrom | None = None,
    ) -> None:
        self._store = store
        holder, keeps_category = run_id if hold else None, pulled.keeps_category if pulled else None
        self._decider = DraftDecider(verdicts, run_id, fields, holder=holder, keeps_category=keeps_category)
        self._signature = Signature(actor, request_id.get())
        self._guard = guard
        self._pulled = pulled

    def chunks(
        self, drafts: Iterable[dm.TicketDraft | dm.Rejected], judged: Callable[[], None] = lambda: None
    ) -> Iterator[list[dm.Outcome[dm.Ticket]]]:
        """Store drafts and yield their outcomes in order. Raises `InputError` if they seem to be other tickets.

        Nothing of a chunk that raises it is stored. Once the last chunk has passed, `judged` is called. While one
        chunk is saved, the next one is read and decided: SQLite works without Python's lock, so an import takes a third
        less time. An empty list comes before a chunk that changes tickets of the one before it: what they wait for is
        to be saved first.
        """
        with closing(OccurrenceCounter()) as seen_identities, ThreadPoolExecutor(1, "saver") as saver:
            in_flight: list[tuple[_ImportChunk, Future[list[dm.Conflict | None]]]] = []  # one at most

            def settled() -> Iterator[list[dm.Outcome[dm.Ticket]]]:
                for chunk, save in in_flight:
                    yield self._settled(chunk, save.result())
                in_flight.clear()

            for rows in dm.threads.apart(dm.bounded(drafts)):
                try:
                    decided = self._decided_chunk(rows, seen_identities, in_flight[0][0].changed if in_flight else {})
                except dm.TriageError:
                    yield from settled()
                    raise
                last_chunk = in_flight[0][0] if in_flight else None
                yield from settled()
                if last_chunk is not None and decided.changes_again(last_chunk):
                    yield []
                in_flight.append((decided, saver.submit(self._store.save, decided.changes)))
                if self._guard is not None:
                    self._guard.rows += len(rows)
            judged()
            yield from settled()

    def page(
        self, drafts: Sequence[dm.TicketDraft | dm.Rejected], cursor: dm.SourceCursor | None
    ) -> list[dm.Outcome[dm.Ticket]]:
        """Store the drafts of a source's page, with the source's new position, in one transaction.

        If an id comes twice with different texts, the one changed last counts; it is an update, not another ticket.
        """
        items = with_ticket_identities(self._store, [dm.dedup.identify(d) for d in drafts if type(d) is dm.TicketDraft])
        filed_rows = self._pulled.filed_items.rows(items) if self._pulled else ()
        items = [i for i in items if i.draft.row not in filed_rows]
        last_changed = {i.identity: i for i in sorted(items, key=lambda i: (i.draft.changed_at or "")[:19])}
        repeats = {i.draft.row: i.identity for i in items if last_changed[i.identity] is not i}
        chunk = self._undecided_chunk(drafts, repeats)
        chunk.outcomes.update({row: dm.Outcome(row, dm.Action.UNCHANGED) for row in repeats})
        chunk.outcomes.update({row: dm.Outcome(row, dm.Action.FILED) for row in filed_rows})
        items = list(last_changed.values())
        return self._stored(self._pulled.corrections.applied(items) if self._pulled else items, chunk, cursor)

    def posted(self, posted_drafts: Sequence["Posted"]) -> list[dm.Outcome[dm.Ticket]]:
        """Store drafts that do not belong together, such as those of a server's callers, in one transaction.

        With an `identity`, a repeated call finds a ticket without an external id. It includes the text: a caller that
        reuses a name with another text means another ticket.
        """
        drafts = [posted.draft._replace(row=row) for row, posted in enumerate(posted_drafts)]
        items, repeats = list[dm.Identified](), dict[int, str]()
        named = with_ticket_identities(self._store, [dm.dedup.identify(d) for d in drafts])
        for posted, item in zip(posted_drafts, named, strict=True):
            if item.counts_occurrences and posted.identity is not None:
                name = f"{posted.identity}:{item.content}"
                items.append(item._replace(identity=name, counts_occurrences=False))
                repeats[item.draft.row] = name
            else:
                items.append(item)
        chunk = self._undecided_chunk(drafts, repeats)
        chunk.signatures.update(enumerate(posted.signature for posted in posted_drafts))
        outcomes = self._stored(items, chunk)
        return [o._replace(row=p.draft.row, item=p.draft) for o, p in zip(outcomes, posted_drafts, strict=True)]

    def _stored(
        self, items: Sequence[dm.Identified], chunk: "_ImportChunk", cursor: dm.SourceCursor | None = None
    ) -> list[dm.Outcome[dm.Ticket]]:
        self._decide_all(items, chunk, {})
        return self._settled(chunk, self._store.save(chunk.changes, None, cursor), cursor)

    def _decided_chunk(
        self,
        rows: Sequence[dm.TicketDraft | dm.Rejected],
        seen_identities: OccurrenceCounter,
        in_flight: Mapping[str, dm.Ticket],
    ) -> "_ImportChunk":
        """Decide a chunk; `in_flight` are the tickets that the previous one is about to store."""
        items, repeats = self._identify(rows, seen_identities)
        chunk = self._undecided_chunk(rows, repeats)
        items = self._without_history(items, chunk)
        self._decide_all(items, chunk, in_flight)
        return chunk

    @cached_property
    def _has_history(self) -> bool:
        return self._store.labelled_texts.has_history()

    def _without_history(self, items: list[dm.Identified], chunk: "_ImportChunk") -> list[dm.Identified]:
        """Return the drafts but for rows that are no ticket here, and taught the model: they were handled before."""
        if not self._has_history:
            return items
        texts = [dm.labelled_draft(item, "", "history") for item in items]
        are_history = self._store.labelled_texts.are_history(texts)
        history = [item for item, is_history in zip(items, are_history, strict=True) if is_history]
        known = self._store.known([item.identity for item in history]) if history else {}
        passed = {i.draft.row: i.draft for i in history if i.identity not in known}
        chunk.outcomes.update({n: dm.Outcome(n, dm.Action.HISTORY, None, None, draft) for n, draft in passed.items()})
        return [item for item in items if item.draft.row not in passed]

    def _undecided_chunk(self, rows: Sequence[dm.TicketDraft | dm.Rejected], repeats: dict[int, str]) -> "_ImportChunk":
        """Return a chunk of an import in which nothing but the unreadable drafts has an outcome."""
        unreadable = [row for row in rows if type(row) is dm.Rejected]
        if self._pulled:
            for row in unreadable:
                self._pulled.keep(row)
        outcomes = {r.row: dm.Outcome[dm.Ticket](r.row, dm.Action.REJECTED, None, r.error, r) for r in unreadable}
        return _ImportChunk([d.row for d in rows], repeats, outcomes, [], {}, {}, set())

    def _settled(
        self, chunk: "_ImportChunk", conflicts: Sequence[dm.Conflict | None], cursor: dm.SourceCursor | None = None
    ) -> list[dm.Outcome[dm.Ticket]]:
        """Return the outcomes of a saved chunk; drafts that conflicted with another program are decided again."""
        for _ in range(IMPORT_TRIES):
            conflicting = []
            for (item, action, change), conflict in zip(chunk.to_save, conflicts, strict=True):
                if conflict is not None:
                    conflicting.append(item)
                else:
                    row, draft = item.draft.row, item.draft
                    chunk.outcomes[row] = dm.Outcome(row, action, change.ticket, None, draft)
            if not conflicting:
                self._refresh_repeats(chunk)
                self._add_outdated(chunk)
                return [chunk.outcomes[row] for row in chunk.rows]
            chunk.to_save.clear()
            self._decide_all(conflicting, chunk, {})
            conflicts = self._store.save(chunk.changes, None, cursor)
        raise dm.UnavailableError(
            "another program keeps changing the same tickets", hint="run the same import again later"
        )

    def _refresh_repeats(self, chunk: "_ImportChunk") -> None:
        """Let repeated rows of an import show the ticket as it is stored now."""
        known = self._store.known(list(chunk.repeats.values())) if chunk.repeats else {}
        for row, identity in chunk.repeats.items():
            outcome = chunk.outcomes[row]
            if outcome.action == dm.Action.UNCHANGED:
                chunk.outcomes[row] = outcome._replace(value=known.get(identity, outcome.value))

    def _add_outdated(self, chunk: "_ImportChunk") -> None:
        """Let the rows that changed a text which was sent name the destinations that keep the earlier one."""
        changed = {row: o.value for row in chunk.rewritten if (o := chunk.outcomes[row]).value}
        deliveries = self._store.deliveries.of([ticket.ticket_id for ticket in changed.values()]) if changed else {}
        for row, ticket in changed.items():
            if names := dm.outdated(dm.of_decisions(deliveries.get(ticket.ticket_id, ())), ticket):
                chunk.outcomes[row] = chunk.outcomes[row]._replace(outdated=names)

    def _identify(
        self, rows: Sequence[dm.TicketDraft | dm.Rejected], seen_identities: OccurrenceCounter
    ) -> tuple[list[dm.Identified], dict[int, str]]:
        """Return the identified drafts of a chunk, and which of them are repeated in this input."""
        items = with_ticket_identities(self._store, [dm.dedup.identify(d) for d in rows if type(d) is dm.TicketDraft])
        counted = seen_identities.count([item.identity for item in items])
        before = [max(n, item.draft.seen) for n, item in zip(counted, items, strict=True)]
        items = [
            i._replace(identity=f"{i.identity}.{n + 1}") if i.counts_occurrences else i
            for i, n in zip(items, before, strict=True)
        ]
        repeats = {
            i.draft.row: i.identity for i, n in zip(items, before, strict=True) if n and not i.counts_occurrences
        }
        return self._as_stored_otherwise(items, seen_identities), repeats

    def _as_stored_otherwise(
        self, items: list[dm.Identified], seen_identities: OccurrenceCounter
    ) -> list[dm.Identified]:
        """Return the drafts; one without an id has its ticket's identity if that has its HTML read the other way."""
        others = [(i, other) for i in items for other in i.other_identities]
        if not others:
            return items
        counted = seen_identities.count([f"html {other}" for _, other in others])
        numbered = [f"{other}.{max(n, i.draft.seen) + 1}" for (i, other), n in zip(others, counted, strict=True)]
        known = dict(self._store.known([*(i.identity for i, _ in others), *numbered]))
        known |= self._forgotten([identity for identity in numbered if identity not in known])
        identities: dict[int, str] = {}
        for (item, _), identity in zip(others, numbered, strict=True):
            if identity in known and item.identity not in known:
                identities.setdefault(item.draft.row, identity)
        return [i._replace(identity=identities.get(i.draft.row, i.identity)) for i in items]

    def _decide_all(
        self, items: Sequence[dm.Identified], chunk: "_ImportChunk", in_flight: Mapping[str, dm.Ticket]
    ) -> None:
        """Decide items in order: add the changes to be saved and the outcomes of the rest to `chunk`."""
        known = {**self._store.known([item.identity for item in items]), **in_flight}
        known |= self._forgotten([item.identity for item in items if item.identity not in known])
        if self._pulled:
            items = self._pulled.corrections.without_write_backs(items, known)
        last_verdicts = self._imported_verdicts(items, known)
        at = dm.times.now()
        guard = None if chunk.signatures else self._guard  # callers that come together are no input
        for each in items:
            row = each.draft.row
            stored, repeated = known.get(each.identity), row in chunk.repeats
            item = each if stored is None else _without_other_tags(each, stored)
            signature = chunk.signatures.get(row, self._signature)
            if stored is not None and item.draft.origin == "mail" and not dm.ids.is_forgotten(stored.identity):
                decided = self._decider.join_thread(item, stored, at, signature)
            else:
                if guard is not None and stored is not None and not repeated:
                    guard.meet(stored, item)
                decided = self._decider.decide(item, stored, at, last_verdicts, signature, repeated=repeated)
            action, ticket, change, error = decided
            if change is not None and ticket is not None:
                chunk.to_save.append((item, action, change))
                if stored is not None and stored.routed_to and ticket.content_hash != stored.content_hash:
                    chunk.rewritten.add(row)
                known[item.identity] = chunk.changed[item.identity] = ticket
            else:
                chunk.outcomes[row] = dm.Outcome(row, action, ticket, error, item.draft)
                if error is not None and self._pulled:
                    self._pulled.keep(item.draft)
        if guard is not None and items:
            guard.judge(items[0].draft.source)

    def _forgotten(self, unknown: Sequence[str]) -> dict[str, dm.Ticket]:
        """Return the forgotten tickets among these identities: a later export of them restores nothing."""
        if not unknown or not self._store.forgot():
            return {}
        forgotten_tickets = self._store.known([dm.ids.forgotten(identity) for identity in unknown])
        return {i: forgotten_tickets[dm.ids.forgotten(i)] for i in unknown if dm.ids.forgotten(i) in forgotten_tickets}

    def _imported_verdicts(self, items: Sequence[dm.Identified], known: Mapping[str, dm.Ticket]) -> dict[str, str]:
        """Return the last imported verdict of each ticket that gets a verdict now, by ticket id."""
        if self._pulled:  # corrections compare with earlier verdicts themselves
            return {}
        judged_ids = [known[i.identity].ticket_id for i in items if i.draft.verdict and i.identity in known]
        answers = self._store.answers.about(judged_ids, ("",)) if judged_ids else ()
        return {a.ticket_id: a.category for a in answers if a.is_imported and a.category}


class Posted(NamedTuple):
    """A draft that belongs to no input, with what identifies its call if it is repeated, and in whose name it comes."""

    draft: dm.TicketDraft
    identity: str | None
    signature: Signature


class _ImportChunk(NamedTuple):
    """A decided chunk of an import: its rows, those with a repeated identity, and the changes to be saved.

    `signatures` are those of callers, by row; an input is signed by whom it is imported by. `rewritten` are the rows
    that change the text of a ticket that was routed.
    """

    rows: list[int]
    repeats: dict[int, str]
    outcomes: dict[int, dm.Outcome[dm.Ticket]]
    to_save: list[tuple[dm.Identified, dm.Action, dm.Change]]
    changed: dict[str, dm.Ticket]
    signatures: dict[int, Signature]
    rewritten: set[int]

    @property
    def changes(self) -> list[dm.Change]:
        """Return the changes to be saved."""
        return [change for _, _, change in self.to_save]

    def changes_again(self, earlier: "_ImportChunk") -> bool:
        """Return whether it changes tickets that are in an earlier chunk."""
        updates = {change.event.ticket_id for change in self.changes if change.expected_revision}
        return any(o.value is not None and o.value.ticket_id in updates for o in earlier.outcomes.values() if updates)


def _without_other_tags(item: dm.Identified, known_ticket: dm.Ticket) -> dm.Identified:
    """Return a draft with the text of its ticket, if that is the same but for tags of HTML: it changes nothing."""
    draft, content = item.draft, known_ticket.content_hash
    if item.content == content or draft.origin == "mail" or dm.ids.is_forgotten(known_ticket.identity):
        return item
    is_same = content in draft.other_contents or (
        mail_html.is_same_text(draft.subject, known_ticket.subject)
        and mail_html.is_same_text(draft.description, known_ticket.description)
    )
    if not is_same:
        return item
    draft = draft._replace(subject=known_ticket.subject, description=known_ticket.description)
    return item._replace(draft=draft, content=content)


def import_dry_run(
    rows: Iterable[dm.TicketDraft | dm.Rejected], category_names: CategoryNames | None
) -> Iterator[dm.Outcome[dm.TicketDraft]]:
    """Yield what an import of these rows into an empty database would do, in their order.

    An id that comes again is unchanged, or rejected if its text is another than that of the first row with it. So is a
    verdict that is no category, if `category_names` has the categories. A mail of a known thread updates its ticket.
    """
    with closing(OccurrenceCounter()) as met_identities, closing(OccurrenceCounter()) as first_texts:
        for chunk in dm.bounded(rows):
            errors = {row.row: error for row in chunk if (error := _row_error(row, category_names))}
            with_id = [
                dm.dedup.identify(r)
                for r in chunk
                if type(r) is dm.TicketDraft and r.external_id and r.origin != "mail" and r.row not in errors
            ]
            met_before = met_identities.count([i.identity for i in with_id])
            first_texts.count([_with_text(i) for i, n in zip(with_id, met_before, strict=True) if not n])
            repeated = [i for i, n in zip(with_id, met_before, strict=True) if n]
            is_equal = first_texts.counted([_with_text(i) for i in repeated])
            repeated_rows = {i.draft.row for i in repeated}
            errors |= {
                i.draft.row: dm.dedup.repeated(i) for i, equal in zip(repeated, is_equal, strict=True) if not equal
            }
            accepted = [r for r in chunk if type(r) is dm.TicketDraft and r.row not in errors]
            mails = [
                (draft, mail) for draft in accepted if draft.origin == "mail" and (mail := dm.mail_of(draft.extra))
            ]
            in_threads = met_identities.count([dm.dedup.identify(draft).identity for draft, _ in mails])
            copies = first_texts.count([mail.message_id for _, mail in mails])
            reply_rows = {draft.row for (draft, _), n in zip(mails, in_threads, strict=True) if n}
            repeated_rows |= {draft.row for (draft, _), n in zip(mails, copies, strict=True) if n}
            for row in chunk:
                if isinstance(row, dm.Rejected) or row.row in errors:
                    yield dm.Outcome(row.row, dm.Action.REJECTED, None, errors[row.row], row)
                else:
                    new_action = dm.Action.UPDATED if row.row in reply_rows else dm.Action.CREATED
                    yield dm.Outcome(row.row, dm.Action.UNCHANGED if row.row in repeated_rows else new_action, row)


def _row_error(row: dm.TicketDraft | dm.Rejected, category_names: CategoryNames | None) -> dm.TriageError | None:
    """Return why a row is rejected whatever the others are."""
    if isinstance(row, dm.Rejected):
        return row.error
    if error := dm.dedup.oversized(row):
        return error
    if category_names is None or not row.verdict or category_names.match(row.verdict):
        return None
    return category_names.unknown(row.verdict, f"{row.place}: ")


def _with_text(item: dm.Identified) -> str:
    return f"{item.identity}\0{item.content}"
