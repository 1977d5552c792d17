"""Classifiers of type `command`: a program of one's own, such as SetFit or fastText, that answers lines of JSON.

It gets a line for each ticket on its stdin, `{"id", "subject", "description", "questions"}`, and writes one for each to
its stdout, in any order: `{"id", "category"}`, and if it likes `confidence` (0 to 1) and `reason`. `questions` has what
it is asked about this ticket, with the values that it may answer; null means none of them. Answers to further questions
stand below `answers`, each as `{"value"}` with the same additions. One process serves a whole run; its stdin ends with
it.
"""

import hashlib
import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from triage_cli import domain as dm
from triage_cli.classifiers.asked_classifier import AskedClassifier
from triage_cli.config import ClassifierSpec
from triage_cli.runtime import Budget, end_command, has_ended, started_command, tell_what_was_said

CHUNK_SIZE = 64  # tickets that are asked about at once
LONGEST_LINE = 65_536  # bytes of an answer
LINES_AHEAD = 2 * CHUNK_SIZE  # that are read before they are looked at; a program that writes more waits
SHOWN = 2000  # characters of its stderr that -v shows, from its end
LONGEST_REASON = 300  # characters
END_SECONDS = 2.0  # for a program to end once its stdin has
TICK = 0.5  # seconds after which a wait for an answer looks whether the run is stopping
NO_LINE = b""  # where its stdout ends


class CommandClassifier(AskedClassifier):
    """Implements `ports.Classifier` by a program in the environment `env`; a new command is a new question.

    It asks `questions`, by default that for the category alone: all about one ticket in one line.
    """

    chunk_size = CHUNK_SIZE

    def __init__(
        self,
        spec: ClassifierSpec,
        categories: Sequence[dm.Category],
        *,
        questions: Sequence[dm.Question] = (),
        env: Mapping[str, str],
        actor: str,
        run_id: str | None,
    ) -> None:
        super().__init__(spec, categories, questions, actor=actor, run_id=run_id)
        self.env = env

    def _fingerprint_of(self, question: dm.Question) -> str:
        first_names = json.dumps([[c.root or c.name, c.description, *c.examples] for c in question.values])
        asked = ["command", self.spec.run, first_names, sorted(question.labels.parents)]
        asked += [] if question.name == dm.CATEGORY else [question.name]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _asking(self, question: dm.Question) -> dm.Asking:
        return dm.Asking(
            fingerprint=self._fingerprints[question.name],
            kind="command",
            model=self.spec.run[0],
            endpoint="",
            prompt="",
            categories=self._values_json(question),
            options=json.dumps({"run": self.spec.run}),
            first_at=dm.times.now(),
        )

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        """Yield the program's answers, a chunk at a time; it is started with the first ticket, and costs nothing.

        Raises `UnavailableError` if it ends, hangs or breaks the protocol, after what it answered was yielded.
        """
        program: _Program | None = None
        try:
            for chunk in chunks:
                asked = {ticket.ticket_id: ticket for ticket in chunk}
                if not asked or budget.stopping:
                    yield ()
                    continue
                program = program or _Program(self.spec, self.env)
                program.send(self._lines(chunk))
                answered: list[dm.Outcome[dm.Answer]] = []
                try:
                    while asked and (next_answer := program.answer(asked, lambda: budget.stopping)):
                        ticket, reply = next_answer
                        for question in ticket.asked:
                            outcome = self._outcome(ticket, question, _given(reply, question))
                            answered.append(outcome._replace(row=len(answered)))
                except dm.UnavailableError:
                    yield answered
                    raise
                yield answered
        finally:
            if program is not None:
                program.end()

    def _lines(self, tickets: Iterable[dm.Ticket]) -> bytes:
        names = {question.name: [value.name for value in question.values] for question in self._asked.values()}
        records = (
            {
                "id": t.ticket_id,
                "subject": t.subject or "",
                "description": t.body or "",
                "questions": {question: names[question] for question in t.asked},
            }
            for t in tickets
        )
        return b"".join(json.dumps(record).encode() + b"\n" for record in records)

    def _outcome(self, ticket: dm.Ticket, question: str, given: Mapping[str, Any]) -> dm.Outcome[dm.Answer]:
        problem = self._problem(question, given)
        value = None if problem else given["value"]
        confidence = None if value is None else given.get("confidence")
        reason = given.get("reason")
        step = self._answer(
            ticket,
            question,
            step=self.name,
            category=value,
            confidence=None if confidence is None else float(confidence),
            confidence_source=None if confidence is None else "said",
            reason=" ".join(dm.readable(reason[:LONGEST_REASON]).split()) or None if isinstance(reason, str) else None,
            error=problem or None,
        )
        answer = dm.Answer(ticket, (step,), step.is_sure, question=question)
        if problem:
            return dm.Outcome(0, dm.Action.FAILED, answer, dm.AnswerError(problem), ticket)
        return dm.Outcome(0, dm.Action.ANSWERED, answer, None, ticket)

    def _problem(self, question: str, given: Mapping[str, Any]) -> str:
        """Return why something is no answer to a question; empty if it is one."""
        what = dm.one_of(question)
        if "value" not in given:
            return f"{self.name} answered without a {what}"
        value, confidence = given["value"], given.get("confidence")
        if value is not None and not (isinstance(value, str) and value in self._levels[question]):
            return f"{self.name} answered a {what} that is not in the list"
        is_number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
        if confidence is not None and not (is_number and 0 <= confidence <= 1):
            return f"{self.name} answered a confidence that is no number from 0 to 1"
        return ""


