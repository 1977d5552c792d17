"""The server's log: a line for each request, and one for each error, as JSON.

A thread of its own writes them, so that a reader that has stopped stops no request.
"""

import json
import logging
import os
import queue
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Scope, Send

from triage_cli import domain as dm

MOST_WAITING = 10_000  # lines; further ones are left out until the reader goes on
LINES_AT_ONCE = 500
GATHER_SECONDS = 0.01  # after a line, so that many are written at once: each turn of the thread costs requests time
FLUSH_SECONDS = 1.0  # for which the end of the server waits for the reader


class LogWriter(logging.Handler):
    """A handler of log records; `left_out_line` returns the line that tells how many lines were left out."""

    def __init__(self, stream: TextIO, left_out_line: Callable[[int], str]) -> None:
        super().__init__()
        self._descriptor = stream.fileno()
        self._left_out_line = left_out_line
        self._left_out = 0
        self._lines = queue.Queue[str](MOST_WAITING)
        threading.Thread(target=self._write_lines, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the line of a record on to the thread, or count it as left out."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._left_out += 1

    def flush(self) -> None:
        """Wait until all lines are written, but not longer than a reader may take that still reads."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_SECONDS)

    def _write_lines(self) -> None:
        while True:
            lines = list(self._waiting_lines())
            self._write("".join(f"{line}\n" for line in lines))
            for _ in lines:
                self._lines.task_done()

    def _waiting_lines(self) -> Iterator[str]:
        yield self._lines.get()
        time.sleep(GATHER_SECONDS)
        with suppress(queue.Empty):
            for _ in range(LINES_AT_ONCE):
                yield self._lines.get_nowait()

    def _write(self, text: str) -> None:
        self.acquire()  # as for `emit`
        left_out, self._left_out = self._left_out, 0
        self.release()
        unwritten = (text + (self._left_out_line(left_out) + "\n" if left_out else "")).encode()
        with suppress(OSError):  # nobody reads any more
            while unwritten:
                unwritten = unwritten[os.write(self._descriptor, unwritten) :]


REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
RESPONSE_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}

# Loggers of others that may write while a server runs.
OTHERS_LOGS = ("uvicorn", "asyncio", "concurrent.futures", "py.warnings")
SELDOM_SECONDS = 10.0
# What the answer to the present request warns of; None if there is no request.
request_warnings: ContextVar[list[str] | None] = ContextVar("request_warnings", default=None)

access_log = logging.getLogger("triage.access")
error_log = logging.getLogger("triage.errors")


def warn(message: str) -> None:
    """Log a warning, and keep it for the answer of the present request, if that has caused it."""
    error_log.warning("%s", message)
    if (of_request := request_warnings.get()) is not None:
        of_request.append(message)


class RequestLog:
    """One request: its id, the headers of its response, and its line in the access log."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        sent_request_id = Headers(scope=scope).get("x-request-id", "")
        self.request_id = sent_request_id if REQUEST_ID.fullmatch(sent_request_id) else dm.ids.new_id()
        self.headers = RESPONSE_HEADERS | {"x-request-id": self.request_id}
        self.actor = ""
        self.client_address: str = (scope.get("client") or ("unknown",))[0]
        self.is_silent = False  # has no line in the access log
        self.status = 0
        self._response_size = 0

    @property
    def method(self) -> str:
        """Return the request's method, if it is one that HTTP has: others would make a metric each."""
        return self._scope["method"] if self._scope["method"] in HTTP_METHODS else "other"

    @property
    def seconds(self) -> float:
        """Return the seconds since the logged request came."""
        return time.perf_counter() - self._began

    async def send(self, message: Message) -> None:
        """Send a part of the response, with the headers of each response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message).update(self.headers)
        self._response_size += len(message.get("body", b""))
        await self._send(message)

    def write_line(self) -> None:
        """Log the request without query and body, which may contain the text of a ticket."""
        if self.is_silent or not access_log.isEnabledFor(logging.INFO):
            return
        log_line = {
            "time": dm.times.now(),
            "request_id": self.request_id,
            "method": self._scope["method"],
            "path": self._scope["path"][:200],
            "status": self.status,
            "ms": round(self.seconds * 1000, 1),
            "bytes": self._response_size,
            "actor": self.actor or None,
            "client": self.client_address,
        }
        access_log.info(json.dumps(log_line))  # in ASCII, so that no path hides anything from whoever reads the log


class SeldomLog:
    """Logs errors that may come by the thousand: each message once in a while, with how often it came meanwhile."""

    def __init__(self) -> None:
        self._logged: dict[str, tuple[float, int]] = {}

    def error(self, message: str, error: BaseException | None = None) -> None:
        """Log an error, unless its message was logged a moment ago."""
        logged_at, left_out = self._logged.get(message, (float("-inf"), 0))
        if time.monotonic() - logged_at < SELDOM_SECONDS:
            self._logged[message] = (logged_at, left_out + 1)
            return
        self._logged[message] = (time.monotonic(), 0)
        again = f" (and {left_out} times since it was last logged)" if left_out else ""
        error_log.error("%s%s", message, again, exc_info=error)


class _JsonLineFormatter(logging.Formatter):
    """Formats a log record as one JSON line; of an error only class and place: its message may contain ticket text."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == access_log.name:
            return record.getMessage()
        level, message = record.levelname.lower(), record.getMessage()
        log_line: dict[str, Any] = {"time": dm.times.now(), "level": level, "message": message}
        if client := getattr(record, "client", None):
            log_line["client"] = client
        error_class, error, trace = record.exc_info or (None, None, None)
        if error_class is not None and error is not None:
            log_line["error"] = error_class.__name__
            log_line["at"] = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)]
        return json.dumps(log_line)


@contextmanager
def written_log(stream: TextIO, *, quiet: bool) -> Iterator[None]:
    """Write the access and error logs to a stream as JSON lines while the block runs; if quiet, warnings and errors."""
    log_writer = LogWriter(stream, _left_out_line)
    log_writer.setFormatter(_JsonLineFormatter())
    for logger in (access_log, error_log, *map(logging.getLogger, OTHERS_LOGS)):
        logger.handlers = [log_writer]
        logger.setLevel(logging.WARNING if quiet or logger.name in OTHERS_LOGS else logging.INFO)
        logger.propagate = False
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_end_of_thread
    try:
        yield
    finally:
        log_writer.flush()


def _left_out_line(number: int) -> str:
    message = f"{number} lines of this log were left out, because nobody read it"
    return json.dumps({"time": dm.times.now(), "level": "warning", "message": message})


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "?"
    error_log.error("the thread %s ended by an error", name, exc_info=ended.exc_value)
