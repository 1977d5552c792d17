"""A provider on 127.0.0.1: a real HTTP server that speaks the wire formats, and misbehaves by script."""

import json
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.support.local_server import Handler, LocalServer, ThreadedServer

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "prompt_tokens_details": None}


class Asked(NamedTuple):
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def ticket(self) -> str:
        """Return the text of the ticket, whatever the wire format."""
        if "messages" in self.body:
            return str(self.body["messages"][-1]["content"])
        return str(self.body.get("input") or self.body.get("state"))


class Step(NamedTuple):
    """What the server does with one request; a body that is a string is sent as it is."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = {}
    kind: str = "application/json"
    delay: float = 0.0
    drip: float = 0.0  # seconds between bytes
    hang: bool = False
    wait: threading.Event | None = None  # until it is set
    cut: int | None = None  # the connection ends after so many bytes of the body; -1: before the status


Script = Callable[[int, Asked], Step]


def chat(text: str | None, *, finish: str = "stop", usage: Any = USAGE, **message: Any) -> dict[str, Any]:
    """Return a chat completion; `logprobs` is a list of (token, {option: log-probability})."""
    tokens = message.pop("logprobs", None)
    content = []
    for token, options in tokens or ():
        top = [{"token": option, "logprob": p} for option, p in options.items()]
        content.append({"token": token, "logprob": options.get(token), "top_logprobs": top})
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text, **message},
        "logprobs": {"content": content} if tokens else None,
    }
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def verdict(category: str = "Billing", confidence: float = 0.9, reason: str = "because") -> str:
    """Return the text of a good answer."""
    return json.dumps({"category": category, "confidence": confidence, "reason": reason})


def refund_logprobs(billing: float, refund: float) -> list[tuple[str, dict[str, float]]]:
    """Return the tokens of an answer Billing/Refund: Billing and all below it has a chance, and of that Refund has."""
    return [
        ('{"category": "', {'{"category": "': 0.0}),
        ("Billing", {"Billing": math.log(billing), "Technical": math.log(1 - billing)}),
        ("/Refund", {"/Refund": math.log(refund), '"}': math.log(1 - refund)}),
        ('"}', {'"}': 0.0}),
    ]


def message(text: str, *, stop: str = "end_turn") -> dict[str, Any]:
    """Return an answer of Anthropic's Messages API."""
    usage = {"input_tokens": 20, "output_tokens": 10, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 10}
    return {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": stop, "usage": usage,
        "content": [{"type": "text", "text": text}],
    }  # fmt: skip


def decision(choice: str, chances: Mapping[str, float], *, kind: str = "choice") -> dict[str, Any]:
    """Return an answer of a Decisions API."""
    answer: dict[str, Any] = {"type": kind, "name": "category"}
    if kind == "choice":
        answer |= {"choice": choice, "confidence": chances[choice]}
        answer["probabilities"] = [{"value": v, "probability": p} for v, p in chances.items()]
    details = {"cached_tokens": 0, "cache_write_tokens": 0}
    usage = {"input_tokens": 100, "input_tokens_details": details, "output_tokens": 0, "total_tokens": 100}
    return {"answers": [answer], "model": "m", "usage": {**usage, "output_tokens_details": {"reasoning_tokens": 0}}}


def thinker(tokens: int, takes: Collection[str] = ()) -> Script:
    """Return the script of a model that thinks so long, and refuses each effort but those that it `takes`.

    It is cut in thought where the request allows too few tokens, and with an effort of `none` it thinks nothing.
    """

    def answer(_n: int, asked: Asked) -> Step:
        body = asked.body
        disabled = "none" if "thinking" in body else None
        effort = body.get("reasoning_effort") or body.get("output_config", {}).get("effort") or disabled
        if effort and effort not in takes:
            words = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model."
            named = (
                '"thinking.type.disabled" is not supported for this model. Use "output_config.effort" to control it.'
            )
            return failing(400, named if effort == disabled else words)
        thought = 0 if effort == "none" else tokens
        most = body.get("max_completion_tokens") or body["max_tokens"]
        is_cut, spent = thought + 10 > most, min(thought + 10, most)
        if asked.path.endswith("/messages"):
            blocks = [{"type": "thinking", "thinking": "", "signature": "s"}] if thought else []
            given = message(verdict(), stop="max_tokens" if is_cut else "end_turn")
            content = [*blocks, *([] if is_cut else given["content"])]
            return Step({**given, "content": content, "usage": {"input_tokens": 100, "output_tokens": spent}})
        details = {"reasoning_tokens": min(thought, most)}
        usage = {"prompt_tokens": 100, "completion_tokens": spent, "completion_tokens_details": details}
        return Step(chat("" if is_cut else verdict(), finish="length" if is_cut else "stop", usage=usage))

    return answer


def good(_n: int, asked: Asked) -> Step:
    """Answer every request well, each in its own format."""
    if asked.path.endswith("/messages"):
        return Step(message(verdict()))
    if asked.path.endswith("/decisions"):
        return Step(decision("Billing", {"Billing": 0.9, "Technical": 0.06, "General": 0.03, "none of these": 0.01}))
    return Step(chat(verdict()))


def failing(status: int, text: str = "no", *, code: str | None = None, **headers: str) -> Step:
    """Return an error in the shape that both vendors use."""
    error = {"message": text, "code": code, "type": code or "error", "param": None}
    return Step({"type": "error", "error": error}, status, {k.replace("_", "-"): v for k, v in headers.items()})


class LlmServer(LocalServer):
    """Keeps what it was asked; `most` is how many requests were ever in work at once."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.most = 0
        self.released = threading.Event()
        self._now = 0
        self._lock = threading.Lock()
        super().__init__(_Handler)
        self.url = f"{self.root}/v1"

    def close(self) -> None:
        self.released.set()
        super().close()

    def take(self, asked: Asked) -> Step:
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.most = max(self.most, self._now)
            return self.script(len(self.asked) - 1, asked)

    def done(self) -> None:
        with self._lock:
            self._now -= 1


@contextmanager
def running_llm_server(script: Script = good) -> Iterator[LlmServer]:
    """Run a server for a while."""
    server = LlmServer(script)
    try:
        yield server
    finally:
        server.close()


class _Handler(Handler):
    server: ThreadedServer[LlmServer]

    def do_POST(self) -> None:  # noqa: N802 - so http.server calls it
        fake = self.server.fake
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        step = fake.take(Asked(self.path, dict(self.headers.items()), json.loads(body)))
        if step.hang:
            fake.released.wait(20)
        if step.wait:
            step.wait.wait(60)
        time.sleep(step.delay)
        fake.done()  # before the client knows, who may ask again at once
        try:
            self.act(step, fake)
        except OSError:
            self.close_connection = True  # the client has left

    def act(self, step: Step, fake: LlmServer) -> None:
        if step.hang or step.cut == -1:
            self.close_connection = True
            return
        data = step.body.encode() if isinstance(step.body, str) else json.dumps(step.body).encode()
        self.send_response(step.status)
        for name, value in {"content-type": step.kind, "content-length": str(len(data)), **step.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if step.drip:
            self.drip(data, step.drip, fake)
            return
        self.wfile.write(data[: step.cut])
        self.wfile.flush()
        self.close_connection = self.close_connection or step.cut is not None

    def drip(self, data: bytes, seconds: float, fake: LlmServer) -> None:
        self.close_connection = True
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if fake.released.wait(seconds):
                return
