"""Classifiers that wrap another one: calibrated, with the bound of a promised error, or with a memory of answers."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Classifier
from triage_cli.runtime import Budget


class WrappedClassifier:
    """Implements `ports.Classifier`: asks the question of the wrapped classifier, under its name."""

    def __init__(self, wrapped: Classifier) -> None:
        self.name = wrapped.name
        self.chunk_size = wrapped.chunk_size
        self._wrapped = wrapped

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        return self._wrapped.fingerprints_of(question)

    def askings(self) -> tuple[dm.Asking, ...]:
        return self._wrapped.askings()

    def rejudged(self, answer: dm.Classification, text: str) -> dm.Classification:
        return self._wrapped.rejudged(answer, text)

    def changed(self, answer: dm.Answer) -> dm.Answer:
        """Return an answer of the wrapped classifier as the wrapper gives it."""
        return answer

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answered]]]:
        for outcomes in self._wrapped.classify(chunks, budget):
            yield [
                outcome._replace(value=self.changed(outcome.value)) if isinstance(outcome.value, dm.Answer) else outcome
                for outcome in outcomes
            ]


class Promise(NamedTuple):
    """For each value of a question the threshold by which a promise holds; one without is never sure.

    `levels` are those of the values, and `calibrated` is the calibration of the answers, if they have one. `taught`
    tells whether the model was taught a text by the label of a topic: it repeats that label, right or not. `doubted`
    tells of an answer about a text whether an earlier version was unsure of it, as the promise was kept by that.
    """

    thresholds: Mapping[str, float]
    levels: dm.Levels = dm.FLAT
    calibrated: dm.LevelCalibration | None = None
    taught: Callable[[str], bool] = lambda _: False
    doubted: Callable[[dm.Classification, str], bool] = lambda _answer, _text: False

    def at_threshold(
        self, step: dm.Classification, fingerprints: Sequence[str], text: str, *, is_new: bool = False
    ) -> dm.Classification:
        """Return an answer about a text with the threshold that its value has; one of another asking is not sure."""
        if step.fingerprint not in fingerprints[:1]:
            return step._replace(threshold=dm.NEVER)
        judged = self._judged(step, self.thresholds)
        if judged.is_sure and self.taught(text):
            return self._judged(step, dict.fromkeys(self.thresholds, dm.TAUGHT))
        if judged.is_sure and not is_new and self.doubted(step, text):
            return self._judged(step, dict.fromkeys(self.thresholds, dm.DOUBTED))
        return judged

    def _judged(self, step: dm.Classification, thresholds: Mapping[str, float]) -> dm.Classification:
        if self.levels.parents:
            return self.levels.settled(step, lambda name: thresholds.get(name, dm.NEVER), self.calibrated)
        return step._replace(threshold=thresholds.get(step.category or "", dm.NEVER))


class Bounded(WrappedClassifier):
    """A classifier with the promises that hold of its answers, by question."""

    def __init__(self, wrapped: Classifier, promises: Mapping[str, Promise]) -> None:
        super().__init__(wrapped)
        self._promises = promises

    def rejudged(self, answer: dm.Classification, text: str) -> dm.Classification:
        return self._bounded_step(self._wrapped.rejudged(answer, text), text)

    def changed(self, answer: dm.Answer) -> dm.Answer:
        """Return an answer with the threshold of its value."""
        if not answer.steps or answer.question not in self._promises:
            return answer
        *earlier_steps, last_step = answer.steps
        last_step = self._bounded_step(last_step, answer.ticket.text, is_new=answer.ticket.status == "new")
        # The classifier checks the text for suspicious content only if it is sure itself.
        doubts = answer.doubts if answer.sure else None
        return answer._replace(steps=(*earlier_steps, last_step), sure=last_step.is_sure, doubts=doubts)

    def _bounded_step(self, step: dm.Classification, text: str, *, is_new: bool = False) -> dm.Classification:
        promise, fingerprints = self._promises.get(step.question), self.fingerprints_of(step.question)
        return step if promise is None else promise.at_threshold(step, fingerprints, text, is_new=is_new)


class ToldLanguage(WrappedClassifier):
    """A classifier that does not tell the languages of texts, with what does."""

    def __init__(self, wrapped: Classifier, tell: Callable[[str], str | None]) -> None:
        super().__init__(wrapped)
        self._tell = tell

    def changed(self, answer: dm.Answer) -> dm.Answer:
        """Return an answer with the language of its ticket."""
        return answer._replace(language=answer.ticket.language or self._tell(answer.ticket.text))


class Curves(NamedTuple):
    """The calibration of answers to a question whose values have these levels.

    `above` is that of the levels above a guess; if there is none, that of guesses holds for them, too.
    """

    curve: dm.Curve
    levels: dm.Levels = dm.FLAT
    above: dm.Curve | None = None

    def calibrated(self, confidence: float, is_above: bool) -> float:
        """Return the probability of a guess, or of a level above it, by the classifier's own confidence."""
        curve = self.above if is_above and self.above is not None else self.curve
        return round(curve(confidence), 4)


