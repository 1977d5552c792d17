"""Another instance, opened by what a command line says of it."""

from collections.abc import Callable, Mapping

from triage_cli import domain as dm
from triage_cli.config import Config
from triage_cli.extensions.remote.http_connection import checked_address
from triage_cli.extensions.remote.remote_analysis import RemoteAnalysis
from triage_cli.extensions.remote.remote_triage import RemoteConsultation, RemoteKeyRing, RemoteTriage, verify
from triage_cli.runtime import Network


class RemoteInstance:
    """Implements `ports.Instance`. Opened with the configuration; nothing is sent yet. `warn` gets its warnings.

    Without a key, `token_command` is run for a token. Raises `UsageError` for an address that cannot be one.
    """

    def __init__(
        self, config: Config, key: str, warn: Callable[[str], None], *, token_command: str, insecure: bool
    ) -> None:
        address = checked_address(config.remote or "", key, token_command=token_command, insecure=insecure)
        self.triage = RemoteTriage(address, Network(config.offline), warn)
        self.close = self.triage.close

    @property
    def consultation(self) -> RemoteConsultation:
        return RemoteConsultation(self.triage)

    @property
    def analysis(self) -> RemoteAnalysis:
        return RemoteAnalysis(self.triage)

    @property
    def keys(self) -> RemoteKeyRing:
        return RemoteKeyRing(self.triage)

    def verified_head(self, heads: Mapping[str, str]) -> dm.Head:
        return verify(self.triage, heads)
