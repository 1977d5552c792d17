"""Ports of storage: what a store of tickets, answers, models, API keys and the audit log does for the use cases."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from triage_cli import domain as dm


class Runs(Protocol):
    """Port of the runs in a store: their leases, the tickets that they hold, and the money that they spend."""

    def begin(self, run: dm.Run) -> dm.Run:
        """A store records a run and starts its lease."""

    def end(self, run: dm.Run) -> None:
        """A store records how a run ended, and frees its tickets."""

    def exited(self, run_id: str, code: int) -> None:
        """A store records the exit code of a run that has ended."""

    def renew(self, lease: dm.Lease) -> None:
        """A store renews a run's lease and records what it has spent."""

    def hold(self, lease: dm.Lease, ticket_ids: Sequence[str]) -> dm.Held:
        """A store renews a run's lease and tells which of these tickets it holds.

        Raises `TakenOverError` if the run was ended.
        """

    def claim(self, selection: dm.Selection, lease: dm.Lease, limit: int) -> list[dm.Ticket]:
        """A store claims up to `limit` tickets that no live run holds, urgent first, then oldest."""

    def claimed(self, ticket_ids: Sequence[str]) -> frozenset[str]:
        """A store tells which of these tickets a live run holds."""

    def set_aside(self, lease: dm.Lease, amounts: Sequence[float], per_day: float | None) -> int:
        """A store renews a run's lease and sets further sums aside, in USD and in order; it returns how many.

        `per_day` is the budget of a day: it limits what all runs spent in 24 hours or have set aside.
        """

    def spent_of_day(self) -> float:
        """A store adds up what counts against a day's budget: the USD that runs spent in 24 hours or set aside."""

    def latest(self, limit: int | None) -> Iterator[dm.Run]:
        """A store lists its runs, the latest first. A killed run has no end, and the exit code 137."""


class Deliveries(Protocol):
    """Port of the deliveries in a store, and of the destinations that are switched off."""

    def due(
        self, destination: str, lease: dm.Lease, limit: int, *, ids: Sequence[str] | None = None
    ) -> list[dm.OutgoingDelivery]:
        """A store claims due deliveries that no live run holds, the oldest first.

        With `ids`, those of these tickets alone. A delivery is left out if its ticket has changed its category or text
        since: the next decision supersedes it.
        """

    def pending_destinations(self, ids: Sequence[str] | None = None) -> list[str]:
        """A store returns the destinations with pending deliveries, of all tickets or of these."""

    def next_due(self, ids: Sequence[str] | None = None, *, but: Sequence[str] = ()) -> float | None:
        """A store tells when its next delivery that may be sent is due, in seconds since 1970; None if there is none.

        With `ids`, of these tickets alone; `but` names destinations to leave out.
        """

    def begin(self, lease: dm.Lease, to_begin: Sequence[dm.OutgoingDelivery]) -> frozenset[str]:
        """A store marks the attempts at deliveries that a run makes now, and returns their ids; the others are off.

        An attempt is off if the run does not hold the delivery, if it is not pending any more, if the text or the
        decision of its ticket is not the one that was read, or if its destination was switched off. Raises
        `TakenOverError` if the run was ended.
        """

    def let_go(self, delivery_ids: Sequence[str], lease: dm.Lease, why: str | None = None) -> None:
        """A store frees deliveries that a run holds and that it has not attempted.

        `why` is the reason for that; it becomes their last error. Without it that stays the same.
        """

    def of(self, ticket_ids: Sequence[str]) -> Mapping[str, tuple[dm.Delivery, ...]]:
        """A store returns the deliveries of each of these tickets, in the order of its decisions."""

    def with_ids(self, delivery_ids: Sequence[str]) -> Mapping[str, dm.Delivery]:
        """A store returns those of these deliveries that it knows, by their ids."""

    def attempts(self, ticket_id: str) -> tuple[dm.Attempt, ...]:
        """A store returns the attempts at a ticket's deliveries, oldest first."""

    def lately(self) -> Mapping[str, dm.Lately]:
        """A store tells how the last attempts went, by destination. It reads all attempts."""

    def switched_off(self) -> frozenset[str]:
        """A store keeps the names of destinations that are switched off: they answered that they are gone for good."""

    def switch(self, destination: str, *, off: bool) -> None:
        """A store records that a destination is switched off, or on again."""


