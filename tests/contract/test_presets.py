"""Presets against stubs that refuse what the vendors refuse: one body of tests over all."""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.fake_destination import outcomes
from tests.support.records import replace
from tests.support.vendors.helpdesks import Freshdesk, ServiceNow, Zammad, Zendesk
from tests.support.vendors.paging import Opsgenie, PagerDuty
from tests.support.vendors.samples import SAMPLES
from tests.support.vendors.server import Answer, Call, Fault, Vendor, leaves
from tests.support.vendors.trackers import GitHub, GitHubIssue, Jira, Linear
from triage_cli import domain as dm
from triage_cli.config import FILTERS, DestinationSpec, HttpSpec, load_config, load_preset, preset_names
from triage_cli.ports import Destination
from triage_cli.service import known_field_categories
from triage_cli.wiring import open_destination

LABELS = ("zendesk", "freshdesk", "servicenow", "zammad", "github-label")
CHATS = tuple(name for name, sample in SAMPLES.items() if "url_env" in sample.keys)
# What can be asked for twice and is there once: by a key of the vendor, by `once`, or since adding is idempotent.
REPEATABLE = tuple(name for name in SAMPLES if name not in CHATS)
NAMES: dict[str, str | None] = {"servicenow": "INC0000041"}
HOSTILE = (
    'quotes " \' and \\ backslashes \\" \\u0041', "line\nbreaks\r\nand\ttabs\rof\u2028all kinds",
    "{{ 7*7 }} {% raw %} ${x}", "\u202eright to left",
    "NUL \x00 and \x1b[31m escape", "<!channel> <@U1> <!subteam^S1> &lt;!here&gt;", "@everyone @here <@1> <@&2>",
    "@octocat [~accountid:1] [link](https://evil.example)", "```\n@octocat\n```\n~~~\n{noformat}*bold*{code}",
    "\n\n@octocat\n\t@octocat", "😀" * 400, "&" * 4000, '"' * 20_000, " ", "á ﷽ \u202e right to left",
)  # fmt: skip


def outgoing(
    number: int, subject: str | None = "Refund", description: str | None = "twice", *, preset: str = "",
    category: str = "Billing", **changes: Any,
) -> dm.OutgoingDelivery:  # fmt: skip
    """Return a delivery; `attempts`, `doubtful` and `earlier` are those of the second try and of a correction."""
    earlier = tuple(changes.pop("earlier", ()))
    ticket = dm.Ticket(
        f"ticket-{number}", "i", "zendesk", NAMES.get(preset, "41"), "h", subject, description,
        changes.pop("customer", "C-1"), "urgent", 2, None, "now", category=category, confidence=0.9,
    )  # fmt: skip
    delivery = dm.Delivery(
        f"msg_{number:032x}", ticket.ticket_id, None, category, "out", "r", "m", None, "pending", 0, 0.0, None, None,
        None, "now",
    )  # fmt: skip
    return dm.OutgoingDelivery(
        replace(delivery, **changes), ticket, earlier, known=known_field_categories("out", earlier, ())
    )


Send = Callable[..., dm.Outcome[dm.Receipt]]


@contextmanager
def sending(preset: str, folder: Path, env: pytest.MonkeyPatch, **variables: str) -> Iterator[tuple[Vendor, Send]]:
    """Run a preset's stub and yield it with what sends it one delivery by the configuration that a user writes."""
    sample = SAMPLES[preset]
    vendor = sample.vendor()
    try:
        for name, value in {**sample.variables(vendor), **variables}.items():
            env.setenv(name, value)
        (folder / "config.yaml").write_text(sample.config(preset, vendor))
        config = load_config(config=str(folder / "config.yaml"), env={"HOME": str(folder)}, cwd=folder)
        destination = open_destination(config, "out")

        def send(number: int, *texts: str | None, **changes: Any) -> dm.Outcome[dm.Receipt]:
            (outcome,) = delivered(destination, [outgoing(number, *texts, preset=preset, **changes)])
            return outcome

        yield vendor, send
    finally:
        vendor.close()


def delivered(
    destination: Destination, outgoing_deliveries: Sequence[dm.OutgoingDelivery]
) -> list[dm.Outcome[dm.Receipt]]:
    return outcomes(destination.deliver([outgoing_deliveries]))


