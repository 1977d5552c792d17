"""The state of a running server, and how it is made by the configuration."""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar
from weakref import WeakSet

from triage_cli import wiring
from triage_cli.api.auth import NO_OTHER_CALLERS, Caller, OtherCallers, server_key_digest
from triage_cli.api.background import BackgroundWorker
from triage_cli.api.metrics import Metrics
from triage_cli.api.ndjson import StreamSlots
from triage_cli.api.request_limits import RequestLimits
from triage_cli.api.server_log import error_log
from triage_cli.config import Config, HookSpec, check_signing_secrets
from triage_cli.domain import Head, Lease, UsageError, secret_of
from triage_cli.ports import ApiAccessStore, Store
from triage_cli.runtime import Network, with_extra
from triage_cli.service import Callers, DestinationBreakers, LocalConsultation, LocalTriage, Services
from triage_cli.wiring import Analyst, LocalAnalysis

UseCases = TypeVar("UseCases", LocalTriage, LocalConsultation, LocalAnalysis)


class IncomingWebhook(NamedTuple):
    """An incoming webhook, and the secrets that sign it, the newest first."""

    spec: HookSpec
    secrets: tuple[bytes, ...]


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
        verify_audit_log: Callable[[Mapping[str, str]], Head],
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
    services = wiring.services(config, tell, warn=error_log.warning, guarded=True, make=True)
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
        services.store.runs.renew(Lease(""))  # changes nothing, but creates the database
    server_state.api_access.ping()  # raises if the database cannot be used
    return server_state


def analysis_opener(config: Config, store: Store) -> Callable[[str, str], LocalAnalysis]:
    """Return what opens the analysis for an actor and a request."""

    def analysis(actor: str, command_line: str) -> LocalAnalysis:
        return LocalAnalysis(config, Analyst(actor, command_line, warn=error_log.warning), store=store, guarded=True)

    return analysis


def token_verification(config: Config) -> Callable[[str], Caller] | None:
    """Return what verifies the identity provider's tokens; None if none is configured.

    Raises `UsageError` if the package for it is missing, and `ConfigError` for a proxy that cannot be used.
    """
    if config.oidc is None:
        return None
    try:
        from triage_cli.api.token_verifier import TokenVerifier, json_fetcher
    except ImportError as error:
        raise UsageError("server.oidc needs a package that is not installed", hint=with_extra("oidc")) from error
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
                secret_of(env[variable], f'webhook "{name}": {variable}')
                if spec.type == "standard"
                else env[variable].encode()
                for variable in spec.secret_env
            ),
        )
        for name, spec in config.webhooks.items()
    }
