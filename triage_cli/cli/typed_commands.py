"""How a message names commands: as this person would type them, with the program as it was called and `--db` as typed.

The rest of the program writes `triage review`. On the way to this person's terminal, and only there, that becomes
`.venv/bin/triage --db demo.db review`: an answer over HTTP or MCP and a record keep the plain name, since others read
them. What comes from the environment holds for the next command anyway, and is not repeated.
"""

import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from triage_cli.cli.command_list import COMMANDS

# The options that say where a command works. Each has a value, but for the one that allows a remote by http://.
PLACE_OPTIONS = ("--config", "--db", "--remote")
INSECURE = "--insecure"
NEXT = "Next: "  # as the last sentence of `why` begins
HINTED = {name: listed.hinted for name, listed in COMMANDS.items() if listed.hinted != "nowhere"} | {"--help": "remote"}
# A named run, as in `triage classify (run 1234ABCD, …)`, is not for typing.
COMMAND = re.compile(rf"(?<![\w./-])triage (?=({'|'.join(HINTED)})(?![\w-])(?! \(run ))")

_call: list[tuple[str, ...]] = []  # what `remember` was given


def remember(args: Sequence[str] | None) -> None:
    """Remember how this process was called: `args` are the typed arguments; None if nobody has called a program."""
    _call[:] = [] if args is None else [tuple(args)]
    _prefix.cache_clear()


def as_typed(text: str, *, there: bool = False) -> str:
    """Return a message in which each command stands as it would be typed here.

    With `there`, the commands are for the machine of the remote, if one was typed.
    """

    def typed(match: re.Match[str]) -> str:
        return f"{_prefix(works_on_remote=HINTED[match[1]] == 'remote' and not there)} "

    return COMMAND.sub(typed, text) if _call else text


def with_typed_step(explanation: Iterable[str]) -> tuple[str, ...]:
    """Return the sentences of `why` with the commands of the next step as typed; the others may quote the ticket."""
    return tuple(as_typed(sentence) if sentence.startswith(NEXT) else sentence for sentence in explanation)


@cache
def _prefix(*, works_on_remote: bool) -> str:
    """Return what stands before the name of a command: the plain name if it is for the machine of a typed remote."""
    from triage_cli.config import without_password

    place = dict(_typed_place(*_call))
    if "--remote" in place and not works_on_remote:
        return "triage"
    words = [_program()]
    for option, value in place.items():
        words += [option] if option == INSECURE else [option, shlex.quote(without_password(value))]
    return " ".join(words)


def _typed_place(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the typed options that say where the command works, with their values."""
    remaining_args = iter(args)
    for arg in remaining_args:
        option, equals_sign, value = arg.partition("=")
        if arg == "--":
            return
        if option in PLACE_OPTIONS:
            yield option, value if equals_sign else next(remaining_args, "")
        elif arg == INSECURE:
            yield arg, ""


def _program() -> str:
    """Return the program as it was called: `triage` if the shell finds this one by that name."""
    called, before_args = sys.argv[0], sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    if before_args[-2:] == ["-m", "triage_cli"]:
        return shlex.join(before_args)
    return "triage" if called in ("triage", shutil.which("triage")) else shlex.quote(called)
