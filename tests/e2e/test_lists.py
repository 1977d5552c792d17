"""`list`, `show` and `stats` as they are typed: filters, sorting, ids on stdin, groups of counts."""

import json

import pytest

from tests.support.cli import Cli

TICKETS = "id,subject,plan\nT-1,refund my invoice please,gold\nT-2,the app crashes with an error,free\nT-3,qqqq,gold\n"


@pytest.fixture
def filled(fitted: Cli) -> Cli:
    assert fitted("run", "-q", stdin=TICKETS).returncode == 0
    assert fitted("verdict", "T-3", "General", "-q").returncode == 0
    return fitted


def test_scripts_get_the_columns_they_name(filled: Cli) -> None:
    done = filled("list", "--sort", "external_id", "--columns", "external_id,category,extra.plan", "-o", "tsv")
    assert done.stdout == (
        "external_id\tcategory\textra.plan\nT-1\tBilling\tgold\nT-2\tTechnical\tfree\nT-3\tGeneral\tgold\n"
    )


def test_what_people_decided_is_listed(filled: Cli) -> None:
    listed = filled("list", "--verdict", "--columns", "external_id", "-o", "csv").stdout
    assert listed == "external_id\nT-3\n"
    others = filled("list", "--no-verdict", "--category", "billing", "--category", "Technical", "--sort", "external_id")
    assert [json.loads(line)["external_id"] for line in others.stdout.splitlines()] == ["T-1", "T-2"]
    assert filled("list", "--older-than", "1h", "-o", "id").stdout == ""
    assert filled("list", "--until", "2020-01-01", "--older-than", "0s", "-o", "id").stdout == ""
    assert len(filled("list", "--older-than", "0s", "-o", "id").stdout.splitlines()) == 3


def test_table_names_tickets_by_their_external_id(filled: Cli) -> None:
    assert filled("create", "-q", "--subject", "no id of its own").returncode == 0
    (made,) = filled("list", "--status", "new", "-o", "id").stdout.split()
    shown = filled("list", "-o", "table").stdout.splitlines()
    assert [line.split()[0] for line in shown[1:]] == [made[-8:], "T-3", "T-2", "T-1"]
    hubspot = "id,subject\nTICK-19cfe15a-8dd2-43ed-99c1-86a955cdc053,x\n"
    looked_at = filled("create", "-", "--dry-run", "-o", "table", stdin=hubspot).stdout.splitlines()
    assert looked_at[1].split()[0] == "…55cdc053", "it has no ticket id yet"


def test_ids_come_on_stdin_in_their_order(filled: Cli) -> None:
    for names in ("T-2\nT-1\n", '"T-2"\n"T-1"\n'):  # the second as jq prints them without -r
        listed = filled("list", "-", "--columns", "external_id", "-o", "csv", stdin=names)
        assert (listed.returncode, listed.stdout) == (0, "external_id\nT-2\nT-1\n")
    shown = filled("show", "-", "-o", "jsonl", stdin="T-3\nT-1\n")
    assert [(r["external_id"], bool(r["events"])) for r in map(json.loads, shown.stdout.splitlines())] == [
        ("T-3", True),
        ("T-1", True),
    ]
    assert filled("show", "-", "-o", "table", stdin="T-3\nT-1\n").stdout.count("events") == 2


@pytest.mark.parametrize("command", ["list", "show"])
def test_id_on_stdin_that_names_nothing_is_told_and_the_others_are_printed(filled: Cli, command: str) -> None:
    done = filled(command, "-", "-o", "id", stdin="T-2\nnobody\n")
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 1)
    assert 'no ticket "nobody"' in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("list T-1 --verdict", "ids go with no filter and no sorting; leave one of them out"),
        ("reclassify T-1 --category General --apply", "ids go with no filter; leave one of them out"),
        ("reclassify T-1 --status new", "ids go with no filter; leave one of them out"),
        ("reclassify T-1 --since 1d", "ids go with no filter; leave one of them out"),
        ("list --sort hash", 'nothing is sorted by "hash"; the fields are ticket_id'),
        ("list --sort status:up", '"up" is no direction; write --sort status:desc'),
        ("list --older-than yesterday", '"yesterday" is no age; write 30m, 4h or 7d'),
        ("list --extra gold", '--extra takes NAME=VALUE, and "gold" is none; write --extra plan=gold'),
        ("stats --by hour", 'nothing is counted by "hour"; the keys are category, category:1, status'),
        ("stats --by dya", 'nothing is counted by "dya"; did you mean day?'),
        ("stats --by day --columns category", 'no column "category"'),
    ],
)
def test_mistakes_are_told_in_a_sentence(filled: Cli, args: str, message: str) -> None:
    done = filled(*args.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_report_is_a_row_a_group(filled: Cli) -> None:
    done = filled("stats", "--since", "1d", "--by", "category", "--by", "status", "-o", "csv")
    assert done.stdout == filled("stats", "--since", "1d", "--by", "category,status", "-o", "csv").stdout
    assert done.stdout == (
        "category,status,tickets,sure,needs_review,cost_usd\n"
        "Billing,routed,1,1,0,0.0\nGeneral,classified,1,1,0,0.0\nTechnical,routed,1,1,0,0.0\n"
    )
    assert filled("stats", "--until", "1d", "-o", "csv").stdout == "tickets,sure,needs_review,cost_usd\n0,0,0,0.0\n"
