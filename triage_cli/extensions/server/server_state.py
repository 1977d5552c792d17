"""The state of a running server, how it is made by the configuration, and its work in the background."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.config import Config, HookSpec, check_signing_secrets
from triage_cli.extensions.server.auth import NO_OTHER_CALLERS, Caller, OtherCallers, server_key_digest
from triage_cli.extensions.server.metrics import Metrics
from triage_cli.extensions.server.ndjson import StreamSlots
from triage_cli.extensions.server.request_limits import RequestLimits
from triage_cli.extensions.server.server_log import error_log, warn
from triage_cli.ports import ApiAccessStore, Store
from triage_cli.runtime import Network, with_extra
from triage_cli.service import AdditionWatch, Callers, DestinationBreakers, LocalConsultation, LocalTriage, Services
from triage_cli.wiring import Analyst, LocalAnalysis

BACKGROUND_ACTOR = "serve"
# Seconds between two checks for due deliveries; what became due since the last one may be in flight elsewhere.
LOOK = 1.0
PAUSE = 30.0  # seconds until the next check if another run holds the due deliveries
RETRY_AFTER_ERROR = 60.0  # seconds after which the tickets of webhooks are taken up again after an error


class BackgroundWorker:
    """The background work of a server; `steps` are those for new tickets of webhooks, by source.

    It has two threads, so that a slow destination delays no classification.
    """

    def __init__(self, services: Services, steps: Mapping[str, tuple[str, ...]]) -> None:
        self._circuits = services.routing_map.circuits or DestinationBreakers()
        self._services = services._replace(routing_map=services.routing_map._replace(circuits=self._circuits))
        self._webhook_steps = {source: chosen for source, chosen in steps.items() if chosen}
        self._addition_watch = AdditionWatch(services.store, self._services.routing_map)
        self._webhook_queue: deque[tuple[str, str]] = deque()
        self._classify_thread = _BackgroundThread("flowing", self._process_queue)
        self._send_thread = _BackgroundThread("sending", self._send_due)
        self._stopping = False
        self._running: dict[str, LocalTriage] = {}
        self._has_new_deliveries = False  # new deliveries were decided
        self._send_after = 0.0
        self._pick_up_at: float | None = 0.0

    def start(self) -> None:
        """Start the background threads; tickets that an earlier server left unfinished are taken up."""
        self._classify_thread.start()
        self._send_thread.start()

    def put(self, source: str, ticket_id: str) -> None:
        """Queue a new ticket of a webhook for the steps of its source."""
        if source in self._webhook_steps:
            self._webhook_queue.append((source, ticket_id))
            self._classify_thread.wake()

    def stop(self) -> None:
        """Take no new background work; what is in flight is completed, and the next server takes up the rest."""
        self._stopping = True
        for triage in tuple(self._running.values()):
            triage.stop()
        self._classify_thread.stop()
        self._send_thread.stop()

    def join(self) -> None:
        """Wait until both background threads have ended."""
        self._classify_thread.join()
        self._send_thread.join()

    def _use_cases(self, actor: str, command_line: str) -> LocalTriage:
        triage = LocalTriage(self._services, actor, command_line)
        self._running[threading.current_thread().name] = triage
        if self._stopping:
            triage.stop()
        return triage

    def _process_queue(self) -> None:
        if not self._webhook_steps:
            return
        try:
            self._queue_unfinished()
            self._process_webhook_tickets()
        except Exception:
            self._pick_up_at = time.monotonic() + RETRY_AFTER_ERROR  # finds the tickets that were taken from the queue
            raise

    def _queue_unfinished(self) -> None:
        """Queue the tickets of webhooks that are still to be classified or routed."""
        if self._pick_up_at is None or time.monotonic() < self._pick_up_at:
            return
        self._pick_up_at = None
        status_before_step = {"classify": "new", "route": "classified"}
        statuses = frozenset(status_before_step[step] for steps in self._webhook_steps.values() for step in steps)
        queued_ids = {ticket_id for _, ticket_id in self._webhook_queue}
        for ticket in self._services.store.find(dm.Selection(statuses=statuses)):
            if ticket.source in self._webhook_steps and ticket.ticket_id not in queued_ids:
                self._webhook_queue.append((ticket.source, ticket.ticket_id))

    def _process_webhook_tickets(self) -> None:
        ids_by_source: dict[str, list[str]] = {}
        while self._webhook_queue:
            source, ticket_id = self._webhook_queue.popleft()
            ids_by_source.setdefault(source, []).append(ticket_id)
        for source, ticket_ids in ids_by_source.items():
            selection = dm.Selection(ids=tuple(dict.fromkeys(ticket_ids)))
            actor, command_line = f"webhook:{source}", f"POST /webhooks/{source}"
            if "classify" in self._webhook_steps[source] and (new := self._among(selection, dm.TO_CLASSIFY)):
                _drain_outcomes(self._use_cases(actor, command_line).classify(dm.Selection(ids=new), dm.ClassifyPlan()))
            if "route" in self._webhook_steps[source] and (ready := self._among(selection, frozenset({"classified"}))):
                _drain_outcomes(self._use_cases(actor, command_line).decide_routes(dm.Selection(ids=ready)))
                self._has_new_deliveries = True
                self._send_thread.wake()

    def _among(self, selection: dm.Selection, statuses: frozenset[str]) -> tuple[str, ...]:
        """Return the ids of those webhook tickets that have one of these statuses now."""
        return tuple(t.ticket_id for t in self._services.store.find(selection) if t.status in statuses)

    def _send_due(self) -> None:
        has_new_deliveries = self._has_new_deliveries
        if has_new_deliveries:  # else one that is decided at this moment would be overwritten
            self._has_new_deliveries = False
        has_new_deliveries |= self._addition_watch.finds()
        unavailable_destinations = {*self._circuits.paused(), *self._services.routing_map.offline}
        due_at = self._services.store.deliveries.next_due(but=tuple(unavailable_destinations))
        is_early = due_at is not None and (due_at > time.time() - LOOK or time.monotonic() < self._send_after)
        if not has_new_deliveries and (due_at is None or is_early):
            return
        try:  # with limit 0 no ticket is routed; only due deliveries are sent
            triage = self._use_cases(BACKGROUND_ACTOR, "serve")
            sent_count = _drain_outcomes(triage.route(dm.Selection(limit=0), dm.RoutePlan()))
        except Exception:
            self._send_after = time.monotonic() + PAUSE
            raise
        if sent_count:
            self._send_after = 0.0
        elif not is_early:
            self._send_after = time.monotonic() + PAUSE


class _BackgroundThread:
    """A thread that repeats its background work, even after an error, until it is stopped."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._woken = threading.Event()
        self._stopping = False
        self._background_thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._background_thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    def join(self) -> None:
        if self._background_thread.is_alive():
            self._background_thread.join()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._work()
            except dm.TriageError as error:
                error_log.warning("background: %s", error.sentence())
            except Exception:  # noqa: BLE001 - the thread lives as long as the server
                error_log.exception("background work failed")
            self._woken.wait(LOOK)
            self._woken.clear()


