"""The sources of the configuration, by their types."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from triage_cli import domain as dm
from triage_cli import hooks
from triage_cli.config import Config, SourceSpec, raise_template_mistakes, unset
from triage_cli.hooks import Hook
from triage_cli.ports import Source
from triage_cli.runtime import Network


class SourceType(ABC):
    """A type of source, as an extension adds it; unless it says otherwise, it has no templates.

    With `uses_network`, it is not opened while the network is switched off.
    """

    uses_network: bool = True

    @abstractmethod
    def opened(self, config: Config, spec: SourceSpec, tell: Callable[[str], None]) -> Source:
        """Open a source; `tell` gets its warnings. Raises `ConfigError`, also if a secret is not set."""

    @abstractmethod
    def tried(self, config: Config, spec: SourceSpec, tell: Callable[[str], None]) -> str:
        """Check a source and return its description; nothing is stored. Raises what a pull would raise."""

    def template_mistakes(self, _spec: SourceSpec) -> Iterator[tuple[str, str]]:
        """Yield what is wrong in the templates of a source: a key, and what is wrong with it."""
        return iter(())


def _type(spec: SourceSpec) -> SourceType:
    return cast("SourceType", hooks.added(Hook.SOURCE, spec.type))


def check_source(config: Config, source_name: str) -> None:
    """Raise if a source does not exist, or needs the network while it is switched off."""
    spec = config.sources.get(source_name)
    if spec is None:
        from triage_cli.config import suggestion

        known_sources = suggestion(source_name, config.sources) or f"; there are {', '.join(config.sources)}"
        raise dm.UsageError(f'no source "{source_name}" in the config{known_sources}')
    if waits_offline(config, source_name):
        Network(config.offline).check(f'source "{source_name}"')


def waits_offline(config: Config, source_name: str) -> bool:
    """Return whether a source is not read, because it needs the network and that is switched off."""
    return config.offline and _type(config.sources[source_name]).uses_network


def open_source(config: Config, source_name: str, tell: Callable[[str], None]) -> Source:
    """Open a source by its configuration; `tell` gets its warnings."""
    check_source(config, source_name)
    spec = config.sources[source_name]._replace(labels=dm.label_columns(config.questions))
    return _type(spec).opened(config, spec, tell)


def try_source(config: Config, source_name: str, tell: Callable[[str], None]) -> str:
    """Check a source and return its description; nothing is stored. Raises what a pull would raise."""
    check_source(config, source_name)
    return _type(config.sources[source_name]).tried(config, config.sources[source_name], tell)


def source_warnings(config: Config, source_name: str) -> Iterator[str]:
    """Yield a warning for each variable that a source needs and that is not set."""
    yield from unset(f"sources.{source_name}", config.sources[source_name].variables(), os.environ)


def check_source_templates(config: Config, names: Iterable[str] | None = None) -> None:
    """Raise one `ConfigError` with all mistakes in the templates of sources, of all or of `names`."""
    specs = {source_name: config.sources[source_name] for source_name in (config.sources if names is None else names)}
    raise_template_mistakes(
        config, "sources", {source_name: _type(spec).template_mistakes(spec) for source_name, spec in specs.items()}
    )
