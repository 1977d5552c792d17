"""What the explanation of a ticket says of runs, and how it names the ticket."""

import pytest

from tests.support.records import replace
from triage_cli import domain as dm

TICKET = dm.dedup.new_ticket(
    dm.dedup.identify(dm.TicketDraft(0, 2, "Refund", "Where is it?", external_id="T-1")),
    dm.ids.new_id(),
    dm.times.now(),
    None,
)
HISTORY = dm.History(TICKET, (), (), (), (), {})


def test_why_names_a_ticket_as_it_can_be_typed() -> None:
    review = replace(HISTORY.ticket, status="needs_review")
    for named, typed in (
        ("T-1", "T-1"),
        (None, "IDIDIDID"),
        ("-f", "IDIDIDID"),
        ("a b", "IDIDIDID"),
        ("$x", "IDIDIDID"),
    ):
        *_, last = dm.explain(replace(HISTORY, ticket=replace(review, external_id=named)))
        expected = f"Next: a person decides: triage verdict {typed} CATEGORY, or triage review."
        assert last.replace(dm.ids.short(review.ticket_id), "IDIDIDID") == expected


@pytest.mark.parametrize(
    ("code", "reason", "following"),
    [
        (1, "ended with an unexpected error", "triage classify asks about it; if that ends so again, run it with -v"),
        (4, "ended because a key was missing or refused", "triage doctor tells which key is missing or wrong; then tr"),
        (6, "ended because a provider or the disk was unavailable", "triage doctor tells whether everything answers"),
        (7, "ended because the next call might have passed its", "triage classify asks about it, as far as the budget"),
        (130, "was interrupted", "triage classify asks about it."),
        (143, "was terminated", "triage classify asks about it."),
        (137, "was killed", "triage classify asks about it."),
    ],
)
def test_why_tells_of_a_run_that_ended_early_and_what_to_do(code: int, reason: str, following: str) -> None:
    run = dm.Run("0" * 28 + "1234ABCD", "classify", "cron", "", "2026-01-02T03:04:05.6Z", exit_code=code)
    *_, ended, last = dm.explain(replace(HISTORY, ended_early=run))
    at = "2026-01-02 03:04:05Z"
    assert ended.startswith(f"{at}  triage classify (run 1234ABCD, begun at {at}) {reason}")
    assert ended.endswith(f"before it was done with this ticket (exit code {code})")
    assert last.startswith(f"Next: {following}")


def test_why_names_the_run_that_is_at_work_on_a_ticket() -> None:
    run = dm.Run("0" * 28 + "1234ABCD", "classify", "cron", "", "2026-01-02T03:04:05.6Z")
    held = "Next: triage classify (run 1234ABCD, begun at 2026-01-02 03:04:05Z) is at work on it."
    assert list(dm.explain(replace(HISTORY, holder=run)))[-1] == held
    failed = replace(HISTORY.ticket, status="failed", failures=1, error="refused")
    *_, last = dm.explain(replace(HISTORY, ticket=failed))
    assert last == "Next: the next triage classify asks again (it failed once: refused)."


def test_each_exit_code_of_an_early_end_has_its_sentence() -> None:
    assert dm.EARLY_END_REASONS.keys() == dm.EARLY_END


def test_a_used_up_budget_keeps_no_classified_ticket_from_its_destination() -> None:
    run = dm.Run(dm.ids.new_id(), "run", "cron", "", dm.times.now(), ended_at=dm.times.now(), exit_code=7)
    classified = replace(HISTORY, ticket=replace(HISTORY.ticket, status="classified"), ended_early=run)
    assert list(dm.explain(classified))[-1] == "Next: triage route sends it on."
