"""What keeps tickets, answers, deliveries, keys, models and the audit log."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from triage_cli.domain.api_access import ApiKey, StoredResponse
from triage_cli.domain.audit import Event, EventQuery, Head, LoggedEvent
from triage_cli.domain.batches import Batch, BatchItem
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.decisions import Calibration, Classification, Labelled, ModelVersion, QuestionSpec
from triage_cli.domain.deliveries import Delivery, OutgoingDelivery
from triage_cli.domain.runs import Held, Lease, Run
from triage_cli.domain.sources import SourceCursor
from triage_cli.domain.tickets import Renamed, Selection, Ticket
from triage_cli.domain.views import Gauges, History, Stats


class ModelRegistry(Protocol):
    """Keeps what was learned: versions of the embedded model, calibrations, answers given while evaluating."""

    def active(self) -> ModelVersion | None:
        """Return the version in use, None where it is the built-in model."""

    def versions(self) -> list[ModelVersion]:
        """Return all versions, newest first, without their weights."""

    def add_version(self, version: ModelVersion, event: Event) -> ModelVersion | None:
        """Keep a version, and use it from here on; None where what it is based on is no longer the active one."""

    def step_back(self, event: Event) -> ModelVersion | None:
        """Use the version that the active one is based on; raises `LookupError` where there is none."""

    def labelled(self) -> Iterator[Labelled]:
        """Walk over the texts that a verdict holds for, oldest first."""

    def opinions(self) -> Mapping[str, Mapping[str, tuple[str, float | None]]]:
        """Return what each machine last said of tickets that a person has decided: ticket to classifier to answer."""

    def calibration(self, fingerprint: str) -> Calibration | None:
        """Return the calibration of what is asked under this fingerprint."""

    def calibrations(self) -> list[Calibration]:
        """Return all calibrations, newest first."""

    def keep_calibration(self, calibration: Calibration, event: Event) -> None:
        """Keep a calibration in the place of an earlier one of the same fingerprint."""

    def trials(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return answers that were paid for while evaluating, by their key."""

    def keep_trials(self, answers: Sequence[Classification], lease: Lease) -> None:
        """Keep answers that cost something, and what the run has spent so far."""


