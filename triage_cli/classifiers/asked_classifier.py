"""Classifiers that are asked questions in words: what a program of one's own and language models share."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from triage_cli import domain as dm
from triage_cli.config import ClassifierSpec


class AskedClassifier(ABC):
    """Asks `questions`, by default that for the category alone. Each has a fingerprint, levels and a threshold."""

    def __init__(
        self,
        spec: ClassifierSpec,
        categories: Sequence[dm.Category],
        questions: Sequence[dm.Question],
        *,
        actor: str,
        run_id: str | None,
    ) -> None:
        self.name = spec.name
        self.spec = spec
        self._actor = actor
        self._run_id = run_id
        category = dm.Question(dm.CATEGORY, tuple(categories))
        self._asked = {question.name: question for question in questions or (category,)}
        self._levels = {question.name: question.labels for question in self._asked.values()}
        self._fingerprints = {question.name: self._fingerprint_of(question) for question in self._asked.values()}
        self.fingerprint = self._fingerprint_of(category)

    @abstractmethod
    def _fingerprint_of(self, question: dm.Question) -> str:
        """Return the fingerprint of a question, with the first names of its values: a rename does not change it."""

    @staticmethod
    def _values_json(question: dm.Question) -> str:
        """Return the values of a question with their descriptions and examples, for the record."""
        return json.dumps([[c.name, c.description, *c.examples] for c in question.values], ensure_ascii=False)

    @abstractmethod
    def _asking(self, question: dm.Question) -> dm.Asking:
        """Return how a question is asked, for the record."""

    def fingerprints_of(self, question: str) -> tuple[str, ...]:
        return (self._fingerprints[question],) if question in self._fingerprints else ()

    def askings(self) -> tuple[dm.Asking, ...]:
        return tuple(map(self._asking, self._asked.values()))

    def _answer(self, ticket: dm.Ticket, question: str, **given: Any) -> dm.Classification:
        """Return an answer to a question as it is stored, with its threshold."""
        fingerprint = self._fingerprints[question]
        return dm.Classification.made(
            ticket.ticket_id,
            run_id=self._run_id,
            classifier=self.name,
            actor=self._actor,
            fingerprint=fingerprint,
            threshold=self._threshold_of(question),
            answer_key=dm.ids.answer_key(fingerprint, ticket.text),
            question=question,
            **given,
        )

    def _threshold_of(self, question: str) -> float:
        own = self._asked[question].min_confidence
        return self.spec.threshold if own is None else own

    def rejudged(self, answer: dm.Classification, _text: str) -> dm.Classification:
        return self._at_level(answer.at_threshold(self._threshold_of(answer.question)))

    def _at_level(self, answer: dm.Classification) -> dm.Classification:
        levels, threshold = self._levels[answer.question], self._threshold_of(answer.question)
        return levels.settled(answer, lambda _: threshold) if levels.parents else answer
