"""Names of tickets on the command line: ids, endings, external ids; several tickets of one name, and none."""

import json

from tests.support.cli import Cli
from tests.support.commands import TICKETS
from tests.support.printed import ERROR, records


def test_a_ticket_is_named_by_id_ending_or_external_id(filled: Cli) -> None:
    full = records(filled("list").stdout)[0]["ticket_id"]
    for name in (full, full[-8:], full[-6:], "A-3"):
        assert filled("show", name, "-o", "id").stdout == f"{full}\n"
        assert json.loads(filled("why", name, "-o", "json").stdout)["ticket_id"] == full


def test_an_ending_of_five_names_nothing(filled: Cli) -> None:
    full = records(filled("list").stdout)[0]["ticket_id"]
    done = filled("show", full[-5:])
    assert (done.returncode, done.stdout) == (5, "")
    hint = "triage list shows the ids; the last 6 characters of a ticket_id are enough"
    assert done.stderr == f'error: no ticket "{full[-5:]}"; {hint}\n'
    assert filled("show", "a-1").stderr == 'error: no ticket "a-1"; did you mean "A-1"?\n'
    assert filled("list", "new").stderr == 'error: no ticket "new"; a status is typed as triage list --status new\n'


def test_a_name_of_several_tickets_is_exit_2_with_the_list(filled: Cli) -> None:
    filled("create", "-q", "--source", "shop", stdin=TICKETS)
    found = [r["ticket_id"] for r in records(filled("list").stdout) if r["external_id"] == "A-1"]
    for command in (("show",), ("why",), ("logs",), ("classify",), ("route",)):
        done = filled(*command, "A-1")
        assert (done.returncode, done.stdout) == (2, "")
        assert ERROR.fullmatch(done.stderr)
        assert all(ticket_id in done.stderr for ticket_id in found)
        assert "name it by its ticket_id" in done.stderr


def test_no_such_ticket_is_exit_5_for_each_command_that_names_one(filled: Cli) -> None:
    for command in ("show", "why", "logs", "classify", "route"):
        done = filled(command, "does-not-exist")
        assert (done.returncode, done.stdout) == (5, "")
        assert ERROR.fullmatch(done.stderr)
