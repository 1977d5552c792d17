"""A real server for tests: uvicorn on 127.0.0.1 in a thread, over a database of the test's own, with a key a role."""

import asyncio
import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import uvicorn.server

from tests.support.commands import PATIENCE
from tests.support.sqlite_file import make_database
from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.config import Config, load_config
from triage_cli.extensions.server import (
    BrowserAccess,
    OtherCallers,
    RequestLimits,
    Server,
    ServerState,
    analysis_opener,
    create_app,
    incoming_webhooks,
    open_socket,
    server_key_digest,
    token_verification,
    uvicorn_config,
    warn,
)
from triage_cli.ports import ApiAccessStore
from triage_cli.service import Services

# uvicorn waits for tenths of a second until it sees that it is to end, and tests end hundreds of servers.
vars(uvicorn.server)["asyncio"] = SimpleNamespace(**vars(asyncio) | {"sleep": lambda time: asyncio.sleep(time / 10)})
# For clients of servers that speak no TLS: without it each client reads the authorities of the system, in 7 ms.
UNENCRYPTED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# What our command line takes, and no caller of the API; commands for whoever runs the server are left to it.
COMMANDS = re.compile(
    r"(?:^|[ ;:(])--[a-z]"
    r"|\btriage (?:list|why|review|classify|route|learn|reclassify|eval|verdict|runs|create|keys list)\b"
)


def assert_for_callers(problem: Mapping[str, Any]) -> None:
    """Check that a problem names nothing that only the command line has."""
    text = " ".join(str(problem.get(key) or "") for key in ("message", "detail", "hint"))
    assert not COMMANDS.search(text), text


def _check_problem(answer: httpx.Response) -> None:
    is_ours = "triage" in answer.request.headers["user-agent"]
    if answer.headers.get("content-type") == "application/problem+json" and not is_ours:
        assert_for_callers(json.loads(answer.read()))


def make_key(gate: ApiAccessStore, name: str, role: str) -> str:
    """Record a key and return its text."""
    made = dm.api_keys.new_key()
    gate.add_key(dm.ApiKey(made.key_id, name, dm.api_keys.digest(made.text), role, dm.times.now()))
    return made.text


class ApiServer:
    """A server that is running; `keys` are by role, and named like it."""

    def __init__(
        self, server: Server, served: ServerState, config: Config, port: int, keys_by_role: Mapping[str, str]
    ) -> None:
        self.server = server
        self.served = served
        self.config = config
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.keys = keys_by_role

    def served_files(self) -> list[Path]:
        """Return the files of the database."""
        return sorted(Path(self.config.database).parent.glob("*.db*"))

    def client(self, role: str = "agent", **options: Any) -> httpx.Client:
        """Return a client with the key of a role; close it."""
        usual: dict[str, Any] = {"timeout": PATIENCE, "trust_env": False, "verify": UNENCRYPTED}
        client = httpx.Client(base_url=self.url, headers={"X-API-Key": self.keys[role]}, **usual | options)
        client.event_hooks = {"response": [_check_problem]}
        return client


@contextmanager
def running_server(
    folder: Path, *, config: str | None = None, db: Path | str | None = None, limits: RequestLimits | None = None,
    env: Mapping[str, str] | None = None, services: Services | None = None, roles: str = "", root_path: str = "",
    drain: float = 0.0,
) -> Iterator[ApiServer]:  # fmt: skip
    """Serve a folder's database, or use cases of the test's choice; the server has ended when the block is left.

    `roles` is what the names of the keys end with, where a database is served twice.
    """
    if config is not None:
        (folder / "config.yaml").write_text(config)
    at = str(db or folder / "triage.db")
    if db is None and not Path(at).exists():
        make_database(Path(at))
    loaded = load_config(db=at, env={"HOME": str(folder), **(env or {})}, cwd=folder)
    services = services or wiring.services(loaded, warn=warn, guarded=True, make=True)
    gate = wiring.stores.open_api_access(services.store)
    verify = partial(wiring.database_maintenance.verify, loaded)
    limits = limits or RequestLimits(per_minute=None, failed_keys=100_000)
    webhooks = incoming_webhooks(loaded, env or {})
    others = OtherCallers(token_verification(loaded), server_key_digest(env or {}))
    analysis = analysis_opener(loaded, services.store)
    browsers = BrowserAccess(loaded.cors_origins, loaded.app)
    served = ServerState(services, gate, verify, analysis, limits, webhooks, others, browsers)
    keys_by_role = {role: make_key(gate, f"{role}{roles}", role) for role in dm.ROLES}
    place = open_socket("127.0.0.1", 0)
    server = Server(uvicorn_config(create_app(served, root_path)), served, place, drain)
    thread = threading.Thread(target=server.serve_until_stopped, name="server")
    thread.start()
    try:
        server.begun.wait(PATIENCE)
        yield ApiServer(server, served, loaded, place.getsockname()[1], keys_by_role)
    finally:
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
