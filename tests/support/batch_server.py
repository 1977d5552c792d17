"""A provider's batch API on 127.0.0.1, in both vendors' wire formats; batches end when the test says so."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.support.llm_server import chat, message, verdict
from tests.support.local_server import Handler, LocalServer, ThreadedServer

LATER = "2999-01-01T00:00:00Z"


class End(NamedTuple):
    """How one request ends: answered by a text, `expired`, or an error with its status; None as a whole: no line."""

    text: str | None = None
    status: int = 200
    error: Mapping[str, Any] | None = None
    expired: bool = False
    model: str = "m"
    tokens: tuple[int, int] | None = None  # of request and answer, None for the usual ones
    logprobs: Any = None  # as `chat` takes them
    cut: bool = False  # for want of tokens


Answering = Callable[[int, str], End | None]
Hook = Callable[[], None]


class Made:
    """One batch as the server has it."""

    def __init__(self, name: str, requests: list[dict[str, Any]], metadata: Mapping[str, str], file: str) -> None:
        self.name = name
        self.requests = requests
        self.metadata = metadata
        self.file = file
        self.created = time.time()
        self.status = "in_progress"
        self.ends: list[tuple[str, End]] = []
        self.errors: list[dict[str, Any]] = []
        self.counted = 0  # what it says to have answered, where that is more than its results hold

    @property
    def texts(self) -> list[str]:
        """Return the tickets asked about."""
        bodies = [r.get("body") or r.get("params") or {} for r in self.requests]
        return [str(body["messages"][-1]["content"]) for body in bodies]


def well(_n: int, _ticket: str) -> End:
    """Answer every request well."""
    return End(verdict())


class BatchServer(LocalServer):
    """Keeps files and batches. `hooks` are called once, at the named moments of a request."""

    def __init__(self) -> None:
        self.batches: dict[str, Made] = {}
        self.files: dict[str, bytes] = {}
        self.hooks: dict[str, Hook] = {}
        self.fail: dict[str, tuple[int, dict[str, Any]]] = {}  # by moment: the status and body that come instead
        self.fail_once: set[str] = set()  # moments at which the next request never arrives
        self.calls: Counter[str] = Counter()
        self.headers: list[Mapping[str, str]] = []
        self.busy = 0  # requests in work
        self._lock = threading.Lock()
        super().__init__(_Handler)
        self.url = f"{self.root}/v1"

    def at(self, moment: str) -> None:
        with self._lock:
            self.calls[moment] += 1
        hook = self.hooks.pop(moment, None)
        if hook is not None:
            hook()

    def make(self, requests: list[dict[str, Any]], metadata: Mapping[str, str], file: str = "") -> Made:
        with self._lock:
            made = Made(f"batch_{len(self.batches) + 1}", requests, metadata, file)
            self.batches[made.name] = made
        return made

    def keep(self, content: bytes) -> str:
        """Store an uploaded file under a name of its own, also where two runs upload at once; return the name."""
        with self._lock:
            name = f"file-{len(self.files) + 1}"
            self.files[name] = content
        return name

    def finish(self, answering: Answering = well, *, status: str = "completed", name: str | None = None) -> None:
        """End one batch, or all that are under way: each request by what is answered to its number and ticket."""
        for made in self.batches.values():
            if made.status == "in_progress" and name in (None, made.name):
                asked = enumerate(zip(made.requests, made.texts, strict=True))
                ends = ((request["custom_id"], answering(n, text)) for n, (request, text) in asked)
                made.ends = [(custom_id, end) for custom_id, end in ends if end is not None]
                made.ends.reverse()  # results come in any order
                made.status = status

    @property
    def asked(self) -> Counter[str]:
        """Count how often each ticket was ever submitted."""
        return Counter(text for made in self.batches.values() for text in made.texts)

    # -- the two formats

    def openai(self, made: Made) -> dict[str, Any]:
        good = [line for line in made.ends if line[1].text is not None]
        ended = made.status not in ("in_progress", "failed")
        return {
            "id": made.name, "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": made.file,
            "completion_window": "24h", "status": made.status, "created_at": int(made.created),
            "metadata": made.metadata, "errors": {"object": "list", "data": made.errors} if made.errors else None,
            "output_file_id": f"out-{made.name}" if ended and good else None,
            "error_file_id": f"err-{made.name}" if ended and len(good) < len(made.ends) else None,
            "request_counts": {
                "total": len(made.requests), "completed": max(made.counted, len(good)),
                "failed": len(made.ends) - len(good),
            },
        }  # fmt: skip

    def anthropic(self, made: Made) -> dict[str, Any]:
        kinds = Counter(_kind(end) for _, end in made.ends)
        ended = made.status != "in_progress"
        counts = {kind: kinds[kind] for kind in ("succeeded", "errored", "expired", "canceled")}
        counts["succeeded"] = max(made.counted, counts["succeeded"])
        counts["processing"] = len(made.requests) - sum(counts.values())
        return {
            "id": made.name, "type": "message_batch", "processing_status": "ended" if ended else "in_progress",
            "created_at": datetime.fromtimestamp(made.created, UTC).isoformat(), "expires_at": LATER,
            "ended_at": LATER if ended else None, "request_counts": counts, "archived_at": None,
            "results_url": f"{self.root}/v1/messages/batches/{made.name}/results" if ended else None,
        }  # fmt: skip

    def file(self, name: str) -> bytes | None:
        kind, _, of = name.partition("-")
        made = self.batches.get(of)
        if made is None:
            return self.files.get(name)
        lines = [(c, e) for c, e in made.ends if (e.text is not None) == (kind == "out")]
        return "".join(json.dumps(_openai_line(custom_id, end)) + "\n" for custom_id, end in lines).encode()

    def results(self, made: Made) -> bytes:
        return "".join(
            json.dumps({"custom_id": custom_id, "result": _anthropic_result(end)}) + "\n"
            for custom_id, end in made.ends
        ).encode()


def _kind(end: End) -> str:
    return "succeeded" if end.text is not None else ("expired" if end.expired else "errored")


def _openai_line(custom_id: str, end: End) -> dict[str, Any]:
    line: dict[str, Any] = {"id": f"r-{custom_id}", "custom_id": custom_id, "response": None, "error": None}
    if end.expired:
        line["error"] = {"code": "batch_expired", "message": "This request could not be executed in time."}
    elif end.text is not None:
        finish = "length" if end.cut else "stop"
        body = chat(end.text, finish=finish, logprobs=end.logprobs) | {"model": end.model}
        if end.tokens:
            body["usage"] = {"prompt_tokens": end.tokens[0], "completion_tokens": end.tokens[1]}
        line["response"] = {"status_code": 200, "request_id": "q", "body": body}
    else:
        line["response"] = {"status_code": end.status, "request_id": "q", "body": {"error": end.error}}
    return line


def _anthropic_result(end: End) -> dict[str, Any]:
    if end.expired:
        return {"type": "expired"}
    if end.text is not None:
        usage = {"usage": {"input_tokens": end.tokens[0], "output_tokens": end.tokens[1]}} if end.tokens else {}
        return {"type": "succeeded", "message": message(end.text, stop="max_tokens" if end.cut else "end_turn") | usage}
    return {"type": "errored", "error": {"type": "error", "error": end.error, "request_id": "q"}}


@contextmanager
def running_batch_server() -> Iterator[BatchServer]:
    """Run a server for a while."""
    server = BatchServer()
    try:
        yield server
    finally:
        server.close()


class _Handler(Handler):
    server: ThreadedServer[BatchServer]

    def do_POST(self) -> None:  # noqa: N802 - so http.server calls it
        self._counted(self._post)

    def do_GET(self) -> None:  # noqa: N802
        self._counted(self._get)

    def _counted(self, answer: Hook) -> None:
        fake = self.server.fake
        with fake._lock:
            fake.busy += 1
        try:
            answer()
        finally:
            with fake._lock:
                fake.busy -= 1

    def _post(self) -> None:
        fake, path = self.server.fake, urlsplit(self.path).path
        fake.headers.append(dict(self.headers.items()))
        body = self._body()
        if path.endswith("/files"):
            fake.at("upload received")
            if not self._failed("upload"):
                name = fake.keep(_part(body, "file"))
                fake.at("upload stored")
                self._send({"id": name, "object": "file", "purpose": "batch", "bytes": len(body), "created_at": 1,
                            "filename": "x", "status": "processed"})  # fmt: skip
            return
        if path.endswith("/chat/completions"):
            fake.at("asked at once")
            self._send(chat(verdict()))
            return
        fake.at("create received")
        if self._failed("create"):
            return
        document = json.loads(body)
        if path.endswith("/messages/batches"):
            made = fake.make(document["requests"], {})
        else:
            lines = [json.loads(line) for line in fake.files[document["input_file_id"]].splitlines()]
            made = fake.make(lines, document.get("metadata") or {}, document["input_file_id"])
        fake.at("create stored")
        if not self._failed("created"):
            self._send(fake.anthropic(made) if path.endswith("/messages/batches") else fake.openai(made))

    def _get(self) -> None:
        fake, url = self.server.fake, urlsplit(self.path)
        if found := re.fullmatch(r"/v1/files/([^/]+)/content", url.path):
            self._content(fake.file(found[1]))
            return
        found = re.fullmatch(r"/v1/(messages/)?batches(?:/([^/]+))?(/results)?", url.path)
        if found is None:
            self._send({"error": {"message": "no such address"}}, 404)
            return
        shown = fake.anthropic if found[1] else fake.openai
        if found[2] is None:
            fake.at("list")
            if not self._failed("list"):
                self._list(shown, parse_qs(url.query))
            return
        made = fake.batches.get(found[2])
        if made is None:
            error = {"type": "not_found_error", "message": f"No batch found with id '{found[2]}'."}
            self._send({"type": "error", "error": error}, 404)
        elif found[3]:
            self._content(fake.results(made))
        else:
            fake.at("look")
            if not self._failed("look"):
                self._send(shown(made))

    def _list(self, shown: Callable[[Made], dict[str, Any]], query: Mapping[str, list[str]]) -> None:
        newest = list(reversed(self.server.fake.batches.values()))
        after = (query.get("after") or query.get("after_id") or [""])[0]
        if after:
            newest = newest[[made.name for made in newest].index(after) + 1 :]
        page = newest[:2]  # small pages, so that a client has to turn them
        self._send({
            "object": "list", "data": [shown(made) for made in page], "has_more": len(newest) > len(page),
            "first_id": page[0].name if page else None, "last_id": page[-1].name if page else None,
        })  # fmt: skip

    def _content(self, data: bytes | None) -> None:
        fake = self.server.fake
        fake.at("results asked")
        if data is None:
            self._send({"error": {"message": "no such file"}}, 404)
            return
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        half = len(data) // 2
        try:
            self.wfile.write(data[:half])
            self.wfile.flush()
            fake.at("results half")
            self.wfile.write(data[half:])
            self.wfile.flush()
        except OSError:
            self.close_connection = True
        fake.at("results sent")

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _failed(self, moment: str) -> bool:
        if moment in self.server.fake.fail_once:
            self.server.fake.fail_once.remove(moment)
            self.close_connection = True
            return True
        if moment not in self.server.fake.fail:
            return False
        status, body = self.server.fake.fail[moment]
        if status:
            self._send(body, status)
        else:  # the connection is cut
            self.close_connection = True
        return True

    def _send(self, body: Mapping[str, Any], status: int = 200) -> None:
        data = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            self.close_connection = True


def _part(body: bytes, name: str) -> bytes:
    """Return one part of a multipart body."""
    sign = body.split(b"\r\n", 1)[0]
    for part in body.split(sign):
        head, _, content = part.partition(b"\r\n\r\n")
        if f'name="{name}"'.encode() in head:
            return content.removesuffix(b"\r\n")
    raise AssertionError(f"no part {name}")
