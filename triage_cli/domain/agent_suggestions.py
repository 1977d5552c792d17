"""Categories and answers that agents suggest: they are stored beside the answers of classifiers and decide nothing."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple, NotRequired

from triage_cli.domain import ids
from triage_cli.domain.classifications import Classification
from triage_cli.domain.tickets import CATEGORY, Ticket

# The classifier of an agent's suggestion in the table of answers. It has no fingerprint, as every real classifier has.
AGENT_CLASSIFIER = "agent"
LONGEST_AGENT_NAME = 60
# How many agents may suggest something about the same text: a key can invent names without end.
MOST_AGENTS = 20
_UNFIT_FOR_NAME = re.compile(r"[^\w.-]+")


class AgentSuggestionDraft(NamedTuple):
    """A category, or an answer to another question, that `agent` suggests for the ticket `name`, with its reason."""

    name: str
    category: str
    agent: str
    note: str | None = None
    question: str = CATEGORY


class AgentSuggestion(NamedTuple):
    """A category, or an answer to another question, that an agent suggests for a ticket."""

    ticket_id: Annotated[str, "the ticket's id"]
    category: Annotated[str, "the category, or the answer to the question"]
    agent: Annotated[str, "the agent's name, as it gave it"]
    actor: Annotated[str, "the person or key on whose behalf it acts"]
    at: Annotated[str, "when", datetime]
    note: Annotated[str | None, "why, in the agent's words"] = None
    question: Annotated[str, "the question that it answers", NotRequired[str]] = CATEGORY


def agent_name(text: str) -> str:
    """Return a name that an agent gives itself as it is stored: letters, digits, `.`, `_` and `-`."""
    return _UNFIT_FOR_NAME.sub("-", text).strip("-")[:LONGEST_AGENT_NAME] or "agent"


def is_agents(answer: Classification) -> bool:
    """Return whether an answer is an agent's suggestion."""
    return answer.classifier == AGENT_CLASSIFIER and not answer.fingerprint and answer.category is not None


def answerer(answer_record: Mapping[str, Any]) -> str:
    """Return who gave an answer, by the answer's record: a person, an agent that suggests, or a classifier."""
    if answer_record["confidence_source"] == "human":
        return str(answer_record["actor"])
    is_suggestion = answer_record["classifier"] == AGENT_CLASSIFIER and not answer_record["fingerprint"]
    return f"agent {answer_record['step']}" if is_suggestion else str(answer_record["classifier"])


def suggested(ticket: Ticket, draft: AgentSuggestionDraft, category: str, actor: str) -> Classification:
    """Return an agent's suggestion as it is stored; its `answer_key` names the text that it is about."""
    return Classification.made(
        ticket.ticket_id,
        step=draft.agent,
        category=category,
        reason=draft.note,
        classifier=AGENT_CLASSIFIER,
        actor=actor,
        answer_key=ids.answer_key(AGENT_CLASSIFIER, ticket.text),
        question=draft.question,
    )


def suggestions_in_force(ticket: Ticket, answers: Iterable[Classification]) -> tuple[AgentSuggestion, ...]:
    """Return each agent's last suggestion on a question about the present text; `answers` are oldest first."""
    key = ids.answer_key(AGENT_CLASSIFIER, ticket.text)
    last_of_each_agent = {(a.step, a.question): a for a in answers if is_agents(a) and a.answer_key == key}
    return tuple(map(suggestion_of, last_of_each_agent.values()))


def suggestion_of(answer: Classification) -> AgentSuggestion:
    """Return the suggestion of an agent that is stored as this answer."""
    value, agent, question = answer.category or "", answer.step, answer.question
    return AgentSuggestion(answer.ticket_id, value, agent, answer.actor, answer.at, answer.reason, question)
