"""Topics: what tickets without categories are about, proposed as categories for a person to name, merge and drop."""

import re
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from triage_cli.domain.wire_values import Limits, Usd, UtcTime

FEWEST_TOPICS, USUAL_TOPICS, MOST_TOPICS = 2, 20, 120
TOPIC_CHARACTERS = (
    2_000  # characters of a ticket's text in which its topic is sought; it has said by then what it is about
)
TOPIC_EXAMPLES = 6  # tickets of a topic that a configuration gets
EXAMPLE_CHARACTERS = 300  # of each that are shown
NAME_WORDS = 2


class Discovery(NamedTuple):
    """What is to be discovered: at most so many topics, in the stored tickets written since, or of these sources.

    The classifier `name_with` names them, for at most `max_cost` USD.
    """

    most: Annotated[int, Limits(FEWEST_TOPICS, MOST_TOPICS)] = USUAL_TOPICS
    written_since: Annotated[str | None, UtcTime()] = None
    sources: tuple[str, ...] = ()
    name_with: str | None = None
    max_cost: Usd | None = None


class TopicText(NamedTuple):
    """A ticket in which topics are sought; `customer` is empty where nobody knows who wrote it."""

    text: str
    customer: str = ""


class Topic(NamedTuple):
    """Tickets that are alike: a proposal for a category."""

    name: Annotated[str, "made of its typical words, or a language model's"]
    parent: Annotated[str, "the name of its group; empty: it has none"]
    words: Annotated[tuple[str, ...], "its typical words, the most typical first"]
    tickets: Annotated[int, "how many there are"]
    customers: Annotated[int, "how many customers wrote them"]
    nearest: Annotated[str | None, "the nearest category of the configuration; null: none is near"]
    examples: Annotated[tuple[str, ...], "the texts nearest to its middle, on one line each, personal data masked"]
    category: Annotated[str, "the name of the proposed category: `parent/name`, or `name`"]


class TopicGroup(NamedTuple):
    """Several topics that are alike: a proposal for a parent of categories."""

    name: Annotated[str, "made of its most typical word, or a language model's"]
    words: Annotated[tuple[str, ...], "the typical words of its topics"]


class Proposal(NamedTuple):
    """The topics of tickets, as proposals for categories."""

    topics: Annotated[tuple[Topic, ...], "the largest first, and those of a group together"]
    groups: Annotated[tuple[TopicGroup, ...], "groups of topics that are alike"]
    tickets: Annotated[int, "how many tickets there were"]
    vague: Annotated[int, "those that say too little"]
    far: Annotated[int, "those near no topic"]
    near: Annotated[int, "those near a topic, so in it; a person may see some of them elsewhere"]


def category_of(name: str, parent: str) -> str:
    """Return the name of the category that a topic proposes."""
    return f"{parent}/{name}" if parent else name


def topic_name(words: Sequence[str], taken: set[str], besides: Sequence[str] = (), most: int = NAME_WORDS) -> str:
    """Return a name of typical words that is not `taken`, and take it; words `besides` are not needed in it."""
    own = [word for word in words if word not in besides] or list(words) or ["topic"]
    for count in range(min(most, len(own)), len(own) + 1):
        name = " ".join(own[:count])[:60].strip().capitalize()
        if name.casefold() not in taken:
            break
    number, first = 2, name
    while name.casefold() in taken:
        name, number = f"{first} {number}", number + 1
    taken.add(name.casefold())
    return name


def shortened(text: str) -> str:
    """Return the beginning of an example, up to the end of a word."""
    return text if len(text) <= EXAMPLE_CHARACTERS else re.sub(r"\s\S*$", "", text[:EXAMPLE_CHARACTERS]) + " …"
