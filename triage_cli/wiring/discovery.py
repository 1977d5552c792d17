"""Discovery: finds the topics of many tickets, and proposes them as categories."""

import re
from collections.abc import Iterable, Sequence

from triage_cli.config import REDACTABLE
from triage_cli.domain import (
    CONTROLS,
    TOPIC_CHARACTERS,
    Category,
    Discovery,
    Proposal,
    Topic,
    TopicGroup,
    TopicText,
    name_of,
)


def discover(categories: Sequence[Category], tickets: Iterable[TopicText], asked: Discovery) -> Proposal:
    """Return the topics of tickets, each with the nearest of the categories that there are."""
    from triage_cli.classifiers import find_topics, redact

    texts, writers = [], []
    for number, ticket in enumerate(tickets):
        texts.append(ticket.text[:TOPIC_CHARACTERS])
        writers.append(ticket.customer or f"\0{number}")
    existing = [" ".join((each.name, each.description, *each.examples)) for each in categories]
    found = find_topics(texts, writers, asked.most, existing)
    taken: set[str] = set()
    groups = tuple(TopicGroup(name_of(words, taken, most=1), words) for words in found.group_words)
    topics = []
    for topic in found.topics:
        group = None if topic.group is None else groups[topic.group]
        topics.append(
            Topic(
                name=name_of(topic.words, taken, () if group is None else group.name.casefold().split()),
                parent="" if group is None else group.name,
                words=topic.words,
                tickets=len(topic.members),
                customers=len({writers[index] for index in topic.members}),
                nearest=None if topic.nearest is None else categories[topic.nearest].name,
                examples=tuple(redact(_on_one_line(texts[index]), REDACTABLE)[0] for index in topic.core),
            )
        )
    return Proposal(tuple(topics), groups, len(texts), found.vague, found.far)


def _on_one_line(text: str) -> str:
    """Return a text without line ends and other controls, which no configuration takes."""
    return " ".join(re.sub(f"[{CONTROLS}]", " ", text).split())
