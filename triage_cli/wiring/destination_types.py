"""The types of destinations: those of the core, and those that extensions add."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import cast

from triage_cli import domain as dm
from triage_cli import hooks
from triage_cli.config import Config, DestinationSpec, without_secrets
from triage_cli.hooks import Hook
from triage_cli.ports import Destination
from triage_cli.runtime import checked_program, unwritable


class DestinationType(ABC):
    """A type of destination; unless it says otherwise, it has no templates and its receiver gets the payload.

    With `uses_network`, its deliveries wait while the network is switched off.
    """

    uses_network: bool = True

    @abstractmethod
    def opened(self, config: Config, spec: DestinationSpec, *, guarded: bool) -> Destination:
        """Open a destination; `guarded`, it reaches no private address. Raises `ConfigError`, also for a secret."""

    def template_mistakes(self, _spec: DestinationSpec) -> Iterator[tuple[str, str]]:
        """Yield what is wrong in the templates of a destination: a key, and what is wrong with it."""
        return iter(())

    def request_text(self, _spec: DestinationSpec, outgoing: dm.OutgoingDelivery) -> str:
        """Return what a destination would get, without secrets."""
        return payload_text(outgoing)

    @abstractmethod
    def tried(self, config: Config, spec: DestinationSpec) -> str:
        """Check a destination without sending to it, and return its description. Raises what a run would raise."""


class _ToFile(DestinationType):
    uses_network = False

    def opened(self, _config: Config, spec: DestinationSpec, *, guarded: bool) -> Destination:
        from triage_cli.destinations import FileDestination

        del guarded
        if spec.path is None:
            raise TypeError(spec.type)
        return FileDestination(spec.name, spec.path, spec.max_attempts, spec.retry_schedule)

    def tried(self, _config: Config, spec: DestinationSpec) -> str:
        if spec.path is not None and (problem := unwritable(spec.path)):
            raise problem
        return f"appends to {spec.path}"


class _ToCommand(DestinationType):
    uses_network = False

    def opened(self, config: Config, spec: DestinationSpec, *, guarded: bool) -> Destination:
        from triage_cli.destinations import CommandDestination

        del guarded
        return CommandDestination(
            spec.name,
            spec.run,
            spec.timeout,
            spec.max_attempts,
            spec.retry_schedule,
            env=without_secrets(config, os.environ),
            final_exit=spec.final_exit,
        )

    def tried(self, _config: Config, spec: DestinationSpec) -> str:
        return f"runs {checked_program(spec.run[0])}"


OF_CORE: Mapping[str, DestinationType] = {"file": _ToFile(), "command": _ToCommand()}


def type_of(spec: DestinationSpec) -> DestinationType:
    """Return the type of a destination. Raises `UsageError` if its extension is not there."""
    return OF_CORE.get(spec.type) or cast("DestinationType", hooks.added(Hook.DESTINATION, spec.type))


def payload_text(outgoing: dm.OutgoingDelivery) -> str:
    """Return the payload that a file, a program or an unknown destination gets."""
    from triage_cli.destinations import payload_line

    return payload_line(outgoing).decode().rstrip()
