"""The protocols: what the use cases need of the world, and what the command line needs of the use cases."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from triage_cli.allowance import Allowance
from triage_cli.models import (
    Answer,
    Asking,
    Change,
    Classification,
    ClassifyPlan,
    Conflict,
    Decided,
    Delivery,
    EventQuery,
    Head,
    History,
    Lease,
    LoggedEvent,
    Outcome,
    Parcel,
    Receipt,
    Rejected,
    Routed,
    RoutePlan,
    Run,
    Selection,
    Stats,
    Ticket,
    TicketDraft,
)


class Triage(Protocol):
    """All a user can do. A light object, one a command or request: it knows its actor and can be told to stop."""

    def create(self, drafts: Iterable[TicketDraft | Rejected]) -> Iterator[Outcome[Ticket]]:
        """Store drafts; one outcome each, in order."""

    def classify(self, selection: Selection, plan: ClassifyPlan) -> Iterator[Outcome[Decided]]:
        """Ask a classifier about tickets."""

    def route(self, selection: Selection, plan: RoutePlan) -> Iterator[Outcome[Routed]]:
        """Send tickets where the routing map says, and deliver what is due."""

    def run(self, drafts: Iterable[TicketDraft | Rejected], plan: ClassifyPlan) -> Iterator[Outcome[Routed]]:
        """Create, classify and route in one pass; no outcome comes more than `streams.WINDOW` rows after its turn."""

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Walk over tickets, newest first."""

    def resolve(self, name: str) -> str:
        """Return the id of the one ticket of this name. Raises `NotFoundError` or `AmbiguousError`."""

    def history(self, name: str) -> History:
        """Return everything known of one ticket."""

    def events(self, query: EventQuery) -> Iterator[LoggedEvent]:
        """Walk over the audit log, oldest first."""

    def stats(self) -> Stats:
        """Count."""

    def audit_head(self) -> Head:
        """Return where the audit log ends."""

    def stop(self) -> None:
        """Take no new work; what is in flight ends and is kept."""


class Classifier(Protocol):
    """Answers which category tickets belong to.

    `fingerprint` names what it asks (model, prompt, categories), so that an answer can be reused, `fingerprints` all
    that its steps ask; `appetite` is how many tickets it wants in a chunk.
    """

    name: str
    fingerprint: str
    appetite: int

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return all that its steps ask by."""

    def askings(self) -> tuple[Asking, ...]:
        """Describe what is asked, for the record; a cascade asks in several ways."""

    def classify(self, chunks: Iterable[Sequence[Ticket]], allowance: Allowance) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer in whatever order answers come, in chunks that may be empty: nothing yet.

        An outcome's `item` is the ticket. A ticket's own failure is an `AnswerError` in its outcome; what stops the run
        is raised, after what had finished was yielded. Once the allowance is stopping, nothing new is begun.
        """


class Destination(Protocol):
    """Takes deliveries: a file, a command, a webhook. `schedule` is the seconds to wait after each failed attempt."""

    name: str
    max_attempts: int
    schedule: tuple[float, ...]

    def deliver(self, chunks: Iterable[Sequence[Parcel]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        """Hand over; each outcome's `item` is the parcel. A failure is a `DeliveryError` in the outcome."""


class Store(Protocol):
    """Keeps tickets, answers, deliveries and the audit log. `save` is the only write of a ticket."""

    def begin(self, run: Run) -> Run:
        """Record a run and start its lease."""

    def end(self, run: Run) -> None:
        """Record how a run ended, and let go of what it held."""

    def claim(self, selection: Selection, lease: Lease, limit: int) -> list[Ticket]:
        """Take hold of up to `limit` tickets that no live run holds, urgent first, then oldest."""

    def due(self, destination: str, lease: Lease, limit: int, *, horizon: float = 0.0) -> list[Parcel]:
        """Take hold of pending deliveries due within `horizon` seconds that no live run holds."""

    def owed(self) -> list[str]:
        """Return the destinations that have pending deliveries."""

    def switched_off(self) -> frozenset[str]:
        """Return the destinations that said they are gone for good."""

    def switch(self, destination: str, *, off: bool) -> None:
        """Switch a destination off, or on again."""

    def next_due(self) -> float | None:
        """Return when the next pending delivery falls due, in seconds since 1970."""

    def save(self, changes: Sequence[Change], lease: Lease | None = None) -> list[Conflict | None]:
        """Write changes and their events in one transaction; a refused one comes back as a `Conflict`."""

    def spent_since(self, moment: str) -> float:
        """Return what all runs since then have spent or set aside, in USD."""

    def recall(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return earlier answers that cost something, by their key."""

    def known(self, identities: Sequence[str]) -> Mapping[str, Ticket]:
        """Return the stored tickets among these identities."""

    def note_asking(self, asking: Asking) -> None:
        """Record what is asked, once per fingerprint."""

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Walk over tickets, newest first; with ids, in their order."""

    def named(self, name: str, limit: int) -> list[Ticket]:
        """Return the tickets with this id, ending (6 or more characters) or external id, newest first."""

    def decisions(self, classification_ids: Sequence[str]) -> Mapping[str, Classification]:
        """Return these answers by their id."""

    def deliveries(self, ticket_ids: Sequence[str]) -> Mapping[str, tuple[Delivery, ...]]:
        """Return what each ticket's destinations are owed, oldest first."""

    def history(self, ticket_id: str) -> History:
        """Return everything known of one ticket."""

    def events(self, query: EventQuery) -> Iterator[LoggedEvent]:
        """Walk over the audit log, oldest first."""

    def stats(self) -> Stats:
        """Count."""

    def head(self) -> Head:
        """Return where the audit log ends, as the store believes."""

    def erase(self, ticket_ids: Sequence[str]) -> None:
        """Blank what is known of tickets outside of their own row."""

    def scrub(self) -> None:
        """Leave no trace of what was erased or overwritten."""

    def forgot(self) -> bool:
        """Tell whether anybody was ever forgotten here."""

    def model(self, fingerprint: str) -> bytes | None:
        """Return the weights kept under a fingerprint."""

    def keep_model(self, fingerprint: str, weights: bytes, metrics: Mapping[str, object]) -> None:
        """Keep weights under a fingerprint."""


class Trail(Protocol):
    """An audit log as it stands, in one snapshot, for proof: whatever somebody made of it."""

    def told(self) -> tuple[Head, str | None]:
        """Return the head that the store itself tells, and the mark of the key it was written with."""

    def kept(self) -> Head | None:
        """Return the head that is kept apart from the store, if any. Raises `CheckError` where it is damaged."""

    def events(self) -> Iterator[LoggedEvent]:
        """Walk over the whole log in the order of `seq`; `prev` is not looked at."""

    def strays(self) -> Iterator[str]:
        """Tell what in the tables no event accounts for, each as the end of a sentence."""
