"""The global options, and the context of a command: configuration, database, use cases, stderr, user, command line."""

import functools
import getpass
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, NamedTuple, cast

from triage_cli import domain as dm
from triage_cli import hooks, wiring
from triage_cli.cli import messages, terminal
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import TicketColumns
from triage_cli.cli.signals import Stopper
from triage_cli.config import Config, load_config, without_password
from triage_cli.hooks import Hook
from triage_cli.ports import Analysis, Consultation, Instance, Store, Triage
from triage_cli.service import LocalConsultation, LocalTriage, RunRecorder, Services


class GlobalOptions(NamedTuple):
    """The global options of a command line, as typed; None if not typed."""

    config: Annotated[str | None, option("--config", "PATH", "The configuration file.")] = None
    db: Annotated[str | None, option("--db", "PATH|URL", "The database.")] = None
    remote: Annotated[str | None, option("--remote", "URL", "Work on another machine's triage serve.")] = None
    insecure: Annotated[bool | None, flag("--insecure", "Allow a remote by http://, unencrypted.")] = None
    offline: Annotated[bool | None, flag("--offline", "Open no connection: deliveries over the network wait.")] = None
    quiet: Annotated[
        bool | None,
        flag(
            "-q",
            "--quiet",
            "Print no summary and no notes; create, classify, route and reclassify print records only with -o.",
        ),
    ] = None
    verbose: Annotated[
        bool | None,
        flag("-v", "--verbose", "Print more: what is used, what providers say, ids and hashes, tracebacks."),
    ] = None

    def over(self, other: "GlobalOptions") -> "GlobalOptions":
        """Return these global options, with values of the other ones for those that were not typed."""
        return other._replace(**{name: value for name, value in self._asdict().items() if value is not None})


Remote = Literal["served", "refused", "passed over"]

# The values of these options, which may be of a customer, are left out of the record of runs.
PRIVATE_OPTIONS = ("--subject", "--description", "--note", "--customer-id", "--external-id")


