"""Destinations of plug-ins: what they raise is an attempt that failed."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from triage_cli import domain as dm
from triage_cli import plugins
from triage_cli.config import Config, DestinationSpec
from triage_cli.destinations import attempted, payload_line
from triage_cli.extensions.plugins import loading
from triage_cli.installed import Addition
from triage_cli.runtime import bridge
from triage_cli.wiring import DestinationType

WORKERS = 4  # deliveries at once


class PluginDestinationType(DestinationType):
    """A type of destination that a plug-in adds. Raises `UsageError`."""

    def __init__(self, addition: Addition) -> None:
        self._addition = addition
        self._plugin = loading.loaded_class(addition, plugins.Destination)
        self.uses_network = loading.uses_network(self._plugin)

    def opened(self, config: Config, spec: DestinationSpec, *, guarded: bool) -> "PluginDestination":
        del guarded  # a plug-in connects by itself
        owner = f'destination "{spec.name}"'
        made = loading.made(self._addition, self._plugin, owner, spec.settings, config.offline)
        return PluginDestination(self._addition, spec, made)

    def template_mistakes(self, spec: DestinationSpec) -> Iterator[tuple[str, str]]:
        yield from loading.mistakes(self._plugin, spec.settings)

    def tried(self, _config: Config, _spec: DestinationSpec) -> str:
        return f"delivers by {self._addition.package} {self._addition.version}"


class PluginDestination:
    """Implements `ports.Destination` by an object of a plug-in."""

    def __init__(self, addition: Addition, spec: DestinationSpec, made: loading.Made) -> None:
        self.name, self.workers = spec.name, WORKERS
        self.max_attempts, self.schedule = spec.max_attempts, spec.retry_schedule
        self._addition, self._made = addition, made

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        bridge()
        return self._delivered(chunks)

    def _delivered(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        threads = ThreadPoolExecutor(WORKERS, "plug-in")

        async def attempt(outgoing: dm.OutgoingDelivery) -> dm.Outcome[dm.Receipt]:
            return await asyncio.get_running_loop().run_in_executor(threads, self._attempt, outgoing)

        try:
            yield from attempted(chunks, attempt, WORKERS, lambda error: dm.DeliveryError(type(error).__name__))
        finally:
            threads.shutdown(wait=False)

    def _attempt(self, outgoing: dm.OutgoingDelivery) -> dm.Outcome[dm.Receipt]:
        began = time.perf_counter()
        try:
            outgoing.check_held()
            with loading.spoken_by(self._addition):
                reference = self._made.plugin.deliver(json.loads(payload_line(outgoing)))
        except dm.NOT_ATTEMPTED as problem:
            return dm.Outcome.failed(outgoing, problem)
        except loading.FAULTS as failure:
            kind, words = loading.failure_of(failure, self._made.secrets)
            is_final = isinstance(failure, plugins.Refused)
            said = "refused it" if is_final else f"raised {kind}"
            error = dm.DeliveryError(
                f"{self._addition.words} {said}",
                final=is_final,
                answer=words or None,
                doubtful=isinstance(failure, TimeoutError),
            )
            return dm.Outcome.failed(outgoing, error, dm.Receipt(None, time.perf_counter() - began))
        # Whatever it returns, the receiver has it; what is no text is not kept.
        named = {"reference": dm.encodable(reference[: loading.LONGEST])} if isinstance(reference, str) else None
        receipt = dm.Receipt(0, time.perf_counter() - began, dm.compact(named) if named else None)
        return dm.Outcome(0, dm.Action.DELIVERED, receipt, None, outgoing)
