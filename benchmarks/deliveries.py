"""Deliveries to a local receiver against a bare httpx loop of the same concurrency: `deliveries.py [N]`."""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from triage_cli.destinations.http_sender import WORKERS

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


async def bare(url: str, number: int, body: bytes) -> None:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=WORKERS)) as client:
        left = iter(range(number))

        async def work() -> None:
            for _ in left:
                (await client.post(url, content=body)).raise_for_status()

        await asyncio.gather(*(work() for _ in range(WORKERS)))


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


def routed(kind: str, number: int, url: str) -> float:
    """Return how many tickets `route` delivers a second."""
    folder = Path(tempfile.mkdtemp())
    paths = ["--db", str(folder / "t.db"), "--config", str(folder / "config.yaml")]
    triage = [sys.executable, "-m", "triage_cli", *paths, "-q"]
    config = "classifiers:\n  local: {type: local, min_confidence: 0}\n" + KINDS[kind].format(url=url)
    (folder / "config.yaml").write_text(config)
    rows = "".join(f"{n},I was charged twice for order {n} and want my money back\n" for n in range(number))
    (folder / "in.csv").write_text("id,subject\n" + rows)
    subprocess.run([*triage, "create", str(folder / "in.csv")], check=True)
    subprocess.run([*triage, "classify"], check=True)
    start = time.perf_counter()
    subprocess.run([*triage, "route"], check=True)
    return number / (time.perf_counter() - start)


def main(number: int) -> None:
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}/"
    try:
        for kind in KINDS:
            ours = routed(kind, number, url)
            start = time.perf_counter()
            asyncio.run(bare(url, number, b"x" * 900))
            theirs = number / (time.perf_counter() - start)
            print(
                f"{kind}: {number:,} deliveries, {ours:,.0f}/s; a bare httpx loop {theirs:,.0f}/s: {ours / theirs:.2f}"
            )
    finally:
        receiver.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
