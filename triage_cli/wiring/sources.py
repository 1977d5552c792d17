"""Creates the sources of the configuration."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from triage_cli.config import Config, template_checks
from triage_cli.config.secrets import secret_variables
from triage_cli.config.source_specs import ImapSpec, SourceSpec
from triage_cli.domain.errors import UsageError
from triage_cli.ports.adapters import Source
from triage_cli.runtime.network import Network


def check_source(config: Config, source_name: str) -> None:
    """Raise if a source does not exist, or needs the network while it is switched off."""
    spec = config.sources.get(source_name)
    if spec is None:
        from triage_cli.config.validators import suggestion

        known = suggestion(source_name, config.sources) or f"; there are {', '.join(config.sources)}"
        raise UsageError(f'no source "{source_name}" in the config{known}')
    if spec.type != "command":
        Network(config.offline).check(f'source "{source_name}"')


def open_source(config: Config, source_name: str, tell: Callable[[str], None]) -> Source:
    """Open a source by its configuration; `tell` gets its warnings."""
    check_source(config, source_name)
    spec = config.sources[source_name]
    if spec.type == "command":
        from triage_cli.sources.singer import SingerSource

        secret = secret_variables(config, os.environ)
        env = {variable: value for variable, value in os.environ.items() if variable not in secret}
        return SingerSource(spec, env, tell)
    if spec.imap is not None:
        return _mailbox(config, spec, spec.imap)
    from triage_cli.config.http_auth import proof
    from triage_cli.config.http_auth import secret as secret_of
    from triage_cli.runtime.http_exchange import Endpoint, open_exchange
    from triage_cli.runtime.unreachable import host_of
    from triage_cli.sources.http import HttpSource
    from triage_cli.sources.http_requests import PageRequests

    check_source_templates(config, [source_name])
    auth = spec.auth
    values = [secret_of(f'source "{source_name}"', variable, os.environ) for variable in (auth.env if auth else ())]
    header = (auth.header, proof(auth, values)) if auth else None
    endpoint = Endpoint(f'source "{source_name}"', host_of(spec.url), spec.timeout, spec.timeout)
    opened = partial(open_exchange, endpoint, Network(config.offline))
    return HttpSource(spec, PageRequests(spec, header), opened, tell)


def _mailbox(config: Config, spec: SourceSpec, server: ImapSpec) -> Source:
    from triage_cli.config.http_auth import secret
    from triage_cli.sources.imap import ImapSource, Login

    what = f'source "{spec.name}"'
    user, password = (secret(what, variable, os.environ) for variable in (server.user_env, server.password_env))
    connect = partial(
        Network(config.offline).imap, what, server.host, server.port, tls=server.tls, timeout=spec.timeout
    )
    login = Login(user, password, server.folder)
    return ImapSource(spec.name, server.host, login, connect, keeps_category=spec.on_update == "keep")


def check_source_templates(config: Config, names: Iterable[str] | None = None) -> None:
    """Raise one `ConfigError` with all mistakes in the templates of sources, of all or of `names`."""
    chosen = config.sources if names is None else names
    template_mistakes = (
        (source_name, *mistake) for source_name in chosen for mistake in _template_mistakes(config.sources[source_name])
    )
    template_checks.raise_all(config, "sources", template_mistakes)


def _template_mistakes(spec: SourceSpec) -> Iterator[tuple[str, str]]:
    if spec.type == "http":
        from triage_cli.sources.http_requests import mistakes

        yield from mistakes(spec)
