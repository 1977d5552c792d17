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
    expected = [KINDS[desk.preset].expected(given[VENDORS[desk.preset].external_id.format(n=n)]) for n in range(7)]
    assert desk.labels() == expected
    questions, calls = rows(cli.db, "select count(*) from classifications"), len(desk.vendor.calls)
    night(cli)
    assert (rows(cli.db, "select count(*) from classifications"), len(desk.vendor.calls)) == (questions, calls)
    assert desk.labels() == expected
    assert desk.vendor.refusals == []


def test_labels_arrive_and_what_comes_back_undoes_nothing(fitted: Cli, desk: LabelledDesk) -> None:
    night(fitted)
    held = rows(fitted.db, "select external_id, category from tickets where status = 'routed'")
    given = {external_id: [category] for external_id, category in held}
    check(fitted, desk, given)
    corrected = VENDORS[desk.preset].external_id.format(n=2)
    other = "Billing" if given[corrected] != ["Billing"] else "Technical"
    assert fitted("verdict", corrected, other).returncode == 0
    assert fitted("route", "-q").returncode == 0
    given[corrected].append(other)
    check(fitted, desk, given)
    assert rows(fitted.db, "select external_id from tickets where verdict = 1") == [(corrected,)]
