"""Takes back an import: withdraws the tickets that it made and that nobody has touched since, with their text."""

from collections.abc import Iterator, Mapping, Sequence

from triage_cli import domain as dm
from triage_cli.ports import Store
from triage_cli.service.customer_erasure import LOOK_AGAIN, MARGIN, cancelled, erased_ticket, sent
from triage_cli.service.runs import RunContext


def import_named(store: Store, name: str, actor: str, *, served: bool = False) -> tuple[dm.Run, ...]:
    """Return the runs of an import, the oldest first, by the id of one of them, its ending, or `last` of an actor.

    With `served`, the hint says what takes an administrator's key at a server. Raises `NotFoundError`,
    `AmbiguousError`, or `UsageError` for a run that imports nothing or is still at work.
    """
    run = _last_import(store, actor, served=served) if name == dm.LAST_IMPORT else _run_named(store, name)
    if run.kind not in dm.IMPORT_KINDS and not store.labelled_texts.given_only_by([run.run_id]):
        hint = f"{dm.Step.RUNS} those of {', '.join(dm.IMPORT_KINDS)}, which are imports"
        raise dm.UsageError(f"run {dm.ids.short(run.run_id)} is no import, but triage {run.kind}", hint=hint)
    runs = store.imports.runs_of(run)
    if any(one.exit_code is None for one in runs):
        hint = "stop it first, or wait until it has ended"
        raise dm.UsageError(f"the import of run {dm.ids.short(run.run_id)} is still at work", hint=hint)
    return runs


def _last_import(store: Store, actor: str, *, served: bool) -> dm.Run:
    run = store.imports.last(actor)
    if run is None:
        hint = f"{dm.Step.RUNS} what others have imported"
        key = "; to list that and to take it back takes an administrator's key" if served else ""
        raise dm.NotFoundError(f"{actor} has imported nothing here", hint=f"{hint}{key}")
    return run


def _run_named(store: Store, name: str) -> dm.Run:
    runs = store.imports.named(name)
    if not runs:
        raise dm.unknown_run(name)
    if len(runs) > 1:
        raise dm.AmbiguousError(f'"{name}" names {len(runs)} runs', hint="type more of the id, from its end")
    return runs[0]


