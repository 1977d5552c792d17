"""`triage nightly`: the steps of a night, each a command of its own, whatever the one before it ended with."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated

from triage_cli import domain as dm
from triage_cli.cli import messages
from triage_cli.cli.command import command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument

# A step is a process: one that is killed, or lacks memory, ends alone. No folder that it is started in is searched for
# modules (-P), and its hints name the program by its plain name.
PROGRAM = (
    sys.executable,
    "-P",
    "-c",
    "import sys; sys.argv[0] = 'triage'; from triage_cli.__main__ import main; main()",
)
HEARTBEAT_SECONDS = 10.0
HTTP_OK = range(200, 300)


@command
def nightly(
    context: CommandContext, files: Annotated[list[str] | None, argument("[FILE...]", "Exports to store first.")] = None
) -> int:
    """Do the work of a night: pull the sources, store the FILEs, classify, route, check.

    Each step runs whatever the one before it ended with, and the gravest exit code is the night's. The limits stand
    under nightly in the configuration. With -q nothing is printed where all is well.

    \b
    triage nightly -q
    triage nightly -q /var/spool/tickets/export.csv
    """
    intake = list(_intake(context, files or []))
    if not intake:
        context.require_database()
    codes = {_code_of(context, *words) for words in intake}
    limits = context.config.nightly
    for words in (("classify", *_options(limits, "deadline")), ("route",), ("check", *_check_options(limits))):
        if context.stopper.code or not context.has_database:  # of which the first step has told
            break
        codes.add(_code_of(context, *words))
    code, heartbeat = dm.gravest(codes), context.config.heartbeat_env
    if heartbeat and code is dm.ExitCode.OK and not context.stopper.code and not context.config.offline:
        _tell_of_good_night(heartbeat)
    return code


def _tell_of_good_night(variable: str) -> None:
    """Ask the address in a variable; if that fails, a warning says so, and the night has been good all the same."""
    from triage_cli.config import no_address, secret
    from triage_cli.runtime import USER_AGENT, Endpoint, HttpRequest, Network, open_exchange

    endpoint = Endpoint("the heartbeat", host="", timeout=HEARTBEAT_SECONDS, rest=1.0)
    try:
        address = secret("nightly.heartbeat", variable, os.environ)
        if objection := no_address(address):
            raise dm.ConfigError(f"nightly.heartbeat: the address in {variable} {objection}")
        with open_exchange(endpoint, Network(offline=False)) as exchange:
            status = exchange(HttpRequest("GET", address, {"user-agent": USER_AGENT})).status
        problem = "" if status in HTTP_OK else f"the heartbeat was answered {status}"
    except dm.TriageError as error:
        problem = error.message
    if problem:
        messages.say(f"warning: {problem}; the night itself was good")


def _intake(context: CommandContext, files: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield the commands that store tickets."""
    if context.config.sources:
        yield ("pull", *_options({"deadline": context.config.nightly["pull_deadline"]}, "deadline"))
    if files:
        yield ("create", "--", *files)


def _check_options(limits: Mapping[str, str | int | None]) -> Iterator[str]:
    return _options(limits, *(name for name in limits if name.startswith("max_")))


def _options(limits: Mapping[str, str | int | None], *names: str) -> Iterator[str]:
    """Yield the words of those options that have a value."""
    for name in names:
        if (limit := limits[name]) is not None:
            yield from (f"--{name.replace('_', '-')}", str(limit))


def _code_of(context: CommandContext, name: str, *words: str) -> dm.ExitCode:
    """Run a command and return its exit code; a signal to this process ends it as one Ctrl-C would."""
    typed = context.global_options
    place = {"--config": typed.config, "--db": typed.db}
    global_words = [word for option, value in place.items() if value is not None for word in (option, value)]
    switches = {"--offline": typed.offline, "-q": typed.quiet, "-v": typed.verbose}
    global_words += [switch for switch, is_on in switches.items() if is_on]
    # Its records are for nobody. A group of its own, so that a signal reaches it once, from here.
    step = subprocess.Popen(  # noqa: S603 - this program
        [*PROGRAM, name, *global_words, *words],
        stdin=subprocess.DEVNULL,
        stdout=None if name == "check" else subprocess.DEVNULL,
        process_group=0,
    )
    context.stopper.watch(step.terminate)
    code = step.wait()
    if code in set(dm.ExitCode):
        return dm.ExitCode(code)
    messages.say(f"triage {name} was killed (signal {-code})")
    return dm.ExitCode.UNEXPECTED
