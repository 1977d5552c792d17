"""Pull from a helpdesk and label back: no echo, people's corrections are verdicts, kills lose nothing."""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import USER, Cli
from tests.support.commands import PATIENCE, rows, until
from tests.support.helpdesk import BEGAN, Helpdesk
from tests.support.http_stub import Got, Reply
from tests.support.pg_server import PgServer, sql
from triage_cli import domain as dm

PENDING = "select 1 from deliveries where state = 'pending'"


@pytest.fixture
def desk() -> Iterator[Helpdesk]:
    desk = Helpdesk(12)
    yield desk
    desk.close()


def configure(cli: Cli, desk: Helpdesk, *, field: bool = False, **keys: Any) -> None:
    """Pull from a helpdesk, and label there: tags are added, and with `field` the category is written to a field."""
    ticket = f"{desk.stub.root}/tickets/{{{{ ticket.external_id }}}}"
    tag = "triage_{{ category | slug }}"
    destinations: dict[str, Any] = {
        "tags": {"type": "http", "method": "PUT", "url": f"{ticket}/tags", "body": {"tags": [tag]}},
        "field": {"type": "http", "method": "PUT", "url": ticket, "body": {"field": "{{ category }}"}},
    }
    file = cli.folder / "config.yaml"
    config = {
        "sources": {"shop": desk.source(**keys)},
        "destinations": destinations,
        "routes": [{"to": ["tags", "field"] if field else "tags"}],
    }
    file.write_text(json.dumps(config))
    file.chmod(0o600)


def guard(cli: Cli, desk: Helpdesk) -> None:
    """Let the destination look at the field before it sets it, and depend on the state that it saw."""
    config = json.loads((cli.folder / "config.yaml").read_text())
    ticket = f"{desk.stub.root}/tickets/{{{{ ticket.external_id }}}}"
    find = {"get": ticket, "field": "field", "keep": {"stamp": "updated_at"}}
    body = {"field": "{{ category }}", "safe_update": True, "updated_stamp": "{{ remote.stamp }}"}
    config["destinations"]["field"] |= {"find": find, "body": body, "retry": {"status": [409]}, "retry_schedule": [0]}
    (cli.folder / "config.yaml").write_text(json.dumps(config))


def night(cli: Cli, pull: int = 0) -> None:
    """Run what a cron job runs."""
    assert cli("pull", "-q").returncode == pull
    for command in ("classify", "route"):
        done = cli(command, "-q")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def from_now_on(desk: Helpdesk) -> None:
    """Let the helpdesk's clock be that of this machine."""
    desk.now = lambda: int(dm.to_seconds(dm.now())) - BEGAN.timestamp()


def labelled(desk: Helpdesk) -> list[str]:
    return [call for call in desk.stub.calls if call.startswith("PUT")]


def test_no_echo_follows_what_was_labelled_back(cli: Cli, desk: Helpdesk, fitted_database: Path) -> None:
    cli.db.parent.mkdir(parents=True)
    cli.db.write_bytes(fitted_database.read_bytes())
    from_now_on(desk)
    configure(cli, desk)
    night(cli)
    sent = len(labelled(desk))
    assert sent == len(rows(cli.db, "select 1 from tickets where status = 'routed'")) > 6
    assert any(tag.startswith("triage_") for tag in desk.items[0]["tags"])
    questions = rows(cli.db, "select count(*) from classifications")
    again = cli("pull")
    assert "shop: 0 created, 0 updated, 12 unchanged" in again.stderr, "the labels came back, as tags"
    for command in ("classify", "route"):
        cli(command, "-q")
    assert (rows(cli.db, "select count(*) from classifications"), len(labelled(desk))) == (questions, sent)
    third = cli("pull", "-q")
    assert (third.returncode, third.stdout, third.stderr, len(labelled(desk))) == (0, "", "", sent)
    assert not desk.lost_tags
    assert all("vip" in item["tags"] for item in desk.items.values())


def test_a_receiver_that_sets_tags_would_be_noticed(desk: Helpdesk) -> None:
    """So that the test above is known to look where it should."""
    desk.stub.answer(Got("PUT", "/tickets/1", {}, b'{"tags": ["triage_billing"]}'))
    assert desk.lost_tags == ["vip"]


