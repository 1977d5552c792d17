"""`triage` in forked children of one process that has imported it: a start costs 30 ms instead of 300.

All workers of a run share the process, since it takes seconds to import everything. Each command is still a process of
its own, with its own streams, folder and environment. What Python or a library reads of the environment when it starts
(`AT_START`) needs a new interpreter. One thread, so that forking is safe.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from tests.support import caught_connections as caught
from tests.support.clock import CLOCK
from tests.support.forked_process import ForkedProcess, ask

# What few commands need, and takes long to import: it is imported for all of them when the first is called.
LATER = {
    "serve": ("triage_cli.extensions.server", ("create_app", "Server")),
    "mcp": ("triage_cli.extensions.mcp", ("AgentServer",)),
    "review": ("triage_cli.cli", ("ReviewApp",)),
}
# What the program's packages import at their first use, and so each child would anew: 30 ms for one that asks a server.
AT_FIRST_USE = (
    "anthropic", "anyio._backends._asyncio", "encodings.idna", "httpcore", "httpcore2", "httpx2", "openai",
    "openai.resources", "rich.table", "truststore", "typer._click.decorators", "yaml",
)  # fmt: skip
LEFT_OUT = ("triage_cli.__main__", "triage_cli.extensions.mcp", "triage_cli.extensions.server", "triage_cli.cli.review")
CONFIG = """
classifiers: {model: {type: openai, model: m, base_url: "http://127.0.0.1:1/v1", api_key_env: null}}
destinations: {http: {type: http, url: "http://127.0.0.1:1/", body: "{{ ticket.subject | json }}"}}
routes: [{to: http}]
"""
AT_START = ("PYTHON", "OPENAI_LOG", "ANTHROPIC_LOG", "LC_", "LANG", "COVERAGE")
ROOT = Path(__file__).parents[2]
SHARED = "TESTS_FORKED_CLI"  # the variable by which a worker knows the address
FAULT = "TESTS_FAULT"  # the one by which a command knows the fault that it is to have
PROGRAM = """#!{python} -IS
import _socket, posix, sys  # to import what is above them would take twice as long as all the rest

env = dict(posix.environ)
if env.get(b"LC_CTYPE") == b"C.UTF-8":  # as this interpreter itself sets it, where nothing else is set
    del env[b"LC_CTYPE"]
if any(name.decode().startswith({at_start}) for name in env):
    posix.execv(sys.executable, [sys.executable, "-m", "triage_cli", *sys.argv[1:]])
