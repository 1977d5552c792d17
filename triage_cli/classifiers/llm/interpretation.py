"""The meaning of a reply, or of a failed request, for its ticket."""

from typing import NamedTuple, TypeVar

from triage_cli.classifiers.llm import prompt
from triage_cli.classifiers.llm.provider import Reply
from triage_cli.classifiers.llm.provider_errors import RejectedError, TooLongError
from triage_cli.classifiers.llm.redaction import redact
from triage_cli.domain.errors import AnswerError, TriageError

E = TypeVar("E", bound=TriageError)
QUOTE = 20  # equal characters from which on an error message counts as quoting the ticket
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


class Interpretation(NamedTuple):
    """The result of a question about one ticket: a label, or a problem with details."""

    parsed: prompt.Parsed
    reply: Reply
    detail: str = ""


def interpretation_of(reply: Reply, question: prompt.Question) -> Interpretation:
    """Return the interpretation of a reply."""
    if reply.problem:
        return Interpretation(prompt.Parsed(problem=reply.problem), reply)
    return Interpretation(prompt.parse(reply.text, question.labels), reply)


def failed(error: TriageError, question: prompt.Question) -> Interpretation:
    """Return the interpretation of a failed request."""
    kinds = ((TooLongError, "too_long"), (RejectedError, "rejected"), (AnswerError, "refused"))
    problem = next((name for kind, name in kinds if isinstance(error, kind)), "unavailable")
    detail = described(error, question)
    return Interpretation(prompt.Parsed(problem=problem), Reply(None), detail if detail != error.code else "")


def described(error: TriageError, question: prompt.Question) -> str:
    """Return a provider's message without secrets; if it quotes the ticket, only the error's code."""
    message, _ = redact(error.message, ("secret",))
    return message if _quote_in(message, question) is None else error.code


def without_quote(error: E, question: prompt.Question) -> E:
    """Return an error that ends the run; its message ends where it begins to quote the ticket."""
    start = _quote_in(error.message, question)
    return error if start is None else type(error)(f"{error.message[:start]}…", hint=error.hint)


def _quote_in(message: str, question: prompt.Question) -> int | None:
    """Return where a message begins to quote the ticket; None if it does not."""
    starts = range(len(message) - QUOTE + 1)
    return next((start for start in starts if message[start : start + QUOTE] in question.user), None)
