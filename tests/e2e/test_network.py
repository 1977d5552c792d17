"""Every connection is made by one module: looked for in the source, and in every command while it runs."""

import ast
import inspect
import json
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.caught_connections import VARIABLE
from tests.support.cli import Cli
from tests.support.every_command import check_rows
from tests.support.rooms import PACKAGE, room_of
from triage_cli import domain as dm
from triage_cli.extensions.server import Server
from triage_cli.runtime import MailServer, Network

NETWORK = PACKAGE / room_of(Network)
# The part of it that speaks SMTP; a mail server is got from the network module alone.
MAIL_CONNECTIONS = PACKAGE / room_of(MailServer)

# -- in the source: what makes a connection, by its full name; a name that ends with a dot is a whole module

HTTPX = ("Client", "AsyncClient", "HTTPTransport", "AsyncHTTPTransport", "request", "stream", "get", "post", "put",
         "patch", "delete", "head", "options")  # fmt: skip
VENDORS = ("Client", "AsyncClient", "DefaultHttpxClient", "DefaultAsyncHttpxClient", "DefaultAioHttpClient")
RUNTIME = ("triage_cli.runtime", MailServer.__module__)  # as others import it, and as its own folder does
OPENS = frozenset(
    {f"{module}.{name}" for module in ("httpx", "httpx2") for name in HTTPX}
    | {f"openai.{name}" for name in (*VENDORS, "OpenAI", "AsyncOpenAI", "AzureOpenAI", "AsyncAzureOpenAI")}
    | {f"anthropic.{name}" for name in (*VENDORS, "Anthropic", "AsyncAnthropic", "AnthropicBedrock", "AnthropicVertex")}
    | {f"socket.{name}" for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname", "gethostbyname_ex",
                                     "gethostbyaddr", "getnameinfo", "getfqdn")}
    | {"psycopg.connect", "psycopg.Connection.connect", "psycopg.AsyncConnection.connect"}
    | {"asyncio.open_connection", "asyncio.open_unix_connection"}
    | {f"{module}.{name}" for module in RUNTIME for name in ("MailServer", "SmtpConnection")}
)  # fmt: skip
MODULES = (
    "smtplib", "imaplib", "poplib", "nntplib", "ftplib", "telnetlib", "http.client", "urllib.request", "xmlrpc.client",
    "aiosmtplib", "requests", "urllib3", "aiohttp", "websockets", "httpcore", "httpcore2", "dns", "paramiko", "grpc",
)  # fmt: skip
POOLS = ("ConnectionPool", "AsyncConnectionPool", "NullConnectionPool", "AsyncNullConnectionPool")
METHODS = frozenset({"create_connection", "create_datagram_endpoint", "sock_connect", "connect_ex", "sendto"})
# A server's own socket: it listens, and connects to nothing.
LISTENS = {(room_of(Server), "socket.socket"), (room_of(Server), "socket.getaddrinfo")}


class Finder(ast.NodeVisitor):
    """Finds what a module names that makes a connection; types in annotations make none."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.found: list[str] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._module(alias.name)
            first = alias.name.partition(".")[0]
            self.names[alias.asname or first] = alias.name if alias.asname else first

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._module(node.module or "")
            self._module(f"{node.module}.{alias.name}")
            self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def _module(self, name: str) -> None:
        if any(name == module or name.startswith(f"{module}.") for module in MODULES):
            self.found.append(name)

    def visit_Name(self, node: ast.Name) -> None:
        self._see(self.names.get(node.id, node.id))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._see(".".join([self.names.get(inner.id, inner.id), *parts]))
        else:
            self.visit(inner)
        if node.attr in METHODS:
            self.found.append(f".{node.attr}")

    def _see(self, name: str) -> None:
        if name in OPENS or (name.startswith("psycopg_pool.") and name.rpartition(".")[2] in POOLS):
            self.found.append(name)

    def visit_arg(self, node: ast.arg) -> None:
        """Pass over the annotation."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)  # what stands in brackets is a type, or a key

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (node.args, *node.body, *node.decorator_list):
            self.visit(part)

    visit_FunctionDef = _function  # noqa: N815
    visit_AsyncFunctionDef = _function  # noqa: N815


