"""The documented name of the HTTP API: `triage_cli.api.app` makes the application, for a server of one's own."""

from typing import Any

from triage_cli import hooks
from triage_cli.hooks import Hook


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    return hooks.added(Hook.ROUTES, "app")