class Additions(Protocol):
    """Port of the rules that add deliveries, and of the tickets that they have yet to look at."""

    def first_seen(self, rules: Mapping[str, str]) -> Mapping[str, dm.FirstSeen]:
        """A store keeps when rules were first seen, by their keys; `rules` are their names."""

    def candidates(self, query: dm.AdditionQuery) -> Iterator[dm.Ticket]:
        """A store yields the tickets that a rule has yet to look at."""


class Answers(Protocol):
    """Port of the answers of classifiers and people in a store, and of the questions that they answer."""

    def record_asking(self, asking: dm.Asking) -> None:
        """A store records how a question was asked, once per fingerprint."""

    def know_levels(self) -> bool:
        """A store tells whether a question was recorded whose categories are in levels."""

    def recall(self, answer_keys: Sequence[str]) -> Mapping[str, dm.Classification]:
        """A store recalls earlier answers of paid classifiers, by answer key."""

    def begin(self, run_id: str, answer_keys: Sequence[str]) -> frozenset[str]:
        """A store marks questions as being asked by a run; it returns those that another live run asks."""

    def give_up(self, run_id: str, answer_keys: Sequence[str]) -> None:
        """A store takes the mark of a run from questions that got no answer; the end of the run does so from all."""

    def about(self, ticket_ids: Sequence[str], fingerprints: Sequence[str]) -> list[dm.Classification]:
        """A store returns all answers about these tickets to these questions, oldest first."""

    def of_ticket(self, ticket_id: str) -> tuple[dm.Classification, ...]:
        """A store returns all answers about a ticket, oldest first."""

    def decisions(self, classification_ids: Sequence[str]) -> Mapping[str, dm.Classification]:
        """A store returns these answers, by classification id."""

    def judged_days(self, since: str | None, until: str | None) -> list[dm.Judged]:
        """A store tells how people judged the sure answers of machines, by day and both categories, in no order."""


class Batches(Protocol):
    """Port of the batches at providers, and of the tickets that wait in them; `Store.save` writes the latter."""

    def hold(self, lease: dm.Lease) -> list[dm.Batch]:
        """A store claims the batches that are not settled and that no live run holds; it returns them, oldest first."""

    def open(self, batch: dm.Batch, event: dm.Event) -> None:
        """A store records a new batch, before anything is sent to the provider."""

    def advance(self, batch: dm.Batch, was: str, event: dm.Event | None, lease: dm.Lease) -> bool:
        """A store writes a batch's next state; False: it is no longer in the state `was`, or another run holds it."""

    def items(
        self, batch_id: str, numbers: Sequence[int] | None = None, *, limit: int | None = None
    ) -> list[dm.BatchItem]:
        """A store returns items that wait in a batch, by number: those with these numbers, or the first `limit`."""

    def any_waiting(self) -> bool:
        """A store tells whether any question is in a batch."""

    def joinable(self, answer_keys: Sequence[str]) -> Mapping[str, dm.OpenRequest]:
        """A store returns open requests by answer key: batch id, request number, ids of waiting tickets."""

    def provider_ids(self) -> frozenset[str]:
        """A store returns the ids that providers gave to its batches."""

    def options(self, fingerprint: str) -> str | None:
        """A store returns the options that the last batch with this question left out, or None."""


class Imports(Protocol):
    """Port of what imports did: their runs, and the tickets that these made or changed."""

    def named(self, name: str) -> list[dm.Run]:
        """A store returns the runs with this id, or with this ending of 6 or more characters, the latest first."""

    def last(self, actor: str) -> dm.Run | None:
        """A store returns the last run by which an actor imported something."""

    def runs_of(self, run: dm.Run) -> tuple[dm.Run, ...]:
        """A store returns all runs of the import that a run is a part of, the oldest first."""

    def traces(self, run_ids: Sequence[str]) -> Iterator[list[dm.Trace]]:
        """A store yields pages of the tickets that these runs made or changed, each ticket once."""

    def touched(self, ticket_ids: Sequence[str], run_ids: Sequence[str]) -> Mapping[str, dm.Action]:
        """A store returns why tickets that these runs made stay, by id; the others were not touched since."""


