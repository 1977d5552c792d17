"""Edits topics by lines such as `merge 3 7`, which a person types, a script sends, or a key of the screen makes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, zip_longest
from typing import NamedTuple, Self

from triage_cli import domain as dm
from triage_cli.cli.messages import plural
from triage_cli.config import no_name

HELP = (
    "name N NAME · text N DESCRIPTION · add NAME · merge N M… (M into N) · drop N… · nest N PARENT (without PARENT: "
    "the first level) · show N · list · undo · quit (writes)"
)


class EditedTopic(NamedTuple):
    """A topic that becomes a category; `number` stays the same. `tickets` is None for one of a configuration.

    `core` are its examples whole, the most typical first.
    """

    number: int
    name: str
    parent: str
    description: str
    tickets: int | None
    core: tuple[str, ...]

    @property
    def category(self) -> str:
        """Return the name of its category."""
        return dm.category_of(self.name, self.parent)

    @property
    def line(self) -> str:
        """Return the topic on one line."""
        tickets = "" if self.tickets is None else f" ({plural(self.tickets, 'tickets')})"
        return f"{self.number:>3}  {self.category}{tickets}: {self.description}"


# What the edits of one field of a topic make of it.
REPLACED: Mapping[str, Callable[[EditedTopic, str], EditedTopic]] = {
    "text": lambda topic, description: topic._replace(description=description),
    "nest": lambda topic, parent: topic._replace(parent=parent),
}


class TopicEditor:
    """Topics, and what they were before each edit; `parents` are the descriptions of the categories above."""

    def __init__(self, topics: Sequence[EditedTopic], parents: dict[str, str]) -> None:
        self.topics = tuple(topics)
        self._parents = parents
        self._before: list[tuple[EditedTopic, ...]] = []
        self._last_number = max((topic.number for topic in topics), default=0)

    @classmethod
    def of_proposal(cls, proposal: dm.Proposal) -> Self:
        """Return the editor of what was discovered."""
        return cls(
            [
                EditedTopic(number, each.name, each.parent, ", ".join(each.words), each.tickets, each.examples)
                for number, each in enumerate(proposal.topics, 1)
            ],
            {group.name: ", ".join(group.words) for group in proposal.groups},
        )

    @classmethod
    def of_categories(cls, categories: Sequence[dm.Category]) -> Self:
        """Return the editor of a configuration; a parent without examples is no topic."""
        above = {category.parent for category in categories if category.parent}
        topics = [each for each in categories if each.examples or each.name not in above]
        return cls(
            [
                EditedTopic(
                    number,
                    each.name.removeprefix(f"{each.parent}/") if each.parent else each.name,
                    each.parent,
                    each.description,
                    None,
                    each.examples,
                )
                for number, each in enumerate(topics, 1)
            ],
            {each.name: each.description for each in categories if each.name in above},
        )

    def do(self, line: str) -> str:
        """Carry out a line and return what was done. Raises `UsageError`, and nothing has changed then."""
        verb, _, rest = line.strip().partition(" ")
        if verb == "undo":
            if not self._before:
                raise dm.UsageError("there is nothing to take back")
            self.topics = self._before.pop()
            return "taken back"
        others = {"name": self._name, "add": self._add, "merge": self._merge, "drop": self._drop}
        edit = partial(self._replace, verb) if verb in REPLACED else others.get(verb)
        if edit is None:
            raise dm.UsageError(f'no edit "{verb[:20]}"', hint=HELP)
        before = self.topics
        try:
            done = edit(rest.strip())
            self._check_names()
        except dm.UsageError:
            self.topics = before
            raise
        self._before.append(before)
        self._last_number = max([self._last_number, *(topic.number for topic in self.topics)])
        return done

    def topic(self, number: str) -> EditedTopic:
        """Return the topic of a number. Raises `UsageError`."""
        for topic in self.topics:
            if number.strip() == str(topic.number):
                return topic
        raise dm.UsageError(f'no topic "{number[:20]}"', hint="list shows the numbers")

    def categories(self) -> list[dm.Category]:
        """Return the categories that the topics make: each parent before its own."""
        own = {topic.category: topic for topic in self.topics}
        below: dict[str, list[dm.Category]] = {}  # of each category of the first level
        for topic in self.topics:
            if topic.parent:
                below.setdefault(topic.parent, []).append(_category(topic))
            else:
                below.setdefault(topic.category, [])
        first_level = (
            _category(own[name]) if name in own else dm.Category(name, self._parents.get(name, "")) for name in below
        )
        return [*chain.from_iterable((above, *below[above.name]) for above in first_level)]

    def labels(self) -> Iterator[tuple[str, str]]:
        """Yield the core of each topic: text and category."""
        for topic in self.topics:
            yield from ((text, topic.category) for text in topic.core)

    def _replace(self, verb: str, rest: str) -> str:
        number, _, text = rest.partition(" ")
        topic = self.topic(number)
        changed = REPLACED[verb](topic, text.strip())
        self.topics = tuple(changed if each is topic else each for each in self.topics)
        return f"{topic.number} {'has another description' if verb == 'text' else f'is {changed.category}'}"

    def _name(self, rest: str) -> str:
        number, _, name = rest.partition(" ")
        topic = self.topic(number)
        name, parent = self._placed(name.strip())
        named = topic._replace(name=name, parent=parent)
        self.topics = tuple(named if each is topic else each for each in self.topics)
        return f"{topic.number} is {named.category}"

    def _add(self, name: str) -> str:
        added = EditedTopic(self._last_number + 1, *self._placed(name), description="", tickets=None, core=())
        self.topics = (*self.topics, added)
        return f"{added.number} is {added.category}, without tickets so far: give it a description"

    def _placed(self, name: str) -> tuple[str, str]:
        """Return the name and the parent that a whole name means: in `TCP/IP` the slash is a letter like others."""
        above, _, below = name.rpartition("/")
        parents = {place for topic in self.topics for place in (topic.parent, topic.category)}
        return (below, above) if above and above in parents else (name, "")

    def _merge(self, rest: str) -> str:
        first, *others = map(self.topic, rest.split() or [""])
        if not others or first in others:
            raise dm.UsageError("merge takes a topic and those that join it", hint="merge 3 7 puts 7 into 3")
        joined = [first, *others]
        interleaved = chain.from_iterable(zip_longest(*(topic.core for topic in joined)))
        known = [topic.tickets for topic in joined if topic.tickets is not None]
        merged = first._replace(
            tickets=sum(known) if known else None, core=tuple(dict.fromkeys(text for text in interleaved if text))
        )
        self.topics = tuple(merged if each is first else each for each in self.topics if each not in others)
        return f"{', '.join(str(other.number) for other in others)} joined {merged.number}: describe all of it anew"

    def _drop(self, rest: str) -> str:
        dropped = [self.topic(number) for number in rest.split() or [""]]
        self.topics = tuple(each for each in self.topics if each not in dropped)
        return f"dropped {', '.join(topic.category for topic in dropped)}"

    def _check_names(self) -> None:
        taken: set[str] = set()
        for topic in self.topics:
            if objection := no_name(topic.name) or no_name(topic.category):
                raise dm.UsageError(f"the name of {topic.number} {objection}", hint="name it otherwise")
            if topic.category.casefold() in taken:
                raise dm.UsageError(f"{topic.category} is there already", hint="merge puts one topic into another")
            taken.add(topic.category.casefold())


def _category(topic: EditedTopic) -> dm.Category:
    return dm.Category(topic.category, topic.description, tuple(map(dm.shortened, topic.core[: dm.TOPIC_EXAMPLES])))


class LineEditor:
    """Edits by lines; `write` prints one. A mistake is `told` to a person, and ends the edits of a script."""

    def __init__(self, editor: TopicEditor, write: Callable[[str], None], *, told: bool) -> None:
        self._editor = editor
        self._write = write
        self._told = told

    def work(self, lines: Iterator[str]) -> None:
        """Carry out lines up to `quit` or their end. Raises `UsageError`."""
        self._list()
        for line in lines:
            verb, _, rest = line.strip().partition(" ")
            if verb == "quit":
                return
            try:
                if verb == "list":
                    self._list()
                elif verb == "help":
                    self._write(HELP)
                elif verb == "show":
                    topic = self._editor.topic(rest)
                    for shown in (topic.line, *map(dm.shortened, topic.core)):
                        self._write(shown)
                elif verb:
                    self._write(self._editor.do(line))
            except dm.UsageError as error:
                if not self._told:
                    raise
                self._write(error.sentence())

    def _list(self) -> None:
        for topic in self._editor.topics:
            self._write(topic.line)
        self._write(HELP)