asked = _socket.socket(_socket.AF_UNIX)
asked.connect({address!r})
numbers = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
asked.sendmsg([b"3"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
words = [posix.getcwd(), str(len(sys.argv) - 1), *sys.argv[1:]]
encoded = [word.encode("utf-8", "surrogateescape") for word in words]
asked.sendall(b"\\0".join([*encoded, *(name + b"=" + value for name, value in env.items())]))
asked.shutdown(_socket.SHUT_WR)
code = int(b"".join(iter(lambda: asked.recv(64), b"")).split()[1])
posix._exit(code if code >= 0 else 128 - code)
"""


class Forked:
    """Asks the process that forks, at its address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def run(
        self, args: Sequence[str], data: bytes, cwd: Path, env: Mapping[str, str], seconds: float
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run one command to its end."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(data)
            given.seek(0)
            code = self.code(args, [file.fileno() for file in (given, out, err)], cwd, env, seconds)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(["triage", *args], code, out.read(), err.read())

    def code(
        self, args: Sequence[str], numbers: Sequence[int], cwd: Path, env: Mapping[str, str], seconds: float
    ) -> int:
        """Run one command on these as its stdin, stdout and stderr, and return its exit code."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(seconds)
            ask(asked, self.address, args, numbers, str(cwd), env)
            _, code = b"".join(iter(lambda: asked.recv(64), b"")).split()
            return int(code)

    def start(self, args: Sequence[str], cwd: Path, env: Mapping[str, str], **streams: Any) -> ForkedProcess:
        """Start one command; `streams` as `subprocess.Popen` takes them."""
        return ForkedProcess(self.address, args, cwd, env, **streams)

    def program(self, folder: Path) -> Path:
        """Return a folder to be the first of a shell's PATH: its `triage` runs in a forked child, too."""
        program = folder / "triage"
        program.write_text(PROGRAM.format(python=sys.executable, address=self.address, at_start=AT_START))
        program.chmod(0o755)
        return folder


@cache
def forked() -> Forked:
    """Return the one of this run."""
    return Forked(os.environ.get(SHARED) or started())


@cache
def started() -> str:
    """Start a process that forks, and return its address; it ends with this process."""
    folder = tempfile.mkdtemp(prefix="triage-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = str(Path(folder) / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked_cli"], stdin=listener.fileno(), cwd=ROOT, umask=0o022,
            start_new_session=True,  # a command has no terminal but the one that a test gives it
            env=CLOCK | {
                "PATH": os.environ["PATH"],
                "PYTHONWARNINGS": "error,ignore:unclosed database:ResourceWarning",
                "OPENBLAS_NUM_THREADS": "1",  # threads of small products wait for each other where all cores are busy
            },
        )  # fmt: skip
    atexit.register(process.wait, 30)
    atexit.register(process.terminate)
    return address


# -- in the forking process


def serve() -> None:
    """Fork a child for each caller at the socket that is this process's stdin."""
    with socket.socket(fileno=os.dup(0)) as listener:
        prepare(Path(listener.getsockname()).parent)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    callers: dict[int, socket.socket] = {}
    parent = os.getppid()
    with ended, waker, socket.socket(fileno=os.dup(0)) as listener:
        while os.getppid() == parent:  # a killed one ends nobody
            ready, _, _ = select.select([listener, ended], [], [], 1.0)
            if listener in ready:
                asked, _ = listener.accept()
                callers[_started(asked)] = asked
            if ended in ready:
                ended.recv(1 << 10)
                _tell(callers)


def prepare(kept: Path) -> None:
    """Do once what each command would do before its own work: import, read the model, put the commands together.

    What commands fit is kept in a folder.
    """
    import typer

    import triage_cli
    from triage_cli.classifiers import LocalTrainer, embedded_fit, fitted_model, told_language
    from triage_cli.classifiers import embedded_word_vectors as word_vectors
    from triage_cli.classifiers import encoder as embedded_encoder
    from triage_cli.cli import COMMANDS, app
    from triage_cli.config import DEFAULT_CATEGORIES, load_config
    from triage_cli.wiring import check_templates

    gc.disable()  # nothing of what is imported is garbage
    for name in AT_FIRST_USE:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(triage_cli.__path__, "triage_cli."):
        if not module.name.startswith(LEFT_OUT):
            importlib.import_module(module.name)
    word_vectors.word_vectors()
    told_language("Wo ist meine Rechnung geblieben?")  # which takes the model of all languages
    default_model, built_in = fitted_model.default_model, fitted_model.default_model(DEFAULT_CATEGORIES)
    vars(fitted_model)["default_model"] = lambda asked: (
        built_in if asked == DEFAULT_CATEGORIES else default_model(asked)
    )
    # What other languages need, which few commands do; in one thread, since others would not be forked.
    if built_in is not None:
        worth_a_thread, vars(embedded_encoder)["LEAST_SHARED"] = embedded_encoder.LEAST_SHARED, sys.maxsize
        embedded_encoder.say_nothing(embedded_encoder.encoded(["hello"]))
        vars(embedded_encoder)["LEAST_SHARED"] = worth_a_thread
    # What a configuration and templates compile at their first use.
    (kept / "config.yaml").write_text(CONFIG)
    check_templates(load_config(config="config.yaml", env={"HOME": str(kept)}, cwd=kept))
    load_config(env={"HOME": str(kept)}, cwd=kept / "nowhere")
    vars(embedded_fit)["fit"] = vars(sys.modules[LocalTrainer.__module__])["fit"] = _kept(embedded_fit.fit, kept)
    vars(embedded_fit)["fitted_to_wording"] = _kept(embedded_fit.fitted_to_wording, kept)
    vectors = kept / "vectors"
    vectors.mkdir()
    vars(embedded_encoder)["_kept_vectors"] = _KeptVectors(vectors)
    build = app.typer_app
    commands = {name: typer.main.get_command(build(name)) for name in (None, *COMMANDS)}
    os.environ[app.COMPLETION_VARIABLE] = "anything: Tab is pressed"
    completing = typer.main.get_command(build())
    del os.environ[app.COMPLETION_VARIABLE]
    for command in (*commands.values(), completing):
        _convert(command)

    def built(name: str | None = None, *, whole_help: bool = False) -> Any:
        if whole_help:
            return build(name, whole_help=True)
        return completing if app.COMPLETION_VARIABLE in os.environ else commands[name]

    app.typer_app = built
    gc.enable()
    gc.freeze()
    _fill_holes()
    _use_large_pages()


def _kept(fit: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """Fit a model once for all tests, whose commands learn the same few tables: equal texts make equal models."""
    from triage_cli.classifiers import Model

    def fitted(*material: Any, **further: Any) -> Model:
        file = folder / sha256(repr((fit.__name__, material, further)).encode("utf-8", "replace")).hexdigest()
        if file.exists():
            return Model.from_bytes(file.read_bytes())
        model: Model = fit(*material, **further)
        written = file.with_suffix(f".{os.getpid()}")
        written.write_bytes(model.to_bytes())
        written.rename(file)
        return model

    return fitted


class _KeptVectors(dict[str, Any]):
    """The vectors of training texts that any command has encoded, which takes some milliseconds a text."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _file(self, text: str) -> Path:
        return self._folder / sha256(text.encode("utf-8", "replace")).hexdigest()

    def __contains__(self, text: object) -> bool:
        if super().__contains__(text):
            return True
        import numpy as np

        file = self._file(str(text))
        if file.exists():
            self[str(text)] = np.frombuffer(file.read_bytes(), np.float32)
        return super().__contains__(text)

    def update(self, encoded: Iterable[tuple[str, Any]]) -> None:  # type: ignore[override]
        for text, vector in encoded:
            self[text] = vector
            written = self._file(text).with_suffix(f".{os.getpid()}")
            written.write_bytes(vector.tobytes())
            written.rename(self._file(text))


def _fill_holes() -> None:
    """Take the free places between what stays: what a child allocates then lies together, and it copies fewer pages."""
    if sys.platform != "linux":
        return
    for allocate, largest in ((ctypes.CDLL(None).malloc, 1 << 12), (ctypes.pythonapi.PyObject_Malloc, 512)):
        allocate.restype, allocate.argtypes = ctypes.c_size_t, [ctypes.c_size_t]
        for size in range(largest, 0, -16):
            last = in_a_row = 0
            for _ in range(1 << 20):
                place = allocate(size)
                in_a_row = in_a_row + 1 if 0 < place - last <= size + 16 else 0
                last = place
                if in_a_row == 16:
                    break


def _use_large_pages() -> None:
    """Put memory into pages of 2 MB, where the system can: a fork, and the end of a child, take a third of the time."""
    if sys.platform != "linux":
        return
    large, collapse = 1 << 21, 25  # the number of MADV_COLLAPSE
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    anonymous = re.compile(r"^(\w+)-(\w+) rw-p \w+ 00:00 0 *(?:\[heap\])?$", re.MULTILINE)
    for area in anonymous.finditer(Path("/proc/self/maps").read_text()):
        start, end = (int(number, 16) for number in area.groups())
        for page in range(-(-start // large) * large, end - large + 1, large):
            madvise(page, large, collapse)  # refused where there is nothing, or the system is older


def _convert(command: Any) -> None:
    """Let a command's options make what converts their values."""
    for parameter in command.params:
        parameter.get_runtime_param()
    for child in getattr(command, "commands", {}).values():
        _convert(child)


def _started(asked: socket.socket) -> int:
    _, numbers, _, _ = socket.recv_fds(asked, 1, 3)
    asked_for = b"".join(iter(lambda: asked.recv(65536), b"")).decode("utf-8", "surrogateescape")
    cwd, number_of_args, *words = asked_for.split("\0")
    args, settings = words[: int(number_of_args)], words[int(number_of_args) :]
    env = dict(setting.split("=", 1) for setting in settings)
    for name in LATER.keys() & args:
        folder, wanted = LATER[name]
        for each in wanted:
            getattr(importlib.import_module(folder), each)
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _triage(numbers, args, cwd, env)
    with suppress(OSError):
        asked.sendall(f"{pid} ".encode())
    for number in numbers:
        os.close(number)
    return pid


def _tell(callers: dict[int, socket.socket]) -> None:
    """Tell those whose command has ended its exit code."""
    for pid in list(callers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with callers.pop(pid) as asked, suppress(OSError):  # one that has given up hears nothing
                asked.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _triage(numbers: Sequence[int], args: Sequence[str], cwd: str, env: Mapping[str, str]) -> NoReturn:
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(numbers[number], number)
        plain = getattr(sys, f"__{stream}__")
        opened = os.fdopen(
            number, "w" if number else "r", 1 if number == 2 else -1, encoding=plain.encoding, errors=plain.errors
        )
        setattr(sys, stream, opened)
    os.closerange(3, 1024)  # of other commands too: each hears of its end when its socket is closed
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["triage", *args]
    caught.at_start()
    code: object = 1
    try:
        from triage_cli.cli import app

        if FAULT in env:
            from tests.support import fault_injection as faults

            faults.prepare(faults.Order(*json.loads(env[FAULT])))
        app.main()
    except SystemExit as left:
        code = left.code
    finally:
        for out in (sys.stdout, sys.stderr):
            if out is not None and not out.closed:
                out.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve()