class LabelledTexts(Protocol):
    """Port of texts with a label that are no tickets: they teach the embedded model, or prove what it promises."""

    def keep(self, texts: Sequence[dm.Labelled], question: str, lease: dm.Lease, event: dm.Event) -> dm.KeptTexts:
        """A store keeps labelled texts that a run gives, each once, in one transaction; no one that was erased.

        A known one has its new text and label, and teaches or proves as it did before.
        """

    def held(self, question: str, *, proves: bool, newest: int | None = None) -> list[dm.Labelled]:
        """A store returns what teaches, or what proves, for a question, oldest first; of many the newest."""

    def has_history(self) -> bool:
        """A store tells whether it holds any text of an export's history about the category."""

    def are_history(self, texts: Sequence[dm.Labelled]) -> list[bool]:
        """A store tells of which texts it holds one of an export's history: with the same customer and time."""

    def listed(self, query: dm.TextQuery) -> Iterator[dm.Labelled]:
        """A store yields labelled texts of all questions, the last stored first."""

    def counts(self) -> dm.TextCounts:
        """A store counts its labelled texts."""

    def of_customer(self, customer_id: str | None) -> list[str]:
        """A store returns the ids of a customer's labelled texts (None: of those without a customer)."""

    def of_tickets(self, ticket_ids: Sequence[str]) -> list[str]:
        """A store returns the ids of the labelled texts that are the texts of these tickets."""

    def given_only_by(self, run_ids: Sequence[str]) -> list[str]:
        """A store returns the ids of the labelled texts that no other runs have given."""

    def erase(self, text_ids: Sequence[str], *, withdrawn: bool, event: dm.Event) -> None:
        """A store erases labelled texts: forgotten ones stay out for good, `withdrawn` ones while their label is so."""


class Categories(Protocol):
    """Port of the names of categories in a store."""

    def renames(self, question: str = dm.CATEGORY) -> Iterator[dm.Renamed]:
        """A store lists the renames of a question's values that it has carried out."""

    def bears(self, name: str, question: str = dm.CATEGORY) -> bool:
        """A store tells whether a ticket has this category, or waits for a review with it as its suggestion.

        Of another question, it is its value, or any suggestion.
        """

    def rename(self, what: dm.Renamed, event: dm.Event, *, destination: bool) -> dm.Renamed:
        """A store renames a category in all tables, with `destination` also the destination, and counts the changes."""


class Readings(Protocol):
    """Port of how files were read the last time, by the key of their header."""

    def last(self, header: str) -> dm.Reading | None:
        """A store returns how a file with this header was read the last time, None if there was none."""

    def keep(self, header: str, reading: dm.Reading) -> None:
        """A store records how a file with this header was read, in place of the time before."""


class AuditLog(Protocol):
    """Port of the audit log of a store, which `Store.save` and the other writes append to."""

    def events(self, query: dm.EventQuery) -> Iterator[dm.LoggedEvent]:
        """A store yields events, oldest first; with a limit, the newest of them."""

    def head(self) -> dm.Head:
        """A store returns the head of the audit log that its database records."""


class Precedents(Protocol):
    """Port of what people decided about texts, and of the tickets that follow it."""

    def any(self) -> bool:
        """A store tells whether there are precedents at all."""

    def of_texts(self, digests: Sequence[str], question: str) -> list[dm.SharedText]:
        """A store returns what people answered to a question about texts with these digests, by text and answer."""

    def following(self, digest: str, question: str) -> int:
        """A store tells how many tickets follow a precedent for a question with this digest."""

    def changed(self) -> list[tuple[str, str, str]]:
        """A store returns the precedents that have changed while tickets follow them: digest, question and a mark."""

    def followers(self, digest: str, question: str, limit: int) -> Iterator[list[dm.Ticket]]:
        """A store yields the tickets that follow a precedent for a question with this digest, `limit` at a time."""

    def dealt_with(self, digest: str, question: str, mark: str) -> None:
        """A store records that the followers of a changed precedent were dealt with, unless it changed again."""


class WordIndex(Protocol):
    """Port of the index of words, by which similar tickets are found."""

    def similar(self, ticket: dm.Ticket, query: dm.SimilarQuery, most: int | None = None) -> list[tuple[str, float]]:
        """A store returns the ids of the most similar other tickets, each with its similarity up to 1.

        They are among those that a query is about, with `most` among the newest of these.
        """