def opened_in(source: str) -> list[str]:
    finder = Finder()
    finder.visit(ast.parse(source))
    return finder.found


def test_nothing_but_the_network_module_makes_a_connection() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path not in (NETWORK, MAIL_CONNECTIONS)
        for name in opened_in(path.read_text())
    }
    assert found == LISTENS
    here_alone = opened_in(NETWORK.read_text())
    assert {"httpx.Client", "httpx.AsyncHTTPTransport", "openai.AsyncOpenAI", "psycopg.connect"} <= set(here_alone)


@pytest.mark.parametrize(
    "source",
    [
        "import httpx\nhttpx.AsyncClient()", "from httpx import Client as C\nC()", "import httpx as h\nh.get('x')",
        "import openai\nmake = openai.AsyncOpenAI", "def f():\n    from anthropic import Anthropic\n    Anthropic()",
        "import socket\nsocket.create_connection(a)", "import socket\nx = socket.getaddrinfo(h, 80)",
        "import socket\nclass S(socket.socket): pass", "import psycopg\nwith psycopg.connect(x) as c: pass",
        "from psycopg_pool import ConnectionPool\nConnectionPool(x)", "import psycopg_pool as p\np.ConnectionPool(x)",
        "import smtplib", "from smtplib import SMTP_SSL", "import imaplib as i", "from urllib.request import urlopen",
        "from urllib import request", "import urllib.request", "import http.client", "from http import client",
        *(f"from {module} import MailServer\nMailServer(h, 25, 'none', None, 1.0).connection()" for module in RUNTIME),
        "import asyncio\nasyncio.open_connection(h, 1)", "async def f(loop): await loop.create_connection(p, h, 1)",
        "class C:\n    import requests",
    ],
)  # fmt: skip
def test_a_connection_that_is_made_elsewhere_is_found(source: str) -> None:
    assert opened_in(source)


def test_a_type_is_no_connection() -> None:
    source = "import httpx, socket\nx: httpx.Client\nclass A(B[httpx.Client]):\n    def f(self, s: socket.socket): ..."
    assert opened_in(source) == []


def test_each_method_of_the_network_refuses_offline() -> None:
    opening = {name: method for name, method in vars(Network).items() if inspect.isfunction(method) and name[0] != "_"}
    opening = {name: method for name, method in opening.items() if name not in ("check", "check_postgres")}
    assert {"http_client", "http_connections", "openai", "anthropic", "resolve", "postgres"} <= set(opening)
    for method in opening.values():
        needed = [p.name for p in inspect.signature(method).parameters.values() if p.default is p.empty and p.kind < 4]
        given: dict[str, Any] = {name: "postgresql://h/d" for name in needed if name != "self"}
        with pytest.raises(dm.UsageError, match="--offline"):
            method(Network(offline=True), **given)


# -- by running every command there is