def refused(outcome: dm.Outcome[dm.Receipt]) -> dm.DeliveryError:
    assert isinstance(outcome.error, dm.DeliveryError), outcome
    return outcome.error


def test_each_preset_has_a_stub_and_names_the_pages_it_was_made_from() -> None:
    assert set(preset_names()) == SAMPLES.keys()
    folder = Path(__file__).parents[2] / "triage_cli" / "config" / "destination_presets"
    for name in SAMPLES:
        assert re.search(r"^source:\n(  - https://\S+\n)+", (folder / f"{name}.yaml").read_text(), re.MULTILINE), name


def test_presets_that_set_a_field_of_a_ticket_are_known() -> None:
    """Else `pull` would take a field's or a label's old value for a newer one."""
    for name in preset_names():
        spec, body = DestinationSpec("out", "http", http=HttpSpec(name)), repr(load_preset(name).value.get("body"))
        assert spec.may_write(labels=False) == ("custom_fields" in body), name
        assert spec.may_write(labels=True) == spec.writes_labels == (name in ("zendesk", "zammad", "github-label")), (
            name
        )
    kinds = ("http", "webhook", "command", "mail", "file")
    for labels in (False, True):
        may_write = [kind for kind in kinds if DestinationSpec("out", kind).may_write(labels=labels)]
        assert may_write == ["http", "webhook", "command"]