class Store(Protocol):
    """Port of a store of tickets, and of what belongs to them. Tickets are written by `save` alone."""

    @property
    def runs(self) -> Runs:
        """A store has its runs."""

    @property
    def deliveries(self) -> Deliveries:
        """A store has the deliveries of its tickets."""

    @property
    def additions(self) -> Additions:
        """A store has the rules that add deliveries."""

    @property
    def answers(self) -> Answers:
        """A store has the answers about its tickets."""

    @property
    def precedents(self) -> Precedents:
        """A store has what people decided about texts."""

    @property
    def words(self) -> WordIndex:
        """A store has an index of words."""

    @property
    def batches(self) -> Batches:
        """A store has its batches."""

    @property
    def categories(self) -> Categories:
        """A store has the names of its categories."""

    @property
    def readings(self) -> Readings:
        """A store has the readings of files."""

    @property
    def imports(self) -> Imports:
        """A store knows what its imports did."""

    @property
    def labelled_texts(self) -> LabelledTexts:
        """A store has labelled texts that are no tickets."""

    @property
    def log(self) -> AuditLog:
        """A store has its audit log."""

    def close(self) -> None:
        """A store closes this thread's connection to a file, or all connections to a server."""

    def is_there(self) -> bool:
        """A store tells whether its database exists, without creating it."""

    def check_room(self) -> None:
        """A store raises `UnavailableError` if it might have no room for what is paid for or sent now."""

    def save(
        self, changes: Sequence[dm.Change], lease: dm.Lease | None = None, cursor: dm.SourceCursor | None = None
    ) -> list[dm.Conflict | None]:
        """A store writes changes and events in one transaction; it returns a conflict for each ticket that moved on.

        Of what they add about a ticket that was erased before, no words are stored. A ticket is not erased, but has a
        conflict, while a live run is making an attempt at one of its deliveries.
        `cursor` is the position of a source after these changes; it is stored if none of them is refused.
        """

    def add_deliveries(self, changes: Sequence[dm.Change]) -> list[dm.Change]:
        """A store writes deliveries that are made once, with their events; it returns the changes that were new."""

    def cursor(self, source: str) -> dm.SourceCursor | None:
        """A store knows how far a source has been read; None if nothing was pulled from it yet."""

    def known(self, identities: Sequence[str]) -> Mapping[str, dm.Ticket]:
        """A store returns its tickets with these identities, by identity."""

    def find(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        """A store yields tickets in the order of the selection, or of its ids if it has some."""

    def named(self, name: str, limit: int) -> list[dm.Ticket]:
        """A store finds the tickets with this id, ending (6 or more characters) or external id, newest first."""

    def history(self, ticket_id: str) -> dm.History:
        """A store returns all that it has about a ticket: answers, deliveries, attempts, events, questions."""

    def stats(self) -> dm.Stats:
        """A store counts all that it holds."""

    def stats_by(self, query: dm.StatsQuery) -> list[dm.StatsGroup]:
        """A store counts each group of its tickets, in no order."""

    def gauges(self) -> dm.Gauges:
        """A store counts what `/metrics` shows."""

    def scrub(self) -> None:
        """A store removes remains of erased text from its storage, as far as it can."""

    def forgot(self) -> bool:
        """A store tells by a cheap query whether any of its tickets may have been forgotten."""

    def model(self, fingerprint: str) -> bytes | None:
        """A store returns the weights of the model with this fingerprint, or None."""

    def keep_model(self, fingerprint: str, weights: bytes, metrics: Mapping[str, object]) -> None:
        """A store keeps the weights of a model under its fingerprint."""


class AuditLogReader(Protocol):
    """Port that reads the audit log in one snapshot for verification, even if somebody has altered it."""

    @property
    def place(self) -> str:
        """Return where a store keeps the head apart from the log, as the end of a sentence."""

    @property
    def mend(self) -> str:
        """Return the command that stores the present head in that place."""

    def recorded_head(self) -> tuple[dm.Head, str | None]:
        """A reader of the log returns the head in the database, and the mark of the key that it was written with."""

    def kept_head(self) -> dm.Head | None:
        """A reader returns the head that is kept apart from the log, or None. Raises `CheckError` if it is damaged."""

    def events(self) -> Iterator[dm.EventRow]:
        """A reader of the log yields all events in the order of `seq`, without following `prev`."""

    def second_half(
        self, head: dm.Head, key: bytes | None, heads: Mapping[str, str]
    ) -> AbstractContextManager[dm.RestOfLog | None]:
        """A reader may have somebody verify the second half of a log up to this head while the caller reads the first.

        Else the context has None.
        """

    def strays(self) -> Iterator[str]:
        """A reader of the log yields a sentence for each thing in the store's tables that no event explains."""


class ApiAccessStore(Protocol):
    """Port of a store of API keys, rate limits and idempotent requests, for all the API's processes together."""

    def add_key(self, key: dm.ApiKey) -> None:
        """A store adds an API key. Raises `UsageError` if the name is taken: the audit log names its actors by it."""

    def keys(self) -> list[dm.ApiKey]:
        """A store returns all API keys, oldest first; revoked ones too."""

    def revoke(self, name: str) -> dm.ApiKey:
        """A store revokes the API key of this name, and returns it. Raises `NotFoundError`."""

    def rotate(self, new: dm.ApiKey, old_until: str) -> dm.ApiKey:
        """A store replaces the API key of the same name, which is taken until `old_until` beside the new one.

        It returns the new key, with the old name and role, and the old expiry unless another is given. Raises
        `NotFoundError`, and `UsageError` for a revoked key.
        """

    def key(self, key_id: str) -> dm.ApiKey | None:
        """A store returns the API key with this id, or None; also one that was rotated away and is still taken."""

    def key_at_once(self, key_id: str) -> dm.ApiKey | None:
        """A store returns an API key if it finds it without waiting for a network or a lock; None: `key` may."""

    def touch(self, key_id: str) -> None:
        """A store records that an API key was used now."""

    def permits(self, caller_id: str, tokens: int, per_minute: int, burst: int) -> float:
        """A store takes permits for so many tokens and returns 0, or takes none and returns the seconds to wait."""

    def open(self, caller_id: str, key: str, body_hash: str, seconds: float) -> dm.StoredResponse | None:
        """A store begins a request under an idempotency key; it returns the earlier one with this key, if there is one.

        None means that the caller holds the key for `seconds`. A request whose time has passed is taken over by the
        next caller with the same body.
        """

    def close(self, caller_id: str, key: str, status: int, answer: str, ticket_id: str) -> None:
        """A store keeps the response to an idempotent request, unless the ticket that it is about was erased."""

    def renew(self, caller_id: str, key: str, seconds: float) -> None:
        """A store renews, for `seconds`, the lease of an idempotent request that is still being processed."""

    def give_up(self, caller_id: str, key: str) -> None:
        """A store frees the idempotency key of a request that failed."""

    def hook_ticket(self, source: str, hook_id: str) -> str | None:
        """A store returns the ticket of a webhook event that was processed before; None if there is none."""

    def note_hook(self, source: str, hook_id: str, ticket_id: str) -> None:
        """A store records that a webhook event was processed, and which ticket it created or changed."""

    def ping(self) -> None:
        """A store raises an error if its database does not answer, or a newer program has migrated it."""


class Inflow(Protocol):
    """Port that reads tickets by when they were written: `created_at`, or when they were stored if that is unknown."""

    def written(self, since: str, until: str, limit: int | None = None) -> list[dm.InflowTicket]:
        """A store returns the tickets written from `since` up to before `until`, oldest first: the first `limit`."""

    def sent_spikes(self, since: str) -> list[dm.SentSpike]:
        """A store returns the spikes that were last seen at `since` or later."""

    def keep_spikes(self, spikes: Sequence[dm.SentSpike], event: dm.Event | None) -> None:
        """A store keeps spikes, replacing those with the same id."""

    def counts(self, since: str, until: str, question: str = dm.CATEGORY) -> dm.PeriodCounts:
        """A store counts answers to a question about the tickets written from `since` up to before `until`."""


class ModelRegistry(Protocol):
    """Port that registers versions of the embedded model, calibrations, and answers that evaluations paid for."""

    def active(self, question: str = dm.CATEGORY) -> dm.ModelVersion | None:
        """A registry knows the model version that answers a question; None if that is the built-in model."""

    def newest(self) -> int:
        """A registry knows the number of the active version, whatever it answers; 0 for the built-in model."""

    def add_version(
        self, version: dm.ModelVersion, event: dm.Event, teachers: Mapping[str, bool] = dm.NO_TEACHERS
    ) -> dm.ModelVersion | None:
        """A registry stores a model version under the next number, and makes it the active one.

        `teachers` are the ids of the tickets that it has learned from, each with whether it had a label. It returns
        None if `based_on` is no longer the active version, since the new one was not compared with that, or if one of
        the tickets was erased meanwhile.
        """

    def taught_by(self, ticket_ids: Sequence[str]) -> list[dm.Taught]:
        """A registry tells which versions in use have learned from these tickets, and from how many of them."""

    def taught_by_erased(self, version: int) -> dm.Taught | None:
        """A registry tells from how many tickets that were erased since a version has learned; None if from none."""

    def end_withdrawn(self, event: dm.Event) -> list[dm.Taught]:
        """A registry puts the versions out of use that have learned labels of an import that was taken back.

        What they have learned is erased, and the versions before them are in use again. It returns them.
        """

    def step_back(self, event: dm.Event) -> dm.ModelVersion | None:
        """A registry makes the model version active that those of the last run are based on, and returns it.

        It returns None for the built-in model. Raises `LookupError` if the built-in model is in use already.
        """

    def labelled(self, question: str = dm.CATEGORY) -> Iterator[dm.Labelled]:
        """A registry yields the texts of tickets with a verdict on a question, oldest first, to learn from."""

    def column_cells(self, column: str) -> Iterator[dm.Labelled]:
        """A registry yields the texts of tickets whose input had a cell in a column, as their label, oldest first."""

    def unlabelled(self, limit: int) -> dict[str, str]:
        """A registry returns the beginnings of texts without a verdict, by the ids of their tickets.

        They are always the same, and spread over all tickets.
        """

    def has_learned(self) -> bool:
        """A registry tells whether there is a model version, be it in use or not."""

    def opinions(self, question: str = dm.CATEGORY) -> Mapping[str, Mapping[str, tuple[str, float | None]]]:
        """A registry returns each classifier's last answers to a question about tickets with a verdict on it.

        They are by ticket id and classifier; an answer is (category, confidence).
        """

    def calibration(self, fingerprint: str) -> dm.Calibration | None:
        """A registry returns the calibration for the question with this fingerprint, or None."""

    def calibrations(self) -> list[dm.Calibration]:
        """A registry lists all calibrations, newest first."""

    def keep_calibration(self, calibration: dm.Calibration, event: dm.Event) -> None:
        """A registry keeps a calibration, replacing an earlier one with the same fingerprint."""

    def graded(self, fingerprint: str, question: str = dm.CATEGORY) -> list[dm.GradedAnswer]:
        """A registry returns graded answers to a question; a verdict overrules a file's label.

        A text and its copies in other spellings count once for each category that was answered.
        """

    def keep_graded(self, answers: Iterable[dm.LabelledAnswer], learned: Iterable[dm.Classification] = ()) -> None:
        """A registry keeps answers about labelled texts, and drops those about texts that a model has learned."""

    def evaluated(self, fingerprint: str) -> dm.JudgedAnswers:
        """A registry knows what the last evaluation found of answers to the question with this fingerprint."""

    def keep_evaluated(self, judged: Mapping[str, dm.JudgedAnswers], at: str) -> None:
        """A registry keeps what an evaluation found of answers, by fingerprint."""

    def error_bounds(self) -> list[dm.StoredBound]:
        """A registry returns the error bounds that were found last, by classifier and category."""

    def keep_error_bounds(self, bounds: Sequence[dm.StoredBound], event: dm.Event) -> None:
        """A registry keeps error bounds, replacing those of the same classifier, category and error."""

    def trials(self, answer_keys: Sequence[str]) -> Mapping[str, dm.Classification]:
        """A registry returns answers that earlier evaluations paid for, by answer key."""

    def keep_trials(self, answers: Sequence[dm.Classification], lease: dm.Lease) -> None:
        """A registry keeps paid answers, replacing those to the same questions, and what the run has spent so far."""
