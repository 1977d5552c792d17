"""Sentences about the answers of classifiers: what was answered, how surely, and what followed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from triage_cli.domain.audit.events import EventAction
from triage_cli.domain.classifications import Classification
from triage_cli.domain.evaluation.threshold_sentences import threshold_clause
from triage_cli.domain.explanation.history import History
from triage_cli.domain.explanation.next_step import comma_list, two_decimals

CONFIDENCE_SOURCES = {
    "decision": "the decision model's probability",
    "logprob": "the probability of the label's tokens",
    "said": "the model's own word",
    "human": "a person's word",
}
LISTED = 6  # categories that are named one by one


def answer_sentences(detail: Mapping[str, Any], answer: Classification | None, history: History) -> Iterator[str]:
    """Explain the answer of a classifier, and what followed from it; `detail` is that of the event."""
    if answer is None:
        yield f"{detail.get('classifier')} was asked; status {detail.get('status')}"
        return
    question = history.questions.get(answer.fingerprint)
    names = [] if question is None else [name for name, *_ in json.loads(question.categories)]
    who = (
        answer.classifier if question is None else _classifier_clause(answer.classifier, question.kind, question.model)
    )
    if answer.error or answer.category is None:
        yield f"{who} gave no answer: {answer.error or answer.reason or 'it abstained'}"
        return
    # A rename changes stored answers, but not stored questions.
    sentence = _answer_sentence(answer, who, names)
    if detail.get("outcome") == "late":
        yield f"{sentence}; that came late: the ticket had changed meanwhile, so it changed nothing"
        return
    if detail.get("suspicious"):
        how = comma_list(detail["suspicious"])
        yield f"{sentence}; its text addresses the classifier ({how}), so a person decides"
    elif answer.threshold is not None:
        has_next = detail.get("outcome") == "next"
        yield f"{sentence}; {threshold_clause(answer, history.bounds, has_next=has_next)}"
    else:
        yield sentence
    if detail.get("overruled"):
        yield f"that overrules the verdict {detail['overruled']}, as --force demands"


def _classifier_clause(name: str, kind: str, model: str) -> str:
    """Return a classifier's name for sentences: the embedded model with what it has learned, another with its model."""
    if kind != "local":
        return f"{name} ({kind} {model})"
    learned = f" ({model.partition(', ')[2]})" if ", " in model else ""
    return f"the embedded model{learned}" if name == "local" else f"{name}, the embedded model{learned},"


def _answer_sentence(answer: Classification, who: str, names: Sequence[str]) -> str:
    listed = f"out of {comma_list(names)}" if len(names) <= LISTED else f"out of {len(names)} categories"
    among = f", {listed}" if names else ""
    former = ", as one of these is named today" if names and answer.category not in names else ""
    reason, _, next_best = (answer.reason or "").partition("; next: ")
    reason += f" (next: {next_best})" if next_best else ""
    if answer.confidence is None:
        return f"{who} answered {answer.category}{among}{former}, without a confidence{f': {reason}' if reason else ''}"
    source = CONFIDENCE_SOURCES.get(answer.confidence_source or "", "")
    if answer.raw is not None:
        source = f"calibrated from {two_decimals(answer.raw)}{f', {source}' if source else ''}"
    share = f"{two_decimals(answer.confidence)}{f' ({source})' if source else ''}"
    because = f", because of: {reason}" if reason else ""
    return f"{who} answered {answer.category} at {share}{among}{former}{because}"


def reclassify_sentences(
    action: str, detail: Mapping[str, Any], answer: Classification | None, history: History
) -> Iterator[str]:
    """Explain an answer of `reclassify`, and what it changes or would change."""
    category, was, outcome = detail.get("category"), detail.get("was"), detail.get("outcome")
    if action == EventAction.RECLASSIFIED:
        results_by_outcome = {
            "unhoused": f"{was} is gone: a person decides",
            "doubted": f"so {was} is in doubt: a person decides",
            "settled": f"so {category} holds",
        }
        if answer is not None and answer.threshold is not None:
            clause = threshold_clause(answer, history.bounds, has_next=False)
            results_by_outcome |= {"settled": clause, "doubted": f"so {was} is in doubt: {clause}"}
        result = results_by_outcome.get(str(outcome), f"so {category} holds instead of {was}")
        yield f"the answer of {detail.get('classifier')} was applied, {result}"
        return
    yield from answer_sentences(detail, answer and answer._replace(threshold=None), history)
    effects_by_outcome = {
        "flip": f"so it would be {category} instead of {was}, if that is applied",
        "confirmed": "that confirms what holds",
        "within": f"it is not far enough ahead of {was} for a change (hysteresis)",
        "doubted": f"that is not sure enough, so a person would decide instead of {was}, if that is applied",
        "settled": f"that is sure, so it would be {category}, if that is applied",
        "rehomed": f"{was} is gone, so it would be {category}, if that is applied",
    }
    yield effects_by_outcome.get(str(outcome), f"that is not sure enough for a change, so {was} stays")