# How each command is called so that it comes as far as it can; `new.csv` holds tickets, T-1 is one that is stored.
CALLS: Mapping[str, tuple[str, ...]] = {
    "create": ("create new.csv", "create --subject x"),
    "pull": ("pull", "pull --dry-run"),
    "nightly": ("nightly new.csv",),
    "classify": ("classify", "classify --classifier both", "classify --classifier local", "classify --batch",
                 "classify --dry-run", "classify --text x", "classify T-1 --force --classifier decide",
                 "classify T-1 --classifier claude"),
    "route": ("route", "route T-2", "route --retry-dead", "route T-2 --again", "route --dry-run"),
    "run": ("run new.csv", "run new.csv --classifier both", "run new.csv --classifier local"),
    "reclassify": ("reclassify", "reclassify --classifier both", "reclassify --batch",
                   "reclassify --classifier local --apply --reroute --max-flips 100%"),
    "plan": ("plan config.yaml", "plan config.yaml --ask --max-cost 1"),
    "spikes": ("spikes",),
    "drift": ("drift --check",),
    "report": ("report --to week.html",),
    "verdict": ("verdict T-1 Billing", "verdict -"),
    "review": ("review",),
    "runs": ("runs", "runs last"),
    "list": ("list",),
    "show": ("show T-1",),
    "why": ("why T-2",),
    "similar": ("similar T-2",),
    "logs": ("logs", "logs T-1"),
    "undo": ("undo last --dry-run", "undo last --yes"),
    "forget": ("forget --customer-id C-1 --yes",),
    "stats": ("stats",),
    "doctor": ("doctor", "doctor --send hook", "doctor --send mail"),
    "check": ("check --max-age 1h --max-pending 0",),
    "learn": ("learn new.csv", "learn"),
    "eval": ("eval new.csv", "eval new.csv --classifier both", "eval new.csv --classifier both --calibrate"),
    "discover": ("discover", "discover new.csv", "discover new.csv --name-with gpt"),
    "suspects": ("suspects", "suspects new.csv"),
    "categories": ("categories", "categories --labels new.csv", "categories --apply 1 --to made.yaml"),
    "audit verify": ("audit verify",),
    "audit head": ("audit head",),
    "init": ("init new.csv --to made.yaml", "init --to made.yaml"),
    "config init": ("config init",),
    "config show": ("config show",),
    "config check": ("config check",),
    "config schema": ("config schema",),
    "db path": ("db path",),
    "db migrate": ("db migrate",),
    "db backup": ("db backup copy.db",),
    "db restore": ("db restore copy.db --yes",),
    "db copy": ("db copy POSTGRES",),
    "keys create": ("keys create ada --role agent",),
    "keys list": ("keys list",),
    "keys revoke": ("keys revoke ada",),
    "keys rotate": ("keys rotate ada",),
    "mcp": ("mcp", "mcp --allow-writes"),
    "serve": (),  # it does not end by itself: tests/integration/test_offline.py has it
}  # fmt: skip


class Listener:
    """A port to which every address of these tests leads: it counts who comes, C code too."""

    def __init__(self) -> None:
        self.came = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.came += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    it = Listener()
    yield it
    it.close()


CONFIG = """
classifier: gpt
classifiers:
  local:  {{type: local, min_confidence: 0.2}}
  gpt:    {{type: openai, model: m, base_url: "http://localhost:{port}/v1", api_key_env: null, max_retries: 0,
           price: {{input: 1, output: 1}}}}
  decide: {{type: decision, model: m, base_url: "http://localhost:{port}/v1", api_key_env: null, max_retries: 0}}
  claude: {{type: anthropic, model: m, base_url: "http://localhost:{port}", api_key_env: null, max_retries: 0}}
  both:   {{type: cascade, steps: [local, gpt, decide, claude]}}
destinations:
  hook: {{type: webhook, url: "http://localhost:{port}/hook"}}
  mail: {{type: mail, host: localhost, port: {port}, from: a@b, to: c@d}}
  kept: {{type: file, path: kept.jsonl}}
routes:
  - {{when: {{category: Billing}}, to: [hook, mail, kept]}}
  - {{to: "http://127.0.0.1:{port}/other"}}
sources:
  shop: {{type: http, url: "http://localhost:{port}/issues", fields: {{subject: title, external_id: id}}}}
"""
NEW = "id,subject,description,customer_id,label\n" + "".join(
    f"N-{n},Refund {n},I was charged twice on my invoice {n},C-1,{('Billing', 'Technical')[n % 2]}\n" for n in range(4)
)
OLD = NEW.replace("N-", "T-").replace("label", "verdict")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path, listener: Listener) -> Path:
    """A folder with a configuration, and a database with tickets in several states."""
    cli = Cli(tmp_path_factory.mktemp("offline"))
    cli.db.parent.mkdir(parents=True)
    shutil.copy(fitted_database, cli.db)
    (cli.folder / "config.yaml").write_text(CONFIG.format(port=listener.port))
    (cli.folder / "new.csv").write_text(NEW)
    old = "\n".join(line.rpartition(",")[0] for line in OLD.splitlines())
    assert cli("create", "-q", stdin=old).returncode == 0
    assert cli("classify", "-q", "T-0", "T-2", "T-3", "--classifier", "local", "--offline").returncode in (0, 3)
    assert cli("verdict", "-", "-q", stdin="ticket_id,category\nT-2,Billing\nT-3,Technical\n").returncode == 0
    assert cli("route", "-q", "--offline").returncode == 0
    return cli.folder


