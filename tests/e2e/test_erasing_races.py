"""Three processes and a server at once on one database: of what is erased nothing stays, leaves or is told (long)."""

import json
import os
import random
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.support.cli import Cli
from tests.support.http_stub import Got, HttpStub, Reply
from tests.support.pg_server import sql
from tests.support.serve_command import key_of, serve_command
from triage_cli.extensions.postgres import tables

COMMANDS, AT_ONCE = 300, 3
PERSONS, OF_EACH = 5, 6  # in each import
TEXTS = ("I was charged twice", "the app crashes at login", "what are your opening hours", "outage of everything")
CONFIG = """
database: t.db
classifiers: {local: {type: local, min_confidence: 0.7}}
routes:
  - {name: words, when: {text: [outage]}, to: page, before: classify}
  - {when: {category: [Billing]}, to: [lead, box, tool]}
  - {to: [hook, box]}
escalations:
  - {name: late, when: {status: [needs_review, routing, undeliverable], age: {over: 1s}}, to: lead}
destinations:
  page: {type: http, url: "URL/page", BODY}
  lead: {type: http, url: "URL/lead", BODY}
  hook: {type: webhook, url: "URL/hook", allow_private: true, retry_schedule: [0.1, 0.5, 1, 1, 1]}
  box: {type: file, path: box.jsonl}
  tool: {type: command, run: [sh, -c, cat >> tool.jsonl]}
"""
BODY = """allow_private: true, retry_schedule: [0.1, 0.5, 1, 1, 1],
    body: {text: "{{ ticket.subject }} {{ ticket.description }}", who: "{{ ticket.customer_id }}"}"""
FILES = "box.jsonl", "tool.jsonl"  # that destinations write
KILLED = ("route", "-q"), ("classify", "-q"), ("reclassify", "--apply", "--max-flips", "1000", "-q")
MARK = re.compile(r"zork[a-z]{4}\d", re.IGNORECASE)  # of a ticket; that of its person is all but the digit


