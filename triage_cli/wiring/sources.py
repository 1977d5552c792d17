"""Creates the sources of the configuration."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from triage_cli import domain as dm
from triage_cli.config import Config, ImapSpec, SourceSpec, raise_template_mistakes, without_secrets
from triage_cli.ports import Source
from triage_cli.runtime import Network
from triage_cli.wiring.destination_diagnostics import checked_program

if TYPE_CHECKING:  # an annotation is no reason to import imaplib
    from triage_cli.runtime import ImapConnection
    from triage_cli.sources import ImapSource

# A check of a source asks its list for what has changed within so many seconds.
RECENTLY_CHANGED = 600.0


def check_source(config: Config, source_name: str) -> None:
    """Raise if a source does not exist, or needs the network while it is switched off."""
    spec = config.sources.get(source_name)
    if spec is None:
        from triage_cli.config import suggestion

        known_sources = suggestion(source_name, config.sources) or f"; there are {', '.join(config.sources)}"
        raise dm.UsageError(f'no source "{source_name}" in the config{known_sources}')
    if spec.type != "command":
        Network(config.offline).check(f'source "{source_name}"')


def open_source(config: Config, source_name: str, tell: Callable[[str], None]) -> Source:
    """Open a source by its configuration; `tell` gets its warnings."""
    check_source(config, source_name)
    spec = config.sources[source_name]._replace(labels=dm.label_columns(config.questions))
    if spec.type == "command":
        from triage_cli.sources import SingerSource

        return SingerSource(spec, without_secrets(config, os.environ), tell)
    if spec.imap is not None:
        return _imap_source(config, spec, spec.imap)
    from triage_cli.config import AuthSpec, auth_header_value
    from triage_cli.config import secret as secret_of
    from triage_cli.destinations import HttpSecrets
    from triage_cli.runtime import Endpoint, host_of, open_exchange
    from triage_cli.sources import HttpSource, PageRequests
    from triage_cli.wiring.access_tokens import open_tokens

    check_source_templates(config, [source_name])
    owner = f'source "{source_name}"'
    secrets, wrapped = HttpSecrets(), None
    if isinstance(spec.auth, AuthSpec):
        secret_values = [secret_of(owner, variable, os.environ) for variable in spec.auth.env]
        header = (spec.auth.header, auth_header_value(spec.auth, secret_values))
        secrets = HttpSecrets(auth=header, values=tuple(secret_values))
    elif spec.auth is not None:
        tokens = open_tokens(config, owner, spec.auth, os.environ)
        secrets, wrapped = HttpSecrets(tokens=tokens), partial(tokens.authorized, name=owner)
    endpoint = Endpoint(owner, host_of(spec.url), spec.timeout, spec.timeout)
    open_source_exchange = partial(open_exchange, endpoint, Network(config.offline), wrapped)
    return HttpSource(spec, PageRequests(spec, secrets.auth), open_source_exchange, tell, secrets.hidden_in)


def try_source(config: Config, source_name: str, tell: Callable[[str], None]) -> str:
    """Check a source and return its description; nothing is stored. Raises what a pull would raise.

    A list is asked for what has changed within `RECENTLY_CHANGED` seconds, a mail server for its folder. A tap
    is not run.
    """
    source, spec = open_source(config, source_name, tell), config.sources[source_name]
    if spec.type == "command":
        return f"runs {checked_program(spec.run[0])}"
    if spec.imap is not None:
        return _imap_source(config, spec, spec.imap).describe_folder()
    from triage_cli.runtime import host_of

    since = datetime.fromtimestamp(time.time() - RECENTLY_CHANGED, UTC).isoformat()
    first_page = next(source.pages(None, dm.PullPlan(since=since), _no_pause), None)
    return (
        f"reads {host_of(spec.url)}, which answers with a list of {len(first_page.drafts) if first_page else 0:,} items"
    )


def source_warnings(config: Config, source_name: str) -> Iterator[str]:
    """Yield a warning for each variable that a source needs and that is not set."""
    from triage_cli.config import unset

    yield from unset(f"sources.{source_name}", config.sources[source_name].variables(), os.environ)


def _no_pause(seconds: float, why: str) -> bool:
    del seconds  # a check waits for nothing
    raise dm.UnavailableError(why, hint="try again later")


def _imap_source(config: Config, spec: SourceSpec, server: ImapSpec) -> "ImapSource":
    from triage_cli.config import secret
    from triage_cli.sources import ImapLogin, ImapSource

    owner = f'source "{spec.name}"'
    user = secret(owner, server.user_env, os.environ)
    password = secret(owner, server.password_env, os.environ) if server.password_env else ""
    tokens = None
    if server.auth is not None:
        from triage_cli.wiring.access_tokens import open_tokens

        tokens = open_tokens(config, owner, server.auth, os.environ)
    network = Network(config.offline)

    def connect(until: float | None) -> "ImapConnection":
        return network.imap(owner, server.host, server.port, tls=server.tls, timeout=spec.timeout, until=until)

    login = ImapLogin(user, password, server.folder, tokens)
    return ImapSource(spec.name, server.host, login, connect, keeps_category=spec.on_update == "keep")


def check_source_templates(config: Config, names: Iterable[str] | None = None) -> None:
    """Raise one `ConfigError` with all mistakes in the templates of sources, of all or of `names`."""
    chosen_sources = config.sources if names is None else names
    template_mistakes = {source_name: _template_mistakes(config.sources[source_name]) for source_name in chosen_sources}
    raise_template_mistakes(config, "sources", template_mistakes)


def _template_mistakes(spec: SourceSpec) -> Iterator[tuple[str, str]]:
    if spec.type == "http":
        from triage_cli.sources import mistakes

        yield from mistakes(spec)
