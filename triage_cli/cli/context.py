"""Global options, before or after the command, and what a command works with: configuration, use cases, stderr.

Also who runs it, and by which words, as the audit log and the record of runs tell.
"""

import functools
import getpass
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

import typer

from triage_cli import wiring
from triage_cli.cli import messages
from triage_cli.cli.signals import Stopper
from triage_cli.config import Config, load_config, without_password
from triage_cli.domain.errors import NoDatabaseError, UsageError
from triage_cli.domain.serialization import encodable
from triage_cli.ports.consultation import Consultation
from triage_cli.ports.storage import Store
from triage_cli.ports.triage import Triage
from triage_cli.service.consultation import LocalConsultation
from triage_cli.service.local_triage import LocalTriage
from triage_cli.service.services import Services

if TYPE_CHECKING:  # an annotation is no reason to import httpx
    from triage_cli.client import RemoteTriage

R = TypeVar("R")
Remote = Literal["served", "refused", "passed over"]

# What a ticket says stays out of the record of runs, as a password does.
SPOKEN = ("--subject", "--description", "--note", "--customer-id", "--external-id")


class GlobalOptions(NamedTuple):
    """The global options as typed; None where not."""

    config: str | None = None
    db: str | None = None
    remote: str | None = None
    insecure: bool | None = None
    offline: bool | None = None
    quiet: bool | None = None
    verbose: bool | None = None

    def over(self, other: "GlobalOptions") -> "GlobalOptions":
        """Return these options, and the other ones where these were not typed."""
        return other._replace(**{name: value for name, value in self._asdict().items() if value is not None})


OPTIONS: dict[str, Any] = {
    "config": Annotated[str | None, typer.Option("--config", metavar="PATH", help="The configuration file.")],
    "db": Annotated[str | None, typer.Option("--db", metavar="PATH|URL", help="The database.")],
    "remote": Annotated[
        str | None, typer.Option("--remote", metavar="URL", help="Work on another machine's triage serve.")
    ],
    "insecure": Annotated[
        bool | None, typer.Option("--insecure", help="Allow a remote by http://, unencrypted.", show_default=False)
    ],
    "offline": Annotated[
        bool | None,
        typer.Option("--offline", help="Open no connection: deliveries over the network wait.", show_default=False),
    ],
    "quiet": Annotated[
        bool | None,
        typer.Option(
            "-q",
            "--quiet",
            help="Print no summary and no notes; create, classify, route and reclassify print records only with -o.",
            show_default=False,
        ),
    ],
    "verbose": Annotated[
        bool | None,
        typer.Option(
            "-v", "--verbose", help="Print more: what is used, ids and hashes, tracebacks.", show_default=False
        ),
    ],
}


