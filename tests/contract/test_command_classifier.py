"""Classifiers of type `command`: a program that answers, and all the ways in which one does not."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.commands import until
from tests.support.records import replace
from tests.support.world import CATEGORIES, a_budget
from triage_cli import domain as dm
from triage_cli.classifiers import CommandClassifier
from triage_cli.config import ClassifierSpec
from triage_cli.runtime import StopControl, began

READ = """
import json, os, signal, sys, time
def answer(asked, **more):
    fields = {"id": asked["id"], "category": "Billing", "confidence": 0.9, "reason": "it says so"} | more
    sys.stdout.write(json.dumps(fields) + "\\n")
    sys.stdout.flush()
lines = map(json.loads, iter(sys.stdin.readline, ""))
"""


def classifier(
    folder: Path, code: str, questions: Sequence[dm.Question] = (), *, timeout: float = 20.0, **env: str
) -> CommandClassifier:
    script = folder / "classify.py"
    script.write_text(READ + code)
    spec = ClassifierSpec("mine", "command", min_confidence=0.6, run=(sys.executable, str(script)), timeout=timeout)
    return CommandClassifier(
        spec, CATEGORIES, questions=questions, env=dict(os.environ) | env, actor="tester", run_id="r"
    )


def tickets(number: int) -> list[dm.Ticket]:
    return [dm.Ticket.of_text(f"text {n}", ticket_id=f"t{n}", source="test") for n in range(number)]


def asked(
    mine: CommandClassifier, *chunks: Sequence[dm.Ticket]
) -> tuple[list[dm.Outcome[dm.Answer]], dm.TriageError | None]:
    outcomes: list[dm.Outcome[dm.Answer]] = []

    def given() -> Iterator[Sequence[dm.Ticket]]:
        yield from chunks

    try:
        for answered in mine.classify(given(), a_budget()):
            outcomes += answered
    except dm.TriageError as error:
        return outcomes, error
    return outcomes, None


def test_one_process_answers_all_chunks_in_any_order(tmp_path: Path) -> None:
    mine = classifier(
        tmp_path,
        """
batch = []
for asked in lines:
    batch.append(asked)
    if len(batch) == 3:
        for each in reversed(batch):
            answer(each, reason=f"pid {os.getpid()}")
        batch = []
""",
    )
    outcomes, error = asked(mine, tickets(3), [], tickets(6)[3:])
    assert error is None
    assert sorted(o.ticket.ticket_id for o in outcomes) == [f"t{n}" for n in range(6)]
    steps = [o.value.steps[0] for o in outcomes if o.value]
    assert {(s.category, s.confidence, s.confidence_source, s.cost) for s in steps} == {("Billing", 0.9, "said", 0.0)}
    assert len({s.reason for s in steps}) == 1, "one process"
    assert all(o.value.sure for o in outcomes if o.value)


def test_it_gets_the_text_and_the_categories_it_may_answer(tmp_path: Path) -> None:
    mine = classifier(tmp_path, "for asked in lines: answer(asked, reason=json.dumps(asked))")
    (outcome,), _ = asked(mine, tickets(1))
    assert outcome.value is not None
    assert json.loads(outcome.value.steps[0].reason or "") == {
        "id": "t0",
        "subject": "",
        "description": "text 0",
        "questions": {"category": ["Billing", "Technical", "General"]},
    }


ASKED = (
    dm.Question("category", CATEGORIES),
    dm.Question("urgency", (dm.Category("now"), dm.Category("later")), min_confidence=0.3),
    dm.Question("mood", (dm.Category("calm"), dm.Category("upset"))),
)


def test_it_answers_further_questions_and_a_wrong_answer_fails_that_question_alone(tmp_path: Path) -> None:
    code = """
for asked in lines:
    answers = {"urgency": {"value": "now", "confidence": 0.4, "reason": json.dumps(asked["questions"])}}
    if asked["id"] != "t1":
        answers["mood"] = {"value": ["calm"] if asked["id"] == "t2" else "calm", "confidence": 0.9}
    answer(asked, answers=answers)
