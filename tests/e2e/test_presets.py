"""Presets from the command line to the vendor: a ticket is filed once, labelled, corrected, and looked at before."""

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.cli import Cli
from tests.support.vendors.helpdesks import Zendesk
from tests.support.vendors.samples import SAMPLES
from tests.support.vendors.server import Fault, Vendor
from tests.support.vendors.trackers import Jira

KEYED = ("pagerduty", "opsgenie", "jira", "github", "linear")


@contextmanager
def configured(cli: Cli, preset: str, keys: str = "") -> Iterator[Vendor]:
    """Run a preset's stub; the command line's configuration sends every ticket there."""
    sample = SAMPLES[preset]
    vendor = sample.vendor()
    text = sample.config(preset, vendor)
    (cli.folder / "config.yaml").write_text(text.replace("{type: http", "{type: http" + keys))
    cli.env |= sample.variables(vendor)
    try:
        yield vendor
    finally:
        vendor.close()


def test_a_correction_in_zendesk_takes_back_what_was_wrong_and_nothing_else(cli: Cli) -> None:
    with configured(cli, "zendesk") as vendor:
        assert isinstance(vendor, Zendesk)
        ticket = ("--subject", "Refund", "--description", "charged twice", "--external-id", "41")
        assert cli("create", *ticket).returncode == 0
        for category, tags in (("Billing", ["triage_billing"]), ("Technical", ["triage_technical"])):
            assert cli("verdict", "41", category).returncode == 0
            done = cli("route")
            assert done.returncode == 0, (done.stderr, vendor.refusals)
            assert vendor.tags["41"] == ["vip", "triage_by_hand", *tags]
        assert cli("route", "--again").returncode == 0
        assert vendor.tags["41"] == ["vip", "triage_by_hand", "triage_technical"]


def test_a_ticket_that_somebody_changes_at_the_same_moment_is_labelled_later(cli: Cli) -> None:
    with configured(cli, "zendesk", ", retry_schedule: [0]") as vendor:
        assert isinstance(vendor, Zendesk)
        vendor.conflicts = 1
        ticket = ("--subject", "Refund", "--description", "charged twice", "--external-id", "41")
        assert cli("create", *ticket).returncode == 0
        assert cli("verdict", "41", "Billing").returncode == 0
        cli("route")
        cli("route")
        assert vendor.tags["41"] == ["vip", "triage_by_hand", "triage_billing"]


def test_what_the_vendor_answered_is_shown(cli: Cli) -> None:
    with configured(cli, "jira") as vendor:
        assert isinstance(vendor, Jira)
        assert cli("create", "--subject", "Refund", "--description", "twice", "--external-id", "J-1").returncode == 0
        assert cli("verdict", "J-1", "Billing").returncode == 0
        seen = cli("route", "--dry-run")
        assert '"summary":"Refund"' in seen.stdout.replace(": ", ":")
        assert "jira-secret" not in seen.stdout + seen.stderr
        assert not vendor.calls
        assert cli("route").returncode == 0
        (delivery,) = json.loads(cli("show", "J-1", "-o", "json").stdout)["deliveries"]
        assert "SUP-1" in json.dumps(delivery)


def test_a_refusal_is_told_with_what_the_vendor_said(cli: Cli) -> None:
    with configured(cli, "jira") as vendor:
        text = (cli.folder / "config.yaml").read_text()
        (cli.folder / "config.yaml").write_text(text.replace("project: SUP", "project: NONE"))
        assert cli("create", "--subject", "Refund", "--external-id", "J-1").returncode == 0
        assert cli("verdict", "J-1", "Billing").returncode == 0
        assert cli("route").returncode == 3
        assert "project is invalid" in cli("why", "J-1").stdout
        assert not vendor.issues if isinstance(vendor, Jira) else None


@pytest.mark.parametrize("preset", KEYED)
def test_through_faults_each_ticket_is_there_once(fitted: Cli, preset: str) -> None:
    number = 60
    rows = "".join(f"B-{n},invoice {n},please refund invoice {n} I was charged twice\n" for n in range(number))
    with configured(fitted, preset, ", retry_schedule: [0], max_attempts: 50") as vendor:
        drawn = random.Random(preset)
        vendor.faults.extend(drawn.choice((*Fault, None, None)) for _ in range(150))
        assert fitted("create", "-q", stdin=f"id,subject,description\n{rows}").returncode == 0
        ids = fitted("list", "-o", "id").stdout.split()
        verdicts = "".join(f"{name},Billing\n" for name in ids)
        assert fitted("verdict", "-", "-q", stdin=f"ticket_id,category\n{verdicts}").returncode == 0
        for _ in range(20):
            done = fitted("route", "-q")
            if done.returncode == 0 and not fitted("list", "--status", "routing", "-o", "id").stdout:
                break
        assert fitted("list", "--status", "routed", "-o", "id").stdout.count("\n") == number, done.stderr
        made = vendor.alerts if preset in ("pagerduty", "opsgenie") else vendor.issues  # type: ignore[attr-defined]
        assert len(made) == number
        with sqlite3.connect(fitted.db) as database:
            assert database.execute("SELECT max(attempts) > 1 FROM deliveries").fetchone() == (1,)


@pytest.mark.parametrize("preset", SAMPLES)
def test_the_doctor_sends_one_marked_test_ticket(cli: Cli, preset: str) -> None:
    with configured(cli, preset) as vendor:
        done = cli("doctor", "--send", "out")
        if preset in (
            "zendesk",
            "freshdesk",
            "servicenow",
            "zammad",
            "github-label",
        ):  # they label what is there, and this is not
            assert done.returncode == 8, done.stderr
            assert not vendor.accepted
        else:
            assert done.returncode == 0, (done.stdout, done.stderr, vendor.refusals)
            assert len(vendor.accepted) == 1
        assert "secret" not in done.stdout + done.stderr