def verdicts(cli: Cli) -> dict[str, tuple[str, str]]:
    found = rows(
        cli.db,
        "select t.external_id, t.category, c.actor from tickets t join classifications c on c.classification_id ="
        " t.decision_id where t.verdict = 1",
    )
    return {i: (category, actor) for i, category, actor in found}


def test_an_agent_s_correction_is_a_verdict_and_learn_uses_it(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    configure(cli, desk, field=True, verdict="field")
    night(cli)
    held = dict(rows(cli.db, "select external_id, category from tickets where status = 'routed'"))
    assert {i: desk.items[int(i)]["field"] for i in held} == held
    night(cli)
    assert not verdicts(cli), "what triage wrote is no statement"
    other = {i: next(c for c in ("Billing", "Technical", "General") if c != category) for i, category in held.items()}
    first, second, third, *_ = held
    from_now_on(desk)
    desk.change(int(first), field=other[first])
    desk.change(int(second), field=f"triage_{other[second].lower()}")  # as a tag or a choice of a list spells it
    desk.change(int(third), field="no such thing")
    done = cli("pull")
    assert 'shop: "no such thing" is no category and was passed over as a verdict' in done.stderr
    assert verdicts(cli) == {i: (other[i], "shop") for i in (first, second)}
    event = json.loads(cli("logs", first, "-o", "jsonl").stdout.splitlines()[-1])
    assert (event["action"], event["actor"], event["detail"]["verdict"]) == ("updated", "shop", other[first])
    assert f"a person in shop gave the verdict {other[first]}\n" in cli("why", first).stdout
    assert json.loads(cli("learn").stdout)["from_verdicts"] == 2
    night(cli)
    assert {desk.items[int(i)]["field"] for i in (first, second)} <= {"Billing", "Technical", "General"}
    assert verdicts(cli) == {i: (other[i], "shop") for i in (first, second)}


def test_of_a_list_of_labels_the_one_of_a_category_is_heard(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    configure(cli, desk, verdict="tags")
    night(cli)
    assert not verdicts(cli), "what triage wrote is no statement"
    held = dict(rows(cli.db, "select external_id, category from tickets where status = 'routed'"))
    first, second, third, fourth, *_ = held
    other = {i: next(c for c in ("Billing", "Technical", "General") if c != category) for i, category in held.items()}
    for external_id, labels in {
        first: ["vip", f"triage_{other[first].lower()}"],
        second: [{"id": 7, "name": "vip"}, {"id": 8, "name": other[second]}],
        third: ["vip", f"triage_{held[third].lower()}", other[third]],
        fourth: ["vip"],
    }.items():
        desk.change(int(external_id), tags=labels)
    done = cli("pull")
    named = " and ".join(sorted((held[third], other[third])))
    assert f"shop: {third} has labels of {named} at once, so none counts as a verdict" in done.stderr
    assert verdicts(cli) == {i: (other[i], "shop") for i in (first, second)}
    from_now_on(desk)
    desk.change(int(first), tags=["vip", f"triage_{held[first].lower()}"])  # and back again
    assert cli("pull", "-q").returncode == 0
    assert verdicts(cli)[first] == (held[first], "shop")


def test_a_label_that_a_later_category_has_left_behind_is_no_statement(cli: Cli, desk: Helpdesk) -> None:
    """The rule of the new category leads elsewhere, so nobody has taken the label away."""
    from_now_on(desk)
    configure(cli, desk, verdict="tags")
    night(cli)
    (decided,) = rows(cli.db, "select category from tickets where external_id = '0'")[0]
    other = "General" if decided != "General" else "Billing"
    config = json.loads((cli.folder / "config.yaml").read_text())
    config["destinations"]["queue"] = {"type": "file", "path": "queue.jsonl"}
    config["routes"].insert(0, {"when": {"category": other}, "to": "queue"})
    (cli.folder / "config.yaml").write_text(json.dumps(config))
    cli("verdict", "0", other)
    assert cli("route", "-q").returncode == 0
    from_now_on(desk)
    desk.change(0)
    assert cli("pull", "-q").returncode == 0
    assert verdicts(cli) == {"0": (other, USER)}


def test_what_else_changes_beside_a_label_of_triage_is_a_change(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    configure(cli, desk)
    night(cli)
    desk.change(0, tags=[*desk.items[0]["tags"], "urgent"])
    assert "1 updated, 11 unchanged" in cli("pull", "-o", "id").stderr
    kept = json.loads(cli("show", "0").stdout)["extra"]["tags"]
    assert kept == desk.items[0]["tags"], "also the label, now that the list is another one"


def test_a_category_with_accents_comes_back_as_the_tag_that_was_written(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    configure(cli, desk, verdict="tags")
    config = json.loads((cli.folder / "config.yaml").read_text())
    config["categories"] = [{"name": "Rückerstattung", "examples": ["money back"]}, {"name": "Störung"}]
    (cli.folder / "config.yaml").write_text(json.dumps(config))
    cli("pull", "-q")
    cli("verdict", "0", "Rückerstattung")
    assert cli("route", "-q").returncode == 0
    assert "triage_ruckerstattung" in desk.items[0]["tags"]
    from_now_on(desk)
    desk.change(0, tags=["triage_storung"])
    assert cli("pull", "-q").returncode == 0
    assert verdicts(cli) == {"0": ("Störung", "shop")}


def test_what_an_agent_has_set_since_the_pull_stays_and_the_next_pull_takes_it_in(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    configure(cli, desk, field=True, verdict="field")
    guard(cli, desk)
    cli("pull", "-q")
    cli("classify", "-q")
    decided = rows(cli.db, "select category from tickets where external_id = '0'")[0][0]
    other = "General" if decided != "General" else "Billing"
    from_now_on(desk)
    desk.change(0, field=other)
    done = cli("route", "0")
    assert (done.returncode, desk.items[0]["field"]) == (3, other)
    assert (
        f'field: the ticket there holds "{other}", which somebody has set and which stays; triage pull' in done.stderr
    )
    assert json.loads(cli("show", "0").stdout)["status"] == "undeliverable"
    advice = "Next: triage pull takes in what a person has set there; if no source reads that field, correct or empty"
    assert advice in cli("why", "0").stdout
    with closing(sqlite3.connect(cli.db)) as db, db:
        db.execute("update deliveries set last_error = 'told otherwise'")
    assert advice in cli("why", "0").stdout, "the kind of a refusal is stored, not read off its wording"
    assert "what a person has set there; if no source" in cli("route", "0").stderr
    assert cli("route", "0", "--retry-dead", "-q").returncode == 3
    assert desk.items[0]["field"] == other
    cli("pull", "-q")
    assert verdicts(cli) == {"0": (other, "shop")}
    assert cli("route", "0", "-q").returncode == 0
    assert (json.loads(cli("show", "0").stdout)["status"], desk.items[0]["field"]) == ("routed", other)
    again = next(c for c in ("Billing", "Technical", "General") if c not in (decided, other))
    cli("verdict", "0", again)
    assert cli("route", "0", "-q").returncode == 0
    assert desk.items[0]["field"] == again, "what triage itself has set there is no obstacle"


def test_a_field_that_the_answer_lacks_guards_nothing_so_nothing_is_sent(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    configure(cli, desk, field=True, verdict="field")
    guard(cli, desk)
    file = cli.folder / "config.yaml"
    file.write_text(file.read_text().replace('"field": "field", "keep"', '"field": "feild", "keep"'))
    cli("pull", "-q")
    cli("classify", "-q")
    desk.change(0, field="General")
    done = cli("route", "0")
    assert (done.returncode, desk.items[0]["field"]) == (3, "General")
    assert "field has nothing at feild, which find asks for; correct find.field in the config" in done.stderr
    file.write_text(file.read_text().replace("feild", "field"))
    assert cli("route", "1", "--retry-dead", "-q").returncode == 0


def test_a_value_that_a_pull_has_taken_in_is_replaced_by_a_later_verdict_here(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    desk.items[0]["field"] = "triage_general"
    configure(cli, desk, field=True, verdict="field")
    guard(cli, desk)
    cli("pull", "-q")
    cli("verdict", "0", "Billing")
    assert cli("route", "0", "-q").returncode == 0
    assert desk.items[0]["field"] == "Billing"


def test_what_another_destination_has_set_there_is_no_obstacle(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    configure(cli, desk, field=True)
    guard(cli, desk)
    config = json.loads((cli.folder / "config.yaml").read_text())
    config["destinations"]["urgent"] = config["destinations"]["field"]
    config["routes"] = [{"when": {"category": "Billing"}, "to": "urgent"}, {"to": "field"}]
    (cli.folder / "config.yaml").write_text(json.dumps(config))
    cli("pull", "-q")
    for category in ("General", "Billing", "Technical"):
        cli("verdict", "0", category)
        assert cli("route", "0", "-q").returncode == 0
        assert desk.items[0]["field"] == category


def test_what_an_agent_sets_between_the_look_and_the_label_stays(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    configure(cli, desk, field=True, verdict="field")
    guard(cli, desk)
    cli("pull", "-q")
    cli("verdict", "0", "Billing")

    def meanwhile(_number: int) -> None:
        desk.shown = lambda _n: None
        desk.change(0, field="General")

    desk.shown = meanwhile
    assert cli("route", "0", "-q").returncode == 3
    assert desk.items[0]["field"] == "General"


def test_an_agent_who_takes_a_correction_back_before_it_is_routed_is_heard(cli: Cli, desk: Helpdesk) -> None:
    """The value is the one that triage delivered last, but the agent has set another one since."""
    from_now_on(desk)
    configure(cli, desk, field=True, verdict="field")
    night(cli)
    delivered = rows(cli.db, "select category from tickets where external_id = '0'")[0][0]
    for category in ("General" if delivered != "General" else "Billing", delivered):
        from_now_on(desk)
        desk.change(0, field=category)
        cli("pull", "-q")
        assert verdicts(cli)["0"] == (category, "shop")
    cli("route", "-q")
    assert desk.items[0]["field"] == delivered


@pytest.mark.parametrize("behind", [0, 3600])
def test_a_correction_that_is_taken_back_between_pull_and_route_is_heard(cli: Cli, desk: Helpdesk, behind: int) -> None:
    """Also if the helpdesk's clock is behind: the destination has seen that the value is another than it knows."""
    from_now_on(desk)
    with_chat(cli, desk)
    cli("pull", "-q")
    cli("classify", "-q")
    assert cli("route", "0", "-q").returncode == 0
    delivered = desk.items[0]["field"]
    from_now_on(desk)
    desk.change(0, field="General" if delivered != "General" else "Billing")
    cli("pull", "-q")
    desk.change(0, after=dm.to_seconds(dm.now()) - BEGAN.timestamp() - behind, field=delivered)
    assert cli("route", "0", "-q").returncode == 3
    assert desk.items[0]["field"] == delivered, "it is not overwritten"
    assert cli("pull", "-q", "--full").returncode == 0
    assert verdicts(cli) == {"0": (delivered, "shop")}
    assert cli("route", "0", "-q").returncode == 0


def test_an_older_state_of_the_field_is_no_person_s_word_if_triage_has_set_that_value(cli: Cli, desk: Helpdesk) -> None:
    """The page was read before the label arrived, or the helpdesk's index is late."""
    from_now_on(desk)
    configure(cli, desk, field=True, verdict="field")
    night(cli)
    first = rows(cli.db, "select category from tickets where external_id = '0'")[0][0]
    second, third = (c for c in ("Billing", "Technical", "General") if c != first)
    cli("verdict", "0", second)
    cli("route", "-q")
    desk.items[0] |= {"field": first, "updated_at": "2026-11-20T00:00:00Z"}
    assert cli("pull", "-q", "--full").returncode == 0
    assert verdicts(cli)["0"] == (second, USER)
    desk.change(0)
    assert cli("pull", "-q").returncode == 0
    assert verdicts(cli) == {"0": (first, "shop")}
    desk.items[0] |= {"field": third, "updated_at": "2026-11-20T00:00:00Z"}
    assert cli("pull", "-q", "--full").returncode == 0
    assert verdicts(cli) == {"0": (third, "shop")}, "triage has never set that"


def with_chat(cli: Cli, desk: Helpdesk) -> None:
    """Route to a guarded field and to another place, of which triage does not know what it sets."""
    configure(cli, desk, field=True, verdict="field")
    guard(cli, desk)
    config = json.loads((cli.folder / "config.yaml").read_text())
    config["destinations"]["chat"] = {"type": "webhook", "url": f"{desk.stub.root}/chat"}
    config["routes"] = [{"to": ["field", "chat"]}]
    (cli.folder / "config.yaml").write_text(json.dumps(config))
    desk.fail = lambda _n, got: Reply(200) if got.path == "/chat" else None


def test_a_correction_is_heard_though_another_destination_got_its_delivery_later(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    with_chat(cli, desk)
    cli("pull", "-q")
    cli("classify", "-q")
    decided = rows(cli.db, "select category from tickets where external_id = '0'")[0][0]
    other = "General" if decided != "General" else "Billing"
    minute_ago = dm.to_seconds(dm.now()) - BEGAN.timestamp() - 60
    desk.change(0, after=minute_ago, field=other)
    assert cli("route", "0", "-q").returncode == 3, "the field is not overwritten; the chat has the message"
    assert cli("pull", "-q").returncode == 0
    assert verdicts(cli) == {"0": (other, "shop")}
    assert cli("route", "0", "-q").returncode == 0


def test_what_a_person_set_there_before_a_verdict_here_is_recorded_and_does_not_hold(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    with_chat(cli, desk)
    cli("pull", "-q")
    minute_ago = dm.to_seconds(dm.now()) - BEGAN.timestamp() - 60
    desk.change(0, after=minute_ago, field="General")
    cli("verdict", "0", "Technical")
    assert cli("route", "0", "-q").returncode == 3
    assert cli("pull", "-q").returncode == 0
    assert verdicts(cli) == {"0": ("Technical", USER)}
    assert "General was given; a person's verdict stays" in cli("logs", "0", "-o", "table").stdout
    assert cli("route", "0", "--retry-dead", "-q").returncode == 0
    assert desk.items[0]["field"] == "Technical", "what was taken in is no obstacle"
    assert cli("pull", "-q").returncode == 0
    assert verdicts(cli) == {"0": ("Technical", USER)}


def test_a_value_that_waits_to_be_replaced_is_no_person_s_word(cli: Cli, desk: Helpdesk) -> None:
    """The tags are there, the field is not set yet: the change is that of the tags."""
    from_now_on(desk)
    configure(cli, desk, field=True, verdict="field")
    night(cli)
    decided = desk.items[0]["field"]
    other = "General" if decided != "General" else "Billing"
    cli("verdict", "0", other)
    desk.fail = lambda _n, got: Reply(503) if got.method == "PUT" and not got.path.endswith("tags") else None
    assert cli("route", "0", "--no-wait", "-q").returncode == 0
    assert (desk.items[0]["field"], f"triage_{other.lower()}" in desk.items[0]["tags"]) == (decided, True)
    assert cli("pull", "-q").returncode == 0
    assert verdicts(cli) == {"0": (other, USER)}


def test_a_later_word_here_stands_until_the_helpdesk_says_something_new(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    desk.items[0]["field"] = "General"
    configure(cli, desk, field=True, verdict="field")
    cli("pull", "-q")
    assert verdicts(cli) == {"0": ("General", "shop")}, "a person had said so before triage did anything"
    cli("verdict", "0", "Billing")
    from_now_on(desk)
    desk.change(0, tags=["vip", "late"])  # the field is General still, and nobody has said that again
    cli("pull", "-q")
    assert verdicts(cli)["0"][0] == "Billing"
    cli("route", "-q")
    assert desk.items[0]["field"] == "Billing"
    from_now_on(desk)
    desk.change(0, field="General")
    cli("pull", "-q")
    assert verdicts(cli)["0"] == ("General", "shop")


def test_a_correction_here_stands_where_nothing_sets_the_field_there(cli: Cli, desk: Helpdesk) -> None:
    """Only what sets the field makes its former value a new one: a file does not, nor do labels or messages."""
    from_now_on(desk)
    desk.items[0]["field"] = "General"
    configure(cli, desk, verdict="field")
    config = json.loads((cli.folder / "config.yaml").read_text())
    config["destinations"]["tags"] = {"type": "file", "path": "tags.jsonl"}
    (cli.folder / "config.yaml").write_text(json.dumps(config))
    cli("pull", "-q")
    assert cli("route", "-q").returncode == 0
    cli("verdict", "0", "Billing")
    assert cli("route", "-q").returncode == 0
    from_now_on(desk)
    desk.change(0, tags=["vip", "late"])
    cli("pull", "-q")
    assert verdicts(cli)["0"][0] == "Billing"
    cli("verdict", "0", "--clear")
    desk.change(0, tags=["vip", "later"])
    cli("pull", "-q")
    assert not verdicts(cli)
    desk.change(0, field="Technical")
    cli("pull", "-q")
    assert verdicts(cli)["0"] == ("Technical", "shop")


def route_the_rest(cli: Cli) -> None:
    """Send what is due again: where a tag and a field are set at once, the safe update of the field is refused."""
    until(lambda: not cli("route", "-q").returncode and not rows(cli.db, PENDING), "each label is there")


def test_labels_of_before_a_restore_are_no_person_s_words(cli: Cli, desk: Helpdesk) -> None:
    from_now_on(desk)
    configure(cli, desk, field=True, verdict="field")
    guard(cli, desk)
    cli("pull", "-q")
    assert cli("db", "backup", "backup.db").returncode == 0
    desk.add(12)  # a ticket that the backup has not
    night(cli)
    route_the_rest(cli)
    held = dict(rows(cli.db, "select external_id, category from tickets where status = 'routed'"))
    other = "General" if held["0"] != "General" else "Billing"
    from_now_on(desk)
    desk.change(0, field=other)
    assert cli("db", "restore", "backup.db", "--yes").returncode == 0
    (kept,) = cli.db.parent.glob("triage.db.before-*Z")
    with closing(sqlite3.connect(kept)) as db, db:  # it stays at the version of the program that kept it
        db.execute("alter table deliveries drop column refusal")
    broken = kept.with_name("triage.db.before-20260101T000000Z")
    broken.write_text("no database")
    stderr = cli("pull", "-q").stderr
    assert stderr.startswith(
        f"warning: {broken}, which a restore has kept, cannot be read (file is not a database), so"
    )
    assert stderr.count("\n") == 1 < len(desk.lists)
    assert verdicts(cli) == {"0": (other, "shop")}, "an agent has set that since"
    assert len(rows(cli.db, "select 1 from tickets")) == 13
    night(cli)
    route_the_rest(cli)
    assert verdicts(cli) == {"0": (other, "shop")}
    assert {i: desk.items[int(i)]["field"] for i in held} == held | {"0": other}


def test_on_a_server_labels_of_before_a_restore_are_told_from_a_person_s_if_the_first_pull_reads_none(
    cli: Cli, desk: Helpdesk, pg_server: PgServer
) -> None:
    """As the page about backups tells it: no database is kept there in which the labels would be known."""
    from_now_on(desk)
    configure(cli, desk, field=True, verdict="field")
    guard(cli, desk)
    file, statement = cli.folder / "config.yaml", "select external_id, category, verdict from tickets"
    file.write_text(file.read_text().replace('["tags", "field"]', '"field"'))
    backup = cli.env["TRIAGE_DB"] = pg_server.database(like=pg_server.template)
    cli("pull", "-q")
    cli.env["TRIAGE_DB"] = pg_server.database(like=backup)
    cli("classify", "-q")
    assert cli("route", "-q").returncode == 0
    held = {number: category for number, category, _ in sql(cli.env["TRIAGE_DB"], statement) if category}
    other = "General" if held["0"] != "General" else "Billing"
    from_now_on(desk)
    desk.change(0, field=other)

    def restored() -> dict[str, tuple[str, int]]:
        cli.env["TRIAGE_DB"] = pg_server.database(like=backup)
        cli("pull", "-q", "--since", "1d")
        return {number: category for number, category, verdict in sql(cli.env["TRIAGE_DB"], statement) if verdict}

    assert restored() == held | {"0": other}, "all labels count as a person's"
    config = file.read_text()
    file.write_text(config.replace(', "verdict": "field"', ""))
    assert "verdict" not in file.read_text()
    assert restored() == {}
    cli("classify", "-q")
    assert f'the ticket there holds "{other}", which somebody has set and which stays' in cli("route", "-q").stderr
    file.write_text(config)
    cli("pull", "-q", "--since", "1d")
    assert [row for row in sql(cli.env["TRIAGE_DB"], statement) if row[2]] == [("0", other, 1)]


# -- kills


def test_what_changes_while_a_pull_is_cut_off_for_hours_moves_no_other_ticket_out_of_sight(
    cli: Cli, desk: Helpdesk
) -> None:
    """An address counts items, and those that were changed have moved to the end of the list."""
    for n in range(12, 30):
        desk.add(n)
    configure(cli, desk)
    assert cli("pull", "-q", "--limit", "20").returncode == 0
    began = int(BEGAN.timestamp())
    place = {"since": began, "high": began + 20, "place": f"{desk.url}?skip=20", "pages": 2, "ascending": True}
    for n in range(10):
        desk.change(n)
    for earlier_form in ({}, {"position": json.dumps(place | {"at": began})}):  # of programs that stored addresses
        with closing(sqlite3.connect(cli.db)) as db, db:
            db.executemany("update source_cursors set position = :position", [earlier_form] if earlier_form else [])
        assert cli("pull", "-q").returncode == 0
        assert len(rows(cli.db, "select 1 from tickets")) == 30
        assert len(rows(cli.db, "select 1 from source_cursors where position like '%place%'")) == 0
    assert cli("audit", "verify").returncode == 0


def pulled(cli: Cli, desk: Helpdesk, kills: dict[int, str]) -> int:
    """Pull until it ends, and kill it at these requests: before they are answered, or after; return how often."""
    process: list[subprocess.Popen[bytes]] = []
    answer, left = desk.stub.answer, dict(kills)

    def struck(got: Got) -> Reply:
        when = left.pop(len(desk.lists), None)
        if when == "before":
            os.kill(process[-1].pid, signal.SIGKILL)
            return Reply(cut=-1)
        reply = answer(got)
        if when == "after":
            os.kill(process[-1].pid, signal.SIGKILL)
        return reply

    desk.stub.answer = struck
    for starts in range(len(kills) + 1):
        process.append(cli.start("pull", "-q"))
        out, err = process[-1].communicate(timeout=PATIENCE)
        if process[-1].returncode != -signal.SIGKILL:
            assert (process[-1].returncode, out, err) == (0, b"", b"")
            return starts
    raise AssertionError("it was killed once more than it was to be")


def check_kills(cli: Cli, number: int, size: int, kills: int) -> None:
    desk = Helpdesk(number, size=size)
    pages = -(-number // size)
    failing = {
        3: Reply(429, headers={"retry-after": "0"}),
        pages // 2: Reply(200, b'{"data"', cut=4),
        pages - 1: Reply(503),
    }
    desk.fail = lambda n, _: failing.get(n)
    configure(cli, desk)
    step = max(1, pages // (kills + 1))
    try:
        done = pulled(cli, desk, {step * (n + 1): ("before", "after")[n % 2] for n in range(kills)})
        stored = rows(cli.db, "select external_id, count(*) from tickets group by external_id")
        assert sorted((int(i), n) for i, n in stored) == [(n, 1) for n in range(number)]
        assert len(desk.lists) <= 2 * (pages + done) + len(failing), "of each page of ten, six tickets are new"
        position = json.loads(rows(cli.db, "select position from source_cursors")[0][0])
        assert position == {"high": int(BEGAN.timestamp()) + number}
        before = len(desk.lists)
        again = cli("pull", "-q")
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
        assert len(desk.lists) - before <= 2
        assert cli("audit", "verify").returncode == 0
    finally:
        desk.close()


def test_kills_lose_nothing(cli: Cli) -> None:
    check_kills(cli, 200, 10, 4)


@pytest.mark.long
def test_ten_thousand_tickets_and_twenty_kills(cli: Cli) -> None:
    check_kills(cli, 10_000, 100, 20)
