"""The types of sources that `triage pull` reads: a list over HTTP, a folder of a mail server, a Singer tap."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from triage_cli import domain as dm
from triage_cli.config import Config, SourceSpec, without_secrets
from triage_cli.config import secret as secret_of
from triage_cli.runtime import Network, checked_program
from triage_cli.wiring import SourceType

if TYPE_CHECKING:  # each type imports its own
    from triage_cli.extensions.pull.http import HttpSource
    from triage_cli.extensions.pull.imap import ImapSource
    from triage_cli.extensions.pull.singer import SingerSource
    from triage_cli.runtime import ImapConnection

# A check of a list asks for what has changed within so many seconds.
RECENTLY_CHANGED = 600.0


class TapType(SourceType):
    """A Singer tap: a program. A check does not run it."""

    uses_network = False  # as far as is known here

    def opened(self, config: Config, spec: SourceSpec, tell: Callable[[str], None]) -> "SingerSource":
        from triage_cli.extensions.pull.singer import SingerSource

        return SingerSource(spec, without_secrets(config, os.environ), tell)

    def tried(self, _config: Config, spec: SourceSpec, _tell: Callable[[str], None]) -> str:
        return f"runs {checked_program(spec.run[0])}"


class HttpType(SourceType):
    """A list over HTTP. A check asks for what has changed lately."""

    def opened(self, config: Config, spec: SourceSpec, tell: Callable[[str], None]) -> "HttpSource":
        from triage_cli.config import AuthSpec, auth_header_value
        from triage_cli.extensions.pull.http import HttpSource
        from triage_cli.extensions.pull.pagination import PageRequests
        from triage_cli.runtime import Endpoint, HttpSecrets, host_of, open_exchange
        from triage_cli.wiring import open_tokens
        from triage_cli.wiring import sources as configured

        configured.check_source_templates(config, [spec.name])
        owner = f'source "{spec.name}"'
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

    def tried(self, config: Config, spec: SourceSpec, tell: Callable[[str], None]) -> str:
        from triage_cli.runtime import host_of

        since = datetime.fromtimestamp(time.time() - RECENTLY_CHANGED, UTC).isoformat()
        source = self.opened(config, spec._replace(labels=dm.label_columns(config.questions)), tell)
        first_page = next(source.pages(None, dm.PullPlan(since=since), _no_pause), None)
        count = len(first_page.drafts) if first_page else 0
        return f"reads {host_of(spec.url)}, which answers with a list of {count:,} items"

    def template_mistakes(self, spec: SourceSpec) -> Iterator[tuple[str, str]]:
        from triage_cli.extensions.pull.pagination import mistakes

        yield from mistakes(spec)


class ImapType(SourceType):
    """A folder of a mail server. A check opens it."""

    def opened(self, config: Config, spec: SourceSpec, _tell: Callable[[str], None]) -> "ImapSource":
        from triage_cli.extensions.pull.imap import ImapLogin, ImapSource
        from triage_cli.wiring import open_tokens

        server = spec.imap
        if server is None:
            raise TypeError(spec.type)
        owner = f'source "{spec.name}"'
        user = secret_of(owner, server.user_env, os.environ)
        password = secret_of(owner, server.password_env, os.environ) if server.password_env else ""
        tokens = open_tokens(config, owner, server.auth, os.environ) if server.auth is not None else None
        network = Network(config.offline)

        def connect(until: float | None) -> "ImapConnection":
            return network.imap(owner, server.host, server.port, tls=server.tls, timeout=spec.timeout, until=until)

        login = ImapLogin(user, password, server.folder, tokens)
        return ImapSource(spec.name, server.host, login, connect, keeps_category=spec.on_update == "keep")

    def tried(self, config: Config, spec: SourceSpec, tell: Callable[[str], None]) -> str:
        return self.opened(config, spec, tell).describe_folder()


HTTP, IMAP, COMMAND = HttpType(), ImapType(), TapType()


def _no_pause(seconds: float, why: str) -> bool:
    del seconds  # a check waits for nothing
    raise dm.UnavailableError(why, hint="try again later")