"""
    mine = classifier(tmp_path, code, ASKED)
    assert (
        len({*mine.fingerprints_of("category"), *mine.fingerprints_of("urgency"), *mine.fingerprints_of("mood")}) == 3
    )
    of_category = classifier(tmp_path, code)
    assert of_category.fingerprints_of("category") == mine.fingerprints_of("category")
    assert of_category.fingerprints_of("mood") == ()
    every = ("category", "urgency", "mood")
    whole, half, wrong, one = tickets(4)
    asked_tickets = [replace(t, asked=every) for t in (whole, half, wrong)] + [replace(one, asked=("urgency",))]
    outcomes, error = asked(mine, asked_tickets)
    assert error is None
    given = {(o.ticket.ticket_id, o.value.question): o for o in outcomes if o.value}
    values = {key: o.value.steps[0].category for key, o in given.items() if o.value and not o.error}
    sure = dict.fromkeys(((t, "category") for t in ("t0", "t1", "t2")), "Billing")
    assert values == sure | dict.fromkeys(((t, "urgency") for t in ("t0", "t1", "t2", "t3")), "now") | {
        ("t0", "mood"): "calm"
    }
    assert all(o.value.sure for o in outcomes if o.value and not o.error), "urgency has a threshold of its own"
    assert {key: o.error.message for key, o in given.items() if o.error} == {
        ("t1", "mood"): "mine answered without a value of mood",
        ("t2", "mood"): "mine answered a value of mood that is not in the list",
    }
    answer = given["t3", "urgency"].value
    assert answer is not None
    assert json.loads(answer.steps[0].reason or "") == {"urgency": ["now", "later"]}


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ('category="Spam"', "a category that is not in the list"),
        ("category=7", "a category that is not in the list"),
        ("confidence=7", "no number from 0 to 1"),
        ("confidence=float('nan')", "no number from 0 to 1"),
        ("confidence=10**400", "no number from 0 to 1"),
        ("confidence=True", "no number from 0 to 1"),
        ('confidence="0.9"', "no number from 0 to 1"),
    ],
)
def test_a_lie_about_one_ticket_fails_that_ticket_alone(tmp_path: Path, more: str, problem: str) -> None:
    code = f"for asked in lines: answer(asked, **(dict({more}) if asked['id'] == 't1' else {{}}))"
    outcomes, error = asked(classifier(tmp_path, code), tickets(3))
    assert error is None
    failed = {o.ticket.ticket_id: o.error.message for o in outcomes if o.error}
    assert failed.keys() == {"t1"}
    assert problem in failed["t1"]
    assert [o.value.steps[0].category for o in outcomes if o.error and o.value] == [None]


def test_none_of_the_categories_and_no_confidence_are_answers(tmp_path: Path) -> None:
    code = "for asked in lines: answer(asked, category=None if asked['id'] == 't0' else 'General', confidence=None)"
    outcomes, error = asked(classifier(tmp_path, code), tickets(2))
    assert error is None
    assert [(o.value.steps[0].category, o.value.sure) for o in outcomes if o.value] == [
        (None, False),
        ("General", False),
    ]


BREAKS = {
    "was killed by signal 9": "os.kill(os.getpid(), signal.SIGKILL)",
    "exited with 3 with 2 tickets unanswered": "sys.stderr.write('the model is gone'); sys.exit(3)",
    "wrote no answer for 0.5 s": "time.sleep(60)",
    "wrote a line that is no JSON object": "sys.stdout.write('oops\\n'); sys.stdout.flush()",
    "wrote a line that is no JSON object, since it never ends in depth": "print('[' * 60_000, flush=True)",
    "answered about an id that it was not asked about, or twice": "answer({'id': 'nobody'})",
    "wrote a line of more than 65,536 bytes": "[os.write(1, b'x' * 65536) for _ in range(32768)]",
}


@pytest.mark.parametrize("end", ["", "sys.exit(3)"])
def test_what_a_program_has_started_ends_with_it(tmp_path: Path, end: str) -> None:
    code = f"""
import subprocess
quiet = subprocess.DEVNULL
child = subprocess.Popen(["sleep", "300"], stdout=quiet, stderr=quiet)
open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
for asked in lines:
    answer(asked)
    {end}
"""
    outcomes, _ = asked(classifier(tmp_path, code), tickets(2))
    child = int((tmp_path / "child").read_text())
    try:
        assert outcomes
        until(lambda: not began(child), "the end of what the program has started")
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("sentence", BREAKS)
def test_what_breaks_the_program_is_a_sentence_and_nothing_answered_is_lost(tmp_path: Path, sentence: str) -> None:
    code = f"""
for asked in lines:
    if asked["id"] == "t1":
        {BREAKS[sentence]}
    answer(asked)
"""
    mine = classifier(tmp_path, code, timeout=0.5 if "0.5" in sentence else 20.0)
    outcomes, error = asked(mine, tickets(3))
    assert isinstance(error, dm.UnavailableError)
    assert sentence.partition(", since")[0] in error.message
    assert "the model is gone" not in error.sentence(), "what a program writes may be of a ticket: -v shows it"
    assert [o.ticket.ticket_id for o in outcomes] == ["t0"]


@pytest.mark.slow
def test_a_run_that_is_stopped_does_not_wait_for_answers_that_are_slow_to_come(tmp_path: Path) -> None:
    code = """
for asked in lines:
    if asked["id"] == "t1":
        open(os.environ["HANGS"], "w").close()
        time.sleep(60)
    answer(asked)
"""
    hangs, control = tmp_path / "hangs", StopControl()
    mine = classifier(tmp_path, code, HANGS=str(hangs))

    def stop() -> None:
        until(hangs.exists, "the program hangs")
        control.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    began = time.monotonic()
    outcomes = [o for answered in mine.classify([tickets(3)], a_budget(stop_control=control)) for o in answered]
    assert time.monotonic() - began < 15, "its timeout is 20 s"
    assert [o.ticket.ticket_id for o in outcomes] == ["t0"]
    stopping.join()


def test_what_a_script_prints_comes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    mine = classifier(tmp_path, "for asked in lines: print(json.dumps({'id': asked['id'], 'category': 'Billing'}))")
    outcomes, error = asked(mine, tickets(2))
    assert (len(outcomes), error) == (2, None)


@pytest.mark.slow
def test_a_program_that_does_not_read_and_one_that_is_not_there(tmp_path: Path) -> None:
    mine = classifier(tmp_path, "time.sleep(60)", timeout=0.5)
    _, error = asked(mine, [dm.Ticket.of_text("x" * 1_000_000, ticket_id=f"t{n}", source="test") for n in range(2)])
    assert "wrote no answer" in str(error)
    assert error
    assert "write out each answer at once" in error.hint
    gone = CommandClassifier(
        ClassifierSpec("mine", "command", run=("/no/such/program",)), CATEGORIES, env={}, actor="", run_id=None
    )
    outcomes, error = asked(gone, tickets(1))
    assert (outcomes, type(error)) == ([], dm.ConfigError)
    assert "cannot run /no/such/program: No such file" in str(error)


def test_another_command_is_another_question(tmp_path: Path) -> None:
    one = classifier(tmp_path, "")
    spec = replace(one.spec, run=(*one.spec.run, "v2"))
    other = CommandClassifier(spec, CATEGORIES, env={}, actor="", run_id=None)
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == classifier(tmp_path, "").fingerprint