def _drain_outcomes(outcomes: Iterable[dm.Outcome[Any]]) -> int:
    """Consume the outcomes of background work and return their number; an error of the configuration is logged once."""
    outcome_count, config_errors = 0, dict[str, None]()
    for outcome in outcomes:
        outcome_count += 1
        if outcome.error is not None and not isinstance(outcome.error, dm.ItemError):
            config_errors[outcome.error.sentence()] = None
    for sentence in config_errors:
        error_log.warning("background: %s", sentence)
    return outcome_count


UseCases = TypeVar("UseCases", LocalTriage, LocalConsultation, LocalAnalysis)


class IncomingWebhook(NamedTuple):
    """An incoming webhook, the secrets that sign it, the newest first, and the paths of answers to questions."""

    spec: HookSpec
    secrets: tuple[bytes, ...]
    labels: tuple[str, ...] = ()


class BrowserAccess(NamedTuple):
    """What a server has for browsers: the origins whose pages may call it, and whether it has a page of its own."""

    cors_origins: Sequence[str] = ()
    app: bool = False


class ServerState:
    """The state of a running server: its services, metrics, background work, and the use cases of running requests."""

    def __init__(
        self,
        services: Services,
        api_access: ApiAccessStore,
        verify_audit_log: Callable[[Mapping[str, str]], dm.Head],
        analysis: Callable[[str, str], LocalAnalysis],
        limits: RequestLimits = RequestLimits(),  # noqa: B008 - immutable
        webhooks: Mapping[str, IncomingWebhook] | None = None,
        other_callers: OtherCallers = NO_OTHER_CALLERS,
        browsers: BrowserAccess = BrowserAccess(),  # noqa: B008 - immutable
    ) -> None:
        self.services = services._replace(served=True)
        self.api_access = api_access
        self.limits = limits
        self.webhooks = webhooks or {}
        self.verify_audit_log = verify_audit_log
        self.analysis = analysis  # for an actor and a request, as `use_cases`
        self.other_callers = other_callers
        self.browsers = browsers
        self.metrics = Metrics()
        self.stream_slots = StreamSlots()
        shared_routing_map = services.routing_map._replace(circuits=DestinationBreakers())
        shared_services = self.services._replace(routing_map=shared_routing_map)
        webhook_steps = {name: webhook.spec.on_create for name, webhook in self.webhooks.items()}
        self.background = BackgroundWorker(shared_services, webhook_steps)
        self.single_tickets = Callers(shared_services)
        self.stopping = False
        self.draining = False  # about to stop: `/ready` says so, and all else is served
        self._running: WeakSet[LocalTriage | LocalConsultation | LocalAnalysis] = WeakSet()
        self._running_lock = threading.Lock()

    def use_cases(self, actor: str, command_line: str) -> LocalTriage:
        """Return the use cases for one request; they are stopped with the server."""
        return self.stopped_with_server(LocalTriage(self.services, actor, command_line))

    def stopped_with_server(self, use_cases: UseCases) -> UseCases:
        """Return the use cases of a request, which are now stopped with the server."""
        with self._running_lock:
            self._running.add(use_cases)
            if self.stopping:
                use_cases.stop()
        return use_cases

    def stop(self) -> None:
        """Let no request take new work; what is in flight is completed and saved."""
        with self._running_lock:
            self.stopping = True
            for use_cases in list(self._running):
                use_cases.stop()
        self.background.stop()
        self.single_tickets.stop()

    def close(self) -> None:
        """End the server's background work, after all requests have ended."""
        self.background.stop()
        self.background.join()
        self.single_tickets.close()