class Calibrated(WrappedClassifier):
    """A classifier whose answers have calibrated confidence, and their own one as `raw`; `curves` are by question."""

    def __init__(self, wrapped: Classifier, curves: Mapping[str, Curves]) -> None:
        super().__init__(wrapped)
        self.curves = curves

    def rejudged(self, answer: dm.Classification, text: str) -> dm.Classification:
        return self._calibrated_step(self._wrapped.rejudged(answer, text))

    def changed(self, answer: dm.Answer) -> dm.Answer:
        """Return an answer with calibrated confidence; it is sure if that reaches the threshold."""
        if answer.question not in self.curves:
            return answer
        steps = tuple(map(self._calibrated_step, answer.steps))
        sure = bool(steps) and steps[-1].is_sure
        # The classifier checks the text for suspicious content only if it is sure itself.
        return answer._replace(steps=steps, sure=sure, doubts=answer.doubts if answer.sure else None)

    def _calibrated_step(self, step: dm.Classification) -> dm.Classification:
        curves = self.curves.get(step.question)
        if step.confidence is None or curves is None:
            return step
        if curves.levels.parents:
            return curves.levels.settled(step, lambda _: step.threshold, curves.calibrated)
        return step._replace(confidence=curves.calibrated(step.confidence, is_above=False), raw=step.confidence)


class Memory(NamedTuple):
    """What is known of paid answers, by answer key, to all processes that share a store.

    `recall` returns earlier answers. `begin` marks questions as being asked by this run, and returns those that another
    live run asks; `give_up` takes that back of questions that got no answer. `patience` is how many seconds to wait
    without an answer for those of others.
    """

    recall: Callable[[Sequence[str]], Mapping[str, dm.Classification]]
    begin: Callable[[Sequence[str]], frozenset[str]] = lambda _: frozenset()
    give_up: Callable[[Sequence[str]], None] = lambda _: None
    patience: float = 0.0


class _AskedElsewhere(NamedTuple):
    """A ticket, and those questions about it that another run asks, with their answer keys."""

    ticket: dm.Ticket
    left: dict[str, str]


# How often the answers of others are looked for, and how often whether they still ask, in seconds.
LOOK_SECONDS, TAKE_OVER_SECONDS = 0.1, 1.0


