"""`POST /tickets` over 32 connections, beside two FastAPI applications that insert the same row as durably.

`plain` is what tutorials write: a key check and a connection of its own for each request. `bare` checks nothing, and
its requests take turns at one connection. All run on the same uvicorn, on the same disk, in turns:
`python benchmarks/api.py [requests] [rounds]`. The bars are 0.85 of the rate of `plain`, and a lower 99th percentile.
"""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

CONNECTIONS = 32
BODY = json.dumps(
    {
        "subject": "Refund for order 4711",
        "description": "I was charged twice in May, and nobody answers my mails. " * 8,
        "customer_id": "C-9",
        "priority": "high",
    }
).encode()


def inserting(folder: Path, which: str) -> Any:
    """Return an app that does nothing but insert: `plain` or `bare`."""
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.security import APIKeyHeader
    from pydantic import BaseModel

    from triage_cli import domain as dm
    from triage_cli.stores import connect

    class In(BaseModel):
        subject: str
        description: str
        customer_id: str
        priority: str

    path, turn = folder / f"{which}.db", threading.Lock()
    connect(str(path)).close()

    def opened() -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        db.execute("pragma synchronous = full")
        return db

    shared = opened()
    columns = [row[1] for row in shared.execute("pragma table_info(tickets)")]
    insert = f"insert into tickets values ({', '.join(f':{column}' for column in columns)})"
    app = FastAPI()

    def stored(db: sqlite3.Connection, body: In) -> dict[str, Any]:
        t = dm.Ticket(
            dm.new_id(), f"@{dm.new_id()}", "api", None, "",
            body.subject, body.description, body.customer_id, body.priority,
            1, dm.now(), dm.now(),
        )  # fmt: skip
        db.execute(insert, t._asdict())
        return {"ticket_id": t.ticket_id, "ticket": t._asdict()}

    def connection() -> Iterator[sqlite3.Connection]:
        db = opened()
        try:
            yield db
        finally:
            db.close()

    def checked(key: Annotated[str, Depends(APIKeyHeader(name="X-API-Key"))]) -> None:
        if key != "none":
            raise HTTPException(401)

    if which == "plain":

        @app.post("/tickets", status_code=201, dependencies=[Depends(checked)])
        def create(body: In, db: Annotated[sqlite3.Connection, Depends(connection)]) -> dict[str, Any]:
            return stored(db, body)

    else:

        @app.post("/tickets", status_code=201)
        def create_bare(body: In) -> dict[str, Any]:
            with turn:
                return stored(shared, body)

    return app


def ours(folder: Path) -> tuple[Any, str]:
    """Return the app of the product and a key."""
    from triage_cli import domain as dm
    from triage_cli import wiring
    from triage_cli.config import load_config
    from triage_cli.extensions.server import RequestLimits, ServerState, analysis_opener, create_app

    config = load_config(db=str(folder / "ours.db"), env={"HOME": str(folder)}, cwd=folder)
    parts = wiring.services(config, guarded=True, make=True)
    gate = wiring.stores.open_api_access(parts.store)
    made = dm.api_keys.new_key()
    gate.add_key(dm.ApiKey(made.key_id, f"bench-{made.key_id}", dm.api_keys.digest(made.text), "agent", dm.times.now()))
    verify = partial(wiring.database_maintenance.verify, config)
    analysis = analysis_opener(config, parts.store)
    return create_app(ServerState(parts, gate, verify, analysis, RequestLimits(per_minute=1_000_000))), made.text


def serve(which: str, folder: Path) -> None:
    """Serve one of them; the first line of stdout is the port and the key."""
    import uvicorn

    from triage_cli.extensions.server import open_socket

    sys.setswitchinterval(0.0005)
    app, key = ours(folder) if which == "ours" else (inserting(folder, which), "")
    place = open_socket("127.0.0.1", 0)
    print(place.getsockname()[1], key, flush=True)
    config = uvicorn.Config(app, access_log=False, log_level="warning", http="h11", loop="asyncio", ws="none")
    uvicorn.Server(config).run(sockets=[place])


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(server: int, port: int, key: str, requests: int) -> tuple[float, float, float]:
    """Post so many requests over 32 connections, each as soon as the last was answered.

    Return requests a second, the 99th percentile of a request's milliseconds, and the server's CPU ms a request.
    """
    left, taken = iter(range(requests)), list[float]()
    head = (
        f"POST /tickets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-API-Key: {key or 'none'}\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    ).encode()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            began = time.perf_counter()
            writer.write(head + BODY)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 201"), answer
            size = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(size)
            taken.append((time.perf_counter() - began) * 1000)
        writer.close()

    cpu, began = cpu_seconds(server), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    rate = requests / (time.perf_counter() - began)
    return rate, sorted(taken)[int(len(taken) * 0.99) - 1], (cpu_seconds(server) - cpu) * 1000 / requests


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as name:
        servers = {
            which: subprocess.Popen(
                [sys.executable, __file__, "--serve", which, name], stdout=subprocess.PIPE, text=True, env=os.environ
            )
            for which in ("plain", "bare", "ours")
        }
        try:
            doors = {which: (s.stdout.readline() if s.stdout else "").split(" ") for which, s in servers.items()}
            shares, tails = [], []
            for number in range(rounds + 1):
                found = {
                    which: asyncio.run(load(servers[which].pid, int(door[0]), door[1].strip(), requests))
                    for which, door in doors.items()
                }
                if number:  # the first round warms up
                    shares.append([found["ours"][0] / found[other][0] for other in ("plain", "bare")])
                    tails.append([found["ours"][1] / found[other][1] for other in ("plain", "bare")])
                    line = "  ".join(
                        f"{which} {rate:5.0f}/s p99 {p99:4.0f} ms cpu {cpu:.2f} ms"
                        for which, (rate, p99, cpu) in found.items()
                    )
                    print(f"{line}  load {os.getloadavg()[0]:.1f}")
            for other, share, tail in zip(
                ("plain", "bare"), zip(*shares, strict=True), zip(*tails, strict=True), strict=True
            ):
                print(f"of {other}: median rate {median(share):.2f} (bar 0.85), p99 {median(tail):.2f} (bar 1)")
        finally:
            for server in servers.values():
                server.terminate()
                server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
