"""Deliveries to a local receiver against a bare httpx loop of the same concurrency: `deliveries.py [N]`.

The bare loop is as it is usually written: one client, whose connections all calls share. Since the time that such a
pool takes for a request grows with its connections, a loop with a client per call under way is measured, too: it is
about the least that httpx takes. The receiver runs beside both, on the same machine. CPU time is that of the sender
alone, with the start of the command, and says more than the clock on a busy machine.
"""

import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from triage_cli.extensions.http import WORKERS

RECEIVER = """
import asyncio, sys
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            lines = head.lower().split(b"\\r\\n")
            length = next(int(l.split(b":")[1]) for l in lines if l.startswith(b"content-length"))
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 204 No Content\\r\\ncontent-length: 0\\r\\n\\r\\n")
    except asyncio.IncompleteReadError:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


async def bare(url: str, number: int, body: bytes, *, shared: bool) -> None:
    left = iter(range(number))

    async def work(client: httpx.AsyncClient) -> None:
        for _ in left:
            (await client.post(url, content=body)).raise_for_status()

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(limits=httpx.Limits(max_connections=WORKERS)))
            for _ in range(1 if shared else WORKERS)
        ]
        await asyncio.gather(*(work(clients[n % len(clients)]) for n in range(WORKERS)))


class Taken(NamedTuple):
    """Seconds by the clock, and of CPU time."""

    wall: float
    cpu: float


@contextmanager
def timed(who: int) -> Iterator[list[Taken]]:
    """Measure what this process (`RUSAGE_SELF`) or its children (`RUSAGE_CHILDREN`) take."""
    taken: list[Taken] = []
    before, start = resource.getrusage(who), time.perf_counter()
    yield taken
    wall, after = time.perf_counter() - start, resource.getrusage(who)
    taken.append(Taken(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))


# What is sent by an address alone, and by a request of one's own with templates in its body.
KINDS = {
    "webhook": "routes:\n  - to: {url}\n",
    "http": """
destinations:
  sys:
    type: http
    url: {url}
    headers: {{X-Rule: "{{{{ rule }}}}"}}
    body:
      fields:
        summary: "{{{{ ticket.subject | one_line | truncate(255) }}}}"
        description: "{{{{ ticket.description | default('') | truncate(32000) }}}}"
        labels: [triage, "{{{{ delivery_id }}}}", "{{{{ category | slug }}}}"]
        customer: "{{{{ ticket.customer_id }}}}"
routes:
  - to: sys
""",
}


def routed(kind: str, number: int, url: str) -> Taken:
    """Return what `route` takes for the deliveries of so many tickets."""
    folder = Path(tempfile.mkdtemp())
    paths = ["--db", str(folder / "t.db"), "--config", str(folder / "config.yaml")]
    triage = [sys.executable, "-m", "triage_cli", *paths, "-q"]
    config = "classifiers:\n  local: {type: local, min_confidence: 0}\n" + KINDS[kind].format(url=url)
    (folder / "config.yaml").write_text(config)
    rows = "".join(f"{n},I was charged twice for order {n} and want my money back\n" for n in range(number))
    (folder / "in.csv").write_text("id,subject\n" + rows)
    subprocess.run([*triage, "create", str(folder / "in.csv")], check=True)
    subprocess.run([*triage, "classify"], check=True)
    with timed(resource.RUSAGE_CHILDREN) as taken:
        subprocess.run([*triage, "route"], check=True)
    return taken[0]


def main(number: int) -> None:
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}/"
    try:
        for kind in KINDS:
            ours = routed(kind, number, url)
            print(
                f"{kind}: {number:,} deliveries, {number / ours.wall:,.0f}/s, {ours.cpu / number * 1e6:,.0f} us of CPU"
            )
            for shared in (True, False):
                with timed(resource.RUSAGE_SELF) as taken:
                    asyncio.run(bare(url, number, b"x" * 900, shared=shared))
                (theirs,) = taken
                print(
                    f"  a bare httpx loop, {'one client' if shared else f'{WORKERS} clients'}:"
                    f" {number / theirs.wall:,.0f}/s, {theirs.cpu / number * 1e6:,.0f} us;"
                    f" triage does {theirs.wall / ours.wall:.2f} of it, {theirs.cpu / ours.cpu:.2f} by CPU"
                )
    finally:
        receiver.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
