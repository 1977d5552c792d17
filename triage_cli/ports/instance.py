"""Port of another instance, a running `triage serve`, on which a command works as on a database here."""

from collections.abc import Mapping
from typing import Protocol

from triage_cli import domain as dm
from triage_cli.ports.analysis import Analysis
from triage_cli.ports.triage import Consultation, Triage


class ApiKeys(Protocol):
    """Port of the keys of the HTTP API, of a database or of another instance."""

    def create(self, name: str, role: str, seconds: float | None = None) -> dm.CreatedKey:
        """`ApiKeys` make a key, which expires after `seconds`. Raises `UsageError` for a name that is taken or none."""

    def rotate(self, name: str, overlap: float = 0.0, seconds: float | None = None) -> dm.CreatedKey:
        """`ApiKeys` make the next key of this name; the old one is taken for `overlap` seconds more.

        Raises `NotFoundError`, and `UsageError` if it was revoked.
        """

    def list(self) -> list[dm.ApiKey]:
        """`ApiKeys` list all keys, oldest first."""

    def revoke(self, name: str) -> dm.ApiKey:
        """`ApiKeys` refuse a key from the next request on. Raises `NotFoundError`."""


class Instance(Protocol):
    """Port of another instance: all that it can be asked for, over one connection."""

    @property
    def triage(self) -> Triage:
        """An `Instance` has use cases."""

    @property
    def consultation(self) -> Consultation:
        """An `Instance` can be consulted."""

    @property
    def analysis(self) -> Analysis:
        """An `Instance` measures its decisions."""

    @property
    def keys(self) -> ApiKeys:
        """An `Instance` has keys."""

    def verified_head(self, heads: Mapping[str, str]) -> dm.Head:
        """An `Instance` verifies its audit log and returns its head. Raises `CheckError` for a contradiction."""

    def close(self) -> None:
        """An `Instance` is left."""
