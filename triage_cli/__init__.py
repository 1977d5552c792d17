"""Support tickets in, decisions out: store, classify, route and audit. From Python: `from triage_cli import Triage`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triage_cli.python import Triage as Triage

__version__ = "1.0.0"


def __getattr__(name: str) -> Any:
    if name != "Triage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from triage_cli.python import Triage

    return Triage
