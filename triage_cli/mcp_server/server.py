"""The MCP server over stdin and stdout: its tools, its errors, and how it ends."""

import inspect
import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import ValidationError

from triage_cli import __version__
from triage_cli.domain.errors import AmbiguousError, NotFoundError, TriageError
from triage_cli.mcp_server.tools import ReadTools, WriteTools
from triage_cli.mcp_server.untrusted import INSTRUCTIONS, one_line
from triage_cli.ports.consultation import Consultation
from triage_cli.ports.triage import Triage

# Seconds that a signal leaves a call that is at work: hosts kill a server 2 s after SIGTERM.
GRACE = 1.5
LONGEST_ERROR = 1000
WRITES = ("create_ticket", "suggest_category")

_log = logging.getLogger("triage.mcp")


class AgentServer(MCPServer[None]):
    """An MCP server whose tools run one at a time; each error of a tool is one sentence with what to do next."""

    def __init__(
        self, triage: Triage, consultation: Consultation, *, max_cost: float, allow_writes: bool = False
    ) -> None:
        super().__init__("triage", title="triage", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
        self.at_work = threading.Lock()  # use cases are objects of one caller
        reads = ReadTools(triage, consultation, max_cost)
        for tool in (
            reads.search_tickets, reads.get_ticket, reads.get_stats, reads.list_waiting, reads.explain_category,
            reads.preview_route,
        ):  # fmt: skip
            self._add(tool, read_only_hint=True, idempotent_hint=True, open_world_hint=False)
        # It stores no ticket, but a language model may have to be paid, each time.
        self._add(reads.classify_text, read_only_hint=False, idempotent_hint=False, open_world_hint=True)
        if allow_writes:
            writes = WriteTools(triage, consultation)
            self._add(writes.create_ticket, read_only_hint=False, idempotent_hint=False, open_world_hint=False)
            self._add(writes.suggest_category, read_only_hint=False, idempotent_hint=True, open_world_hint=False)

    def _add(self, tool: Callable[..., Any], **hints: bool) -> None:
        title = tool.__name__.replace("_", " ").capitalize()
        annotations = ToolAnnotations(destructive_hint=False, **hints)
        self.add_tool(
            _alone(tool, self.at_work), title=title, description=inspect.getdoc(tool), annotations=annotations
        )

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool. Raises `ToolError` with one sentence."""
        tools = {tool.name: tool.input_schema.get("properties", {}) for tool in await self.list_tools()}
        if name not in tools:
            hint = "triage mcp --allow-writes offers it" if name in WRITES else f"the tools are {', '.join(tools)}"
            raise ToolError(f"there is no tool {_shown(name)} here; {hint}")
        if unknown := sorted(arguments.keys() - tools[name].keys()):
            raise ToolError(f"{name} has no argument {_shown(unknown[0])}; it takes {', '.join(tools[name])}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            raise ToolError(_sentence(name, error)) from error


def _alone(tool: Callable[..., Any], lock: threading.Lock) -> Callable[..., Any]:
    """Return a tool that waits until no other one is at work."""

    def called(**arguments: Any) -> Any:
        with lock:
            return tool(**arguments)

    called.__name__, called.__doc__ = tool.__name__, tool.__doc__
    called.__signature__ = inspect.signature(tool)  # type: ignore[attr-defined]
    called.__annotations__ = tool.__annotations__
    return called


def _sentence(name: str, error: ToolError) -> str:
    """Return the message about an error for the agent."""
    cause = error.__cause__
    if isinstance(cause, NotFoundError):
        return _shown(f"{cause.message}; search_tickets finds tickets by their text")
    if isinstance(cause, AmbiguousError):  # its message quotes the tickets
        return "several tickets have this name; name one by its ticket_id, which search_tickets tells"
    if isinstance(cause, TriageError):
        return _shown(cause.sentence())
    if isinstance(cause, ValidationError):
        first = cause.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the arguments"
        return f"{where} of {name}: {first['msg']}; see the tool's input schema"
    failure = f"{name} failed unexpectedly with {type(cause or error).__name__}"
    _log.warning("%s", failure, exc_info=cause if _log.isEnabledFor(logging.INFO) else None)
    return f"{failure}; what triage mcp -v prints helps to mend it"


def _shown(text: str) -> str:
    """Return a text that may quote a ticket's name, in one line."""
    return one_line(text, LONGEST_ERROR) or ""


def serve(server: AgentServer, watch: Callable[[Callable[[], None]], None], *, verbose: bool) -> None:
    """Serve until stdin ends, or until what was given to `watch` is called; a call at work is waited for shortly.

    The protocol runs in a thread of its own, since a read from stdin cannot be interrupted.
    """
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(name)s: %(message)s")
    over, ended = threading.Event(), Future[None]()
    watch(over.set)

    def run() -> None:
        try:
            anyio.run(server.run_stdio_async)
        except* OSError:  # nobody reads stdout any more
            pass
        except* BaseException as errors:  # noqa: BLE001 - raised in the main thread
            ended.set_exception(errors.exceptions[0])
        finally:
            over.set()

    threading.Thread(target=run, daemon=True, name="mcp").start()
    over.wait()
    if ended.done():
        ended.result()
    server.at_work.acquire(timeout=GRACE)
