"""The first week of somebody who does what each `next:` says: nothing is sent before something was measured."""

import re

from tests.support.cli import Cli
from tests.support.commands import on_terminal, rows
from tests.support.labelled_tickets import CATEGORIES
from tests.support.labelled_tickets import csv as a_csv
from tests.support.labelled_tickets import rows as labelled

MOST_STEPS = 12
NEXT = re.compile(r"next: triage (\w+)")
SURE = [("I was charged twice this month please refund it", "Billing"), ("what are your opening hours", "General")]


def seen(cli: Cli, *args: str) -> str:
    """Return what a person sees of a command whose input comes from a file or not at all."""
    stdin = cli.folder / "stdin"
    return on_terminal(cli.folder, cli.env, *args, stdin=stdin if "-" in args else None).text


def some_verdicts(cli: Cli, tickets: list[tuple[str, str]], begin: int) -> str:
    given = "".join(f"L-{n},{tickets[n][1]}\n" for n in range(begin, min(begin + 25, len(tickets))))
    (cli.folder / "stdin").write_text(f"ticket_id,category\n{given}")
    return seen(cli, "verdict", "-")


def test_whoever_obeys_each_next_line_measures_before_anything_is_sent(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(CATEGORIES)
    tickets = [*SURE, *labelled(30)]
    (fitted.folder / "export.csv").write_text(a_csv(tickets, column="team"))
    (fitted.folder / "others.csv").write_text(a_csv(labelled(20, seed=1)))
    shown = seen(fitted, "create", "export.csv", "--map", "subject=description")
    done: list[str] = []
    whys: list[str] = []  # what `why` says next, before each step, of a ticket that is sure and then gets a verdict
    for _ in range(MOST_STEPS):
        step = NEXT.findall(" ".join(shown.split()))[-1]
        measured = rows(fitted.db, "select 1 from evaluations union all select 1 from versions")
        assert "triage route" not in shown or measured, shown
        done.append(step)
        whys.append(fitted("why", "L-1").stdout.splitlines()[-1])
        if step == "classify":
            shown = seen(fitted, "classify")
        elif step == "review":
            shown = some_verdicts(fitted, tickets, 25 * (done.count("review") - 1))
        elif step == "learn":
            shown = seen(fitted, "learn")
        elif step == "eval":
            shown = seen(fitted, "eval", "others.csv")
        else:
            break
    assert done == ["classify", "review", "review", "learn", "eval", "route"], done
    unmeasured = "Next: triage eval FILE must show first that most such answers are right; then it can be sent."
    assert whys == ["Next: triage classify asks about it.", unmeasured] + ["Next: triage route sends it on."] * 4
    assert rows(fitted.db, "select count(*) from deliveries") == [(0,)]
    assert rows(fitted.db, "select n >= 10 from evaluations") == [(1,)]


def test_where_people_have_decided_all_nothing_is_left_to_measure(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(CATEGORIES)
    (fitted.folder / "export.csv").write_text("id,description\nL-0,I was charged twice this month please refund it\n")
    assert "next: triage classify" in seen(fitted, "create", "export.csv")
    assert "next: triage review --all, 50 verdicts more" in seen(fitted, "classify")
    assert "next: triage route\n" in seen(fitted, "verdict", "L-0", "Billing").replace("\r", "")


def test_where_sure_answers_were_found_wrong_too_often_nothing_is_sent_next(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(CATEGORIES + "classifiers: {local: {type: local, min_confidence: 0}}\n")
    (fitted.folder / "export.csv").write_text("id,description\nL-0,I was charged twice this month please refund it\n")
    shuffled = [(text, "General" if category == "Billing" else "Billing") for text, category in labelled(20)]
    (fitted.folder / "others.csv").write_text(a_csv(shuffled))
    seen(fitted, "create", "export.csv")
    seen(fitted, "classify")
    for shown in (seen(fitted, "eval", "others.csv"), seen(fitted, "classify", "L-0", "--force")):
        assert "next: triage review --all, more verdicts; then triage learn; then triage eval FILE" in shown
    assert fitted("why", "L-0").stdout.splitlines()[-1].startswith("Next: triage eval FILE must show first")
    (fitted.folder / "others.csv").write_text(a_csv([SURE[0]] * 12))
    assert "next: triage route\n" in seen(fitted, "eval", "others.csv").replace("\r", "")