def offline(folder: Path, args: str, how: Mapping[str, str]) -> tuple["Any", str]:
    """Run a command; return how it ended and what it tried to send."""
    cli, caught = Cli(folder), folder / "caught.txt"
    caught.unlink(missing_ok=True)
    done = cli(*args.split(), **how, **{VARIABLE: str(caught)})
    return done, caught.read_text() if caught.exists() else ""


def test_every_command_has_its_call_here() -> None:
    check_rows(CALLS, "CALLS", __file__)


@pytest.mark.parametrize("command", sorted(CALLS))
def test_no_command_reaches_the_network_offline(folder: Path, listener: Listener, tmp_path: Path, command: str) -> None:
    address = f"postgresql://x@localhost:{listener.port}/y"
    ways = {"": {}, "--db POSTGRES": {}, "--remote REMOTE": {"TRIAGE_API_KEY": "k"}}
    for number, call in enumerate(CALLS[command]):
        for way, env in list(ways.items())[: 1 if number else None]:
            here = tmp_path / f"{number}{len(way)}"
            shutil.copytree(folder, here)
            typed = f"{call} {way}".replace("POSTGRES", address).replace("REMOTE", f"http://localhost:{listener.port}")
            done, caught = offline(here, f"--offline {typed}", env)
            assert (caught, listener.came) == ("", 0), typed
            assert done.returncode in (0, 2, 3, 5, 8), (typed, done.stderr)
            assert "Traceback" not in done.stderr


def test_a_command_that_may_use_the_network_is_caught_here(folder: Path, tmp_path: Path) -> None:
    """So that the test above is known to look where it should."""
    for number, (args, env) in enumerate(
        [("route", {}), ("classify --max-wait 0s", {}), ("route", {"TRIAGE_OFFLINE": "0"})]
    ):
        here = tmp_path / str(number)
        shutil.copytree(folder, here)
        assert "socket.getaddrinfo localhost" in offline(here, args, env)[1]


def test_libpq_is_seen_by_who_listens(folder: Path, tmp_path: Path, listener: Listener) -> None:
    before = listener.came
    shutil.copytree(folder, tmp_path / "here")
    done, _ = offline(tmp_path / "here", f"list --db postgresql://x@127.0.0.1:{listener.port}/y", {})
    assert done.returncode == 6
    assert listener.came > before
    listener.came = 0


@pytest.mark.parametrize("way", ["environment", "configuration"])
def test_it_is_switched_off_in_the_environment_and_the_configuration_too(
    folder: Path, tmp_path: Path, listener: Listener, way: str
) -> None:
    here = tmp_path / "here"
    shutil.copytree(folder, here)
    if way == "configuration":
        (here / "config.yaml").write_text(CONFIG.format(port=listener.port) + "offline: true\n")
    env = {"TRIAGE_OFFLINE": "1"} if way == "environment" else {}
    for args in ("route", "run new.csv --classifier both", "doctor"):
        assert (offline(here, args, env)[1], listener.came) == ("", 0), args
    assert json.loads(Cli(here)("stats", "-o", "json").stdout)["deliveries"]["hook"]["pending"] > 0
