"""Erases labelled texts: those of a forgotten customer, and those that a run gave which is taken back."""

from collections.abc import Iterator, Sequence

from triage_cli import domain as dm
from triage_cli.ports import Store
from triage_cli.service.runs import RunContext
from triage_cli.service.taught_versions import TaughtVersions


def forget_texts(context: RunContext, customer_id: str, taught: TaughtVersions) -> Iterator[str]:
    """Erase a customer's labelled texts, and count what has learned from them; yield what is to be said."""
    labelled_texts = context.store.labelled_texts
    if text_ids := labelled_texts.of_customer(customer_id):
        taught.count_texts(text_ids)
        _erase(context, text_ids, withdrawn=False)
        yield f"note: {len(text_ids):,} labelled texts of this customer were erased"
    if unnamed := len(labelled_texts.of_customer(None)):
        yield f"note: {unnamed:,} labelled texts have no customer, and stay"


def withdraw_texts(
    context: RunContext, runs: Sequence[dm.Run], ticket_ids: Sequence[str], taught: TaughtVersions
) -> Iterator[str]:
    """Erase the labelled texts that these runs alone have given, and those of tickets; yield what is to be said."""
    labelled_texts = context.store.labelled_texts
    of_runs = labelled_texts.given_only_by([run.run_id for run in runs])
    of_tickets = [text_id for chunk in dm.chunked(ticket_ids, dm.NAMED) for text_id in labelled_texts.of_tickets(chunk)]
    if text_ids := list(dict.fromkeys([*of_runs, *of_tickets])):
        taught.count_texts(text_ids)
        _erase(context, text_ids, withdrawn=True)
        yield f"note: {len(text_ids):,} labelled texts of this run were erased"


def preview_texts(store: Store, runs: Sequence[dm.Run], taught: TaughtVersions) -> Iterator[str]:
    """Count what has learned from the labelled texts that would be erased; yield what is to be said."""
    if text_ids := store.labelled_texts.given_only_by([run.run_id for run in runs]):
        taught.count_texts(text_ids)
        yield f"note: {len(text_ids):,} labelled texts of this run would be erased"


def _erase(context: RunContext, text_ids: Sequence[str], *, withdrawn: bool) -> None:
    event = context.event(dm.EventAction.LABELS_ERASED, None, {}, dm.times.now())
    context.store.labelled_texts.erase(text_ids, withdrawn=withdrawn, event=event)
    context.store.scrub()