class CommandContext:
    """The context of one running command.

    The database is opened, or the remote asked, when it is first needed. `remote` tells how the command treats a
    remote: `served` works on it, `refused` works on a local database only, and `passed over` has nothing to do with
    tickets, so only the typed flag is refused.
    """

    def __init__(self, global_options: GlobalOptions, remote: Remote, *, makes: bool = False) -> None:
        self.global_options = global_options
        self._remote = remote
        self._config: Config | None = None
        self._services: Services | None = None
        self._local_triage: LocalTriage | None = None
        self._routes: str | None = None  # the file of another routing map than the configuration's
        self.makes = makes  # whether the command creates a missing database
        self.quiet = bool(global_options.quiet)
        self.stopper = Stopper()
        self.runs: list[RunRecorder] = []  # of runs by other use cases than `triage`
        self.exit_stack = ExitStack()  # closes what the command has opened
        self.stopped: Callable[[], str] | None = None  # the message of a stopped bulk command, if its progress is shown

    @property
    def config(self) -> Config:
        """Return the configuration that the command uses."""
        return self.load_config()

    def load_config(self) -> Config:
        """Return the configuration; the first time it is read and checked, so that its mistakes are told."""
        if self._config is None:
            self._config = self._read_config()
        return self._config

    @functools.cached_property
    def questions(self) -> tuple[dm.Question, ...]:
        """Return the questions that tickets are asked beside that for their category, at the remote if there is one.

        What is wrong with a remote is told by what the command asks of it next.
        """
        if self.is_remote:
            with suppress(dm.TriageError):
                return self._triage.questions()[1:]
        return self.config.questions

    @property
    def question_names(self) -> tuple[str, ...]:
        """Return the names of these questions."""
        return tuple(question.name for question in self.questions)

    def ticket_columns(self, *more: str) -> TicketColumns:
        """Return the columns of tickets, with those of their answers to further questions, and `more`."""
        return TicketColumns.of(dict.fromkeys((*dm.whole_names(self.question_names), *self.question_names)), more)

    def use_routes(self, routes: str | None) -> None:
        """Take the routing map from a file that was typed. Raises `UsageError` if the command works on a remote."""
        if routes is not None:
            self._routes, self._config = routes, None
            self.only_here("--routes")

    def _read_config(self) -> Config:
        typed = self.global_options
        config = load_config(
            config=typed.config,
            db=typed.db,
            remote=typed.remote,
            offline=typed.offline,
            routes=self._routes,
            env=os.environ,
            cwd=Path.cwd(),
        )
        for note in config.notes:
            self.say(f"note: {note}")
        if typed.verbose:
            from triage_cli.runtime import show_what_is_said

            show_what_is_said(self.say)
            self.say(f"configuration: {config.path or 'the built-in defaults'}; classifier: {config.classifier}")
            self.say(f"remote: {config.remote}" if config.remote else f"database: {without_password(config.database)}")
        if config.remote:
            self._check_remote(config)
        return config

    def _check_remote(self, config: Config) -> None:
        """Raise `UsageError` for a remote that this command cannot use."""
        if self._remote == "refused" or (self._remote == "passed over" and self.global_options.remote is not None):
            origin = config.origins.get("remote", "the configuration")
            hint = "leave it out, or run the command on that machine"
            raise dm.UsageError(f"this command works on a database here, and {origin} names a remote", hint=hint)
        if self._remote == "served" and config.offline:
            raise dm.UsageError(
                "a remote needs the network, and --offline switches it off", hint="leave one of them out"
            )
        if self._remote == "served" and self.global_options.db is not None:
            raise dm.UsageError("both a database and a remote are given", hint="leave out --db or the remote")

    def look(self) -> Triage:
        """Return the use cases for a command that only reads; note to the user if there is no database."""
        self.note_missing_database()
        return self._triage

    def note_missing_database(self) -> None:
        """Print a note if the command finds no database."""
        if not self.has_database:
            self.say(f"note: there is no database at {self._database} yet; triage create FILE makes one")

    @property
    def store(self) -> Store:
        """Return the local database of the command."""
        return self._opened_services().store

    @property
    def has_database(self) -> bool:
        """Return whether the command has a database or a remote to work on."""
        return self.is_remote or self.store.is_there()

    def require_database(self) -> None:
        """Raise `NoDatabaseError` if there is no database and this command does not create one."""
        if not self.makes and not self.has_database:
            raise dm.NoDatabaseError(self._database)

    def make_database(self) -> None:
        """Let this use of the command create a missing database. Raises `StoreError` where it cannot be made."""
        self.makes = True
        if not self.has_database:
            wiring.stores.check_database_place(self.config)

    def lend_database(self, *, instead: bool = False) -> None:
        """If there is no database, or instead of it, use an empty one that is deleted when the command ends."""
        if instead or not self.has_database:
            folder = self.exit_stack.enter_context(TemporaryDirectory(prefix="triage-"))
            self._config = wiring.stores.empty_database(self.config, folder)
            self._services = None  # those of the other database, if it was looked for

    @property
    def _database(self) -> str:
        return without_password(self.config.database)

    @property
    def is_remote(self) -> bool:
        """Return whether the command works on a remote, another instance."""
        return self._remote == "served" and bool(self.config.remote)

    def only_here(self, action: str) -> None:
        """Raise `UsageError` if a remote is given for something that needs a local database."""
        if self.is_remote:
            raise dm.UsageError(f"{action} works on a database here only", hint="run it on the machine of the remote")

    @functools.cached_property
    def triage(self) -> Triage:
        """Return the use cases for a command that writes, acting as this user; Ctrl-C and SIGTERM stop them.

        Raises `NoDatabaseError`.
        """
        self.require_database()
        return self._triage

    @functools.cached_property
    def _triage(self) -> Triage:
        triage: Triage = self.remote.triage if self.is_remote else self._opened_triage()
        self.stopper.watch(triage.stop)
        return triage

    @functools.cached_property
    def remote(self) -> Instance:
        """Return the remote of the command."""
        key = os.environ.get("TRIAGE_API_KEY", "").strip()
        command, insecure = os.environ.get("TRIAGE_TOKEN_COMMAND", "").strip(), bool(self.global_options.insecure)
        opened = hooks.added(Hook.PLACE, "remote")(
            self.config, key, messages.say, token_command=command, insecure=insecure
        )
        self.exit_stack.callback(opened.close)
        return cast("Instance", opened)

    @functools.cached_property
    def consultation(self) -> Consultation:
        """Return the consultation on the database or the remote of the command, as `triage` returns the use cases."""
        self.require_database()
        if self.is_remote:
            return self.remote.consultation
        consultation = LocalConsultation(self._opened_services(), *self.signature)
        self.stopper.watch(consultation.stop)
        return consultation

    @functools.cached_property
    def analysis(self) -> Analysis:
        """Return the analysis on the database or the remote of the command."""
        analysis: Analysis
        if self.is_remote:
            analysis = self.remote.analysis
        else:
            from triage_cli.wiring import Analyst, LocalAnalysis

            analyst = Analyst(*self.signature, self.say, messages.say, self.runs.append)
            analysis = LocalAnalysis(self.config, analyst, make=self.makes)
        self.stopper.watch(analysis.stop)
        return analysis

    @functools.cached_property
    def local(self) -> LocalTriage:
        """Return the local use cases, which have more methods than `ports.Triage`, as `triage` does."""
        self.require_database()
        triage = self._opened_triage()
        self.stopper.watch(triage.stop)
        return triage

    def _opened_services(self) -> Services:
        if self._services is None:
            self._services = wiring.services(self.config, self.say, warn=messages.say, make=self.makes)
        return self._services

    def _opened_triage(self) -> LocalTriage:
        if self._local_triage is None:
            self._local_triage = LocalTriage(self._opened_services(), *self.signature)
        return self._local_triage

    def exited(self, exit_code: int) -> None:
        """Record the exit code of the command in its last run."""
        if self._local_triage is not None:
            self._local_triage.exited(exit_code)
        for recorder in self.runs[-1:]:
            recorder.exited(exit_code)

    @property
    def signature(self) -> tuple[str, str]:
        """Return the user and the command line, for the record of the command's runs."""
        return user(), recorded_command_line(sys.argv[1:])

    @property
    def guides(self) -> bool:
        """Return whether the command prints hints about the next step: only to a person at a terminal."""
        return not self.quiet and terminal.is_terminal(sys.stderr)

    def shows_progress(self, output: str) -> bool:
        """Return whether a progress bar is shown: on a terminal to which no records are printed meanwhile."""
        return self.guides and (output == "table" or not terminal.is_terminal(sys.stdout))

    @property
    def can_ask(self) -> bool:
        """Return whether somebody can be asked: a question is on stderr, and its answer comes from stdin."""
        return terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stderr)

    def need_agreement(self, *, yes: bool) -> None:
        """Raise `UsageError` if a command that destroys was not told `yes`, and nobody can be asked."""
        if not (yes or self.can_ask):
            hint = "nothing was done; with --yes it does not ask"
            raise dm.UsageError("this command asks first, and there is no terminal to ask at", hint=hint)

    def agrees(self, question: str) -> bool:
        """Ask a question at the terminal and return whether the answer is yes."""
        messages.ask(f"{question}; go on? [y/N] ")
        answer = next(self.stopper.interruptible(sys.stdin), "")
        if not answer:  # Ctrl-C, or the end of input: the cursor is still behind the question
            messages.say("")
        return answer.strip().casefold() in ("y", "yes")

    def report(self, error: dm.TriageError) -> dm.ExitCode:
        """Print an error that does not end the command at once, and return its exit code."""
        messages.error(error, sys.argv[1:])
        return error.exit_code

    def say(self, text: str) -> None:
        """Print a message of the command to stderr, unless it is quiet."""
        if text and not self.quiet:
            messages.say(text)


def user() -> str:
    """Return the name of the user who runs the command, for the audit log."""
    try:
        # Bytes that are not UTF-8 become lone surrogates, which no database accepts.
        return getpass.getuser().encode("utf-8", "backslashreplace").decode()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        return f"uid:{os.getuid()}" if hasattr(os, "getuid") else "unknown"


def recorded_command_line(args: list[str]) -> str:
    """Return a command line for the record of runs, without passwords and values of private options."""
    import shlex

    recorded_args: list[str] = []
    is_private = False
    for arg in args:
        recorded_args.append("…" if is_private else without_password(arg))
        is_private = arg in PRIVATE_OPTIONS
        if arg.startswith(tuple(f"{option}=" for option in PRIVATE_OPTIONS)):
            recorded_args[-1] = arg.split("=", 1)[0] + "=…"
    return dm.encodable(shlex.join(recorded_args))  # a file's name may be in any encoding
