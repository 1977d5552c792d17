"""What servers and programs say in their own words when they fail.

It may hold a ticket's text, so it is in no error and is stored nowhere: only `-v` shows it.
"""

from collections.abc import Callable

LONGEST = 2000  # characters

_shows: list[Callable[[str], None]] = []


def tell_what_was_said(who: str, words: str) -> None:
    """Show what a server or program said, in one line of bounded length, if somebody wants to see it."""
    line = " ".join(words[:LONGEST].split())
    for show in _shows if line else ():
        show(f"{who}: {line}")


def show_what_is_said(show: Callable[[str], None]) -> None:
    """From now on have a function show what is said, in place of the one before."""
    _shows[:] = [show]
