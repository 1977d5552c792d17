"""Deliveries through refusals, lost answers and kill -9: none is lost, none arrives twice where that can be told."""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.cli import Cli
from tests.support.commands import many, rows, until
from tests.support.http_stub import Got, HttpStub, Reply

# What happens to a request by its number: refused before it is taken, or taken and then cut off or not answered.
FAULTS = {2: "429", 4: "500", 6: "cut", 9: "held"}
EACH = 11


class Vendor(HttpStub):
    """Makes an issue of each request that it takes; with `keyed`, one for each idempotency key."""

    def __init__(self, *, keyed: bool) -> None:
        self.made: Counter[str] = Counter()
        self.keyed = keyed
        self.posts = 0
        self.over = threading.Event()
        super().__init__(self.reply)

    def reply(self, got: Got) -> Reply:
        if got.method == "GET":
            (label,) = parse_qs(urlsplit(got.path).query)["label"]
            return Reply(200, json.dumps({"issues": [{"key": f"K-{label}"}] if self.made[label] else []}))
        label, key = got.json["label"], got.headers["idempotency-key"]
        with self.lock:
            self.posts += 1
            fault = FAULTS.get(self.posts % EACH, "")
            if fault not in ("429", "500") and not (self.keyed and self.made[label]):
                self.made[label] += 1
        assert key == label
        if fault in ("429", "500"):
            return Reply(int(fault), headers={"retry-after": "0"})
        if fault == "held":
            self.over.wait()
        return Reply(201, json.dumps({"key": f"K-{label}"}), cut=-1 if fault else None)

    def close(self) -> None:
        self.over.set()
        super().close()


@pytest.fixture
def vendor() -> Iterator[Callable[[bool], Vendor]]:
    vendors: list[Vendor] = []

    def made(keyed: bool) -> Vendor:
        vendors.append(Vendor(keyed=keyed))
        return vendors[-1]

    yield made
    for each in vendors:
        each.close()


def delivered(cli: Cli, vendor: Vendor, number: int, kills: int, once: str = "") -> list[tuple[str, str, str]]:
    """Deliver so many tickets, with so many kills on the way; return id, state and what is kept of each."""
    config = cli.folder / "config.yaml"
    config.write_text(f"""
database: {cli.db}
destinations:
  bugs:
    type: http
    url: {vendor.root}
    endpoint: /issue
    timeout: 1
    retry_schedule: [0]
    max_attempts: 100
    body: {{label: "{{{{ delivery_id }}}}", title: "{{{{ ticket.subject }}}}"}}
    keep: {{id: key}}
    {once}
routes: [{{to: bugs}}]
""")
    config.chmod(0o600)
    assert cli("create", "-q", "-", stdin=many(number)).returncode == 0
    assert cli("classify", "-q").returncode in (0, 3)
    assert cli("verdict", "-", "-q", stdin=verdicts(cli)).returncode == 0
    for kill in range(1, kills + 1):
        with cli.start("route", "-q") as process:
            until(partial(beyond, vendor, kill * number // (kills + 1), process), "requests")
            process.kill()

    def settled() -> bool:
        assert cli("route", "-q").returncode in (0, 6)
        return not rows(cli.db, "select 1 from deliveries where state = 'pending' limit 1")

    until(settled, "all deliveries")
    found: list[tuple[str, str, str]] = rows(cli.db, "select delivery_id, state, kept from deliveries")
    return found


def beyond(vendor: Vendor, number: int, process: "subprocess.Popen[bytes]") -> bool:
    """Tell whether more than so many are made, or nobody makes more."""
    return len(vendor.made) > number or process.poll() is not None


def verdicts(cli: Cli) -> str:
    """Return a verdict for each ticket, so that every one has a category."""
    names = cli("list", "-o", "id").stdout.split()
    return "ticket_id,category\n" + "".join(f"{name},Billing\n" for name in names)


SIZES = [pytest.param(120, 2, id="small"), pytest.param(1000, 10, id="full", marks=pytest.mark.long)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("number", "kills"), SIZES)
@pytest.mark.parametrize("way", ["key", "once", "neither"])
def test_each_is_accepted_once_where_that_can_be_told_and_none_is_lost(
    fitted: Cli, vendor: Callable[[bool], Vendor], way: str, number: int, kills: int
) -> None:
    system = vendor(way == "key")
    once = "once: {get: '/search?label={{ delivery_id }}', found: issues.0.key}" if way == "once" else ""
    found = delivered(fitted, system, number, kills, once)
    assert Counter(state for _, state, _ in found) == {"accepted": number}
    assert set(system.made) == {delivery_id for delivery_id, _, _ in found}, "none is lost, and under no other id"
    assert [json.loads(kept) for _, _, kept in found] == [{"id": f"K-{delivery_id}"} for delivery_id, _, _ in found]
    if way != "neither":
        assert set(system.made.values()) == {1}
    assert system.posts > number, "some were sent again"


def test_what_a_killed_process_had_begun_may_have_arrived_and_blocks_nobody(fitted: Cli) -> None:
    """Killed between the mark of its attempts and their answers, with others waiting behind them."""
    over = threading.Event()

    def answer(_: Got) -> Reply:
        over.wait()
        return Reply()

    with closing(HttpStub(answer)) as stub:
        config = fitted.folder / "config.yaml"
        config.write_text(
            f"database: {fitted.db}\nclassifiers: {{local: {{type: local, min_confidence: 0}}}}\n"
            f'destinations: {{bugs: {{type: http, url: "{stub.root}", body: "{{{{ ticket.subject }}}}"}}}}\n'
            "routes: [{to: bugs}]\n"
        )
        config.chmod(0o600)
        tickets = "id,subject,customer_id\n" + "".join(f"{n},I was charged twice,C-{n % 2}\n" for n in range(12))
        assert fitted("create", "-q", "-", stdin=tickets).returncode == 0
        assert fitted("classify", "-q").returncode == 0
        try:
            with fitted.start("route", "-q") as process:
                until(lambda: len(stub.got) == 4, "as many requests as are made at once")
                process.kill()
            begun = rows(fitted.db, "select delivery_id, customer_id from deliveries join tickets using (ticket_id) "
                                    "where begun_by is not null")  # fmt: skip
            assert len(begun) == 4
            done = fitted("forget", "--customer-id", "C-0", "--yes")
        finally:
            over.set()
        assert done.returncode == 0, done.stderr
        assert f"bugs ({sum(customer == 'C-0' for _, customer in begun)})" in done.stderr
        assert fitted("route", "-q").returncode == 0
        sent = Counter(got.headers["idempotency-key"] for got in stub.got)
    of_other = {delivery_id for delivery_id, customer in begun if customer == "C-1"}
    assert {delivery_id for delivery_id, number in sent.items() if number == 2} == of_other
    assert len(sent) == 6 + sum(customer == "C-0" for _, customer in begun)
    doubtful = rows(fitted.db, "select delivery_id from deliveries where doubtful = 1 and state = 'accepted'")
    assert {row[0] for row in doubtful} == of_other
