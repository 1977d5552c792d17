"""Local times for people: UTC times in a text, shown in the time zone of the machine."""

import re
import sys
from datetime import datetime

from triage_cli.cli.terminal import is_terminal

UTC_TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z")


def localized(text: str, form: str) -> str:
    """Return a text with its UTC times as local times in a form of `strftime`."""

    def local_time(match: re.Match[str]) -> str:
        try:
            return f"{datetime.fromisoformat(match.group()).astimezone():{form}}"
        except (ValueError, OverflowError):  # no valid time, or none that this machine can convert to local time
            return match.group()

    return UTC_TIME.sub(local_time, text)


def local_times(text: str) -> str:
    """Return a text with its UTC times as local times, if a person at a terminal reads it."""
    return localized(text, "%Y-%m-%d %H:%M:%S") if is_terminal(sys.stdout) else text


def time_zone() -> str:
    """Return the name of the time zone of printed times: local time, or UTC if no person reads them."""
    return "local time" if is_terminal(sys.stdout) else "UTC"
