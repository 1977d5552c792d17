"""Create + classify + route of one ticket a call, beside creation alone and the three calls, on one server in turns.

8 clients, the embedded classifier, a file as destination; on SQLite, or on the PostgreSQL server whose address is
given: `python benchmarks/one_ticket.py [tickets] [rounds] [postgresql://…]`. The bar is 0.35 of creation alone.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

CLIENTS = 8
BODY = {
    "subject": "Refund for order 4711",
    "description": "I was charged twice in May, and nobody answers my mails. " * 8,
    "customer_id": "C-9",
    "priority": "high",
}


class Client:
    """One connection; each call waits for its answer."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def post(self, path: str, body: bytes) -> bytes:
        """Return the body of the answer."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-API-Key: {self._key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 20"), answer
        return await self._reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(server: int, port: int, key: str, how: str, tickets: int) -> tuple[float, float, float]:
    """Return tickets a second, the 99th percentile of a ticket's milliseconds, and the server's CPU ms a ticket."""
    body, left, taken = json.dumps(BODY).encode(), iter(range(tickets)), list[float]()

    async def one() -> None:
        client = Client(port, key)
        await client.open()
        for _ in left:
            began = time.perf_counter()
            made = await client.post("/tickets?do=classify,route" if how == "one call" else "/tickets", body)
            if how == "three calls":
                ticket_id = json.loads(made)["ticket_id"]
                await client.post(f"/tickets/{ticket_id}/classify", b"{}")
                await client.post(f"/tickets/{ticket_id}/route", b"{}")
            elif how == "one call":
                assert b'"status": "routed"' in made, made
            taken.append((time.perf_counter() - began) * 1000)

    cpu, began = cpu_seconds(server), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(CLIENTS)))
    rate = tickets / (time.perf_counter() - began)
    return rate, sorted(taken)[int(len(taken) * 0.99) - 1], (cpu_seconds(server) - cpu) * 1000 / tickets


def main() -> None:
    tickets = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as name:
        database = sys.argv[3] if len(sys.argv) > 3 else str(Path(name) / "triage.db")
        config = Path(name, "config.yaml")
        config.write_text("server: {requests_per_minute: null}\n")
        triage = [sys.executable, "-m", "triage_cli", "--db", database, "--config", str(config)]
        key = json.loads(
            subprocess.check_output([*triage, "keys", "create", f"bench-{time.time():.0f}", "--role", "agent"])
        )
        server = subprocess.Popen([*triage, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True)
        try:
            port = next(found[1] for line in server.stderr or () if (found := re.search(r"serving \S+:(\d+),", line)))
            threading.Thread(target=(server.stderr or sys.stdin).read, daemon=True).start()  # its access log
            shares = []
            for number in range(rounds + 1):
                speed = {
                    how: asyncio.run(load(server.pid, int(port), key["key"], how, tickets if number else 50))
                    for how in ("create", "one call", "three calls")
                }
                if number:  # the first round warms up
                    shares.append(speed["one call"][0] / speed["create"][0])
                    line = "  ".join(
                        f"{how} {rate:4.0f}/s p99 {p99:3.0f} ms cpu {cpu:.2f} ms"
                        for how, (rate, p99, cpu) in speed.items()
                    )
                    print(f"{line}  share {shares[-1]:.2f}  load {os.getloadavg()[0]:.1f}")
            print(f"median share {median(shares):.2f} (bar 0.35)")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
