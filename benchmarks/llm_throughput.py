"""Throughput and CPU per ticket: the bare SDK against the classifier, alone, with the store and with a budget too.

    python benchmarks/llm_throughput.py [TICKETS]

The server is a process of its own, and takes 100 ms an answer. All sides run in processes of their own too, in turns;
the best of three counts.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.config import DEFAULT_CATEGORIES, ClassifierSpec, load_config
from triage_cli.extensions.llm import build, prompt
from triage_cli.runtime import Budget, BudgetLimits, Network, StopControl
from triage_cli.service import LocalTriage

LATENCY = 0.1
WORDS = "I was charged twice this month and nobody answers the telephone. " * 6
ANSWER = json.dumps(
    {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": None,
            "message": {"role": "assistant", "content": '{"category": "Billing", "confidence": 0.9, "reason": "r"}'},
        }],
        "usage": {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220},
    }
).encode()  # fmt: skip
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            await asyncio.sleep(LATENCY)
            writer.write(RESPONSE)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def tickets(count: int) -> list[dm.Ticket]:
    return [dm.Ticket(f"t{n}", "i", "s", None, "h", f"No {n}", WORDS, None, None, 2, None, "now") for n in range(count)]


def bare(url: str, workers: int, count: int) -> None:
    """Ask by the SDK alone: the same messages and the same form."""

    async def work() -> None:
        client = openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0)
        queue = iter(tickets(count))

        async def one() -> None:
            for ticket in queue:
                asked = prompt.question(DEFAULT_CATEGORIES, ticket.subject, ticket.description)
                turns = [turn for shot in asked.shots for turn in zip(("user", "assistant"), shot, strict=True)]
                messages = [("system", asked.system), *turns, ("user", asked.user)]
                form = {"name": "verdict", "strict": True, "schema": prompt.answer_schema(asked.parts, bounded=True)}
                request: dict[str, Any] = {
                    "model": "m", "temperature": 0, "max_completion_tokens": 256, "logprobs": True, "top_logprobs": 10,
                    "messages": [{"role": role, "content": text} for role, text in messages],
                    "response_format": {"type": "json_schema", "json_schema": form},
                }  # fmt: skip
                reply = await client.chat.completions.create(**request)
                assert json.loads(reply.choices[0].message.content or "")["category"] == "Billing"

        await asyncio.gather(*(one() for _ in range(workers)))
        await client.close()

    asyncio.run(work())


def ours(url: str, workers: int, count: int) -> None:
    """Ask by the classifier, as `classify` does."""
    spec = ClassifierSpec("gpt", "openai", model="m", base_url=url, workers=workers)
    classifier = build(spec, DEFAULT_CATEGORIES, env={}, actor="bench", run_id=None, network=Network(offline=False))
    source = tickets(count)
    chunks = (source[at : at + classifier.chunk_size] for at in range(0, count, classifier.chunk_size))
    budget = Budget(StopControl(), BudgetLimits(None, None, 0.0), None)
    done = [outcome for chunk in classifier.classify(chunks, budget) for outcome in chunk]
    assert len(done) == count
    assert all(outcome.value and outcome.value.sure for outcome in done)


def stored(url: str, workers: int, count: int, more: str = "", budget: str = "") -> None:
    """Classify stored tickets: claims, answers and the log in SQLite, as the command does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        spec = f"{{type: openai, model: m, base_url: {url}, api_key_env: null, workers: {workers}{more}}}"
        path.write_text(f"classifiers: {{gpt: {spec}}}\n{budget}")
        config = load_config(config=str(path), db=f"{folder}/t.db", remote=None, offline=None, env={}, cwd=path.parent)
        triage = LocalTriage(wiring.services(config), "bench")
        drafts = (dm.TicketDraft(n, n, f"No {n}", WORDS, external_id=str(n)) for n in range(count))
        assert sum(1 for _ in triage.create(drafts)) == count
        CLOCKS[:] = time.perf_counter(), time.process_time()
        done = list(triage.classify(dm.Selection(), dm.ClassifyPlan("gpt")))
        assert len(done) == count
        assert all(outcome.action == "classified" for outcome in done)


def bounded(url: str, workers: int, count: int) -> None:
    """Do the same under a budget of a day: what a call may cost is granted and written down before it is made."""
    stored(url, workers, count, ", price: {input: 1, output: 1}", "budget: {per_day: 1000.0}\n")


CLOCKS = [0.0, 0.0]  # when the work itself began
SIDES: dict[str, Callable[[str, int, int], None]] = {"bare": bare, "ours": ours, "stored": stored, "bounded": bounded}


def measured(side: str, url: str, workers: int, count: int) -> tuple[float, float]:
    """Return tickets a second and milliseconds of CPU a ticket, in a fresh process that has warmed up."""
    command = [sys.executable, __file__, side, url, str(workers), str(count)]
    figures = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(figures[0]), float(figures[1])


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
            for workers in (16, 64):
                rounds = [{side: measured(side, url, workers, count) for side in SIDES} for _ in range(3)]
                fast = {side: max(r[side][0] for r in rounds) for side in SIDES}
                cpu = {side: min(r[side][1] for r in rounds) for side in SIDES}
                parts = (
                    f"{side} {fast[side]:.0f}/s {cpu[side]:.2f} ms"
                    f" (throughput x{fast[side] / fast['bare']:.2f}, CPU x{cpu[side] / cpu['bare']:.2f})"
                    for side in SIDES
                )
                print(f"{workers} workers: " + ", ".join(parts))
        finally:
            server.terminate()


def one_side(side: str, url: str, workers: int, count: int) -> None:
    sys.setswitchinterval(0.0005)  # as the command line does
    SIDES[side](url, workers, workers)
    CLOCKS[:] = time.perf_counter(), time.process_time()
    SIDES[side](url, workers, count)
    seconds, used = time.perf_counter() - CLOCKS[0], time.process_time() - CLOCKS[1]
    print(count / seconds, 1000 * used / count)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(serve())
        case [side, url, workers, count]:
            one_side(side, url, int(workers), int(count))
        case _:
            main()
