"""What a reply, or a request's failure, means for the ticket that was asked about."""

from typing import NamedTuple

from triage_cli.classifiers.llm import prompt
from triage_cli.classifiers.llm.provider import RejectedError, Reply, TooLongError
from triage_cli.classifiers.llm.redaction import redact
from triage_cli.domain.errors import AnswerError, TriageError

QUOTE = 20  # characters of a ticket in an error are more than chance
MEANING = {
    "empty": "the model said nothing",
    "not_json": "the model's answer was no JSON of the form that was asked for",
    "unknown_label": "the model named a category that is not in the list",
    "cut": "the model's answer was cut off",
    "refused": "the model refused to answer",
    "too_long": "the ticket is too long for the model",
    "rejected": "the request was rejected",
    "unavailable": "the provider kept failing",
}


class Verdict(NamedTuple):
    """What became of one ticket's question: a label, or a problem by its name and in words."""

    parsed: prompt.Parsed
    reply: Reply
    detail: str = ""


def verdict_of(reply: Reply, question: prompt.Question) -> Verdict:
    """Return what a reply says."""
    if reply.problem:
        return Verdict(prompt.Parsed(problem=reply.problem), reply)
    return Verdict(prompt.parse(reply.text, question.labels), reply)


def failed(error: TriageError, question: prompt.Question) -> Verdict:
    """Return what a request's failure means for its ticket."""
    kinds = ((TooLongError, "too_long"), (RejectedError, "rejected"), (AnswerError, "refused"))
    problem = next((name for kind, name in kinds if isinstance(error, kind)), "unavailable")
    detail = described(error, question)
    return Verdict(prompt.Parsed(problem=problem), Reply(None), detail if detail != error.code else "")


def described(error: TriageError, question: prompt.Question) -> str:
    """Return what a provider said, without secrets; where it quotes the ticket, only the error's code."""
    message, _ = redact(error.message, ("secret",))
    if any(message[at : at + QUOTE] in question.user for at in range(len(message) - QUOTE + 1)):
        return error.code
    return message