class CachedClassifier(WrappedClassifier):
    """A classifier with a memory, which pays for each question once.

    Tickets with the same text as one in flight wait for its answer. Reused answers are compared with the present
    threshold. What another run asks is waited for once all else is answered, so that no two wait for each other; if it
    ends or fails without an answer, this one asks.
    """

    def __init__(self, wrapped: Classifier, memory: Memory, actor: str, run_id: str | None) -> None:
        super().__init__(wrapped)
        self._memory = memory
        self._actor = actor
        self._run_id = run_id

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answered]]]:
        """Answer from the cache where possible, and ask the paid classifier about the rest."""
        waiting_tickets: dict[str, list[dm.Ticket]] = {}
        elsewhere: list[_AskedElsewhere] = []
        ready: list[dm.Outcome[dm.Answered]] = []

        def uncached_chunks() -> Iterator[Sequence[dm.Ticket]]:
            for chunk in chunks:
                ready.extend(self._arrived(elsewhere))
                recalled, asked_elsewhere = self._looked_up(chunk, waiting_tickets)
                ready.extend(self._recalled_outcomes(chunk, recalled))
                uncached = []
                for ticket in chunk:
                    questions = {q: key for q in ticket.asked if (key := self._key(q, ticket)) not in recalled}
                    left = {q: key for q, key in questions.items() if key not in waiting_tickets}
                    # What is asked about a ticket is one call, so it is left to another run whole, or not at all.
                    if left and asked_elsewhere.issuperset(left.values()):
                        elsewhere.append(_AskedElsewhere(ticket, left))
                        questions = {q: key for q, key in questions.items() if q not in left}
                    to_ask = self._to_ask(ticket, questions, waiting_tickets)
                    if to_ask.asked:
                        uncached.append(to_ask)
                yield dm.FlushNow(uncached) if isinstance(chunk, dm.FlushNow) else uncached

        yield from self._asked(uncached_chunks(), budget, waiting_tickets, ready)
        yield from self._of_others(elsewhere, budget)

    def _asked(
        self,
        chunks: Iterable[Sequence[dm.Ticket]],
        budget: Budget,
        waiting_tickets: dict[str, list[dm.Ticket]],
        ready: list[dm.Outcome[dm.Answered]],
    ) -> Iterator[list[dm.Outcome[dm.Answered]]]:
        """Ask the paid classifier; yield its outcomes, those of waiting tickets, and what is `ready`."""
        for outcomes in self._wrapped.classify(chunks, budget):
            ready_outcomes = [*ready, *outcomes]
            ready.clear()
            for outcome in outcomes:
                ready_outcomes += self._shared_outcomes(outcome, waiting_tickets)
            yield ready_outcomes
            if failed := [self._key_of(outcome) for outcome in outcomes if outcome.error is not None]:
                self._memory.give_up(failed)
        if ready:
            yield ready

    def _of_others(
        self, elsewhere: list[_AskedElsewhere], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answered]]]:
        """Wait for the answers of others; ask what they no longer ask, or do not answer in time."""
        last_arrival = last_try = time.monotonic()
        while elsewhere and not budget.stopping:
            now = time.monotonic()
            if arrived := self._arrived(elsewhere):
                last_arrival = now
                yield arrived
            elif (is_late := now > last_arrival + self._memory.patience) or now > last_try + TAKE_OVER_SECONDS:
                last_try = now
                asked_elsewhere = self._memory.begin(list({key for each in elsewhere for key in each.left.values()}))
                free = [e for e in elsewhere if is_late or not asked_elsewhere.issuperset(e.left.values())]
                elsewhere[:] = [each for each in elsewhere if each not in free]
                yield self._arrived(free)  # an answer may have come just before it was free
                waiting: dict[str, list[dm.Ticket]] = {}
                to_ask = [self._to_ask(each.ticket, each.left, waiting) for each in free]
                yield from self._asked([[ticket for ticket in to_ask if ticket.asked]], budget, waiting, [])
            else:
                yield []
                time.sleep(LOOK_SECONDS)

    def _looked_up(
        self, chunk: Sequence[dm.Ticket], waiting_tickets: Mapping[str, object]
    ) -> tuple[Mapping[str, dm.Classification], frozenset[str]]:
        """Return earlier answers to what is asked about tickets, and which of the others another run asks."""
        keys = list(dict.fromkeys(self._key(question, ticket) for ticket in chunk for question in ticket.asked))
        recalled = dict(self._memory.recall(keys)) if keys else {}
        unknown = [key for key in keys if key not in recalled and key not in waiting_tickets]
        if not unknown:
            return recalled, frozenset()
        asked_elsewhere = self._memory.begin(unknown)
        # Another run may have stored its answer, and ended, after the first look.
        return {**recalled, **self._memory.recall(unknown)}, asked_elsewhere

    def _arrived(self, elsewhere: list[_AskedElsewhere]) -> list[dm.Outcome[dm.Answered]]:
        """Return the answers of others that have come, and leave what is still to come."""
        keys = list({key for each in elsewhere for key in each.left.values()})
        recalled = self._memory.recall(keys) if keys else {}
        arrived: list[dm.Outcome[dm.Answered]] = []
        for each in elsewhere if recalled else ():
            for question in [q for q, key in each.left.items() if key in recalled]:
                answer = recalled[each.left.pop(question)]
                arrived.append(self._reused_answer(each.ticket, answer._replace(question=question)))
        elsewhere[:] = [each for each in elsewhere if each.left]
        return arrived

    def _recalled_outcomes(
        self, tickets: Sequence[dm.Ticket], recalled: Mapping[str, dm.Classification]
    ) -> Iterator[dm.Outcome[dm.Answered]]:
        for ticket in tickets:
            for question in ticket.asked:
                if answer := recalled.get(self._key(question, ticket)):
                    yield self._reused_answer(ticket, answer._replace(question=question))

    @staticmethod
    def _to_ask(ticket: dm.Ticket, questions: Mapping[str, str], waiting: dict[str, list[dm.Ticket]]) -> dm.Ticket:
        """Return a ticket with those `questions`, by answer key, that are to be asked, not those in flight."""
        asked = []
        for question, answer_key in questions.items():
            if answer_key in waiting:
                waiting[answer_key].append(ticket)
            else:
                waiting[answer_key] = []
                asked.append(question)
        return ticket if len(asked) == len(ticket.asked) else ticket._replace(asked=tuple(asked))

    def _shared_outcomes(
        self, outcome: dm.Outcome[dm.Answered], waiting: dict[str, list[dm.Ticket]]
    ) -> list[dm.Outcome[dm.Answered]]:
        """Return the outcomes of tickets with the same text that waited for this one; they share its failure too."""
        value = outcome.value
        new_answer = value.steps[-1] if value and value.steps else None
        same_text = waiting.pop(self._key_of(outcome), [])
        if new_answer is None:
            return [outcome._replace(item=other) for other in same_text]
        return [self._reused_answer(other, new_answer)._replace(error=outcome.error) for other in same_text]

    def _key_of(self, outcome: dm.Outcome[dm.Answered]) -> str:
        return self._key(outcome.value.question if outcome.value else dm.CATEGORY, outcome.ticket)

    def _key(self, question: str, ticket: dm.Ticket) -> str:
        (fingerprint,) = self.fingerprints_of(question)
        return dm.ids.answer_key(fingerprint, ticket.text)

    def _reused_answer(self, ticket: dm.Ticket, cached_answer: dm.Classification) -> dm.Outcome[dm.Answer]:
        step = self.rejudged(cached_answer, ticket.text).copy(dm.ids.new_id(), self._run_id, dm.times.now())
        step = step._replace(ticket_id=ticket.ticket_id, step=self.name, classifier=self.name, actor=self._actor)
        answer = dm.Answer(ticket, (step,), step.is_sure, question=step.question)
        return dm.Outcome(0, dm.Action.ANSWERED, answer, None, ticket)