def mark_of(number: int) -> str:
    """Return a word without a digit: numbers make no other text."""
    return "zork" + "".join(chr(97 + number // 26**k % 26) for k in range(4))


class Erased(NamedTuple):
    """When the command that erased a ticket had ended, and how long the files of destinations were then."""

    at: float
    lengths: list[int]


class Said(NamedTuple):
    """What was sent or answered, and when: that it was begun, and that it had come."""

    what: str
    began: float
    text: str


@dataclass
class Import:
    """A file of one worker, whose tickets are there until it is taken back."""

    file: str
    persons: list[str]
    ids: dict[str, str] = field(default_factory=dict)  # marks by ids
    is_there: bool = True


class Campaign:
    """Random commands on one database, and what has come out of it."""

    def __init__(self, cli: Cli, stub: HttpStub, client: httpx.Client, seed: int) -> None:
        self.cli = cli
        self.base, self.keyed = "", dict[str, tuple[dict[str, str], str]]()
        self.client = client
        self.imports: list[Import] = []
        self.erased: dict[str, Erased] = {}  # by marks
        self.said: list[Said] = []
        self.codes = Counter[tuple[str, int | str]]()
        self.broken: list[str] = []
        self.numbers = iter(range(10**6))
        self.chance = random.Random(seed)
        self.lock = threading.Lock()
        stub.answer = self.received

    def received(self, got: Got) -> Reply:
        """Refuse most requests with what they say, some of them late."""
        with self.lock:
            self.said.append(Said(f"receiver {got.path}", time.time(), got.body.decode()))
            status = self.chance.choice((200, 200, 200, 503, 503, 400))
            late = self.chance.choice((0.0, 0.2, 0.6))
        threading.Event().wait(late)
        return Reply(status, b"refused: " + got.body)

    def command(self, *words: str, user: str = "ada", stdin: str = "") -> str:
        began = time.time()
        done = self.cli(*words, stdin=stdin, USER=user, LOGNAME=user)
        with self.lock:
            self.codes[words[0], done.returncode] += 1
            self.said.append(Said(" ".join(words), began, done.stdout + done.stderr))
            if done.returncode in {1, -6, -11} or "Traceback" in done.stderr:
                self.broken.append(f"{words}: {done.returncode} {done.stderr[-2000:]}")
        return done.stdout if done.returncode in {0, 3} else ""

    def note_erased(self, marks: Iterator[str]) -> None:
        with self.lock:
            erased = Erased(time.time(), [len(self.written(name)) for name in FILES])
            for mark in marks:
                self.erased.setdefault(mark, erased)

    def written(self, name: str) -> bytes:
        path = self.cli.folder / name
        return path.read_bytes() if path.exists() else b""

    # -- what a worker does

    def bring(self, own: list[Import], user: str, name: str) -> None:
        with self.lock:
            number = next(self.numbers)
            made = Import(f"in{number}.csv", [mark_of(number * PERSONS + k) for k in range(PERSONS)])
            texts = [self.chance.choice(TEXTS) for _ in range(PERSONS * OF_EACH)]
        self.write(made, texts)
        done = self.command(name, made.file, "-q", "-o", "jsonl", user=user)
        if name == "create":  # what others route
            self.command("classify", "-q", user=user)
        rows = [json.loads(line) for line in done.splitlines()]
        made.ids = {row["triage_ticket_id"]: row["id"] for row in rows if row.get("triage_ticket_id")}
        with self.lock:
            self.imports.append(made)
            own.append(made)

    def write(self, made: Import, texts: list[str]) -> None:
        marks = [(person, f"{person}{k}") for person in made.persons for k in range(OF_EACH)]
        lines = [
            f"{mark},{text},{mark} says {text},C-{person}\n" for (person, mark), text in zip(marks, texts, strict=True)
        ]
        (self.cli.folder / made.file).write_text("id,subject,description,customer_id\n" + "".join(lines))

    def rewrite(self, own: list[Import], user: str) -> None:
        if own and own[-1].is_there:
            with self.lock:
                texts = [self.chance.choice(TEXTS) + " once more" for _ in range(PERSONS * OF_EACH)]
            self.write(own[-1], texts)
            self.command("create", own[-1].file, "-q", "--same-tickets", user=user)
            own[-1].is_there = False  # to undo this run is another matter

    def forget(self, user: str) -> None:
        with self.lock:
            left = [p for made in self.imports for p in made.persons if f"{p}0" not in self.erased][-2 * PERSONS :]
            person = self.chance.choice(left) if left else ""
            over_http = self.chance.random() < 0.4
        if person and over_http:
            answer = self.client.post(f"{self.base}/forget", json={"customer_id": f"C-{person}"})
            end = json.loads(answer.text.splitlines()[-1])
            self.erased_by("POST /forget", person, end.get("problem", {}).get("code", "done"), answer.text)
        elif person:
            done = self.cli("forget", "--customer-id", f"C-{person}", "--yes", USER=user, LOGNAME=user)
            self.erased_by("forget", person, done.returncode, done.stderr)

    def erased_by(self, how: str, person: str, code: int | str, said: str) -> None:
        with self.lock:
            self.codes[how, code] += 1
            if code not in {0, 5, 6, "done", "unavailable", "busy"}:
                self.broken.append(f"{how}: {code} {said[-2000:]}")
        if code in {0, "done"}:
            self.note_erased(f"{person}{k}" for k in range(OF_EACH))

    def killed(self) -> None:
        """Begin to send, or to decide, and die at any moment."""
        with self.lock:
            words, late = self.chance.choice(KILLED), self.chance.uniform(0.1, 1.5)
        process = self.cli.start(*words, stdin=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(late)
        process.kill()
        process.wait()
        with self.lock:
            self.codes["killed", process.returncode] += 1

    def undo(self, own: list[Import], user: str) -> None:
        if own and own[-1].is_there and own[-1].ids:
            own[-1].is_there = False
            done = self.command("undo", "last", "--yes", "-q", "-o", "jsonl", user=user)
            ids = [row["ticket_id"] for row in map(json.loads, done.splitlines()) if row["did"] == "withdrawn"]
            self.note_erased(own[-1].ids[i] for i in ids if i in own[-1].ids)

    def some_ticket(self) -> str:
        """Return the id of a ticket that was there, or its name outside."""
        with self.lock:
            pairs = [pair for made in self.imports for pair in made.ids.items()]
            ticket_id, mark = self.chance.choice(pairs or [("none", "none")])
            return ticket_id if mark in self.erased or self.chance.random() < 0.5 else mark

    def post(self) -> None:
        """Post a ticket under a key, or one again that was posted."""
        with self.lock:
            known = list(self.keyed)
            mark = self.chance.choice(known) if known and self.chance.random() < 0.5 else ""
            number = next(self.numbers) * PERSONS
            text = self.chance.choice(TEXTS)
        if not mark:
            person = mark_of(number)
            mark = f"{person}0"
            body = {"subject": text, "description": f"{mark} says {text}", "customer_id": f"C-{person}"}
            self.keyed[mark] = body, os.urandom(8).hex()
            with self.lock:
                self.imports.append(Import("", [person]))
        body, key = self.keyed[mark]
        began = time.time()
        answer = self.client.post(f"{self.base}/tickets", json=body, headers={"Idempotency-Key": key})
        with self.lock:
            self.codes["POST", answer.status_code] += 1
            self.said.append(Said(f"answer to {mark}", began, answer.text))
            if answer.status_code >= 500:
                self.broken.append(answer.text)

    def look(self) -> None:
        path = self.chance.choice(("/tickets", "/tickets?status=needs_review", "/stats"))
        began = time.time()
        answer = self.client.get(self.base + path)
        with self.lock:
            self.said.append(Said(path, began, answer.text))

    def work(self, number: int) -> None:
        user, own = f"user{number}", list[Import]()
        doings: list[tuple[int, Callable[[], object]]] = [
            (2, lambda: self.bring(own, user, "run")),
            (5, lambda: self.bring(own, user, "create")),
            (1, lambda: self.rewrite(own, user)),
            (8, lambda: self.forget(user)),
            (5, lambda: self.undo(own, user)),
            (3, lambda: self.command("verdict", self.some_ticket(), "Technical", "-q", user=user)),
            (1, lambda: self.command("verdict", self.some_ticket(), "--clear", "-q", user=user)),
            (7, lambda: self.command("route", "-q", user=user)),
            (3, self.killed),
            (2, lambda: self.command("classify", "-q", user=user)),
            (1, lambda: self.command("reclassify", "--apply", "--max-flips", "1000", "-q", user=user)),
            (1, lambda: self.command("learn", "-q", user=user)),
            (1, lambda: self.command("similar", self.some_ticket(), user=user)),
            (2, lambda: self.command("why", self.some_ticket(), user=user)),
            (1, lambda: self.command("list", "-o", "jsonl", user=user)),
            (1, lambda: self.command("runs", "-o", "jsonl", user=user)),
            (1, lambda: self.command("audit", "verify", "-q", user=user)),
            (4, self.post),
            (2, self.look),
        ]
        weights = [weight for weight, _ in doings]
        for _ in range(COMMANDS // AT_ONCE):
            with self.lock:
                ((_, do),) = self.chance.choices(doings, weights)
            do()

    # -- what holds afterwards

    def came_out_late(self) -> list[str]:
        """Return what was sent or answered about erased tickets after the command that erased them had ended."""
        return [
            f"{said.what}, {said.began - self.erased[mark.lower()].at:.2f} s after {mark} was erased"
            for said in self.said
            for mark in set(MARK.findall(said.text))
            if mark.lower() in self.erased and said.began > self.erased[mark.lower()].at
        ]

    def written_late(self) -> list[str]:
        """Return what destinations' files got about erased tickets after the command that erased them had ended."""
        return [
            f"{name}: {found[0].decode()} at {found.start()}, erased at {erased.lengths[n]}"
            for n, name in enumerate(FILES)
            for found in re.finditer(MARK.pattern.encode(), self.written(name), re.IGNORECASE)
            if (erased := self.erased.get(found[0].decode().lower())) and found.start() > erased.lengths[n]
        ]

    def left_in(self, text: str) -> list[str]:
        """Return what text has of erased tickets, with what is around it."""
        return [
            text[max(0, found.start() - 200) : found.end() + 100]
            for found in MARK.finditer(text)
            if found[0].lower() in self.erased
        ]


def text_of(cli: Cli, url: str) -> str:
    """Return all that a database holds."""
    if url:
        return "\n".join(f"{name}: {row}" for name in tables() for row in sql(url, f"select * from {name}"))
    return "".join(path.read_bytes().decode("latin-1") for path in cli.folder.glob("t.db*"))


@pytest.mark.long
@pytest.mark.parametrize("seed", [int(each) for each in os.environ.get("SEEDS", "1 2 3").split()])
@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_nothing_of_an_erased_person_stays_or_leaves(
    tmp_path: Path, request: pytest.FixtureRequest, dialect: str, seed: int
) -> None:
    url = ""
    if dialect == "postgres":
        pg_server = request.getfixturevalue("pg_server")
        url = pg_server.database(like=pg_server.template)
    with closing(Cli(tmp_path)) as cli, closing(HttpStub()) as stub, httpx.Client(timeout=60) as client:
        cli.env["TRIAGE_DB"] = url or str(tmp_path / "t.db")
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG.replace("BODY", BODY).replace("URL", stub.root))
        config.chmod(0o600)
        campaign = Campaign(cli, stub, client, seed)
        assert cli("create", "-q", "--subject", "the first").returncode == 0
        campaign.client.headers["Authorization"] = f"Bearer {key_of(cli, 'admin')}"
        with serve_command(cli) as (_, campaign.base, log):
            cli.fresh = False
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(campaign.work, range(AT_ONCE)))
            campaign.command("route", "-q")
        did = f"seed {seed}: {len(campaign.erased)} tickets erased; {campaign.codes}"
        assert campaign.broken == [], did
        assert len(campaign.erased) > 30, did
        assert campaign.came_out_late() + campaign.written_late() == []
        assert campaign.left_in(log()) == []
        assert campaign.left_in(text_of(cli, url)) == []
        assert cli("audit", "verify", "-q").returncode == 0
        assert min(len(campaign.written(name)) for name in FILES) > 1000
        assert campaign.codes["killed", -9] > 0, did
