"""Dry runs of bulk requests: outcomes that preview what would be done; nothing is stored, sent or paid."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from triage_cli.api.server_state import ServerState
from triage_cli.domain import Action, Category, ClassifyPlan, Outcome, Rejected, RoutePlan, Selection, TicketDraft
from triage_cli.service import CategoryNames, LocalTriage, import_dry_run

Previewed = Iterator[Outcome[Mapping[str, Any]]]
DRAFT_FIELDS = (
    "subject", "description", "customer_id", "priority", "created_at", "external_id", "source", "verdict", "extra",
)  # fmt: skip


def previewed_rows(drafts: Iterable[TicketDraft | Rejected], categories: Sequence[Category]) -> Previewed:
    """Yield how each row of an upload is read, or why it is rejected."""
    for outcome in import_dry_run(drafts, CategoryNames(categories)):
        if (draft := outcome.value) is None:
            yield Outcome(outcome.row, outcome.action, None, outcome.error)
        else:
            yield Outcome(outcome.row, Action.PREVIEWED, {field: getattr(draft, field) for field in DRAFT_FIELDS})


def estimate(server_state: ServerState, triage: LocalTriage, selection: Selection, plan: ClassifyPlan) -> Previewed:
    """Yield one outcome: how many tickets would be asked about, and about what that costs in USD; null: no price."""
    cost = server_state.estimate_cost(plan, triage.to_ask(selection, plan))
    preview = {"tickets": cost.tickets, "tokens": cost.tokens, "cost_usd": cost.cost, "most_usd": cost.most}
    yield Outcome(0, Action.PREVIEWED, preview)


def previewed_routes(triage: LocalTriage, selection: Selection, plan: RoutePlan) -> Previewed:
    """Yield where each ticket would be sent."""
    for row, preview in enumerate(triage.preview_routes(selection, plan)):
        yield Outcome(row, Action.PREVIEWED, preview._asdict())
