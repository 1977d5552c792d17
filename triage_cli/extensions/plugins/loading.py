"""Loads and calls what plug-ins add: what they raise becomes a sentence, and what they print stays out of the data."""

import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, TextIO

from triage_cli import __version__
from triage_cli import domain as dm
from triage_cli.config import secret
from triage_cli.installed import Addition
from triage_cli.runtime import Network, notices, tell_what_was_said

LONGEST = 300  # characters of what a plug-in says
# What a plug-in may raise; a signal is none of it.
FAULTS = (Exception, SystemExit)
_speaking: ContextVar[Addition | None] = ContextVar("speaking", default=None)


class Failure(NamedTuple):
    """What a plug-in has raised: its kind for everybody, and its words, which may hold a ticket's text."""

    kind: str
    words: str


def failure_of(error: BaseException, secrets: Sequence[str] = ()) -> Failure:
    """Return what a plug-in has raised, in one line of bounded length, without secrets."""
    try:
        text = str(error)
    except FAULTS:  # its own `__str__`
        text = ""
    words = dm.hide_secrets(" ".join(dm.readable(dm.encodable(text[: 4 * LONGEST])).split()), secrets)
    return Failure(type(error).__name__[:80], words[:LONGEST])


def unusable(addition: Addition, why: str) -> dm.UsageError:
    """Return the error for a plug-in that is broken: which, why, and how to be rid of it."""
    return dm.UsageError(
        f"{addition.words} cannot be used: {why}", hint=f"mend it, or remove it: pip uninstall {addition.package}"
    )


def unusable_because(addition: Addition, error: BaseException) -> dm.UsageError:
    """Return the error for a plug-in that has raised before it saw a ticket."""
    kind, words = failure_of(error)
    is_foreign = isinstance(error, ImportError) and (error.name or "").startswith("triage_cli")
    other = f"; it was written for another version of triage than {__version__}" if is_foreign else ""
    return unusable(addition, f"it raised {kind}{f': {words}' if words else ''}{other}")


def loaded(addition: Addition) -> Any:
    """Import what a plug-in adds. Raises `UsageError`."""
    module, _, name = addition.place.partition(":")
    with spoken_by(addition):
        try:
            return getattr(import_module(module), name)
        except FAULTS as error:
            raise unusable_because(addition, error) from error


def loaded_class(addition: Addition, kind: type[Any]) -> type[Any]:
    """Import the class that a plug-in adds. Raises `UsageError`."""
    found = loaded(addition)
    if not (isinstance(found, type) and issubclass(found, kind)) or inspect.isabstract(found):
        raise unusable(addition, f"{addition.place} is no whole class below triage_cli.plugins.{kind.__name__}")
    return found


def uses_network(plugin: type[Any]) -> bool:
    """Return whether a class uses the network, as far as it says."""
    return plugin.uses_network is not False


class Made(NamedTuple):
    """An object of a plug-in's class, and the secrets that it got."""

    plugin: Any
    secrets: tuple[str, ...]


def made(addition: Addition, plugin: type[Any], owner: str, settings: Mapping[str, Any], offline: bool) -> Made:
    """Make an object of a plug-in's class. Raises `ConfigError` for its keys, `UsageError` for its faults."""
    if uses_network(plugin):
        Network(offline).check(owner)
    for key, reason in mistakes(plugin, settings):
        raise dm.ConfigError(f"{owner}: {key}: {reason}")
    given = {key: value for key, value in settings.items() if not key.endswith("_env")}
    variables = {key.removesuffix("_env"): name for key, name in settings.items() if key not in given}
    secrets = {key: secret(owner, variable, os.environ) for key, variable in variables.items()}
    with spoken_by(addition):
        try:
            return Made(plugin(**given, **secrets), tuple(secrets.values()))
        except ValueError as mistake:
            raise dm.ConfigError(f"{owner}: {failure_of(mistake, tuple(secrets.values())).words}") from mistake
        except FAULTS as error:
            raise unusable(addition, f"it raised {type(error).__name__}") from error


def mistakes(plugin: type[Any], settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the keys that a class gets: the key, and why."""
    parameters = inspect.signature(plugin).parameters.values()
    known = {each.name: each for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)}
    given = {key.removesuffix("_env") for key in settings}
    takes_all = any(each.kind == each.VAR_KEYWORD for each in parameters)
    for key in settings:
        if key.removesuffix("_env") not in known and not takes_all:
            yield key, "unknown key" + (f"; known are {', '.join(known)}" if known else "")
    for name, each in known.items():
        if each.default is each.empty and name not in given:
            yield name, f"is missing (or {name}_env, with the variable that holds it)"


@contextmanager
def spoken_by(addition: Addition) -> Iterator[None]:
    """Let what this thread prints meanwhile be a plug-in's: stdout is for data, so only -v shows it."""
    if not isinstance(sys.stdout, _Stdout):
        sys.stdout = _Stdout(sys.stdout)
    token = _speaking.set(addition)
    try:
        yield
    finally:
        _speaking.reset(token)


class _Stdout:
    """The stdout of this process, without what plug-ins print."""

    told: ClassVar[set[str]] = set()

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if (addition := _speaking.get()) is None:
            return self._stream.write(text)
        tell_what_was_said(addition.package, text)
        if addition.package not in self.told and text.strip():
            self.told.add(addition.package)
            notices.tell(f"note: {addition.words} prints, which is left out of the output; -v shows it")
        return len(text)
