"""Labels of triage in the helpdesk that a ticket was pulled from, by each preset that labels."""

from collections.abc import Iterator

import pytest

from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.labelled_desks import KINDS, LabelledDesk, running_desk
from tests.support.vendor_lists import VENDORS


@pytest.fixture(params=KINDS)
def desk(fitted: Cli, request: pytest.FixtureRequest) -> Iterator[LabelledDesk]:
    with running_desk(request.param) as desk:
        (fitted.folder / "config.yaml").write_text(desk.config)
        fitted.env |= desk.variables
        yield desk


def night(cli: Cli) -> None:
    """Pull all there is, as if all had changed, and do what a cron job does."""
    for command in ("pull --full", "classify", "route"):
        done = cli(*command.split(), "-q")
        assert (done.returncode, done.stderr) == (0, ""), (command, done.stderr)


def check(cli: Cli, desk: LabelledDesk, given: dict[str, list[str]]) -> None:
    """Check that each ticket has its labels, and that nothing follows when it comes back with them."""
    ids = [VENDORS[desk.preset].external_id.format(n=n) for n in range(7)]
    expected = [KINDS[desk.preset].expected(given.get(external_id, [])) for external_id in ids]
    assert desk.labels() == expected
    questions, calls = rows(cli.db, "select count(*) from classifications"), len(desk.vendor.calls)
    night(cli)
    assert (rows(cli.db, "select count(*) from classifications"), len(desk.vendor.calls)) == (questions, calls)
    assert desk.labels() == expected
    assert desk.vendor.refusals == []


def held(cli: Cli) -> dict[str, list[str]]:
    """Return the categories of all tickets, by external id."""
    routed = rows(cli.db, "select external_id, category from tickets where status = 'routed'")
    return {external_id: [category] for external_id, category in routed}


def another(category: str) -> str:
    return "Billing" if category != "Billing" else "Technical"


def test_labels_arrive_and_what_comes_back_undoes_nothing(fitted: Cli, desk: LabelledDesk) -> None:
    night(fitted)
    given = held(fitted)
    check(fitted, desk, given)
    corrected = VENDORS[desk.preset].external_id.format(n=2)
    other = another(given[corrected][0])
    assert fitted("verdict", corrected, other).returncode == 0
    assert fitted("route", "-q").returncode == 0
    given[corrected].append(other)
    check(fitted, desk, given)
    assert rows(fitted.db, "select external_id from tickets where verdict = 1") == [(corrected,)]


@pytest.mark.usefixtures("desk")
def test_what_triage_writes_to_a_ticket_is_no_change_of_it(fitted: Cli) -> None:
    night(fitted)
    events, given = rows(fitted.db, "select count(*) from events"), held(fitted)
    assert "0 created, 0 updated, " in fitted("pull", "--full", "-o", "id").stderr
    assert (rows(fitted.db, "select count(*) from events"), held(fitted)) == (events, given)


def test_what_an_agent_corrects_there_is_a_verdict_and_stays(fitted: Cli, desk: LabelledDesk) -> None:
    kind = KINDS[desk.preset]
    if kind.correct is None:
        pytest.skip("its API shows no label that a source could read")
    night(fitted)
    given = held(fitted)
    changed = [VENDORS[desk.preset].external_id.format(n=n) for n in (2, 5)]
    others = {external_id: another(given[external_id][0]) for external_id in changed}
    for number, external_id in zip((2, 5), changed, strict=True):
        kind.correct(desk.vendor, number, others[external_id])
    assert fitted("pull", "--full", "-o", "id").stderr.startswith("desk: 0 created, 2 updated, ")
    spoken = "select external_id, category from tickets where verdict = 1 order by external_id"
    assert rows(fitted.db, spoken) == sorted(others.items())
    assert f"a person in desk gave the verdict {others[changed[0]]}\n" in fitted("why", changed[0]).stdout
    night(fitted)
    for external_id, other in others.items():
        given[external_id].append(other)
    check(fitted, desk, given)
