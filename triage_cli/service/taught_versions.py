"""What learned versions have of tickets whose text is erased: counted, put out of use, and told."""

from collections import Counter
from collections.abc import Iterator, Sequence

from triage_cli import domain as dm
from triage_cli.ports import ModelRegistry
from triage_cli.service.runs import RunContext

LEARN_ANEW = f"next: {dm.Step.LEARN} makes one without them"


class TaughtVersions:
    """Counts which versions in use have learned from the tickets of outcomes with this action."""

    def __init__(self, registry: ModelRegistry, action: dm.Action) -> None:
        self._registry = registry
        self._action = action
        self._uncounted: list[str] = []  # ids
        self._what = "tickets"
        self._tickets: Counter[tuple[int, str]] = Counter()  # by version and question
        self._labels: Counter[tuple[int, str]] = Counter()

    def counted(self, outcomes: Iterator[dm.Outcome[dm.Routed]]) -> Iterator[dm.Outcome[dm.Routed]]:
        """Yield outcomes, and count the versions that have learned from their tickets."""
        for outcome in outcomes:
            if outcome.action == self._action and outcome.value:
                self._uncounted.append(outcome.value.ticket.ticket_id)
            if len(self._uncounted) == dm.CHUNK:
                self._count()
            yield outcome
        self._count()

    def count_texts(self, text_ids: Sequence[str]) -> None:
        """Count the versions that have learned from labelled texts, too."""
        if text_ids:
            self._what = "texts" if self._tickets else "labelled texts"
            self._uncounted += text_ids
            self._count()

    def _count(self) -> None:
        for version, question, tickets, labels in self._registry.taught_by(self._uncounted):
            self._tickets[version, question] += tickets
            self._labels[version, question] += labels
        self._uncounted.clear()

    def notes(self) -> Iterator[str]:
        """Yield what is to be said of each version that stays in use, where only its words count."""
        for taught in self._taught():
            learned = self._these(taught.tickets)
            yield f"note: {_name(taught)} has learned from {learned}, and keeps no word; {LEARN_ANEW}"

    def previews(self) -> Iterator[str]:
        """Yield what would become of each version if the tickets were withdrawn."""
        for taught in self._taught():
            if taught.labels:
                learned = self._these(taught.labels)
                yield f"note: {_name(taught)} has learned the labels of {learned} and would be out of use"

    def end(self, context: RunContext) -> Iterator[str]:
        """Put the versions out of use that have learned labels of withdrawn tickets; yield what is to be said.

        Wrong labels decide no longer. A version that read the texts alone stays, as a forgotten person's does.
        """
        event = context.event(dm.EventAction.ROLLED_BACK, None, {}, dm.times.now())
        for ended in self._registry.end_withdrawn(event):
            for counts in (self._tickets, self._labels):
                counts.pop((ended.version, ended.question), None)
            earlier = self._registry.active(ended.question)
            again = f"version {earlier.version}" if earlier else "the built-in model"
            yield (
                f"note: {_name(ended)} had learned the labels of {self._these(ended.labels)}, "
                f"so {again} answers again; "
                f"next: {dm.Step.LEARN} learns from the labels that are left, and looks again at what it decided"
            )
        yield from self.notes()

    def _these(self, number: int) -> str:
        return f"{number:,} of these {self._what}"

    def _taught(self) -> Iterator[dm.Taught]:
        for key, tickets in sorted(self._tickets.items(), reverse=True):
            yield dm.Taught(*key, tickets, self._labels[key])


def _name(taught: dm.Taught) -> str:
    of_question = "" if taught.question == dm.CATEGORY else f" of {taught.question}"
    return f"learned model version {taught.version}{of_question}"