@pytest.mark.parametrize("preset", SAMPLES)
class TestEach:
    def test_takes_a_ticket(self, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with sending(preset, tmp_path, monkeypatch) as (vendor, send):
            outcome = send(1)
            assert outcome.error is None, vendor.refusals
            assert len(vendor.accepted) == 1
            assert vendor.calls[-1].headers["idempotency-key"] == f"msg_{1:032x}"

    def test_refuses_a_wrong_key_for_good_and_no_message_shows_it(
        self, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret = {"OUT_KEY": "wrong-secret-0123456789"}
        with sending(preset, tmp_path, monkeypatch, **secret) as (vendor, send):
            if preset in CHATS:
                monkeypatch.setenv("OUT_ADDRESS", vendor.url.replace("secret", "wrong-secret-0123456789"))
                config = load_config(config=str(tmp_path / "config.yaml"), env={"HOME": str(tmp_path)}, cwd=tmp_path)
                (outcome,) = delivered(open_destination(config, "out"), [outgoing(1)])
            else:
                outcome = send(1)
            error = refused(outcome)
            assert error.final
            assert not vendor.accepted
            assert "wrong-secret" not in repr((error.sentence(), error.answer))

    @pytest.mark.parametrize("fault", [Fault.BUSY, Fault.BROKEN, Fault.UNHEARD])
    def test_a_fault_that_passes_is_tried_again(
        self, preset: str, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with sending(preset, tmp_path, monkeypatch) as (vendor, send):
            vendor.faults.append(fault)
            first = refused(send(1))
            assert not first.final
            assert send(1, attempts=1, doubtful=int(first.doubtful)).error is None, vendor.refusals
            assert len(vendor.accepted) == 1

    def test_a_page_in_place_of_an_answer_is_no_acceptance(
        self, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with sending(preset, tmp_path, monkeypatch) as (vendor, send):
            answer = vendor.answer
            page = Answer(200, "<html>We will be back soon</html>")
            monkeypatch.setattr(vendor, "answer", lambda call: answer(call) if call.method == "GET" else page)
            first = refused(send(1))
            assert (first.final, first.doubtful, first.answer) == (False, True, page.body)
            monkeypatch.setattr(vendor, "answer", answer)
            assert send(1, attempts=1, doubtful=1).error is None, vendor.refusals
            assert len(vendor.accepted) == 1

    def test_a_long_answer_is_read(self, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As of Zendesk, Freshdesk and GitHub, who repeat a ticket's text in it."""
        with sending(preset, tmp_path, monkeypatch) as (vendor, send):
            answer = vendor.answer

            def long(call: Call) -> Answer:
                given = answer(call)
                longer = {**given.body, "description": "x" * 200_000} if isinstance(given.body, dict) else given.body
                return replace(given, body=longer)

            monkeypatch.setattr(vendor, "answer", long)
            outcome = send(1)
            assert outcome.error is None, vendor.refusals
            if preset in ("jira", "github", "linear", "discord"):
                assert outcome.value is not None
                assert outcome.value.kept is not None

    @pytest.mark.slow
    def test_any_text_arrives_as_it_was_and_notifies_nobody(
        self, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pieces = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40).map(dm.encodable))
        texts = st.lists(pieces, min_size=1, max_size=4).map("".join)
        pairs = st.one_of(st.tuples(texts, texts), st.tuples(texts, st.none()), st.tuples(st.none(), texts))
        number = iter(range(1_000_000))
        with sending(preset, tmp_path, monkeypatch) as (vendor, send):
            assert send(next(number)).error is None  # so that all the others find the label there
            config = load_config(config=str(tmp_path / "config.yaml"), env={"HOME": str(tmp_path)}, cwd=tmp_path)

            @given(st.lists(pairs, min_size=5, max_size=12))
            @example([pair for text in HOSTILE for pair in ((text, text), (text, None), (None, text))])
            @settings(examples(3, 20), derandomize=True, suppress_health_check=list(HealthCheck))
            def check(drawn: list[tuple[str | None, str | None]]) -> None:
                outgoing_deliveries = [
                    outgoing(next(number), *pair, preset=preset, customer=(pair[0] or pair[1] or "")[:2000])
                    for pair in drawn
                ]
                vendor.calls.clear()
                for outcome in delivered(open_destination(config, "out"), outgoing_deliveries):
                    assert outcome.error is None, (outcome, vendor.refusals)
                came = {call.headers["idempotency-key"]: call.body for call in vendor.calls if call.body}
                for sent_delivery in outgoing_deliveries:
                    text = sent_delivery.ticket.description or sent_delivery.ticket.subject or ""
                    if preset not in LABELS:
                        body = came[sent_delivery.delivery.delivery_id]
                        assert shown(preset, text, body), f"{preset} changes {text!r}; what it escapes, shown() undoes"

            check()
            assert vendor.pings == []

    def test_a_megabyte_is_shortened_to_what_the_vendor_takes(
        self, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with sending(preset, tmp_path, monkeypatch) as (vendor, send):
            for number, piece in enumerate(('"\\\n&', "\x00")):
                text = (piece * 1_000_000)[:1_000_000]
                assert send(number, text, text, customer=text[:1000]).error is None, vendor.refusals
            assert vendor.calls[-1].size < 600_000


def shown(preset: str, text: str, body: Any) -> bool:
    """Tell whether a vendor shows a ticket's text as it was, or a beginning of it."""
    found = ["\n".join(line.removeprefix("    ") for line in leaf.split("\n")) for leaf in leaves(body)]
    if preset == "slack":
        found = [html.unescape(re.sub(r"&[a-z]*…$", "…", leaf)) for leaf in found]
    if preset == "discord":
        found = [leaf.replace("]\\(", "](") for leaf in found]
    if preset in ("github", "linear"):
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.strip()
    if not text:
        return True
    texts = (
        (text, FILTERS["one_line"](text).strip()) if preset == "pagerduty" else (text,)
    )  # a subject alone is its summary
    return any(t in leaf or (t[: min(len(t), 40)] in leaf and "…" in leaf) for leaf in found for t in texts)


@pytest.mark.parametrize("preset", REPEATABLE)
def test_what_was_taken_and_not_answered_is_not_made_twice(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending(preset, tmp_path, monkeypatch) as (vendor, send):
        if preset in ("zendesk", "servicenow", "freshdesk"):
            vendor.faults.append(None)  # of the request before, for the incident or the field
        vendor.faults.append(Fault.LOST)
        first = refused(send(1))
        assert first.doubtful
        assert not first.final
        second = send(1, attempts=1, doubtful=1)
        assert second.error is None, vendor.refusals
        assert send(2).error is None, "another ticket is no repetition"
        assert made(vendor) == (1 if preset in ("zendesk", "freshdesk", "zammad", "github-label") else 2)


def made(vendor: Vendor) -> int:
    """Return how many things a vendor has of ours."""
    if isinstance(vendor, PagerDuty | Opsgenie):
        return len(vendor.alerts)
    if isinstance(vendor, GitHubIssue):
        return vendor.labels["41"].count("triage_billing")
    if isinstance(vendor, Jira | GitHub | Linear):
        return len(vendor.issues)
    if isinstance(vendor, Zendesk | Zammad):
        return vendor.tags["41"].count("triage_billing")
    if isinstance(vendor, Freshdesk):
        return int(vendor.tickets["41"]["custom_fields"]["cf_triage"] == "Billing")
    assert isinstance(vendor, ServiceNow)
    return int(vendor.incidents[vendor.sys_id]["work_notes"].count("triage_billing"))


@pytest.mark.parametrize("preset", LABELS)
def test_what_people_have_set_stays_and_a_correction_takes_back_only_our_own(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending(preset, tmp_path, monkeypatch) as (vendor, send):
        before = labels(vendor)
        first = send(1)
        assert first.error is None, vendor.refusals
        assert first.value is not None
        assert labels(vendor) == before | {"billing"}
        accepted = replace(outgoing(1)[0], state="accepted", kept=first.value.kept)
        again = send(2, category="Technical", earlier=[accepted], replaces=accepted.delivery_id)
        assert again.error is None, vendor.refusals
        kept = {"billing"} if isinstance(vendor, ServiceNow) else set()  # a note is no label: the next one corrects it
        assert labels(vendor) == before | kept | {"technical"}


@pytest.mark.parametrize("preset", ["zendesk", "zammad", "github-label"])
def test_a_page_in_place_of_an_answer_does_not_show_that_a_tag_is_taken_back(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending(preset, tmp_path, monkeypatch) as (vendor, send):
        assert send(1).error is None
        before, answer = labels(vendor), vendor.answer
        page = Answer(200, "<html>We will be back soon</html>")
        monkeypatch.setattr(vendor, "answer", lambda call: page if call.method == "DELETE" else answer(call))
        accepted = replace(outgoing(1)[0], state="accepted")
        corrected = {"category": "Technical", "earlier": [accepted], "replaces": accepted.delivery_id}
        first = refused(send(2, **corrected))
        assert (first.final, first.doubtful, first.answer) == (False, False, page.body)
        monkeypatch.setattr(vendor, "answer", answer)
        assert send(2, attempts=1, **corrected).error is None
        assert labels(vendor) == before - {"billing"} | {"technical"}


def test_a_tag_that_an_agent_adds_at_the_same_moment_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending("zendesk", tmp_path, monkeypatch) as (vendor, send):
        assert isinstance(vendor, Zendesk)
        vendor.by_agent = ["escalated"]
        assert not refused(send(1)).final
        assert send(1, attempts=1).error is None, vendor.refusals
        accepted = replace(outgoing(1)[0], state="accepted")
        vendor.by_agent = ["bug"]
        corrected = {"category": "Technical", "earlier": [accepted], "replaces": accepted.delivery_id}
        assert not refused(send(2, **corrected)).final
        assert send(2, attempts=1, **corrected).error is None, vendor.refusals
        assert set(vendor.tags["41"]) == {"vip", "triage_by_hand", "escalated", "bug", "triage_technical"}


@pytest.mark.parametrize(
    ("there", "stays"), [("VIP", True), ("Technical", True), (7, True), ("", False), ("triage_billing", False)]
)
def test_freshdesk_s_field_keeps_what_a_person_has_set(
    there: object, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending("freshdesk", tmp_path, monkeypatch) as (vendor, send):
        assert isinstance(vendor, Freshdesk)
        vendor.tickets["41"]["custom_fields"]["cf_triage"] = there
        outcome = send(1)
        assert vendor.tickets["41"]["custom_fields"]["cf_triage"] == (there if stays else "Billing")
        if stays:
            error = refused(outcome)
            assert (error.final, error.doubtful, f'holds "{there}"' in error.message) == (True, False, True)


def labels(vendor: Vendor) -> set[str]:
    """Return what stands on the ticket, our own without the prefix."""
    if isinstance(vendor, Zendesk | Zammad):
        found = vendor.tags["41"]
    elif isinstance(vendor, GitHubIssue):
        found = vendor.labels["41"]
    elif isinstance(vendor, Freshdesk):
        fields = vendor.tickets["41"]["custom_fields"]
        found = [*vendor.tickets["41"]["tags"], fields["cf_plan"], (fields["cf_triage"] or "none").lower()]
    else:
        assert isinstance(vendor, ServiceNow)
        found = re.findall(r"triage_\w+", vendor.incidents[vendor.sys_id]["work_notes"])
        assert not vendor.incidents["f" * 32]["work_notes"], "another incident"
    return {label.removeprefix("triage_") for label in found} - {"none"}


@pytest.mark.parametrize("preset", LABELS)
@pytest.mark.parametrize(
    "name", ["42", "..", ".", "41/../42", "41?x=1", "41#", "x^ORnumber=INC0000042", "javascript:1", "%2e%2e"]
)
def test_no_external_id_leads_to_another_ticket(
    preset: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NAMES, preset, name)
    with sending(preset, tmp_path, monkeypatch) as (vendor, send):
        before = labels(vendor)
        error = refused(send(1))
        assert error.final
        assert not vendor.accepted
        assert labels(vendor) == before


@pytest.mark.parametrize("preset", LABELS)
def test_a_ticket_without_an_external_id_is_sent_nowhere(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NAMES, preset, None)
    with sending(preset, tmp_path, monkeypatch) as (vendor, send):
        assert refused(send(1)).final
        assert not vendor.accepted


def test_servicenow_finds_an_incident_by_its_sys_id_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMES, "servicenow", ServiceNow.sys_id)
    with sending("servicenow", tmp_path, monkeypatch) as (vendor, send):
        assert send(1).error is None, vendor.refusals
        assert labels(vendor) == {"billing"}


def test_linear_refuses_with_status_200(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sending("linear", tmp_path, monkeypatch) as (vendor, send):
        monkeypatch.setattr(vendor, "team", "another team's id")
        error = refused(send(1))
        assert error.final
        assert (error.status, vendor.accepted) == (200, [])
        assert "teamId" in (error.answer or "")


def test_the_second_attempt_at_an_issue_waits_until_the_search_knows_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending("jira", tmp_path, monkeypatch):
        config = load_config(config=str(tmp_path / "config.yaml"), env={"HOME": str(tmp_path)}, cwd=tmp_path)
        assert config.destinations["out"].retry_schedule[0] >= 60


def test_github_tells_a_limit_from_a_key_that_may_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sending("github", tmp_path, monkeypatch) as (vendor, send):
        answers = iter(
            [{"message": "You have exceeded a secondary rate limit."}, {"message": "Resource not accessible"}]
        )
        monkeypatch.setattr(vendor, "answer", lambda _: Answer(403, next(answers)))
        assert [refused(send(n)).final for n in (1, 2)] == [False, True]


def test_a_label_on_an_issue_that_nobody_may_know_is_refused_for_good_and_switches_nothing_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending("github-label", tmp_path, monkeypatch) as (vendor, send):
        monkeypatch.setattr(vendor, "answer", lambda _: Answer(410, {"message": "This issue was deleted"}))
        error = refused(send(1))
        assert (error.final, error.gone) == (True, False)
        long = "A name of a category that is longer than any label of GitHub may be, in all"
        monkeypatch.undo()
    with sending("github-label", tmp_path, monkeypatch) as (vendor, send):
        assert send(1, category=long).error is None, vendor.refusals
        assert isinstance(vendor, GitHubIssue)
        assert max(map(len, vendor.labels["41"])) == 50
        accepted = replace(outgoing(1, category=long)[0], state="accepted")
        assert send(2, earlier=[accepted], replaces=accepted.delivery_id).error is None, vendor.refusals
        assert vendor.labels["41"] == ["vip", "triage_billing"]


def test_a_search_of_github_that_ran_out_of_time_does_not_show_that_nothing_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sending("github", tmp_path, monkeypatch) as (vendor, send):
        vendor.faults.append(Fault.LOST)
        assert refused(send(1)).doubtful
        answer = vendor.answer
        timed_out = Answer(200, {"total_count": 0, "incomplete_results": True, "items": []})
        monkeypatch.setattr(vendor, "answer", lambda call: timed_out if call.path[0] == "search" else answer(call))
        assert not refused(send(1, attempts=1, doubtful=1)).final
        monkeypatch.setattr(vendor, "answer", answer)
        assert send(1, attempts=2, doubtful=1).error is None
        assert made(vendor) == 1
