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


def main(number: int) -> None:
    folder = Path(tempfile.mkdtemp())
    triage = [
        sys.executable,
        "-m",
        "triage_cli",
        "--db",
        str(folder / "t.db"),
        "--config",
        str(folder / "config.yaml"),
        "-q",
    ]
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None
    url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}/"
    (folder / "config.yaml").write_text(
        f"classifiers:\n  local: {{type: local, min_confidence: 0}}\nroutes:\n  - to: {url}\n"
    )
    rows = "".join(f"{n},I was charged twice for order {n} and want my money back\n" for n in range(number))
    (folder / "in.csv").write_text("id,subject\n" + rows)
    subprocess.run([*triage, "create", str(folder / "in.csv")], check=True)
    subprocess.run([*triage, "classify"], check=True)
    start = time.perf_counter()
    subprocess.run([*triage, "route"], check=True)
    ours = number / (time.perf_counter() - start)
    start = time.perf_counter()
    asyncio.run(bare(url, number, b"x" * 900))
    theirs = number / (time.perf_counter() - start)
    receiver.kill()
    print(f"{number:,} deliveries: {ours:,.0f}/s against {theirs:,.0f}/s of a bare httpx loop: {ours / theirs:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