class ImportUndo:
    """Takes back the import of these runs; without a `context` it only says what it would do.

    An outcome is `withdrawn`; `decided`, `rewritten` or `asked`, if the import made a ticket that somebody has touched
    since; or `changed`, if the import changed a ticket that was there before. All but the first stay as they are. Its
    deliveries are those whose destinations have, or may have, the text. A ticket that is withdrawn already has none.
    What is being sent is withdrawn once that has ended, which takes `longest_attempt` seconds at most.
    """

    def __init__(
        self, store: Store, runs: Sequence[dm.Run], context: RunContext | None = None, longest_attempt: float = 0.0
    ) -> None:
        self._store = store
        self._import_id = runs[0].run_id
        self._run_ids = [run.run_id for run in runs]
        self._context = context
        self._longest_attempt = longest_attempt
        self._held = 0  # tickets that other runs hold

    def outcomes(self) -> Iterator[dm.Outcome[dm.Routed]]:
        """Take the import back. Raises `UnavailableError` if other runs hold some of its tickets."""
        row = 0
        for traces in self._store.imports.traces(self._run_ids):
            if self._context is not None and self._context.stop.stopping:
                return
            for outcome in self._of_traces(traces):
                yield outcome._replace(row=row)
                row += 1
        if self._context is not None:
            self._store.scrub()
        if self._held:
            raise dm.UnavailableError(
                f"another program is at work on {self._held} more of its tickets",
                hint=f"{dm.Step.AGAIN} when that has ended",
            )

    def _of_traces(self, traces: Sequence[dm.Trace]) -> Iterator[dm.Outcome[dm.Routed]]:
        trace_ids = tuple(trace.ticket_id for trace in traces)
        tickets = {t.ticket_id: t for t in self._store.find(dm.Selection(ids=trace_ids)) if not t.is_erased}
        made = {t.ticket_id: tickets[t.ticket_id] for t in traces if t.made and t.ticket_id in tickets}
        ended = self._previewed(made) if self._context is None else self._withdrawn(made, self._context)
        changed = {i: ticket for i, ticket in tickets.items() if i not in made}
        ended |= {i: self._outcome(dm.Action.CHANGED, ticket) for i, ticket in changed.items()}
        yield from (ended[i] for i in trace_ids if i in ended)

    def _previewed(self, made: Mapping[str, dm.Ticket]) -> dict[str, dm.Outcome[dm.Routed]]:
        reasons, deliveries = self._touched(made), self._store.deliveries.of(list(made))
        outcomes = {}
        for i, ticket in made.items():
            if (reason := reasons.get(i)) is not None:
                outcomes[i] = self._outcome(reason, ticket)
                continue
            arrived = sent(deliveries.get(i, ()))
            names = ", ".join(dict.fromkeys(d.destination for d in arrived)) or None
            outcomes[i] = dm.Outcome(None, dm.Action.WITHDRAWN, dm.Routed(ticket._replace(routed_to=names), arrived))
        return outcomes

    def _withdrawn(self, made: Mapping[str, dm.Ticket], context: RunContext) -> dict[str, dm.Outcome[dm.Routed]]:
        """Withdraw the tickets that nobody has touched; return the outcome of each that no other run holds."""
        ended = {i: self._outcome(reason, made[i]) for i, reason in self._touched(made).items()}
        untouched = tuple(i for i in made if i not in ended)  # what stays is not even claimed
        claimed = context.claim(dm.Selection(ids=untouched), len(untouched)) if untouched else []
        self._held += len(untouched) - len(claimed)
        left = {t.ticket_id: t for t in claimed if not t.is_erased}  # one may have been forgotten meanwhile
        wait_until = context.stop.clock() + self._longest_attempt + MARGIN
        while True:
            for i, reason in self._touched(left).items():
                ended[i] = self._outcome(reason, left.pop(i))
            at, deliveries = dm.times.now(), self._store.deliveries.of(list(left))
            event_data = {"import": self._import_id}
            changes = [
                dm.Change(
                    context.event(dm.EventAction.WITHDRAWN, i, event_data, at),
                    withdrawn_ticket(ticket, [d.destination for d in sent(deliveries.get(i, ()))]),
                    ticket.revision,
                    cancelled(deliveries.get(i, ()), at),
                )
                for i, ticket in left.items()
            ]
            moved_on = []
            for change, conflict in zip(changes, context.save(changes), strict=True):
                if change.ticket is not None and conflict is None:
                    i = change.ticket.ticket_id
                    ended[i] = dm.Outcome(
                        None, dm.Action.WITHDRAWN, dm.Routed(change.ticket, sent(deliveries.get(i, ())))
                    )
                elif change.ticket is not None:
                    moved_on.append(change.ticket.ticket_id)
            left = {t.ticket_id: t for t in self._store.find(dm.Selection(ids=tuple(moved_on))) if not t.is_erased}
            if not left or context.stop.clock() >= wait_until or context.stop.wait(LOOK_AGAIN):
                self._held += len(left)
                return ended

    def _touched(self, tickets: Mapping[str, dm.Ticket]) -> Mapping[str, dm.Action]:
        return self._store.imports.touched(list(tickets), self._run_ids) if tickets else {}

    @staticmethod
    def _outcome(action: dm.Action, ticket: dm.Ticket) -> dm.Outcome[dm.Routed]:
        return dm.Outcome(None, action, dm.Routed(ticket))


def withdrawn_ticket(ticket: dm.Ticket, sent_to: Sequence[str] = ()) -> dm.Ticket:
    """Return a ticket that was taken back: without its text and its category, and no import finds it any more."""
    erased = erased_ticket(dm.dedup.reset(ticket), sent_to)
    return erased._replace(status="withdrawn", identity=f"@{ticket.ticket_id}", answers="{}")
