"""What the lower floors tell the person at the process, whichever command runs; who listens is set once.

What servers and programs say in their own words when they fail may hold a ticket's text: it is in no error and is
stored nowhere, and only `-v` listens to it.
"""

from collections.abc import Callable

LONGEST = 2000  # characters of what others say


class Channel:
    """Passes sentences on to one listener, the one that was set last; without one they are lost."""

    def __init__(self) -> None:
        self._listener: Callable[[str], None] | None = None

    def tell_by(self, listener: Callable[[str], None]) -> None:
        """Let all sentences of this process be told by a function."""
        self._listener = listener

    def tell(self, sentence: str) -> None:
        """Tell a sentence, if somebody listens."""
        if self._listener is not None:
            self._listener(sentence)


notices, _others = Channel(), Channel()
show_what_is_said = _others.tell_by


def tell_what_was_said(who: str, words: str) -> None:
    """Show what a server or program said, in one line of bounded length, if somebody wants to see it."""
    if line := " ".join(words[:LONGEST].split()):
        _others.tell(f"{who}: {line}")