class CommandContext:
    """One command at work. The database is opened, or the remote asked, when it is first needed.

    `remote` says what the command makes of a remote: `served` works on it, `refused` is for the database here alone,
    and `passed over` has nothing to do with tickets, so that only the flag itself is refused.
    """

    def __init__(self, given: GlobalOptions, remote: Remote = "refused", *, makes: bool = False) -> None:
        self.given = given
        self._remote = remote
        self.makes = makes  # a database where there is none
        self.quiet = bool(given.quiet)
        self.stopper = Stopper()
        self.leaving = ExitStack()  # what is let go at the end
        self.stopped: Callable[[], str] | None = None  # says how far a bulk command came, where its bar is shown

    @functools.cached_property
    def config(self) -> Config:
        """Return the configuration that holds here."""
        config = load_config(
            config=self.given.config,
            db=self.given.db,
            remote=self.given.remote,
            offline=self.given.offline,
            env=os.environ,
            cwd=Path.cwd(),
        )
        for note in config.notes:
            self.say(f"note: {note}")
        if self.given.verbose:
            self.say(f"configuration: {config.path or 'the built-in defaults'}; classifier: {config.classifier}")
            self.say(f"remote: {config.remote}" if config.remote else f"database: {without_password(config.database)}")
        if config.remote:
            self._check_remote(config)
        return config

    def _check_remote(self, config: Config) -> None:
        """Refuse a remote where it cannot be meant."""
        if self._remote == "refused" or (self._remote == "passed over" and self.given.remote is not None):
            origin = config.origins.get("remote", "the configuration")
            hint = "leave it out, or run the command on that machine"
            raise UsageError(f"this command works on a database here, and {origin} names a remote", hint=hint)
        if self._remote == "served" and config.offline:
            raise UsageError("a remote needs the network, and --offline switches it off", hint="leave one of them out")
        if self._remote == "served" and self.given.db is not None:
            raise UsageError("both a database and a remote are given", hint="leave out --db or the remote")

    def look(self) -> Triage:
        """Return the use cases for a command that only reads, and say where there is no database."""
        if not self.has_database:
            self.say(f"note: there is no database at {self._database} yet; triage create FILE makes one")
        return self._triage

    @property
    def store(self) -> Store:
        """Return the database at hand."""
        return self._parts.store

    @property
    def has_database(self) -> bool:
        """Tell whether there is something to look at."""
        return self.is_remote or self.store.is_there()

    def require_database(self) -> None:
        """Raise `NoDatabaseError` where there is no database, and this command makes none."""
        if not self.makes and not self.has_database:
            raise NoDatabaseError(self._database)

    def lend_database(self) -> None:
        """Where there is no database, work on an empty one that is gone when the command ends."""
        if not self.has_database:
            folder = self.leaving.enter_context(TemporaryDirectory(prefix="triage-"))
            vars(self)["config"] = wiring.stores.empty_database(self.config, folder)
            del vars(self)["_parts"]

    @property
    def _database(self) -> str:
        return without_password(self.config.database)

    @property
    def is_remote(self) -> bool:
        """Tell whether the work is done on another instance."""
        return self._remote == "served" and bool(self.config.remote)

    def only_here(self, what: str) -> None:
        """Raise `UsageError` where something that needs the database at hand is asked of a remote."""
        if self.is_remote:
            raise UsageError(f"{what} works on a database here only", hint="run it on the machine of the remote")

    @functools.cached_property
    def triage(self) -> Triage:
        """Return the use cases for a command that writes, acting as this user; Ctrl-C and SIGTERM stop them.

        Raises `NoDatabaseError`.
        """
        self.require_database()
        return self._triage

    @functools.cached_property
    def _triage(self) -> Triage:
        triage: Triage = self.remote if self.is_remote else self._opened
        self.stopper.watch(triage.stop)
        return triage

    @functools.cached_property
    def remote(self) -> "RemoteTriage":
        """Return the use cases on the configured remote."""
        key = os.environ.get("TRIAGE_API_KEY", "").strip()
        command, insecure = os.environ.get("TRIAGE_TOKEN_COMMAND", "").strip(), bool(self.given.insecure)
        remote = wiring.remote(self.config, key, token_command=command, insecure=insecure)
        self.leaving.callback(remote.close)
        return remote

    @functools.cached_property
    def consultation(self) -> Consultation:
        """Return what answers without deciding, as `triage` does."""
        self.require_database()
        if self.is_remote:
            from triage_cli.client.remote_consultation import RemoteConsultation

            return RemoteConsultation(self.remote)
        local = LocalConsultation(self._parts, *self.signature)
        self.stopper.watch(local.stop)
        return local

    @functools.cached_property
    def local(self) -> LocalTriage:
        """Return the use cases on the database at hand, for what is no part of `ports.Triage`, as `triage` does."""
        self.require_database()
        self.stopper.watch(self._opened.stop)
        return self._opened

    @functools.cached_property
    def _parts(self) -> Services:
        return wiring.parts(self.config, self.say, warn=messages.say, make=self.makes)

    @functools.cached_property
    def _opened(self) -> LocalTriage:
        return LocalTriage(self._parts, *self.signature)

    def exited(self, code: int) -> None:
        """Have the record of the command's run tell its exit code."""
        if "_opened" in vars(self):
            self._opened.exited(code)

    @property
    def signature(self) -> tuple[str, str]:
        """Return who acts, and by which words, for the record of runs."""
        return user(), words_of(sys.argv[1:])

    @property
    def guides(self) -> bool:
        """Tell whether a person is there to be told the next step."""
        return not self.quiet and messages.on_terminal(sys.stderr)

    def shows_progress(self, output: str) -> bool:
        """Tell whether a bar is shown: on a terminal to which no records are printed meanwhile."""
        return self.guides and (output == "table" or not messages.on_terminal(sys.stdout))

    def agrees(self, question: str) -> bool:
        """Ask whoever sits at the terminal; where nobody does there is no question."""
        if not all(map(messages.on_terminal, (sys.stdin, sys.stdout, sys.stderr))):
            return True
        messages.ask(f"{question}; go on? [y/N] ")
        answer = next(self.stopper.interruptible(sys.stdin), "")
        if not answer:  # Ctrl-C, or the end of input: the cursor stands behind the question still
            messages.say("")
        return answer.strip().casefold() in ("y", "yes")

    def say(self, text: str) -> None:
        """Tell something on stderr, unless quiet."""
        if text and not self.quiet:
            messages.say(text)


def user() -> str:
    """Return the name by which the audit log knows who runs this command."""
    try:
        # Bytes that are no UTF-8 come in as halves of surrogate pairs, which no database takes.
        return getpass.getuser().encode("utf-8", "backslashreplace").decode()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        return f"uid:{os.getuid()}" if hasattr(os, "getuid") else "unknown"


def words_of(args: list[str]) -> str:
    """Return a command line as the record of runs keeps it."""
    import shlex

    kept: list[str] = []
    spoken = False
    for arg in args:
        kept.append("…" if spoken else without_password(arg))
        spoken = arg in SPOKEN
        if arg.startswith(tuple(f"{option}=" for option in SPOKEN)):
            kept[-1] = arg.split("=", 1)[0] + "=…"
    return encodable(shlex.join(kept))  # a file's name may be in any encoding
