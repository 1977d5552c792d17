"""What plug-ins are made of, for packages of others: docs/howto/plugins.md.

A class gets its keys of the configuration by the names of its constructor's arguments. It raises `ValueError` for a
value that it cannot use. A key that ends in `_env` names a variable, and the class gets what that holds, under the name
without `_env`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from triage_cli.ports import Triage


class Classifier(ABC):
    """A type of classifier."""

    uses_network: ClassVar[bool | None] = None  # what says nothing is not opened under --offline

    @abstractmethod
    def classify(self, texts: Sequence[str], labels: Sequence[str]) -> Iterable[str | Mapping[str, float] | None]:
        """Return an answer for each text, in their order: a label, or its probabilities by label; None for no label.

        Probabilities are from 0 to 1 and sum to 1; the highest one is the confidence. A label alone has none.
        """


class Destination(ABC):
    """A type of destination. Several threads may call one object at once."""

    uses_network: ClassVar[bool | None] = None  # what says nothing is not opened under --offline

    @abstractmethod
    def deliver(self, payload: Mapping[str, Any]) -> str | None:
        """Send what a webhook's body has, once; return what the receiver calls it, if that is known.

        What is raised lets the delivery be tried again, with the same `delivery_id`; after `Refused` it is not.
        """


class Source(ABC):
    """A type of source."""

    uses_network: ClassVar[bool | None] = None  # what says nothing is not opened under --offline

    @abstractmethod
    def pages(self, position: str | None) -> Iterable[tuple[Sequence[Mapping[str, Any]], str | None]]:
        """Yield pages of tickets, each with the position where the next pull goes on (None: it stays).

        A ticket has an `external_id`, a `subject` or a `description`, and if it likes `customer_id`, `priority` and
        `created_at`; what else it has is kept beside them. `position` is the last one that was stored.
        """


class Refused(Exception):  # noqa: N818 - what happened, as a receiver says it
    """A receiver will never take this delivery, so it is not tried again."""


class Context(NamedTuple):
    """What a command of a plug-in works with: the use cases, here or on a remote, and the values of its keys."""

    triage: Triage
    keys: Mapping[str, Any]
