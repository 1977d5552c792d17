"""What the lower floors tell the person at the process, whichever command runs: how is set once, where it starts."""

from collections.abc import Callable

_tellers: list[Callable[[str], None]] = []


def tell_by(teller: Callable[[str], None]) -> None:
    """Let all notices of this process be told by a function."""
    _tellers[:] = [teller]


def tell(notice: str) -> None:
    """Tell a notice, if somebody listens."""
    for teller in _tellers:
        teller(notice)
