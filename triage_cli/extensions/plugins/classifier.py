"""Classifiers of plug-ins: an answer that is none is an error of its ticket alone."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from numbers import Real
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli import plugins
from triage_cli.classifiers import AskedClassifier
from triage_cli.config import ClassifierSpec
from triage_cli.extensions.plugins import loading
from triage_cli.installed import Addition
from triage_cli.runtime import Budget, tell_what_was_said

CHUNK_SIZE = 64  # tickets that are asked about at once
TOLERANCE = 0.01  # of the sum of probabilities


class _Type(NamedTuple):
    addition: Addition
    plugin: type[plugins.Classifier]

    @property
    def uses_network(self) -> bool:
        return loading.uses_network(self.plugin)

    def __call__(self, spec: ClassifierSpec, categories: Sequence[dm.Category], **given: Any) -> "PluginClassifier":
        return PluginClassifier(self, spec, categories, **given)


def plugin_classifier(addition: Addition) -> _Type:
    """Return the type of classifier that a plug-in adds. Raises `UsageError`."""
    return _Type(addition, loading.loaded_class(addition, plugins.Classifier))


class PluginClassifier(AskedClassifier):
    """Implements `ports.Classifier` by a class of a plug-in; it costs nothing that is known here."""

    chunk_size = CHUNK_SIZE

    def __init__(
        self,
        of_type: _Type,
        spec: ClassifierSpec,
        categories: Sequence[dm.Category],
        *,
        questions: Sequence[dm.Question] = (),
        offline: bool,
        actor: str,
        run_id: str | None,
    ) -> None:
        self._addition = of_type.addition
        super().__init__(spec, categories, questions, actor=actor, run_id=run_id)
        owner = f'classifier "{spec.name}"'
        self._plugin, self._secrets = loading.made(of_type.addition, of_type.plugin, owner, spec.settings, offline)

    def _fingerprint_of(self, question: dm.Question) -> str:
        first_names = json.dumps([[c.root or c.name, c.description, *c.examples] for c in question.values])
        asked = [*self._addition[:5], self.spec.settings, first_names, sorted(question.labels.parents), question.name]
        return hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()

    def _asking(self, question: dm.Question) -> dm.Asking:
        return dm.Asking(
            fingerprint=self._fingerprints[question.name],
            kind=self.spec.type,
            model=f"{self._addition.package} {self._addition.version}",
            endpoint="",
            prompt="",
            categories=self._values_json(question),
            options=json.dumps(self.spec.settings, default=str),
            first_at=dm.times.now(),
        )

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        """Yield the plug-in's answers, a chunk at a time. Raises `UnavailableError` if it answers nothing of one."""
        for chunk in chunks:
            answered: list[dm.Outcome[dm.Answer]] = []
            for question in self._asked if chunk and not budget.stopping else ():
                tickets = [ticket for ticket in chunk if question in ticket.asked]
                outcomes = self._outcomes(tickets, question)
                answered += [each._replace(row=row) for row, each in enumerate(outcomes, len(answered))]
            yield answered

    def _outcomes(self, tickets: Sequence[dm.Ticket], question: str) -> list[dm.Outcome[dm.Answer]]:
        if not tickets:
            return []
        try:
            given = self._answers(tickets, question)
        except dm.AnswerError as failure:
            if len(tickets) == 1:
                return [self._outcome(tickets[0], question, None, failure.message)]
        else:
            return [
                self._outcome(t, question, each, self._problem(question, each))
                for t, each in zip(tickets, given, strict=True)
            ]
        each_alone = [self._outcomes([ticket], question)[0] for ticket in tickets]  # which one it cannot answer
        if all(outcome.error for outcome in each_alone):
            raise dm.UnavailableError(
                str(each_alone[0].error),
                hint=f"what it answered is stored; mend {self._addition.package} and run the command again",
            )
        return each_alone

    def _answers(self, tickets: Sequence[dm.Ticket], question: str) -> list[Any]:
        """Ask the plug-in. Raises `AnswerError` if it raises, or gives another number of answers."""
        texts, labels = [ticket.text for ticket in tickets], [value.name for value in self._asked[question].values]
        with loading.spoken_by(self._addition):
            try:
                given = self._plugin.classify(texts, labels)
                answers = [] if isinstance(given, str | Mapping) else list(islice(given, len(texts) + 1))
            except loading.FAULTS as error:
                kind, words = loading.failure_of(error, self._secrets)
                tell_what_was_said(self._addition.package, words)
                raise dm.AnswerError(f"{self.name}: {self._addition.words} raised {kind}") from error
        if len(answers) != len(texts):
            raise dm.AnswerError(f"{self.name}: {self._addition.words} did not give one answer for each text")
        return answers

    def _problem(self, question: str, given: Any) -> str:
        """Return why something is no answer to a question; empty if it is one."""
        what, levels = dm.one_of(question), self._levels[question]
        if isinstance(given, Mapping):
            if not all(isinstance(label, str) and label in levels for label in islice(given, 10_000)):
                return f"{self.name} answered a {what} that is not in the list"
            shares = [_share(share) for share in given.values()]
            if None in shares:
                return f"{self.name} answered a probability that is no number from 0 to 1"
            is_whole = abs(sum(filter(None, shares)) - 1) <= TOLERANCE
            return "" if is_whole else f"{self.name} answered probabilities that are not 1 in all"
        if given is None or (isinstance(given, str) and given in levels):
            return ""
        if isinstance(given, str):
            return f"{self.name} answered a {what} that is not in the list"
        return f"{self.name} answered something that is neither a {what} nor probabilities"

    def _outcome(self, ticket: dm.Ticket, question: str, given: Any, problem: str) -> dm.Outcome[dm.Answer]:
        value, confidence = (None if problem else given), None
        if isinstance(value, Mapping):
            value, confidence = max(value.items(), key=lambda each: float(each[1]))
        step = self._answer(
            ticket,
            question,
            step=self.name,
            category=value,
            confidence=None if confidence is None else float(confidence),
            confidence_source=None if confidence is None else "said",
            error=problem or None,
        )
        answer = dm.Answer(ticket, (step,), step.is_sure, question=question)
        if problem:
            return dm.Outcome(0, dm.Action.FAILED, answer, dm.AnswerError(problem), ticket)
        return dm.Outcome(0, dm.Action.ANSWERED, answer, None, ticket)


def _share(value: object) -> float | None:
    """Return a probability; None for what is none."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    return share if 0 <= (share := float(value)) <= 1 else None
