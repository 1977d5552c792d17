"""Ports of the stores: tickets, answers, deliveries, keys and the audit log."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from triage_cli.domain.api_keys import ApiKey, StoredResponse
from triage_cli.domain.audit.events import Event, EventQuery, Head, LoggedEvent
from triage_cli.domain.batches import Batch, BatchItem
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.decisions import Classification, QuestionSpec
from triage_cli.domain.deliveries import Attempt, Delivery, OutgoingDelivery
from triage_cli.domain.explanation.history import History
from triage_cli.domain.insight.drift import PeriodCounts
from triage_cli.domain.insight.spikes import InflowTicket, SentSpike
from triage_cli.domain.insight.stats import Gauges, Stats, StatsGroup, StatsQuery
from triage_cli.domain.runs import Held, Lease, Run
from triage_cli.domain.sources import SourceCursor
from triage_cli.domain.tickets import Renamed, Selection, Ticket


class Store(Protocol):
    """Stores tickets, answers, deliveries and the audit log. Tickets are written by `save` alone."""

    def is_there(self) -> bool:
        """Return whether the database exists, without creating it."""

    def begin(self, run: Run) -> Run:
        """Record a run and start its lease."""

    def end(self, run: Run) -> None:
        """Record how a run ended, and free its tickets."""

    def exited(self, run_id: str, code: int) -> None:
        """Record the exit code of a run that has ended."""

    def renew(self, lease: Lease) -> None:
        """Renew a run's lease and record what it has spent."""

    def hold(self, lease: Lease, ticket_ids: Sequence[str]) -> Held:
        """Renew a run's lease; return which of these tickets it holds. Raises `TakenOverError` if the run was ended."""

    def check_room(self) -> None:
        """Raise `UnavailableError` if what is paid for or sent now might not be stored, for lack of room."""

    def claim(self, selection: Selection, lease: Lease, limit: int) -> list[Ticket]:
        """Claim up to `limit` tickets that no live run holds, urgent first, then oldest."""

    def claimed(self, ticket_ids: Sequence[str]) -> frozenset[str]:
        """Return which of these tickets a live run holds."""

    def due(
        self, destination: str, lease: Lease, limit: int, *, ids: Sequence[str] | None = None
    ) -> list[OutgoingDelivery]:
        """Claim due deliveries that no live run holds, the oldest first.

        With `ids`, those of these tickets alone. A delivery is left out if its ticket has changed its category or text
        since: the next decision supersedes it.
        """

    def pending_destinations(self, ids: Sequence[str] | None = None) -> list[str]:
        """Return the destinations with pending deliveries, of all tickets or of these."""

    def let_go(
        self, delivery_ids: Sequence[str], lease: Lease, why: str | None = None, *, attempted: bool = False
    ) -> None:
        """Free pending deliveries that a run holds; those that it `attempted` may have arrived.

        `why` is the reason that they were not attempted; it becomes their last error. Without it that stays the same.
        """

    def switched_off(self) -> frozenset[str]:
        """Return the destinations that are switched off, because they answered that they are gone for good."""

    def switch(self, destination: str, *, off: bool) -> None:
        """Switch a destination off, or on again."""

    def next_due(self, ids: Sequence[str] | None = None, *, but: Sequence[str] = ()) -> float | None:
        """Return when the next delivery that may be sent is due, in seconds since 1970; None if there is none.

        With `ids`, of these tickets alone; `but` names destinations to leave out.
        """

    def save(
        self, changes: Sequence[Change], lease: Lease | None = None, cursor: SourceCursor | None = None
    ) -> list[Conflict | None]:
        """Write changes and their events in one transaction; returns a conflict for each ticket that has moved on.

        `cursor` is the position of a source after these changes; it is stored if none of them is refused.
        """

    def cursor(self, source: str) -> SourceCursor | None:
        """Return how far a source has been read; None if nothing was pulled from it yet."""

    def runs(self, limit: int | None) -> Iterator[Run]:
        """Yield runs, the latest first. A killed run has no end, and the exit code 137."""

    def set_aside(self, lease: Lease, amounts: Sequence[float], per_day: float | None) -> int:
        """Renew a run's lease and set further sums aside, in USD and in order; return how many were set aside.

        `per_day` is the budget of a day: it limits what all runs spent in 24 hours or have set aside.
        """

    def spent_of_day(self) -> float:
        """Return what counts against the budget of a day now, in USD: what all runs spent in 24 hours or set aside."""

    def recall(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return earlier answers of paid classifiers, by answer key."""

    def known(self, identities: Sequence[str]) -> Mapping[str, Ticket]:
        """Return the stored tickets among these identities."""

    def answers(self, ticket_ids: Sequence[str], fingerprints: Sequence[str]) -> list[Classification]:
        """Return all answers about these tickets to these questions, oldest first."""

    def renames(self) -> Iterator[Renamed]:
        """Yield the renames that were carried out."""

    def bears(self, name: str) -> bool:
        """Return whether any ticket has this name as its category, or as the suggestion that a review waits for."""

    def rename(self, what: Renamed, event: Event, *, destination: bool) -> Renamed:
        """Rename a category in all tables, with `destination` also the destination of that name; return the counts."""

    def record_question(self, question: QuestionSpec) -> None:
        """Record a question, once per fingerprint."""

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Yield tickets in the order of the selection, or of its ids if it has some."""

    def named(self, name: str, limit: int) -> list[Ticket]:
        """Return the tickets with this id, ending (6 or more characters) or external id, newest first."""

    def decisions(self, classification_ids: Sequence[str]) -> Mapping[str, Classification]:
        """Return these answers, by classification id."""

    def deliveries(self, ticket_ids: Sequence[str]) -> Mapping[str, tuple[Delivery, ...]]:
        """Return the deliveries of each of these tickets, in the order of its decisions."""

    def attempts(self, ticket_id: str) -> tuple[Attempt, ...]:
        """Return the attempts at a ticket's deliveries, oldest first."""

    def history(self, ticket_id: str) -> History:
        """Return a ticket with its answers, deliveries, attempts, events and questions."""

    def events(self, query: EventQuery) -> Iterator[LoggedEvent]:
        """Yield events, oldest first; with a limit, the newest of them."""

    def stats(self) -> Stats:
        """Return the counts of the whole store."""

    def stats_by(self, query: StatsQuery) -> list[StatsGroup]:
        """Return the counts of each group of tickets, in no order."""

    def gauges(self) -> Gauges:
        """Return the counts that `/metrics` shows."""

    def head(self) -> Head:
        """Return the head of the audit log that the database records."""

    def erase(self, ticket_ids: Sequence[str]) -> None:
        """Erase the text of tickets from all tables but `tickets`. Repeating it changes nothing."""

    def scrub(self) -> None:
        """Remove remains of erased text from the storage, as far as the store can."""

    def forgot(self) -> bool:
        """Return whether any ticket may have been forgotten; a cheap query."""

    def hold_batches(self, lease: Lease) -> list[Batch]:
        """Claim the batches that are not settled and that no live run holds; return them, oldest first."""

    def open_batch(self, batch: Batch, event: Event) -> None:
        """Record a new batch, before anything is sent to the provider."""

    def advance_batch(self, batch: Batch, was: str, event: Event | None, lease: Lease) -> bool:
        """Write a batch's next state; return False if it is no longer in the state `was`, or another run holds it."""

    def batch_items(
        self, batch_id: str, numbers: Sequence[int] | None = None, *, limit: int | None = None
    ) -> list[BatchItem]:
        """Return items that wait in a batch, by number: those with these numbers, or the first `limit`."""

    def joinable(self, answer_keys: Sequence[str]) -> Mapping[str, tuple[str, int, set[str]]]:
        """Return the open requests with these answer keys, by key: batch id, request number, ids of waiting tickets."""

    def provider_ids(self) -> frozenset[str]:
        """Return the ids that providers gave to the batches."""

    def batch_options(self, fingerprint: str) -> str | None:
        """Return the options that the last batch with this question left out, or None."""

    def model(self, fingerprint: str) -> bytes | None:
        """Return the weights that are stored under a fingerprint, or None."""

    def keep_model(self, fingerprint: str, weights: bytes, metrics: Mapping[str, object]) -> None:
        """Store the weights of a model under its fingerprint."""


class AuditLogReader(Protocol):
    """Reads the audit log in one snapshot for verification, even if somebody has altered it."""

    @property
    def place(self) -> str:
        """Return where the head is kept apart from the log, as the end of a sentence."""

    @property
    def mend(self) -> str:
        """Return the command that stores the present head there."""

    def recorded_head(self) -> tuple[Head, str | None]:
        """Return the head that the database records, and the mark of the key that it was written with."""

    def kept_head(self) -> Head | None:
        """Return the head that is kept apart from the log, or None. Raises `CheckError` if it is damaged."""

    def events(self) -> Iterator[LoggedEvent]:
        """Yield all events in the order of `seq`, without following `prev`."""

    def strays(self) -> Iterator[str]:
        """Yield a sentence for each thing in the tables that no event explains."""


class ApiAccessStore(Protocol):
    """Stores the API's keys, rate limits and idempotent requests, for all its processes together."""

    def add_key(self, key: ApiKey) -> None:
        """Record a new key. Raises `UsageError` if the name is taken: the audit log names its actors by it."""

    def keys(self) -> list[ApiKey]:
        """Return all keys, oldest first; revoked ones too."""

    def revoke(self, name: str) -> ApiKey:
        """Revoke the key of this name, and return it. Raises `NotFoundError`."""

    def rotate(self, new: ApiKey, old_until: str) -> ApiKey:
        """Replace the key of the same name, which is taken until `old_until` beside the new one; return the new key.

        Its name and role stay, and its expiry unless a new one is given. Raises `NotFoundError`, and `UsageError` for a
        revoked key.
        """

    def key(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, or None; also one that was rotated away and is still taken."""

    def key_at_once(self, key_id: str) -> ApiKey | None:
        """Return the key with this id if it is found without waiting for a network or a lock; None: `key` may."""

    def touch(self, key_id: str) -> None:
        """Record that a key was used now."""

    def permits(self, caller_id: str, tokens: int, per_minute: int, burst: int) -> float:
        """Take permits for so many tokens and return 0, or take none and return the seconds until they are free."""

    def open(self, caller_id: str, key: str, body_hash: str, seconds: float) -> StoredResponse | None:
        """Begin a request under an idempotency key; return the earlier request with this key, if there is one.

        None means that the caller holds the key for `seconds`. A request whose time has passed is taken over by the
        next caller with the same body.
        """

    def close(self, caller_id: str, key: str, status: int, answer: str) -> None:
        """Store the response to a request."""

    def renew(self, caller_id: str, key: str, seconds: float) -> None:
        """Renew the lease of a request that is still being processed, for `seconds`."""

    def give_up(self, caller_id: str, key: str) -> None:
        """Free the idempotency key of a request that failed."""

    def hook_ticket(self, source: str, hook_id: str) -> str | None:
        """Return the ticket of a webhook event that was processed before; None if there is none."""

    def note_hook(self, source: str, hook_id: str, ticket_id: str) -> None:
        """Record that a webhook event was processed, and which ticket it created or changed."""

    def ping(self) -> None:
        """Raise an error if the database does not answer, or a newer program has migrated it."""


class Inflow(Protocol):
    """Reads tickets by when they were written: `created_at`, or when they were stored if that is unknown."""

    def written(self, since: str, until: str) -> list[InflowTicket]:
        """Return the tickets written from `since` up to before `until`, oldest first."""

    def sent_spikes(self, since: str) -> list[SentSpike]:
        """Return the spikes that were last seen at `since` or later."""

    def keep_spikes(self, spikes: Sequence[SentSpike], event: Event | None) -> None:
        """Store spikes, replacing those with the same id."""

    def counts(self, since: str, until: str) -> PeriodCounts:
        """Return the counts of the tickets written from `since` up to before `until`."""
