"""A plug-in of triage to copy: a classifier, a destination, a source, a command, and a key with its check."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from triage_cli.domain import Selection
from triage_cli.plugins import Classifier, Context, Destination, Refused, Source


class Keywords(Classifier):
    """Gives the label whose words occur most often in a text; `words` has them by label."""

    uses_network = False

    def __init__(self, *, words: Mapping[str, Sequence[str]]) -> None:
        if not all(words.values()):
            raise ValueError("words needs at least one word for each label")
        self._words = words

    def classify(self, texts: Sequence[str], labels: Sequence[str]) -> list[Mapping[str, float] | None]:
        """Return the share of each label's words."""
        return [self._shares(text.lower(), labels) for text in texts]

    def _shares(self, text: str, labels: Sequence[str]) -> Mapping[str, float] | None:
        found = {label: sum(map(text.count, self._words.get(label, ()))) for label in labels}
        total = sum(found.values())
        return {label: number / total for label, number in found.items()} if total else None


class Spool(Destination):
    """Writes each delivery to a file of its own in a folder."""

    uses_network = False

    def __init__(self, *, folder: str) -> None:
        self._folder = Path(folder)

    def deliver(self, payload: Mapping[str, Any]) -> str:
        """Write a delivery; the same one a second time writes the same file."""
        if not self._folder.is_dir():
            raise Refused(f"{self._folder} is no folder")
        path = self._folder / f"{payload['delivery_id']}.json"
        path.write_text(json.dumps(payload), encoding="utf-8")
        return path.name


class Folder(Source):
    """Reads the text files of a folder, in the order of their names."""

    uses_network = False

    def __init__(self, *, folder: str) -> None:
        self._folder = Path(folder)

    def pages(self, position: str | None) -> Iterator[tuple[list[Mapping[str, Any]], str]]:
        """Yield a page for each file whose name is behind the position."""
        for path in sorted(self._folder.glob("*.txt")):
            if position is None or path.name > position:
                yield [{"external_id": path.stem, "description": path.read_text(encoding="utf-8")}], path.name


def number_of_lines(value: object) -> int:
    """Accept the value of the key `top`."""
    if not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number from 1")
    return value


def top(context: Context, status: str = "") -> None:
    """Print the categories with the most tickets."""
    selection = Selection(statuses=frozenset({status} if status else ()))
    counts = Counter(ticket.category or "-" for ticket in context.triage.find(selection))
    for category, number in counts.most_common(context.keys.get("top", 5)):
        print(f"{number:6} {category}")