def open_server_state(config: Config, env: Mapping[str, str], tell: Callable[[str], None] | None = None) -> ServerState:
    """Return the state of a server over the configured database, which is made where it is missing."""
    services = wiring.services(config, tell, warn=warn, guarded=True, make=True)
    server_state = ServerState(
        services,
        api_access=wiring.stores.open_api_access(services.store),
        verify_audit_log=partial(wiring.database_maintenance.verify, config),
        analysis=analysis_opener(config, services.store),
        limits=RequestLimits(config.requests_per_minute),
        webhooks=incoming_webhooks(config, env),
        other_callers=OtherCallers(token_verification(config), server_key_digest(env)),
        browsers=BrowserAccess(config.cors_origins, config.app),
    )
    if not services.store.is_there():
        services.store.runs.renew(dm.Lease(""))  # changes nothing, but creates the database
    server_state.api_access.ping()  # raises if the database cannot be used
    return server_state


def analysis_opener(config: Config, store: Store) -> Callable[[str, str], LocalAnalysis]:
    """Return what opens the analysis for an actor and a request."""

    def analysis(actor: str, command_line: str) -> LocalAnalysis:
        return LocalAnalysis(config, Analyst(actor, command_line, warn=warn), store=store, guarded=True)

    return analysis


def token_verification(config: Config) -> Callable[[str], Caller] | None:
    """Return what verifies the identity provider's tokens; None if none is configured.

    Raises `UsageError` if the package for it is missing, and `ConfigError` for a proxy that cannot be used.
    """
    if config.oidc is None:
        return None
    try:
        from triage_cli.extensions.server.token_verifier import TokenVerifier, json_fetcher
    except ImportError as error:
        raise dm.UsageError("server.oidc needs a package that is not installed", hint=with_extra("oidc")) from error
    network = Network(config.offline)
    if not network.offline:
        network.http_client("server.oidc", config.oidc.issuer, proxies=True).close()
    return TokenVerifier(config.oidc, json_fetcher(network)).caller


def incoming_webhooks(config: Config, env: Mapping[str, str]) -> dict[str, IncomingWebhook]:
    """Return the incoming webhooks with their secrets. Raises `ConfigError` if a secret is not set, or is none."""
    for spec in config.webhooks.values():
        check_signing_secrets(f'webhook "{spec.name}"', spec.secret_env, env)
    return {
        name: IncomingWebhook(
            spec,
            tuple(
                dm.secret_of(env[variable], f'webhook "{name}": {variable}')
                if spec.type == "standard"
                else env[variable].encode()
                for variable in spec.secret_env
            ),
            dm.label_columns(config.questions),
        )
        for name, spec in config.webhooks.items()
    }