class Store(Protocol):
    """Keeps tickets, answers, deliveries and the audit log. `save` is the only write of a ticket."""

    def is_there(self) -> bool:
        """Tell whether there is a database yet; looking makes none."""

    def begin(self, run: Run) -> Run:
        """Record a run and start its lease."""

    def end(self, run: Run) -> None:
        """Record how a run ended, and let go of what it held."""

    def exited(self, run_id: str, code: int) -> None:
        """Record the exit code of a run that has ended."""

    def renew(self, lease: Lease) -> None:
        """Renew a run's lease, and record what it says of money."""

    def hold(self, lease: Lease, ticket_ids: Sequence[str]) -> Held:
        """Renew a run's lease and tell which of these tickets it holds. Raises `TakenOverError` where it was ended."""

    def claim(self, selection: Selection, lease: Lease, limit: int) -> list[Ticket]:
        """Take hold of up to `limit` tickets that no live run holds, urgent first, then oldest."""

    def due(
        self, destination: str, lease: Lease, limit: int, *, horizon: float = 0.0, ids: Sequence[str] | None = None
    ) -> list[OutgoingDelivery]:
        """Take hold of pending deliveries due within `horizon` seconds that no live run holds, all or these tickets'.

        One whose ticket was given another category or text is left for the next decision where that one goes.
        """

    def owed(self, ids: Sequence[str] | None = None) -> list[str]:
        """Return the destinations that have pending deliveries, of all tickets or of these."""

    def let_go(self, delivery_ids: Sequence[str], lease: Lease) -> None:
        """Let go of deliveries that a run had in hand and has not begun: what it keeps may have arrived."""

    def switched_off(self) -> frozenset[str]:
        """Return the destinations that said they are gone for good."""

    def switch(self, destination: str, *, off: bool) -> None:
        """Switch a destination off, or on again."""

    def next_due(self, ids: Sequence[str] | None = None, *, but: Sequence[str] = ()) -> float | None:
        """Return when the next delivery that may be sent falls due, in seconds since 1970.

        Of these tickets, or of all destinations but some.
        """

    def save(
        self, changes: Sequence[Change], lease: Lease | None = None, cursor: SourceCursor | None = None
    ) -> list[Conflict | None]:
        """Write changes and their events in one transaction; a refused one comes back as a `Conflict`.

        `cursor` is how far a source is read once these changes are stored; it is written where none is refused.
        """

    def cursor(self, source: str) -> SourceCursor | None:
        """Return how far a source has been read; None where nothing was pulled from it yet."""

    def runs(self, limit: int | None) -> Iterator[Run]:
        """Walk over runs, the latest first; one that was killed has no end, but the exit code 137."""

    def set_aside(self, lease: Lease, amounts: Sequence[float], per_day: float | None) -> int:
        """Renew a run's lease, record what it says of money, and set further sums aside, in USD; return how many.

        With `per_day`, in their order as many as keep what all runs spent in 24 hours or have set aside within it.
        """

    def recall(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return earlier answers that cost something, by their key."""

    def known(self, identities: Sequence[str]) -> Mapping[str, Ticket]:
        """Return the stored tickets among these identities."""

    def answers(self, ticket_ids: Sequence[str], fingerprints: Sequence[str]) -> list[Classification]:
        """Return what was answered about these tickets to these questions, oldest first."""

    def renames(self) -> Iterator[Renamed]:
        """Walk over the renames of categories that were carried out."""

    def bears(self, name: str) -> bool:
        """Tell whether any ticket is, or is thought to be, of a category of this name."""

    def rename(self, what: Renamed, event: Event, *, destination: bool) -> Renamed:
        """Let everything of a category follow to its new name, `destination` that of the same name too."""

    def note_asking(self, asking: QuestionSpec) -> None:
        """Record what is asked, once per fingerprint."""

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Walk over tickets, newest first or urgent first; with ids, in their order."""

    def named(self, name: str, limit: int) -> list[Ticket]:
        """Return the tickets with this id, ending (6 or more characters) or external id, newest first."""

    def decisions(self, classification_ids: Sequence[str]) -> Mapping[str, Classification]:
        """Return these answers by their id."""

    def deliveries(self, ticket_ids: Sequence[str]) -> Mapping[str, tuple[Delivery, ...]]:
        """Return what each ticket's destinations are owed, in the order in which that was decided."""

    def history(self, ticket_id: str) -> History:
        """Return everything known of one ticket."""

    def events(self, query: EventQuery) -> Iterator[LoggedEvent]:
        """Walk over the audit log, oldest first."""

    def stats(self) -> Stats:
        """Return the counts of the whole store."""

    def head(self) -> Head:
        """Return where the audit log ends, as the store believes."""

    def erase(self, ticket_ids: Sequence[str]) -> None:
        """Blank what is known of tickets outside of their own row."""

    def scrub(self) -> None:
        """Leave no trace of what was erased or overwritten."""

    def forgot(self) -> bool:
        """Tell whether anybody may have been forgotten here: cheap, and so asked again and again."""

    def hold_batches(self, lease: Lease) -> list[Batch]:
        """Take hold of the batches that are not settled and that no live run holds, oldest first."""

    def open_batch(self, batch: Batch, event: Event) -> None:
        """Record that a batch is being gathered, before the provider is told of it."""

    def advance_batch(self, batch: Batch, was: str, event: Event | None, lease: Lease) -> bool:
        """Bring a batch into its next state, unless it is no longer in the state `was` or another run has taken it."""

    def batch_items(
        self, batch_id: str, numbers: Sequence[int] | None = None, *, limit: int | None = None
    ) -> list[BatchItem]:
        """Return items that wait in a batch, those of these requests or the first ones, in their order."""

    def joinable(self, answer_keys: Sequence[str]) -> Mapping[str, tuple[str, int, set[str]]]:
        """Return the open requests that ask these questions already by key: batch, number, and the tickets there."""

    def provider_ids(self) -> frozenset[str]:
        """Return the names that providers gave to our batches."""

    def batch_options(self, fingerprint: str) -> str | None:
        """Return what was last left out of requests that ask this."""

    def model(self, fingerprint: str) -> bytes | None:
        """Return the weights kept under a fingerprint."""

    def keep_model(self, fingerprint: str, weights: bytes, metrics: Mapping[str, object]) -> None:
        """Keep weights under a fingerprint."""


class AuditLogReader(Protocol):
    """Reads the audit log in one snapshot, so that it can be verified, also where somebody has altered it.

    `place` says where the store keeps a head apart from the log, `mend` the command that writes it anew.
    """

    @property
    def place(self) -> str:
        """Return where the head is kept, as the end of a sentence."""

    @property
    def mend(self) -> str:
        """Return the command that keeps today's head there."""

    def recorded_head(self) -> tuple[Head, str | None]:
        """Return the head that the store itself tells, and the mark of the key it was written with."""

    def kept(self) -> Head | None:
        """Return the head that is kept apart from the store, if any. Raises `CheckError` where it is damaged."""

    def events(self) -> Iterator[LoggedEvent]:
        """Walk over the whole log in the order of `seq`; `prev` is not looked at."""

    def strays(self) -> Iterator[str]:
        """Tell what in the tables no event accounts for, each as the end of a sentence."""


class ApiAccessStore(Protocol):
    """Keeps the keys of the HTTP API and what keeps their callers within bounds, for all its processes together."""

    def add_key(self, key: ApiKey) -> None:
        """Record a new key. Raises `UsageError` where the name is taken: the audit log names its actors by it."""

    def keys(self) -> list[ApiKey]:
        """Return all keys, also those that were revoked, oldest first."""

    def revoke(self, name: str) -> ApiKey:
        """Revoke the key of this name. Raises `NotFoundError`."""

    def key(self, key_id: str) -> ApiKey | None:
        """Return a key."""

    def touch(self, key_id: str) -> None:
        """Note that a key was used just now."""

    def permits(self, key_id: str, tokens: int, per_minute: int, burst: int) -> float:
        """Take permits for so many requests; return 0, or where they are not to be had the seconds until they are."""

    def open(self, key_id: str, key: str, body_hash: str, seconds: float) -> StoredResponse | None:
        """Begin a request under an idempotency key: None, it is the caller's for so many seconds; else the other one.

        A request that was given up on, since its time is over, is the next caller's if its body is the same.
        """

    def close(self, key_id: str, key: str, status: int, answer: str) -> None:
        """Keep the answer to a request."""

    def renew(self, key_id: str, key: str, seconds: float) -> None:
        """Say that a request is still at work, for so many seconds more."""

    def give_up(self, key_id: str, key: str) -> None:
        """Forget a request that came to nothing."""

    def hook_ticket(self, source: str, hook_id: str) -> str | None:
        """Return the ticket of an event that has come before; None where it has not, or nobody noted its ticket."""

    def note_hook(self, source: str, hook_id: str, ticket_id: str) -> None:
        """Note that an event has come and is done, and which ticket it made or changed."""

    def gauges(self) -> Gauges:
        """Count what a monitor watches."""

    def ping(self) -> None:
        """Raise where the database does not answer."""