def _given(reply: Mapping[str, Any], question: str) -> Mapping[str, Any]:
    """Return what a program's line says to a question, with its `value`; empty if that is nothing."""
    if question == dm.CATEGORY:
        return {**reply, "value": reply[dm.CATEGORY]} if dm.CATEGORY in reply else {}
    answers = reply.get("answers")
    given = answers.get(question) if isinstance(answers, dict) else None
    return given if isinstance(given, dict) else {}


class _Program:
    """The process of one run."""

    def __init__(self, spec: ClassifierSpec, env: Mapping[str, str]) -> None:
        self._spec = spec
        try:
            piped = subprocess.PIPE
            env = {"PYTHONUNBUFFERED": "1", **env}  # what `print` writes comes at once; other languages flush
            self._process = started_command(spec.run, env, stdin=piped, stdout=piped, stderr=piped)
        except OSError as error:
            raise dm.ConfigError(
                f'classifier "{spec.name}" cannot run {spec.run[0]}: {error.strerror}', hint="check its path and rights"
            ) from error
        self._lines = queue.Queue[bytes](LINES_AHEAD)
        self._stderr = bytearray()
        self._ends = threading.Event()
        for work, pipe in ((self._read, self._process.stdout), (self._keep_stderr, self._process.stderr)):
            threading.Thread(target=work, args=(pipe,), daemon=True).start()

    def send(self, lines: bytes) -> None:
        """Hand the program lines; a thread writes them, since the program may write before it has read all."""
        self._writer = threading.Thread(target=self._write, args=(lines,), daemon=True)
        self._writer.start()

    def answer(
        self, asked: dict[str, dm.Ticket], stopping: Callable[[], bool]
    ) -> tuple[dm.Ticket, Mapping[str, Any]] | None:
        """Return the next answer with its ticket, which is no longer `asked` about; None once the run is `stopping`.

        Raises `UnavailableError`.
        """
        line = self._next_line(stopping)
        if line is None:
            return None
        if line == NO_LINE:
            raise self._broken(f"{self._how_it_ended()} with {len(asked)} tickets unanswered")
        if not line.endswith(b"\n"):
            self._kill()
            raise self._broken(f"wrote a line of more than {LONGEST_LINE:,} bytes, or one that does not end")
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            self._kill()
            raise self._broken("wrote a line that is no JSON object")
        name = reply.get("id")
        ticket = asked.pop(name, None) if isinstance(name, str) else None
        if ticket is None:
            self._kill()
            raise self._broken("answered about an id that it was not asked about, or twice")
        return ticket, reply

    def _next_line(self, stopping: Callable[[], bool]) -> bytes | None:
        """Return what the program writes next; once the run is stopping, only what it has written already."""
        deadline = time.monotonic() + self._spec.timeout
        while True:
            wait = 0.0 if stopping() else min(TICK, deadline - time.monotonic())
            with suppress(queue.Empty):
                return self._lines.get(timeout=max(0.0, wait))
            if stopping():
                return None
            if time.monotonic() >= deadline:
                self._kill()
                hint = "it must write out each answer at once, before its input ends; if it is slow, raise its timeout"
                raise self._broken(f"wrote no answer for {self._spec.timeout:g} s", hint=hint)

    def end(self) -> None:
        """End the program: its stdin ends, and after a moment it is killed, with all that it has started."""
        self._ends.set()
        self._writer.join(END_SECONDS)
        if self._writer.is_alive():  # the program does not read, and what writes holds its stdin
            self._kill()
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._ended_by_itself()
        self._kill()

    def _kill(self) -> None:
        end_command(self._process)

    def _write(self, lines: bytes) -> None:
        with suppress(OSError, ValueError):  # it may have ended, which the end of its stdout tells
            if self._process.stdin is not None:
                self._process.stdin.write(lines)
                self._process.stdin.flush()

    def _read(self, pipe: IO[bytes]) -> None:
        with suppress(OSError, ValueError), pipe:
            while not self._ends.is_set() and (line := pipe.readline(LONGEST_LINE)):
                while not self._ends.is_set():
                    with suppress(queue.Full):
                        self._lines.put(line, timeout=0.2)
                        break
        with suppress(queue.Full):
            self._lines.put(NO_LINE, timeout=END_SECONDS)

    def _keep_stderr(self, pipe: IO[bytes]) -> None:
        with suppress(OSError, ValueError), pipe:
            while piece := pipe.read1(4096):  # type: ignore[attr-defined] # a buffered reader has it
                self._stderr += piece
                del self._stderr[: -4 * SHOWN]

    def _ended_by_itself(self) -> bool:
        """Return whether the program ends within a moment."""
        deadline = time.monotonic() + END_SECONDS
        while not (ended := has_ended(self._process)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return ended

    def _how_it_ended(self) -> str:
        by_itself = self._ended_by_itself()
        self._kill()
        code = self._process.returncode
        if not by_itself:
            return "closed its stdout"
        return f"was killed by signal {-code}" if code < 0 else f"exited with {code}"

    def _broken(self, what: str, hint: str = "") -> dm.UnavailableError:
        tell_what_was_said(self._spec.run[0], self._stderr.decode("utf-8", "replace")[-SHOWN:])
        message = f'classifier "{self._spec.name}": {self._spec.run[0]} {what}'
        hint = hint or "what it answered is stored; mend it and run the command again"
        return dm.UnavailableError(message, hint=f"{hint}; -v shows what it wrote to stderr" if self._stderr else hint)
