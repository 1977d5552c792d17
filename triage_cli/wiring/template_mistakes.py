"""Mistakes in the templates of the configuration, which few commands render: looked for by those alone."""

from collections.abc import Iterable

from triage_cli.config import Config
from triage_cli.domain.errors import ConfigError


def raise_all(config: Config, section: str, found: Iterable[tuple[str, str, str]]) -> None:
    """Raise one `ConfigError` with all mistakes, each the name of its entry in a section, its place there, and why."""
    problems = []
    for name, place, reason in found:
        key = f"{section}.{name}.{place}"
        origin = config.origins.get(key) or config.origins.get(f"{section}.{name}.type", "the configuration")
        problems.append(f"{origin}: {key}: {reason}")
    if problems:
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise ConfigError(f"{config.path or 'the configuration'} has {count}", problems=tuple(problems))
