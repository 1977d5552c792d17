"""The MCP server over stdin and stdout: its tools, its errors, and how it ends."""

import inspect
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import IO, Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import ValidationError

from triage_cli import __version__
from triage_cli.domain import AmbiguousError, NotFoundError, TriageError, without_lone_surrogates
from triage_cli.mcp_server.tool_answers import INSTRUCTIONS, one_line
from triage_cli.mcp_server.tools import ReadTools, WriteTools
from triage_cli.ports import Consultation, Triage

# Seconds that a signal leaves a tool's call at work: hosts kill an MCP server 2 s after SIGTERM.
CALL_GRACE = 1.5
LONGEST_ERROR = 1000
OLD_TICKET_ID = "ticket"  # what the argument `ticket_id` of the tools was called, and is still taken as
READ_TOOLS = (
    "search_tickets",
    "get_ticket",
    "similar_tickets",
    "get_stats",
    "list_waiting",
    "explain_category",
    "preview_route",
)
WRITE_TOOLS = ("create_ticket", "suggest_category")
# What a host is told of a tool about which nothing else is said.
NO_HINTS = {"read_only_hint": False, "destructive_hint": False, "idempotent_hint": False, "open_world_hint": False}

_log = logging.getLogger("triage.mcp")


class AgentServer(MCPServer[None]):
    """An MCP server whose tools run one at a time; each error of a tool is one sentence with what to do next."""

    def __init__(
        self, triage: Triage, consultation: Consultation, *, max_cost: float, allow_writes: bool = False
    ) -> None:
        super().__init__("triage", title="triage", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
        self.call_lock = threading.Lock()  # use cases are objects of one caller
        read_tools = ReadTools(triage, consultation, max_cost)
        for name in READ_TOOLS:
            self._add_tool(getattr(read_tools, name), read_only_hint=True, idempotent_hint=True)
        # classify_text stores no ticket, but a language model may have to be paid, each time.
        self._add_tool(read_tools.classify_text, open_world_hint=True)
        if allow_writes:
            write_tools = WriteTools(triage, consultation)
            self._add_tool(write_tools.create_ticket)
            self._add_tool(write_tools.suggest_category, idempotent_hint=True)

    def _add_tool(self, tool: Callable[..., Any], **hints: bool) -> None:
        title, described = tool.__name__.replace("_", " ").capitalize(), inspect.getdoc(tool)
        annotations = ToolAnnotations(**{**NO_HINTS, **hints})
        self.add_tool(_one_at_a_time(tool, self.call_lock), title=title, description=described, annotations=annotations)

    async def run_stdio_async(self) -> None:
        """Serve over stdin and stdout; calls with half a character in them are answered too."""
        async with stdio_server(_MendedLines(_diverted_stdin())) as (frames_in, frames_out):  # type: ignore[arg-type]
            options = self._lowlevel_server.create_initialization_options()
            await self._lowlevel_server.run(frames_in, frames_out, options)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool for an agent. Raises `ToolError` with one sentence."""
        tools = {tool.name: tool.input_schema.get("properties", {}) for tool in await self.list_tools()}
        if name not in tools:
            hint = "triage mcp --allow-writes offers it" if name in WRITE_TOOLS else f"the tools are {', '.join(tools)}"
            raise ToolError(f"there is no tool {_error_line(name)} here; {hint}")
        if OLD_TICKET_ID in arguments and "ticket_id" in tools[name].keys() - arguments.keys():
            arguments = {"ticket_id" if key == OLD_TICKET_ID else key: value for key, value in arguments.items()}
        if unknown_arguments := sorted(arguments.keys() - tools[name].keys()):
            unknown, taken = _error_line(unknown_arguments[0]), ", ".join(tools[name])
            raise ToolError(f"{name} has no argument {unknown}; it takes {taken}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            raise ToolError(_error_sentence(name, error)) from error


class _MendedLines:
    """The lines of an agent, without escapes of half a character, with which a strict reader takes them for no call."""

    def __init__(self, lines: IO[str]) -> None:
        self._lines = anyio.wrap_file(lines)

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in self._lines:
            yield without_lone_surrogates(line)


def _diverted_stdin() -> IO[str]:
    """Return what comes over stdin; for all others, as programs that are started, stdin is then empty."""
    frames = os.dup(0)
    null_device = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null_device, 0)
    os.close(null_device)
    # It stays open: a thread may still read it when the protocol has ended.
    return open(frames, encoding="utf-8", errors="replace", closefd=False)


def _one_at_a_time(tool: Callable[..., Any], lock: threading.Lock) -> Callable[..., Any]:
    """Return an MCP tool that waits until no other one is at work."""

    def locked_tool(**arguments: Any) -> Any:
        with lock:
            return tool(**arguments)

    locked_tool.__name__, locked_tool.__doc__ = tool.__name__, tool.__doc__
    locked_tool.__signature__ = inspect.signature(tool)  # type: ignore[attr-defined]
    locked_tool.__annotations__ = tool.__annotations__
    return locked_tool


def _error_sentence(name: str, error: ToolError) -> str:
    """Return the message about a tool's error for the agent."""
    cause = error.__cause__
    if isinstance(cause, NotFoundError):
        return _error_line(f"{cause.message}; search_tickets finds tickets by their text")
    if isinstance(cause, AmbiguousError):  # its message quotes the tickets
        return "several tickets have this name; name one by its ticket_id, which search_tickets tells"
    if isinstance(cause, TriageError):
        return _error_line(cause.sentence())
    if isinstance(cause, ValidationError):
        first_mistake = cause.errors()[0]
        argument = ".".join(map(str, first_mistake["loc"])) or "the arguments"
        return f"{argument} of {name}: {first_mistake['msg']}; see the tool's input schema"
    failure = f"{name} failed unexpectedly with {type(cause or error).__name__}"
    _log.warning("%s", failure, exc_info=cause if _log.isEnabledFor(logging.INFO) else None)
    return f"{failure}; what triage mcp -v prints helps to mend it"


def _error_line(text: str) -> str:
    """Return an error's text in one line, since it may quote a ticket's name."""
    return one_line(text, LONGEST_ERROR) or ""


def serve_agents(server: AgentServer, watch: Callable[[Callable[[], None]], None], *, verbose: bool) -> None:
    """Serve until stdin ends, or until what was given to `watch` is called; a call at work is waited for shortly.

    The protocol runs in a thread of its own, since a read from stdin cannot be interrupted.
    """
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(name)s: %(message)s")
    server_over, protocol_result = threading.Event(), Future[None]()
    watch(server_over.set)

    def run_protocol() -> None:
        try:
            anyio.run(server.run_stdio_async)
        except* OSError:  # nobody reads stdout any more
            pass
        except* BaseException as errors:  # noqa: BLE001 - raised in the main thread
            protocol_result.set_exception(errors.exceptions[0])
        finally:
            server_over.set()

    threading.Thread(target=run_protocol, daemon=True, name="mcp").start()
    server_over.wait()
    if protocol_result.done():
        protocol_result.result()
    server.call_lock.acquire(timeout=CALL_GRACE)
